"""The VaDE/iVAE paper: whether learned clusters find the sources as well as given labels do.

Sources, models, training and scores: `identifiability_runs`; images: `identifiability_images`.
"""

from functools import partial
from typing import Any

import numpy as np

from lvmlab.studies import identifiability_images as pictures
from lvmlab.studies.compare import Claim
from lvmlab.studies.identifiability_runs import NO_MODEL, unmixed
from lvmlab.studies.ledger import Cell, Row, measure, sizes

KINDS = ("iVAE", "VaDE", "VAE", "GMM-flow", "VaDE from iVAE")  # "iVAE given u" at paper size

# hidden: widths of the networks; scale: of p(x|z), 0.1 is the variance 0.01 of ICE-BeeM's code; lr:
# the paper's 0.001 needs its 70,000 steps, in fewer a larger one finds more
_NETS = {
    "hidden": (50, 50), "scale": 0.1, "components": 40, "start": "xavier",
    "flow_components": 50, "flow_hidden": (50,),
}  # fmt: skip
_MILD = (  # the first is a linear mix of bent sources, which PCA and FastICA partly undo
    {"layers": 2, "per_segment": 1000},
    {"layers": 2, "per_segment": 1000, "activations": "between"},
)
_PAPER = {"layers": 4, "per_segment": 1000}

# mixings: what `identifiability_runs.mixed` is asked for; steps: of a model, flow_steps: of a flow;
# seeds: when none are asked for; minutes: on one core, those of paper size reckoned from a step
# fmt: off
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "ica-synthetic": {
        "smoke": _NETS | {"seeds": 2, "lr": 4e-3, "steps": 60, "flow_steps": 20, "kinds": KINDS,
                          "mixings": ({"layers": 2, "per_segment": 50},), "minutes": 0.3},
        "lesson": _NETS | {"seeds": 5, "lr": 4e-3, "steps": 5000, "flow_steps": 600,
                           "kinds": KINDS, "mixings": _MILD, "minutes": 6},
        "paper": _NETS | {"seeds": 10, "lr": 1e-3, "steps": 70_000, "flow_steps": 70_000,
                          "kinds": (*KINDS, "iVAE given u"), "minutes": 900,
                          "mixings": tuple(_PAPER | {"per_segment": n}
                                           for n in (100, 200, 500, 1000, 2000))},
    },
    **pictures.SIZES,
}
# fmt: on

CLAIMS = {
    "ica-synthetic": (
        Claim("Figure 2", "VaDE", "mcc", "above", "iVAE"),
        Claim("Figure D.3", "GMM-flow", "mcc", "above", "iVAE"),
        Claim("Figure D.3", "GMM-flow", "mcc", "above", "VaDE"),
    ),
    **pictures.CLAIMS,
}


def ica_synthetic(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Five sources in 20 segments, mixed: who finds them again? (Figures 2, 3 and D.3).

    Numbers as in `identifiability_runs.scored`, all with Pearson's correlation of posterior means
    on held-out rows. iVAE's encoder does not see u, except in "iVAE given u". Beside it the scores
    of the data themselves, PCA and FastICA, and the exact likelihood of the truth.
    """
    size = sizes(SIZES["ica-synthetic"], preset)
    cells = [
        Cell(system(**settings), kind, "segments", partial(unmixed, kind, settings, size))
        for settings in size.mixings
        for kind in (*NO_MODEL, *size.kinds)
    ]
    return measure("ica-synthetic", preset, size.seeds if seeds is None else seeds, cells)


def system(
    layers: int,
    per_segment: int,
    activations: str = "before",
    matrices: str = "orthogonal",
    mixing: int = 1,
    scale_low: float = 0.01,
) -> str:
    """The name of one way to mix, such as "2 layers (before), 1000 a segment"."""
    name = f"{layers} layers ({activations}), {per_segment} a segment"
    name += "" if matrices == "orthogonal" else f", {matrices} matrices"
    name += "" if mixing == 1 else f", mixing {mixing}"
    return name + ("" if scale_low == 0.01 else f", scales from {scale_low:g}")


def bound_and_mcc(rows: list[Row], objective: str = "VaDE") -> dict[str, tuple[float, int]]:
    """Correlation over seeds of the ELBO of the training rows and MCC, by system (Figure 3).

    Gives Pearson's correlation and the number of seeds behind it; systems with fewer than three
    seeds, of which any two points make a line, are left out.
    """
    found = {}
    for name in dict.fromkeys(row["system"] for row in rows):
        mine = [r for r in rows if r["system"] == name and r["objective"] == objective]
        each = {row["metric"]: row["each"] for row in mine}
        if {"train_elbo", "mcc"} <= each.keys() and len(each["mcc"]) >= 3:
            r = np.corrcoef(each["train_elbo"], each["mcc"])[0, 1]
            found[name] = (float(r), len(each["mcc"]))
    return found


def ica_images(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Do two trainings on images find the same latents, up to a linear map? (Figures 4 to 6).

    Numbers as in `identifiability_images.agreement`: in and out of sample, with 20 and with all
    canonical components, each beside its floor.
    """
    return pictures.run("ica-images", preset, seeds)


def ica_hashed(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Labels by a random hash of the image, drawn anew for each seed, beside VaDE (Figure C.2).

    Numbers as in `identifiability_images.agreement`.
    """
    return pictures.run("ica-hashed", preset, seeds)


def ica_vq(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Relaxed VQ-VAE beside a plain autoencoder, place by place of the grid (Figure B.1).

    Numbers as in `identifiability_images.agreement`.
    """
    return pictures.run("ica-vq", preset, seeds)
