"""The MIM thesis, chapters 4 and 5: who collapses, and which term decides it.

How the models are trained and measured, and where that differs from the thesis: `mim_runs`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lvmlab.conditionals import Mixture
from lvmlab.datasets import toys
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.models import dense_gaussian
from lvmlab.objectives import amim, elbo, importance_weighted, joint_entropy
from lvmlab.objectives.mim import mim, mixture_cross_entropy
from lvmlab.studies.compare import Claim
from lvmlab.studies.ledger import Cell, Row, measure, sizes
from lvmlab.studies.mim_runs import FLOOR, Data, blobs, pca_images, trained, untrained

WIDTHS = (5, 20, 50, 100, 200, 300, 400, 500)
LATENTS = tuple(range(2, 21, 2))
HIDDEN = 50  # units in 20 dimensions

# points: test rows behind every number; seeds: when none are asked for; minutes: on one core, those
# of paper size reckoned from the time of a step and all epochs
# fmt: off
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "collapse-2d": {
        "smoke": {"seeds": 2, "widths": (5, 20), "epochs": 4, "points": 1000, "minutes": 0.1},
        "lesson": {"seeds": 3, "widths": (5, 20, 500), "epochs": 30, "points": 4000, "minutes": 2},
        "paper": {"seeds": 10, "widths": WIDTHS, "epochs": 200, "points": 10_000, "minutes": 90},
    },
    "entropy-regulariser-2d": {
        "smoke": {"seeds": 2, "widths": (20,), "epochs": 4, "points": 1000, "minutes": 0.1},
        "lesson": {"seeds": 3, "widths": (5, 20), "epochs": 30, "points": 4000, "minutes": 2.5},
        "paper": {"seeds": 10, "widths": WIDTHS, "epochs": 200, "points": 10_000, "minutes": 210},
    },
    "collapse-20d": {
        "smoke": {"seeds": 2, "latents": (2, 8), "epochs": 4, "points": 500,
                  "standardise": True, "minutes": 0.1},
        "lesson": {"seeds": 3, "latents": (2, 8, 20), "epochs": 30, "points": 2000,
                   "standardise": True, "minutes": 1.5},
        "paper": {"seeds": 10, "latents": LATENTS, "epochs": 200, "points": 10_000,
                  "standardise": False, "minutes": 130},
    },
    "pca-fashion-20d": {
        "smoke": {"seeds": 2, "latents": (2, 8), "epochs": 4, "points": 300,
                  "rows": 1000, "minutes": 0.1},
        "lesson": {"seeds": 3, "latents": (2, 8, 20), "epochs": 30, "points": 2000,
                   "rows": 10_000, "minutes": 1.5},
        "paper": {"seeds": 10, "latents": LATENTS, "epochs": 200, "points": 10_000,
                  "rows": 50_000, "minutes": 360},
    },
}
# fmt: on


def hidden_units(width: int) -> str:
    """The name of the system with this many hidden units."""
    return f"{width} hidden units"


def latent_dimensions(latents: int) -> str:
    """The name of the system with this many latent dimensions."""
    return f"{latents} latent dimensions"


def _orders(source: str, one: str, other: str, systems: tuple[str, ...]) -> tuple[Claim, ...]:
    """The figure's four panels in words: where `one` lies, seen from `other`."""
    more, less = ("ksg_information", "knn5_accuracy"), ("reconstruction_error",)
    return (
        *(Claim(source, one, metric, "above", other, systems) for metric in more),
        *(Claim(source, one, metric, "below", other, systems) for metric in less),
    )


WIDE = tuple(hidden_units(width) for width in WIDTHS if width >= 20)
ALL_WIDTHS = tuple(hidden_units(width) for width in WIDTHS)
ALL_LATENTS = tuple(latent_dimensions(latents) for latents in LATENTS)

# the figures print no numbers, so what can be compared is who lies above whom
CLAIMS = {
    "collapse-2d": (
        *_orders("Figure 5.2", "MIM", "VAE", WIDE),
        Claim("Figure 5.2", "VAE", "nll_upper_bound", "below", "MIM", WIDE),
        Claim("Figure 5.1", "MIM", "posterior_scale", "below", "VAE", WIDE),
    ),
    "entropy-regulariser-2d": (
        *_orders("Figure 5.4", "VAE+H", "VAE", ALL_WIDTHS),
        *_orders("Figure 5.4", "MIM", "MIM-H", ALL_WIDTHS),
        *_orders("Figure 5.4", "MIM", "MIM-H (marginal)", ALL_WIDTHS),
        Claim("Section 5.3.2", "VAE+H", "nll_upper_bound", "below", "VAE"),
        Claim("Section 5.3.2", "MIM", "nll_upper_bound", "below", "MIM-H"),
        Claim("Section 5.3.2", "MIM", "nll_upper_bound", "below", "MIM-H (marginal)"),
    ),
    "collapse-20d": (
        *_orders("Figure 4.1", "MIM", "VAE", ALL_LATENTS),
        Claim("Figure 4.1", "VAE", "nll_upper_bound", "below", "MIM", ALL_LATENTS),
    ),
    "pca-fashion-20d": (
        *_orders("Figure 4.2", "MIM", "VAE", ALL_LATENTS[2:])[:2],
        Claim("Figure 4.2", "VAE", "nll_upper_bound", "below", "MIM", ALL_LATENTS),
        Claim(
            *("Section 4.2", "none", "explained_variance_percent", "is", 78.5),
            datasets=("fashion_mnist",),
            paper="mim-s42-pca-variance",
        ),
    ),
}


def collapse_2d(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """VAE, MIM and A-MIM on five blobs in the plane, over hidden units (Figures 5.1 and 5.2).

    Numbers as in `mim_runs.measured`. A-MIM is not in those figures.
    """
    size = sizes(SIZES["collapse-2d"], preset)
    data = blobs(2, size.points)
    objectives = {"VAE": elbo, "MIM": encoder_first, "A-MIM": amim}
    cells = [_themselves("five_blobs", data)] + [
        Cell(
            hidden_units(width),
            name,
            "five_blobs",
            partial(trained, partial(_plane, width, False), objective, data, size.epochs),
        )
        for width in size.widths
        for name, objective in objectives.items()
    ]
    return measure("collapse-2d", preset, size.seeds if seeds is None else seeds, cells)


def entropy_regulariser_2d(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """VAE and MIM with the joint entropy added and subtracted (Figures 5.3 and 5.4).

    q(x) is the exact density of the data, so that VAE+H is -log p(x, z) of encoded pairs up to a
    constant. "(marginal)" has a bound on the decoder's marginal in its place: in VAE+H it leaves
    half of the encoder's entropy, in MIM-H it lets go of the data.
    """
    size = sizes(SIZES["entropy-regulariser-2d"], preset)
    data = blobs(2, size.points)
    exact = {
        "VAE": elbo,
        "VAE+H": vae_plus_entropy,
        "MIM": encoder_first,
        "MIM-H": mim_minus_entropy,
    }
    variants = [(name, objective, True) for name, objective in exact.items()]
    variants.append(("VAE+H (marginal)", vae_plus_entropy, False))
    variants.append(("MIM-H (marginal)", mim_minus_marginal_entropy, False))
    cells = [
        Cell(
            hidden_units(width),
            name,
            "five_blobs",
            partial(trained, partial(_plane, width, known), objective, data, size.epochs),
        )
        for width in size.widths
        for name, objective, known in variants
    ]
    study = "entropy-regulariser-2d"
    return measure(study, preset, size.seeds if seeds is None else seeds, cells)


def collapse_20d(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """VAE and MIM on five blobs in 20 dimensions, over latent dimensions (Figure 4.1).

    At smoke and lesson size every column of x is divided by its standard deviation: raw means up
    to 50 are out of reach for 30 epochs at the thesis' learning rate. The paper size is raw.
    """
    size = sizes(SIZES["collapse-20d"], preset)
    data = blobs(20, size.points, size.standardise)
    cells = _over_latents("five_blobs_20d", data, size)
    return measure("collapse-20d", preset, size.seeds if seeds is None else seeds, cells)


def pca_fashion_20d(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """VAE and MIM on Fashion-MNIST in 20 principal components, over latent dimensions (Figure 4.2).

    The 8 x 8 digits when Fashion-MNIST is not at hand; the rows name the set. The projection is
    fitted on the training rows alone; no augmentation, no noise.
    """
    size = sizes(SIZES["pca-fashion-20d"], preset)
    name, data, kept = pca_images(size.rows, size.points)
    variance = Cell(
        "20 principal components",
        "none",
        name,
        lambda seeds: [{"explained_variance_percent": kept} for _ in seeds],
    )
    cells = [variance, *_over_latents(name, data, size)]
    return measure("pca-fashion-20d", preset, size.seeds if seeds is None else seeds, cells)


def encoder_first(p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
    """L_MIM; its encoder half alone while beta < 1, as in the thesis' code.

    It matters in many latent dimensions: a decoder that meets draws of the prior before the
    encoder has come near them grows ever sharper there, and lowers the loss without end.
    """
    whole = mim(p, q, batch, beta)
    if beta >= 1:
        return whole
    terms = whole.terms
    decoding = terms["distortion"] + terms["latent_nll"]
    encoding = terms["encoder_nll"] + terms["data_nll"]
    return Evaluation((decoding + beta * encoding).mean() / 2, terms)


def vae_plus_entropy(p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
    """The negative ELBO plus the joint entropy H(E), from one draw; beta weighs the rate alone.

    With beta = 1 the encoder's entropy in the rate is gone when q has an exact q(x), and half of
    it when q(x) is the marginal of the decoder.
    """
    terms = joint_entropy(p, q, batch).terms
    rate = terms["latent_nll"] - terms["encoder_nll"]
    entropy = terms["encoder_nll"] + terms["data_nll"]
    return Evaluation((terms["distortion"] + beta * rate + entropy).mean(), terms)


def mim_minus_entropy(p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
    """L_MIM minus the entropy H(M) of the anchored joints; q needs the exact density of the data.

    With priors equal to the anchors H(M) is L_CE, and the difference is an average of two
    divergences that every consistent pair makes zero, informative or not. beta is MIM's own.
    """
    machine, entropy = encoder_first(p, q, batch, beta), mixture_cross_entropy(p, q, batch)
    return Evaluation(machine.loss - entropy.loss, machine.terms)


def mim_minus_marginal_entropy(
    p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0
) -> Evaluation:
    """L_MIM minus CE(M, (q + p) / 2), both with the decoder's marginal p(x) in the place of q(x).

    It is bounded by one fresh draw z' of q(z|x), in both halves; give q no density. With the exact
    p(x) the loss is E_M log cosh((log p(z|x) - log q(z|x)) / 2): zero wherever the encoder is the
    decoder's posterior, whatever p(x) is. The data only say where that is asked. Terms as in
    `mim`, with the fresh bound as `data_nll`.
    """
    fresh = -importance_weighted(p, q, batch, samples=1).terms["bound"]
    terms = mim(p, q, batch).terms | {"data_nll": fresh}
    sides = [
        (
            terms[f"{half}distortion"] + terms[f"{half}latent_nll"],
            terms[f"{half}encoder_nll"] + terms[f"{half}data_nll"],
        )
        for half in ("", "drawn_")
    ]
    even = [(decoding + beta * encoding).mean() / 2 for decoding, encoding in sides]
    machine = sum(even, torch.zeros(())) / 2 if beta >= 1 else even[0]  # as in `encoder_first`
    entropy = [math.log(2) - torch.logaddexp(-a, -b).mean() for a, b in sides]
    return Evaluation(machine - sum(entropy, torch.zeros(())) / 2, terms)


def _over_latents(dataset: str, data: Data, size: Any) -> list[Cell]:
    objectives: dict[str, Callable[..., Evaluation]] = {"VAE": elbo, "MIM": encoder_first}
    return [_themselves(dataset, data)] + [
        Cell(
            latent_dimensions(latents),
            name,
            dataset,
            partial(
                trained,
                partial(dense_gaussian, 20, latents, HIDDEN, FLOOR),
                objective,
                data,
                size.epochs,
            ),
        )
        for latents in size.latents
        for name, objective in objectives.items()
    ]


def _themselves(dataset: str, data: Data) -> Cell:
    return Cell("the data themselves", "none", dataset, partial(untrained, data))


def _plane(width: int, known: bool) -> tuple[Joint, Joint]:
    """The model of the plane; with `known` q(x) is the exact density of the data."""
    mixture = toys.five_blobs(2)
    density = Mixture(mixture.means.float(), mixture.scale.float()) if known else None
    return dense_gaussian(2, 2, width, FLOOR, density)
