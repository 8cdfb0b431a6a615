"""GM-WAE: a mixture prior over images, trained by the ELBO and by transport.

Networks as in section 3 of the paper with smaller decoders below paper size; lambda is 500 for
MNIST's 784 pixels and as much less for the 64 of the digits. Pixels of the digits count 16 places
each (`models.mixture_images`). Data sets that are not at hand are left out.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

from lvmlab import datasets
from lvmlab.studies import mixture_runs as runs
from lvmlab.studies.compare import Claim, quoted
from lvmlab.studies.ledger import Cell, Row, measure, sizes

PETALS, DIGITS, SWITCH, LIFE, RECIPE = (
    "gm-petals-2d",
    "gm-digits-10d",
    "gm-vae-from-wae",
    "gm-component-life",
    "gm-recipe",
)

_FROM_K_MEANS = tuple(name + runs.FROM_K_MEANS for name in ("GM-VAE", "GM-WAE"))

# fmt: off
_DIGITS = {"rows": 1257, "points": 360, "encoder": (16, 32), "decoder": (32, 16), "kernel": 3,
           "trials": 16, "weight": 40.0, "least": 1e-5, "coarse": False, "batch": 64, "lr": 1e-3,
           "beta1": 0.5, "steps": 2000, "moments": 200,
           "objectives": (*runs.OBJECTIVES, *_FROM_K_MEANS)}
_MNIST = {"rows": 54_000, "points": 2000, "encoder": (16, 32, 64), "decoder": (64, 32, 16),
          "kernel": 5, "trials": 1, "weight": 500.0, "least": 1e-5, "coarse": True,
          "batch": 100, "lr": 5e-4, "beta1": 0.5, "steps": 6000, "moments": 200,
          "objectives": ("GM-VAE", "GM-WAE", *_FROM_K_MEANS)}
_PAPER = _MNIST | {"rows": 60_000, "points": 10_000, "decoder": (512, 256, 128), "least": 0.0,
                   "coarse": False, "steps": 60_000, "objectives": tuple(runs.OBJECTIVES)}
_SMOKE = _DIGITS | {"rows": 256, "points": 100, "encoder": (4, 8), "decoder": (8, 4),
                    "batch": 16, "steps": 20, "moments": 5}
_PLANE = {"objectives": ("GM-VAE", "GM-WAE", "GM-WAE joint kernel"), "steps": 1000}

_CHANGES: dict[str, dict[str, Any]] = {  # of the recipe on MNIST
    "as it is": {},
    "batches of 50": {"batch": 50},
    "beta1 0.9": {"beta1": 0.9},
    "lambda doubled": {"weight": 1000.0},
    "decoder halved": {"decoder": (32, 16, 8)},
    "rate doubled": {"lr": 1e-3},
    "lambda five times": {"weight": 2500.0},
    "joint kernel": {"objectives": ("GM-WAE joint kernel",)},
}

# sets: those at hand are run; weight: lambda; least: weights q(k|x) below it count as 0 (at 1e-5
# components live and die as in the exact sum, at 1e-3 they die sooner: notebook 09); coarse:
# decoders multiply in bfloat16 where the processor does; trials: places that a pixel counts;
# minutes: all seeds of all sets on one core, those of paper size reckoned from the time of a step
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    PETALS: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE | _PLANE | {"steps": 6}}},
        "lesson": {"seeds": 3, "minutes": 15, "sets": {"digits": _DIGITS | _PLANE}},
        "paper": {"seeds": 10, "minutes": 1e7, "sets": {"mnist": _PAPER}},
    },
    DIGITS: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 165, "sets": {"mnist": _MNIST, "digits": _DIGITS}},
        "paper": {"seeds": 10, "minutes": 1e7, "sets": {"mnist": _PAPER}},
    },
    SWITCH: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 25, "sets": {"digits": _DIGITS | {"steps": 1500}}},
        "paper": {"seeds": 10, "minutes": 1e7, "sets": {"mnist": _PAPER}},
    },
    LIFE: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 14, "sets": {
            "digits": _DIGITS | {"steps": 6000, "objectives": ("GM-VAE", "GM-WAE")}}},
        "paper": {"seeds": 10, "minutes": 1e6, "sets": {"mnist": _PAPER | {"steps": 6000}}},
    },
    RECIPE: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 1, "minutes": 60, "sets": {"mnist": _MNIST | {"steps": 1000}}},
        "paper": {"seeds": 10, "minutes": 1e6, "sets": {"mnist": _PAPER | {"steps": 6000}}},
    },
}
# fmt: on


def _printed(id: str, objective: str, metric: str) -> Claim:
    return quoted(id, objective, metric, datasets=("mnist",))


CLAIMS = {
    PETALS: (
        Claim("Figure 3", "GM-WAE", "modes_covered", "above", "GM-VAE"),
        Claim("Figure 3", "GM-WAE", "greedy_accuracy_percent", "above", "GM-VAE"),
        Claim("Figure 3", "GM-VAE", "largest_share", "above", "GM-WAE"),
    ),
    DIGITS: (
        _printed("gmwae-acc-gmwae", "GM-WAE", "greedy_accuracy_percent"),
        _printed("gmwae-acc-gmvae-beta20", "GM-VAE beta = 20", "greedy_accuracy_percent"),
        _printed("gmwae-acc-kmeans-low", "k-means", "greedy_accuracy_percent"),
        Claim("Figure 7b", "GM-WAE", "greedy_accuracy_percent", "above", "GM-VAE"),
        Claim("Figure 7b", "GM-WAE", "greedy_accuracy_percent", "above", "GM-VAE beta = 20"),
        Claim("Figure 6d", "GM-WAE", "distortion", "below", "GM-VAE"),
        Claim("Figure 7a", "GM-VAE", "largest_share", "above", "GM-WAE"),
    ),
    SWITCH: (
        Claim("Figure 6c", "GM-VAE after GM-WAE", "distortion", "above", "GM-WAE"),
        Claim("Figure 6c", "GM-VAE after GM-WAE", "continuous_rate", "below", "GM-WAE"),
        Claim("Figure 6c", "GM-VAE beta = 10 after GM-WAE", "distortion", "above", "GM-WAE"),
        Claim("Figure 6c", "GM-VAE beta = 10 after GM-WAE", "continuous_rate", "below", "GM-WAE"),
    ),
    LIFE: (
        _printed("gmwae-collapse-k", "GM-VAE", "components_shut_off_at_10"),
        _printed("gmwae-collapse-steps", "GM-VAE", "steps_until_one_has_most"),
        Claim("Figure 2", "GM-VAE", "largest_share", "above", "GM-WAE"),
        Claim("Figure 2", "GM-VAE", "components_shut_off", "above", "GM-WAE"),
    ),
    RECIPE: (_printed("gmwae-acc-gmwae", "as it is", "greedy_accuracy_percent"),),
}

MOST = 0.8  # of the mass: from there on one component counts as the only one


def gm_petals_2d(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Ten Gaussians on a ring in the plane, ELBO against transport (Figure 3).

    The ring in both readings of its printed spread and as a pinwheel. Numbers as in
    `mixture_runs.measured`, and `modes_covered`.
    """

    def cells(name: str, size: Any) -> list[Cell]:
        kinds = [prior for prior in runs.PRIORS if prior != "equidistant"]
        return [
            Cell(prior, objective, name, partial(_each, _petals, objective, size, name, prior))
            for prior in kinds
            for objective in size.objectives
        ]

    return _measure(PETALS, preset, seeds, cells)


def gm_digits_10d(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Ten equidistant Gaussians in ten dimensions: codes, reconstructions, digits (Figures 4 to 7).

    The objectives of the set in `SIZES`, k-means beside them. Numbers as in
    `mixture_runs.measured` at the end of the training, and those of `gm_component_life`.
    """

    def cells(name: str, size: Any) -> list[Cell]:
        return [
            Cell(system(size), objective, name, partial(_each, _life, objective, size, name))
            for objective in (*size.objectives, "k-means")
        ]

    return _measure(DIGITS, preset, seeds, cells)


def gm_vae_from_wae(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """The ELBO descended from a trained GM-WAE, and the reverse (Figure 6).

    The first training as in `gm-digits-10d`, the second as long. Numbers at the end, so that those
    of "GM-WAE" are where "GM-VAE after GM-WAE" begins; what became of the error and of the KL of z
    in the first 100 steps after the change is `squared_error_rise_100` and
    `continuous_rate_rise_100`. Where a pixel of the digits counts 16 places, also where it counts
    one: then the same KL stands against fewer nats of reconstruction.
    """

    def cells(name: str, size: Any) -> list[Cell]:
        chains = [("GM-WAE",), ("GM-VAE", "GM-WAE"), ("GM-VAE beta = 10", "GM-WAE")]
        chains += [("GM-VAE",), ("GM-WAE", "GM-VAE")]
        once = SimpleNamespace(**vars(size) | {"trials": 1})
        plan = [(chain, size, "") for chain in chains]
        plan += [(chain, once, ", a pixel counts once") for chain in chains[:2] if size.trials > 1]
        return [
            Cell(system(of) + more, " after ".join(chain), name,
                 partial(_each, _chain, chain, of, name))
            for chain, of, more in plan
        ]  # fmt: skip

    return _measure(SWITCH, preset, seeds, cells)


def gm_component_life(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """How the components fare, step by step (Figure 2).

    As `gm-digits-10d`, longer. `largest_share` and `components_shut_off` at the end and, as
    `..._at_10`, after ten steps; `largest_share_from_100`, the largest at any look from step 100
    on; `steps_until_one_has_most`, 80 % of the average q(k|x), or all steps when none gets there;
    `revived`, components in use at the end that were off at some look before.
    """

    def cells(name: str, size: Any) -> list[Cell]:
        return [
            Cell(system(size), objective, name, partial(_each, _life, objective, size, name))
            for objective in size.objectives
        ]

    return _measure(LIFE, preset, seeds, cells)


def gm_recipe(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """What the choices that the paper leaves open are worth to GM-WAE (Section 3).

    One change at a time of the recipe of `gm-digits-10d`, in shorter runs. Numbers as there.
    """

    def cells(name: str, size: Any) -> list[Cell]:
        found = []
        for change, settings in _CHANGES.items():
            changed = SimpleNamespace(**vars(size) | {"objectives": ("GM-WAE",)} | settings)
            (objective,) = changed.objectives
            each = partial(_each, _life, objective, changed, name)
            found.append(Cell(system(size), change, name, each))
        return found

    return _measure(RECIPE, preset, seeds, cells)


def system(size: Any) -> str:
    """The name of a model of this size."""
    widths = "-".join(map(str, size.decoder))
    return f"decoder {widths}, {size.steps} steps of {size.batch}"


def _measure(
    study: str, preset: str, seeds: int | None, cells: Callable[[str, Any], list[Cell]]
) -> list[Row]:
    size = sizes(SIZES[study], preset)
    here = datasets.at_hand()
    found = [
        cell
        for name, of in size.sets.items()
        if name in here
        for cell in cells(name, SimpleNamespace(**of))
    ]
    return measure(study, preset, size.seeds if seeds is None else seeds, found)


def _each(
    run: Callable[..., dict[str, float]],
    objective: Any,
    size: Any,
    dataset: str,
    *more: Any,
) -> Any:
    *given, seeds = more  # the last argument is the ledger's
    data = runs.loaded(dataset, size)
    return [run(objective, size, data, *given, seed) for seed in seeds]


def _petals(objective: str, size: Any, data: Any, prior: str, seed: int) -> dict[str, float]:
    run = runs.trained(objective, size, data, prior, seed)
    z = runs.codes(run.q, data[1]["x"])
    return run.end | {"modes_covered": runs.covered(run.p.factors["z|k"], z)}


def _chain(chain: tuple[str, ...], size: Any, data: Any, seed: int) -> dict[str, float]:
    """Train by the last objective of the chain, then go on by the one before it."""
    run = runs.trained(chain[-1], size, data, "equidistant", seed)
    for name in reversed(chain[:-1]):
        before, soon = run.end, min(100, size.steps)
        start = run.p, run.q
        run = runs.trained(name, size, data, "equidistant", seed, start, marks=[soon])
        rises = ("squared_error", "continuous_rate")
        run.end.update({f"{key}_rise_100": run.curves[soon][key] - before[key] for key in rises})
    return run.end


def _life(objective: str, size: Any, data: Any, seed: int) -> dict[str, float]:
    if objective == "k-means":
        return runs.k_means(data, seed)
    looks = [*range(0, min(200, size.steps), 10), *range(0, size.steps, 100)]
    run = runs.trained(objective, size, data, "equidistant", seed, looks=looks)
    largest, off = run.shares.max(1).values, run.shares <= runs.ALIVE
    most = (largest > MOST).tolist()
    tenth = run.steps.index(min(10, size.steps))
    later = torch.tensor(run.steps) >= min(100, size.steps)
    return run.end | {
        "largest_share_at_10": largest[tenth].item(),
        "components_shut_off_at_10": float(off[tenth].sum()),
        "largest_share_from_100": largest[later].max().item(),
        "steps_until_one_has_most": float(run.steps[most.index(True)] if any(most) else size.steps),
        "revived": float((off[:-1].any(0) & ~off[-1]).sum()),
    }
