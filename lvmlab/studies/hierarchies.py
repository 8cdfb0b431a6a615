"""Hierarchical VAEs on images under VAE, MIM and A-MIM: tables of the MIM thesis, chapters 4 and 5.

Binary images, drawn anew for every batch from the grey ones; how the models are trained and
measured: `hierarchy_runs`. Sets that are not at hand are left out. Omniglot here is not the file of
the papers (`datasets`), so that its likelihoods are beside no printed ones.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

from lvmlab import datasets
from lvmlab.studies import hierarchy_runs as runs
from lvmlab.studies import ledger
from lvmlab.studies.compare import Claim, quoted
from lvmlab.studies.ledger import Cell, Row, measure, sizes

IMAGES, ANNEALING = "hvae-images", "hvae-annealing"

# fmt: off
_CONV, _PIXEL = ("convHVAE (S)", "convHVAE (VP)"), ("PixelHVAE (S)", "PixelHVAE (VP)")
_DIGITS = {"rows": 1257, "points": 360, "latents": (8, 8), "width": 64, "channels": 16, "layers": 4,
           "pseudo": 100, "batch": 64, "lr": 1e-3, "epochs": 60, "warm_up": 15, "patience": 15,
           "samples": 500, "systems": (*_CONV, *_PIXEL, "PixelHVAE (VP), floor 0.3")}
_MNIST = {"rows": 50_000, "points": 1000, "latents": (40, 40), "width": 300, "channels": 64,
          "layers": 8, "pseudo": 100, "batch": 100, "lr": 1e-3, "epochs": 5, "warm_up": 2,
          "patience": 5, "samples": 100,
          "systems": ("HVAE (S)", "HVAE (VP)", "HVAE (VP), floor 0.3")}
_PAPER = _MNIST | {"rows": 50_000, "points": 10_000, "pseudo": 500, "lr": 5e-4, "epochs": 2000,
                   "warm_up": 100, "patience": 50, "samples": 5000, "systems": (*_CONV, *_PIXEL)}
_SMOKE = _DIGITS | {"rows": 128, "points": 30, "latents": (3, 2), "width": 8, "channels": 4,
                    "layers": 2, "pseudo": 8, "batch": 32, "lr": 3e-3, "epochs": 2, "warm_up": 1,
                    "patience": 2, "samples": 4}
_SETS = dict.fromkeys(("fashion_mnist", "mnist", "omniglot"), _PAPER)

# sets: those at hand are run; rows and points: training rows, and validation and test rows, at
# most; warm_up and patience in epochs; minutes: all seeds of all sets on one core, those of paper
# size reckoned from the time of a step
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    IMAGES: {
        "smoke": {"seeds": 2, "minutes": 0.4, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 90, "sets": {"digits": _DIGITS, "mnist": _MNIST}},
        "paper": {"seeds": 10, "minutes": 1e8, "sets": _SETS},
    },
    ANNEALING: {
        "smoke": {"seeds": 2, "minutes": 0.6, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 80, "sets": {
            "digits": _DIGITS | {"systems": (*_CONV, *_PIXEL)}}},
        "paper": {"seeds": 10, "minutes": 2e8, "sets": _SETS},
    },
}
# fmt: on

_RIVAL = {"convHVAE": "MIM", "PixelHVAE": "A-MIM"}
_PRINTED = {"fashion_mnist": "fmnist", "mnist": "mnist"}
BARE = " not annealed"


def _tables(nll: str, knn: str, tail: str, suffix: str) -> tuple[Claim, ...]:
    """The printed cells of two tables, "t41" and "t42"."""
    found = []
    for dataset, short in _PRINTED.items():
        for system in (*_CONV, *_PIXEL):
            kind, prior = system.lower().replace(")", "").split(" (")
            for objective in ("VAE", _RIVAL[system.partition(" ")[0]]):
                name = f"{short}-{kind}-{prior}-{objective.lower().replace('-', '')}"
                covers = {"systems": (system,), "datasets": (dataset,)}
                for id, metric in (
                    (f"mim-{nll}-{name}-nll{tail}", "iw_nll"),
                    (f"mim-{knn}-{name}-knn5{tail}", "knn5_accuracy"),
                ):
                    found.append(quoted(id, objective + suffix, metric, **covers))
    return tuple(found)


def _order(
    source: str, objective: str, metric: str, relation: str, to: str, systems: tuple[str, ...]
) -> Claim:
    return Claim(source, objective, metric, relation, to, systems=systems)


CLAIMS = {
    IMAGES: (
        *_tables("t41", "t42", "", ""),
        _order("Table 4.1", "VAE", "iw_nll", "below", "MIM", _CONV),
        _order("Table 4.1", "VAE", "iw_nll", "below", "A-MIM", _PIXEL),
        _order("Table 4.2", "MIM", "knn5_accuracy", "above", "VAE", _CONV),
        _order("Table 4.2", "A-MIM", "knn5_accuracy", "above", "VAE", ("PixelHVAE (VP)",)),
    ),
    ANNEALING: (
        *_tables("t51", "t52", "-noanneal", BARE),
        _order("Table 5.1", "VAE" + BARE, "iw_nll", "above", "VAE", (*_CONV, *_PIXEL)),
        _order("Table 5.1", "MIM" + BARE, "iw_nll", "above", "MIM", ("convHVAE (S)",)),
        _order("Table 5.1", "A-MIM" + BARE, "iw_nll", "above", "A-MIM", ("PixelHVAE (VP)",)),
        _order("Table 5.2", "VAE" + BARE, "knn5_accuracy", "below", "VAE", _PIXEL),
    ),
}


def hvae_images(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Two layers of latents, two priors: likelihoods and 5-NN accuracies (Tables 4.1 and 4.2).

    Numbers as in `hierarchy_runs.measured`.
    """
    return _measure(IMAGES, preset, seeds, {"": True})


def hvae_annealing(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """The same with and without a warm-up of the encoder's side (Tables 5.1 and 5.2).

    Without, the objective is called "... not annealed". Numbers as in `hierarchy_runs.measured`.
    """
    return _measure(ANNEALING, preset, seeds, {"": True, BARE: False})


def _measure(study: str, preset: str, seeds: int | None, kinds: dict[str, bool]) -> list[Row]:
    size = sizes(SIZES[study], preset)
    here = datasets.at_hand()
    place = ledger.folder() / study / preset / ledger.code_version() / "weights"
    cells = [
        Cell(
            system,
            objective + suffix,
            name,
            partial(runs.each, system, objective, SimpleNamespace(**of), name, anneal, place),
        )
        for name, of in size.sets.items()
        if name in here
        for system in of["systems"]
        for objective in runs.SYSTEMS[system].objectives
        for suffix, anneal in kinds.items()
    ]
    return measure(study, preset, size.seeds if seeds is None else seeds, cells)
