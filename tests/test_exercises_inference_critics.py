"""The checks of notebook 06: right answers pass, typical wrong ones meet their hint."""

import math

import pytest
import torch
from answers import rejects

from lvmlab.exercises import inference_critics as exercises

DIAGONAL = torch.diagonal


def _without(scores):
    off = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -math.inf)
    return DIAGONAL(scores) - off.logsumexp(0)


WRONG_BOUNDS = {
    "chooses z": (
        lambda s: DIAGONAL(s) - s.logsumexp(1) + math.log(len(s)),
        "which is being chosen, x or z",
    ),
    "no log B": (lambda s: DIAGONAL(s) - s.logsumexp(0), "log B is missing"),
    "positive left out": (lambda s: _without(s) + math.log(len(s)), "one of the B candidates"),
    "positive left out, B - 1": (
        lambda s: _without(s) + math.log(len(s) - 1),
        "one of the B candidates",
    ),
    "a loss": (lambda s: s.logsumexp(0) - DIAGONAL(s) - math.log(len(s)), "the other sign"),
    "a mean": (
        lambda s: (DIAGONAL(s) - s.logsumexp(0) + math.log(len(s))).mean(),
        "the bound must be",
    ),
    "unstable": (
        lambda s: (s.exp().diagonal() / s.exp().sum(0)).log() + math.log(len(s)),
        "finite",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_BOUNDS.values(), ids=WRONG_BOUNDS)
def test_wrong_bounds(answer, hint):
    rejects(exercises.bound_of_a_critic, hint, answer)


def _table(q, values):
    return q.score(values).distributions["z|x"].log_prob(values["z"].unsqueeze(1))


def _drawn(q, values):
    here = q.score(values).distributions["z|x"]
    if isinstance(here, torch.distributions.Categorical):
        return _table(q, values).T
    return here.log_prob(here.sample().unsqueeze(1)).T


def _one_by_one(q, values):
    rows = [
        torch.stack([q.score({"x": x[None], "z": z[None]}).log_prob["z|x"][0] for z in values["z"]])
        for x in values["x"]
    ]
    return torch.stack(rows)


WRONG_SCORES = {
    "f = log q": (lambda q, v: (-_table(q, v).T).log(), "f is the density itself"),
    "density": (lambda q, v: _table(q, v).T.exp(), "this is f"),
    "turned": (lambda q, v: _table(q, v), "i is the row"),
    "true pairs only": (lambda q, v: q.score(v).log_prob["z|x"], "the scores must be"),
    "new draws": (_drawn, "not new draws"),
    "an encoder call each": (_one_by_one, "times; once is enough"),
    "not summed": (lambda q, v: q.score(v).log_prob["z|x"].expand(3, 3), "row 0 should be"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_wrong_scores(answer, hint):
    rejects(exercises.own_critic, hint, answer)


WRONG_BATCHES = {
    "8": (8, "log 8 is 2.08"),
    "32": (32, "log 32 is 3.47, yet the best critic reads 2.5"),
    "128": (128, "the cap is necessary"),
    "512": (512, "look for the smallest"),
    "200": (200, "a power of two"),
    "a word": ("256", "TypeError"),
    "no number": (True, "whole number"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_BATCHES.values(), ids=WRONG_BATCHES)
def test_wrong_batches(answer, hint):
    rejects(exercises.cap_and_truth, hint, lambda: answer)


WRONG_PRICES = {
    "sum and mean": (lambda b, c, w: -(b.sum() + w * c.mean()), "a sum of bounds and a mean"),
    "ascends": (lambda b, c, w: b.mean() + w * c.mean(), "downhill"),
    "half ascends": (lambda b, c, w: -b.mean() + w * c.mean(), "to rise"),
    "sum and sum": (lambda b, c, w: -(b.sum() + w * c.sum()), "take means"),
    "both scaled": (lambda b, c, w: -w * (b.mean() + c.mean()), "wanted 0.3"),
    "no weight": (lambda b, c, w: -(b.mean() + c.mean()), "wanted 0.3"),
    "rows": (lambda b, c, w: -(b + w * c), "one number"),
    "floats": (lambda b, c, w: (-b.mean() - w * c.mean()).item(), "no gradient"),
    "without c": (lambda b, c, w: -b.mean(), "use both"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_PRICES.values(), ids=WRONG_PRICES)
def test_wrong_prices(answer, hint):
    rejects(exercises.right_price, hint, answer)
