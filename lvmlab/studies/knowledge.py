"""TzK: a flow trained without labels, and kinds of knowledge attached to it when it is frozen.

What the thesis reports for a conditional is a distortion: its code is drawn from q(c|e,t) given the
very image that it predicts (G.2.3). Here its rate stands beside it, and their sum; the same with e
alone, whose likelihood is exact; and a control, an extra z-flow as large as that of a kind, trained
on the same latents without labels, which separates knowledge from capacity. Every number is about
the rows of one kind. Data sets that are not at hand are left out.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

from lvmlab import datasets
from lvmlab.diagnostics import conditional_likelihood
from lvmlab.studies import knowledge_runs as runs
from lvmlab.studies import knowledge_toy as toy
from lvmlab.studies.compare import Claim, quoted
from lvmlab.studies.ledger import Cell, Row, measure, sizes

TOY, IMAGES = "tzk-toy", "tzk-images"

# fmt: off
_TOY = {"rows": 20_000, "batch": 256, "lr": 1e-2, "clip": 5.0, "flow_steps": 1000, "layers": 8,
        "width": 32, "kind_steps": 1600, "kind_layers": 5, "kind_width": 32, "hidden": 32,
        "codes": 1, "floor": 0.1, "points": 121}
_DIGITS = {"parts": {"low": ("digits", (0, 1, 2, 3, 4)), "high": ("digits", (5, 6, 7, 8, 9))},
           "seen": (("low", "high"), ("low",)), "side": 8, "channels": 1, "levels": 17,
           "rows": 700, "points": 200, "copies": 10, "scales": 2, "steps": 3, "width": 32,
           "blocks": 1, "margin": None, "batch": 64, "lr": 3e-3, "clip": 50.0, "flow_steps": 400,
           "kind_steps": 300, "kind_layers": 4, "kind_width": 64, "hidden": 64, "codes": 10,
           "floor": 0.1}
_PAPER = {"parts": {"cifar10": ("cifar10", None), "mnist": ("mnist", None)},
          "seen": (("cifar10", "mnist"), ("cifar10",)), "side": 32, "channels": 3, "levels": 256,
          "rows": 60_000, "points": 10_000, "copies": 1, "scales": 3, "steps": 20, "width": 512,
          "blocks": 1, "margin": None, "batch": 10, "lr": 1e-5, "clip": 1e3, "flow_steps": 10**6,
          "kind_steps": 10**6, "kind_layers": 4, "kind_width": 512, "hidden": 512, "codes": 10,
          "floor": 0.1}
_DRAWN = _PAPER | {"parts": {"mnist": ("mnist", None), "omniglot": ("omniglot", None)},
                   "seen": (("mnist", "omniglot"), ("mnist",))}
_SMOKE = _DIGITS | {"rows": 80, "points": 40, "copies": 2, "scales": 1, "steps": 1, "width": 4,
                    "batch": 20, "flow_steps": 10, "kind_steps": 10, "kind_layers": 1,
                    "kind_width": 8, "hidden": 8, "codes": 2, "seen": (("low", "high"),)}

# layers, width: couplings of the toy's flow; kind_layers, kind_width: those of each z-flow; parts:
# data set and classes (None: all) of every kind; seen: what a flow is trained on; copies: draws of
# the noise for each training row; minutes: all seeds on one core, reckoned from
# the time of a step
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    TOY: {
        "smoke": _TOY | {"seeds": 2, "minutes": 0.2, "rows": 500, "flow_steps": 20, "layers": 2,
                         "kind_steps": 20, "kind_layers": 2, "points": 41},
        "lesson": _TOY | {"seeds": 5, "minutes": 12},
        "paper": _TOY | {"seeds": 10, "minutes": 90, "flow_steps": 6000, "kind_steps": 4000,
                         "rows": 100_000},
    },
    IMAGES: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"digits": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 4, "sets": {"digits": _DIGITS}},
        "paper": {"seeds": 3, "minutes": 1e6, "sets": {"cifar10 and mnist": _PAPER,
                                                       "mnist and omniglot": _DRAWN}},
    },
}
# fmt: on

_TIGHTER = "Section 8.4.4"
_CIFAR, _MNIST = "cifar10 and mnist, cifar10", "cifar10 and mnist, mnist"
_SYSTEM = "flow on cifar10"

CLAIMS = {
    TOY: (
        Claim(_TIGHTER, "e alone", "nll", "below", "flow"),
        Claim(_TIGHTER, "TzK", "nll", "below", "flow"),
        Claim(_TIGHTER, "TzK", "nll", "below", "extra flow"),
    ),
    IMAGES: (
        Claim(_TIGHTER, "TzK", "distortion_bits_per_dim", "below", "flow"),
        Claim(_TIGHTER, "TzK", "bits_per_dim_upper_bound", "below", "flow"),
        Claim(_TIGHTER, "e alone", "bits_per_dim_upper_bound", "below", "flow"),
        Claim(_TIGHTER, "e alone", "bits_per_dim_upper_bound", "below", "extra flow"),
        quoted("mim-s844-cond-time", "TzK", "training_time_ratio"),
        *(
            quoted(id, objective, metric, datasets=(dataset,), systems=(_SYSTEM,))
            for id, objective, metric, dataset in (
                ("mim-s84-tflow20-cifar-bpd", "flow", "bits_per_dim_upper_bound", _CIFAR),
                ("mim-t82-cifar10-tzk-cond-bpd", "TzK", "distortion_bits_per_dim", _CIFAR),
                ("mim-s84-cond-cifar-on-cifarflow-bpd", "TzK", "distortion_bits_per_dim", _CIFAR),
                ("mim-s84-cond-mnist-on-cifarflow-bpd", "TzK", "distortion_bits_per_dim", _MNIST),
            )
        ),
    ),
}


def tzk_toy(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Two moons and two kinds that overlap, everything on a grid (Section 8.3 and Appendix G).

    For each kind, nats: `nll` -log p(t|e=1) on average over its exact p(t|e=1); `gain` on the flow,
    and `exact_gain`, that of the exact densities; `total_variation` to the exact p(t|e=1);
    `discriminator_error`, |q(e=1|t) - exact| on average; for codes `distortion`, `rate` and the
    median scale of q(c|e,t). For both kinds at once, the total variation of three ways to combine
    them, and `log_mass`, the log of the integral of prod p(t|e_i) p(e_i) / p(t), beside that of the
    exact probability of both. The ratio may explode where all its densities are nearly 0.
    """
    size = sizes(SIZES[TOY], preset)
    system = f"{size.layers} couplings of width {size.width}"
    cells = [
        Cell(system, objective, f"moons, {kind}", partial(_each, _toy_kind, objective, size, kind))
        for kind in ("upper", "left")
        for objective in ("flow", "extra flow", *runs.OBJECTIVES)
    ]
    both = [
        Cell(system, way, "moons, upper and left", partial(_each, _toy_both, way, size))
        for way in ("decoders / p(t)", "decoders", "p(t) discriminators")
    ]
    return measure(TOY, preset, size.seeds if seeds is None else seeds, [*cells, *both])


def tzk_images(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """A frozen flow of images specialised by one bit of supervision (Table 8.2, Section 8.4.4).

    Numbers as in `knowledge_runs.measured`, on test rows of one kind; `training_time_ratio`, the
    time of training a kind on stored latents over that of training the flow, and for as many
    steps each, `step_time_ratio`.
    """
    size = sizes(SIZES[IMAGES], preset)
    here = datasets.at_hand()
    cells = [
        Cell(f"flow on {' and '.join(seen)}", objective, f"{name}, {kind}",
             partial(_each, _image_kind, objective, SimpleNamespace(**of), kind, seen))
        for name, of in size.sets.items()
        if {dataset for dataset, _ in of["parts"].values()} <= here
        for seen in of["seen"]
        for kind in of["parts"]
        for objective in ("flow", "extra flow", "e alone", "TzK")
    ]  # fmt: skip
    return measure(IMAGES, preset, size.seeds if seeds is None else seeds, cells)


def _each(
    run: Callable[..., dict[str, float]], objective: str, size: Any, *more: Any
) -> list[dict[str, float]]:
    *given, seeds = more  # the last argument is the ledger's
    return [run(objective, size, *given, seed) for seed in seeds]


def _latents(flow: runs.Trained, size: Any, seed: int) -> dict[str, torch.Tensor]:
    rows = toy.toy_rows(size.rows, seed)
    with torch.no_grad():
        return rows | {"z": flow.knowledge.latent(rows["t"])}


def _with_kinds(size: Any, seed: int) -> runs.Trained:
    """The toy's flow with both kinds, e alone."""
    flow = deepcopy(runs.remembered(toy.toy_flow, size, seed))
    latents = _latents(flow, size, seed)
    for kind in ("upper", "left"):
        rows = {v: latents[v] for v in ("z", f"e_{kind}")}
        runs.attach(flow.knowledge, kind, "e alone", rows, size, seed)
    return flow


def _toy_kind(objective: str, size: Any, kind: str, seed: int) -> dict[str, float]:
    flow, grid = runs.remembered(toy.toy_flow, size, seed), toy.grid(size.points)
    exact = grid.exactly([kind])
    with torch.no_grad():
        z, log_det = flow.knowledge.density.bijection(grid.t)
        plain = flow.knowledge.density().log_prob(grid.t).double().exp()
    found: dict[str, float] = {}
    if objective == "flow":
        density = plain
        found["total_variation_of_p(t)"] = grid.distance(plain, grid.density)
    elif objective == "extra flow":
        extra, _ = runs.control(_latents(flow, size, seed), size, seed)
        with torch.no_grad():
            density = (extra().log_prob(z) + log_det).double().exp()
    else:
        if objective == "e alone":
            flow = runs.remembered(_with_kinds, size, seed)
        else:
            rows = {v: _latents(flow, size, seed)[v] for v in ("z", f"e_{kind}")}
            runs.attach(flow.knowledge, kind, objective, rows, size, seed)
        density = toy.given_kind(flow.knowledge, kind, grid.t)
        found |= _coded(flow, kind, size, seed) | {
            "discriminator_error": toy.discriminator_error(flow.knowledge, kind, grid)
        }
    nll, best = grid.cross_entropy(exact, density), grid.cross_entropy(exact, exact)
    return found | {
        "nll": nll,
        "gain": grid.cross_entropy(exact, plain) - nll,
        "exact_gain": grid.cross_entropy(exact, grid.density) - best,
        "total_variation": grid.distance(density, exact),
    }


def _coded(flow: runs.Trained, kind: str, size: Any, seed: int) -> dict[str, float]:
    """Distortion, rate and scale of codes on fresh rows of the kind; nothing where it has none."""
    p, q = flow.knowledge.pair(kind)
    if len(p.variables) < 3:
        return {}
    fresh = toy.toy_rows(16_000, seed + 5000)
    own = {v: fresh[v][fresh[f"e_{kind}"] == 1] for v in ("t", f"e_{kind}")}
    found = conditional_likelihood(p, q, own, samples=5, seed=seed)
    with torch.no_grad():
        code = q.draw(own).distributions[f"c_{kind}|e_{kind},t"]
    return {
        "distortion": found.distortion.mean(),
        "rate": found.rate.mean(),
        "bound": found.bound.mean(),
        "code_scale": code.stddev.median().item(),
    }


def _toy_both(way: str, size: Any, seed: int) -> dict[str, float]:
    flow, grid = runs.remembered(_with_kinds, size, seed), toy.grid(size.points)
    exact = grid.exactly(("upper", "left"))
    nats = toy.combined(flow.knowledge, ("upper", "left"), grid.t, way)
    truth = (grid.density * grid.known["upper"] * grid.known["left"]).sum().item() * grid.area
    return {
        "total_variation": grid.distance(grid.normal(nats), exact),
        "log_mass": nats.logsumexp(0).item() + math.log(grid.area),
        "exact_log_mass": math.log(truth),
    }


def _image_kind(
    objective: str, size: Any, kind: str, seen: tuple[str, ...], seed: int
) -> dict[str, float]:
    flow = runs.remembered(runs.image_flow, size, seen, seed)
    train, held_out, test = (
        runs.stored(flow.knowledge, runs.images(size, split), times, seed, kind)
        for split, times in (("train", size.copies), ("validation", 1), ("test", 1))
    )
    own = {v: x[test[f"e_{kind}"] == 1] for v, x in test.items()}
    if objective == "flow":
        nats = -flow.knowledge.density.base().log_prob(own["z"]).mean().item()
        return _without_code(nats, own, size)
    if objective == "extra flow":
        extra, seconds = runs.control(train, size, seed, held_out)
        with torch.no_grad():
            nats = -extra().log_prob(own["z"]).mean().item()
        found = _without_code(nats, own, size)
    else:
        inside = [{v: x for v, x in rows.items() if v != "log_det"} for rows in (train, held_out)]
        seconds = runs.attach(flow.knowledge, kind, objective, inside[0], size, seed, inside[1])
        p, q = flow.knowledge.pair(kind, latent=True)
        found = runs.measured(p, q, test, kind, size.levels, seed)
    ratio = seconds / flow.seconds
    return found | {
        "training_time_ratio": ratio,
        "step_time_ratio": ratio * size.flow_steps / size.kind_steps,
    }


def _without_code(nats: float, own: dict[str, torch.Tensor], size: Any) -> dict[str, float]:
    found = runs.pixels(nats, own, size.levels)
    return {"distortion_bits_per_dim": found, "bits_per_dim_upper_bound": found}
