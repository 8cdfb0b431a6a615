"""Inference critics on images: what they and their rivals keep of z, and what they cost.

How the models are trained and measured: `critic_runs`. Sets that are not at hand are left out.
Omniglot here is not the file of the papers (`datasets`), so its likelihoods stand beside no printed
ones; the printed times are those of texts (Yahoo, one GPU).
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from lvmlab import datasets
from lvmlab.networks.autoregressive import KERNELS
from lvmlab.studies import critic_runs as runs
from lvmlab.studies.compare import Claim, quoted
from lvmlab.studies.ledger import Cell, Row, measure, sizes

OMNIGLOT, COST, INFORMATION = "critics-omniglot", "critics-cost", "critics-information"
CRITICS = ("self critic", "hybrid critic", "neural critic")
SHARES = (0, 25, 50, 75, 100)  # percent of the training at which information is told

# fmt: off
_ALL = ("VAE", "VAE annealed", "VAE beta = 0.5", "SA-VAE", "Skip-VAE", "Lagging-VAE", *CRITICS)
_FEW = ("VAE", "Lagging-VAE", *CRITICS)
_DIGITS = {"rows": 1257, "points": 360, "latent": 2, "width": 16, "kernels": (7, 3, 3, 3, 3),
           "maps": 1, "blocks": 2, "features": 64, "refinements": 5, "most": 30, "batch": 50,
           "lr": 1e-3, "head": 600, "steps": 300, "every": 25, "patience": 12, "plateau": 4,
           "samples": 500, "turns": 12, "methods": _ALL}
_IMAGES = {"rows": 5000, "points": 500, "latent": 16, "width": 32, "kernels": (7,) + (3,) * 7,
           "maps": 1, "blocks": 3, "features": 128, "refinements": 5, "most": 20, "batch": 50,
           "lr": 1e-3, "head": 0, "steps": 300, "every": 50, "patience": 8, "plateau": 4,
           "samples": 50, "turns": 12, "methods": _FEW}
_PAPER = _IMAGES | {"rows": 50_000, "points": 10_000, "latent": 32, "width": 64, "kernels": KERNELS,
                    "maps": 4, "features": 512, "refinements": 20, "most": 100, "steps": 200_000,
                    "every": 500, "patience": 40, "plateau": 2, "samples": 500, "turns": 50,
                    "methods": _ALL}
_SMOKE = _DIGITS | {"rows": 128, "points": 60, "latent": 3, "width": 4, "kernels": (3, 3, 3),
                    "maps": 1, "blocks": 1, "features": 8, "refinements": 2, "most": 3,
                    "batch": 20, "lr": 3e-3, "head": 4, "steps": 8, "every": 2, "patience": 4,
                    "samples": 4, "turns": 3}

# sets: those at hand are run; rows and points: training rows, and validation and test rows, at
# most; head: steps of the decoder alone before; every: steps between two looks at validation rows,
# patience and plateau in looks; most: of Lagging-VAE's inner loop; minutes: all seeds of all sets
# on one core, those of paper size reckoned from the time of a step
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    OMNIGLOT: {
        "smoke": {"seeds": 2, "minutes": 0.4, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 160, "sets": {"digits": _DIGITS, "omniglot": _IMAGES}},
        "paper": {"seeds": 5, "minutes": 1e7, "sets": {"omniglot": _PAPER}},
    },
    COST: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 15, "sets": {"digits": _DIGITS, "omniglot": _IMAGES}},
        "paper": {"seeds": 5, "minutes": 400, "sets": {"omniglot": _PAPER}},
    },
    INFORMATION: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 30, "sets": {"digits": _DIGITS, "omniglot": _IMAGES}},
        "paper": {"seeds": 5, "minutes": 1e7, "sets": {"omniglot": _PAPER}},
    },
}
# fmt: on

_SHORT = {"VAE": "vae", "SA-VAE": "savae", "Skip-VAE": "skipvae", "Lagging-VAE": "laggingvae"}
_SHORT |= {"self critic": "self", "hybrid critic": "hybrid", "neural critic": "nn"}
_METRICS = {"kl": "rate", "mi": "minibatch_information", "active-units": "active_units"}


def _table_2() -> tuple[Claim, ...]:
    return tuple(
        quoted(f"critics-t2-omniglot-{short}-{printed}", method, ours, datasets=("omniglot",))
        for method, short in _SHORT.items()
        for printed, ours in _METRICS.items()
    )


CLAIMS = {
    OMNIGLOT: (
        *_table_2(),
        *(
            Claim("Table 2", method, metric, relation, "VAE")
            for method in (*CRITICS, "Lagging-VAE")
            for metric, relation in (
                ("iw_nll", "below"),
                ("rate", "above"),
                ("minibatch_information", "above"),
                ("active_units", "above"),
            )
        ),
        Claim("Table 2", "hybrid critic", "rate", "above", "self critic"),
        Claim("Table 2", "neural critic", "rate", "above", "hybrid critic"),
        Claim("Table 2", "Lagging-VAE", "iw_nll", "below", "self critic"),
    ),
    COST: (
        quoted("critics-t3-hybrid-factor", "hybrid critic", "step_ratio"),
        quoted("critics-t3-laggingvae-factor", "Lagging-VAE", "epoch_ratio"),
        Claim("Table 3", "Lagging-VAE", "epoch_ratio", "above", "hybrid critic"),
        Claim("Section 4.5", "SA-VAE", "epoch_ratio", "above", "Lagging-VAE"),
    ),
    INFORMATION: tuple(
        Claim(source, critic, f"information_at_{share}_percent", "above", "VAE")
        for critic in CRITICS
        for source, share in (("Figure 3", 25), ("Figure 4", 100))
    ),
}


def critics_omniglot(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Seven methods against posterior collapse with a strong decoder, and two more (Table 2).

    Numbers as in `critic_runs.measured`.
    """
    return _measure(OMNIGLOT, preset, seeds, _table_row)


def critics_cost(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """The time of a step and of an epoch of each method beside the plain VAE's (Table 3).

    Both in turn in one run; A-MIM as well. Numbers as in `critic_runs.costs`. The paper's factor is
    that of whole trainings until convergence.
    """
    return _measure(COST, preset, seeds, runs.costs, skip=("VAE",), more=("A-MIM",))


def critics_information(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Information over the training, for the critics and the plain VAE (Figures 3 and 4).

    `information_at_25_percent` and so on: I(x; z) of validation rows within batches of the
    training's size, nats, at the look nearest to that share of the training's steps (an earlier end
    counts on). `information_ceiling` is log M.
    """
    return _measure(INFORMATION, preset, seeds, _curve, only=("VAE", *CRITICS))


def system(size: Any) -> str:
    """The name of a decoder of this size."""
    return f"PixelCNN of {len(size.kernels)} layers, width {size.width}, {size.latent} latents"


def _measure(
    study: str,
    preset: str,
    seeds: int | None,
    run: Callable[..., dict[str, float]],
    only: tuple[str, ...] | None = None,
    skip: tuple[str, ...] = (),
    more: tuple[str, ...] = (),
) -> list[Row]:
    size = sizes(SIZES[study], preset)
    here = datasets.at_hand()
    cells = [
        Cell(system(of), method, name, partial(_each, run, method, of, name))
        for name, of in ((n, SimpleNamespace(**s)) for n, s in size.sets.items() if n in here)
        for method in (*of.methods, *more)
        if method not in skip and (only is None or method in only)
    ]
    return measure(study, preset, size.seeds if seeds is None else seeds, cells)


def _each(
    run: Callable[..., dict[str, float]], method: str, size: Any, dataset: str, seeds: list[int]
) -> list[dict[str, float]]:
    data = runs.loaded(dataset, size)
    return [run(method, size, data, seed) for seed in seeds]


def _table_row(method: str, size: Any, data: Any, seed: int) -> dict[str, float]:
    run = runs.trained(method, size, data, seed)
    return runs.measured(run.p, run.q, data, seed, size)


def _curve(method: str, size: Any, data: Any, seed: int) -> dict[str, float]:
    curve = runs.trained(method, size, data, seed).curve
    looks = size.steps // size.every
    found = {}
    for share in SHARES:
        place = min(round(share / 100 * looks), len(curve) - 1)
        found[f"information_at_{share}_percent"] = curve[place]["minibatch_information"]
    return found | {"information_ceiling": runs.ceiling(size, data)}
