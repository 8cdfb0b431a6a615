"""The VaDE/iVAE paper: whether learned clusters find the sources as well as given labels do.

Sources, models, training and scores: `identifiability_runs`; images: `identifiability_images`.
"""

from functools import partial
from types import SimpleNamespace
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
_SMALL = tuple({**settings, "per_segment": 50} for settings in _MILD)
_PAPER = {"layers": 4, "per_segment": 1000}
_READINGS = (_PAPER, _MILD[1], _PAPER | {"activations": "between"}, _MILD[0])
_CHANGES: dict[str, dict[str, Any]] = {  # of one setting each
    "K = 20": {"components": 20},
    "K = 100": {"components": 100},
    "start spread": {"start": "spread"},
    "width 10": {"hidden": (10, 10)},
    "width 128": {"hidden": (128, 128)},
    "p(x|z) of scale 0.3": {"scale": 0.3},
}

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
    # as "ica-synthetic"; short_steps: where one setting is changed, or the number of rows;
    # long_changes: of VaDE in the second mixing, at full length too
    "ica-grid": {
        "smoke": _NETS | {"seeds": 2, "lr": 4e-3, "steps": 60, "short_steps": 30,
                          "mixings": _SMALL, "changes": ("K = 20",),
                          "long_changes": ("start spread",),
                          "per_segment": (20,), "minutes": 0.3},
        "lesson": _NETS | {"seeds": 3, "lr": 4e-3, "steps": 5000, "short_steps": 2000,
                           "mixings": _READINGS[:2], "changes": tuple(_CHANGES)[:3],
                           "long_changes": (),
                           "per_segment": (100, 2000), "minutes": 12},
        "paper": _NETS | {"seeds": 5, "lr": 1e-3, "steps": 70_000, "short_steps": 10_000,
                          "mixings": _READINGS, "changes": tuple(_CHANGES),
                          "long_changes": ("K = 100", "start spread", "width 128"),
                          "per_segment": (100, 200, 500, 1000, 2000), "minutes": 150},
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
    "ica-grid": (Claim("Figure 2", "VaDE", "mcc", "above", "iVAE"),),
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


def ica_grid(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """VaDE beside iVAE in every reading of the paper's settings (Figure 2).

    First every reading of the mixing, at full length. Then, shorter, one change at a time in two of
    them: the number of components, how they start, the width of the networks, the scale of p(x|z);
    and the number of rows; some of the changes of VaDE at full length too. Numbers as in
    `identifiability_runs.scored`, beside those of the data, PCA, FastICA and a plain VAE; iVAE has
    no components to choose.
    """
    size = sizes(SIZES["ica-grid"], preset)
    full, base = vars(size), vars(size) | {"steps": size.short_steps}
    short = f", {size.short_steps} steps"
    figure = size.mixings[0]
    fewer = [n for n in size.per_segment if n != figure["per_segment"]]
    changed = {short: base} | {f"{short}, {name}": base | _CHANGES[name] for name in size.changes}
    plan = [(settings, "", full) for settings in size.mixings]
    plan += [(s, more, of) for s in size.mixings[:2] for more, of in changed.items()]
    plan += [(figure | {"per_segment": n}, short, base) for n in fewer]
    plan += [(size.mixings[1], f", {name}", full | _CHANGES[name]) for name in size.long_changes]
    beside = {"": NO_MODEL, short: ("VAE",)}
    cells = [
        Cell(system(**settings) + more, kind, "segments",
             partial(unmixed, kind, settings, SimpleNamespace(**chosen)))
        for settings, more, chosen in plan
        for kind in (*beside.get(more, ()), "iVAE", "VaDE")
        if kind == "VaDE" or ("K =" not in more and more.removeprefix(", ") not in _CHANGES)
    ]  # fmt: skip
    return measure("ica-grid", preset, size.seeds if seeds is None else seeds, cells)


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
