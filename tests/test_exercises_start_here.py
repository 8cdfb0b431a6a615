"""Exercises of notebook 00: solutions pass, each typical wrong answer gets its own hint."""

import inspect
import re

import numpy as np
import pytest
from scipy.optimize import minimize

from lvmlab.exercises import start_here

EXERCISES = ("collapse_beta", "alive", "verdict")


def solved(name):
    return getattr(start_here, name).answers[0]


WRONG = [
    ("collapse_beta", lambda v, s: v / s, "which power"),
    ("collapse_beta", lambda v, s: v**0.5 / s, "compare units"),
    ("collapse_beta", lambda v, s: s**2 / v, "harder or easier"),
    ("collapse_beta", lambda v, s: 2 * v / s**2, "just below that beta the information is 0"),
    ("collapse_beta", lambda v, s: v / s**2 / 2, "nats are left"),
    ("collapse_beta", lambda v, s: -v / s**2, "positive number"),
    ("collapse_beta", lambda v, s: float("nan"), "positive number"),
    ("alive", lambda e, s, b, k: int((e > b * s**2).sum()), "offered only this many"),
    ("alive", lambda e, s, b, k: min(k, int((e >= b * s**2).sum())), "at equality"),
    ("alive", lambda e, s, b, k: min(k, int((e > b * s).sum())), "the decoder's variance"),
    ("alive", lambda e, s, b, k: min(k, int((e[:k] > b * s**2).sum())), "a search finds"),
    ("verdict", lambda r, ll, b: "stuck" if r < 1e-3 else "healthy", "nothing is left to gain"),
    (
        "verdict",
        lambda r, ll, b: "healthy" if ll - b < 0.01 else "stuck" if r < 1e-3 else "unfinished",
        "what does its z say about x",
    ),
    (
        "verdict",
        lambda r, ll, b: "optimal collapse" if r < 1e-3 else "healthy",
        "is it there by choice",
    ),
    (
        "verdict",
        lambda r, ll, b: (
            "healthy" if r > 1e-3 else "stuck" if ll - b > 0.01 else "optimal collapse"
        ),
        "is it done",
    ),
    ("verdict", lambda r, ll, b: "collapsed", "the four words are"),
    (
        "verdict",
        lambda r, ll, b: (
            ("stuck" if ll - b > 0.01 else "optimal collapse")
            if r == 0
            else ("unfinished" if ll - b > 0.01 else "healthy")
        ),
        "First ask",
    ),
]


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_typical_wrong_answer_gets_its_hint(name, answer, hint):
    verdict = getattr(start_here, name)(answer)
    assert verdict.status == "wrong"
    assert hint in verdict.message


@pytest.mark.parametrize("name", EXERCISES)
def test_no_hint_gives_the_solution_away(name):
    body = inspect.getsource(solved(name)).split("return", 1)[1]
    code = re.sub(r"\s", "", body.splitlines()[0])
    for asked, answer, _ in WRONG:
        if asked == name:
            assert code not in re.sub(r"\s", "", getattr(start_here, name)(answer).message)


def test_code_that_raises_is_shown_and_does_not_stop_the_run():
    verdict = start_here.collapse_beta(lambda variance, scale: variance / nothing)  # noqa: F821
    assert verdict.status == "wrong"
    assert "NameError" in verdict.message


@pytest.mark.parametrize("seed", range(3))
def test_the_cliff_of_the_check_is_where_an_optimiser_finds_it(seed):
    rng = np.random.default_rng(seed)
    variance, scale = rng.uniform(0.5, 6), rng.uniform(0.3, 1.5)
    for factor in (0.25, 0.8, 1.25, 4):
        beta = factor * solved("collapse_beta")(variance, scale)

        def loss(at, beta=beta):
            slope, weight, log_noise = at
            square = slope**2 * variance + np.exp(2 * log_noise)
            error = variance - 2 * weight * slope * variance + weight**2 * square
            return error / (2 * scale**2) + beta * ((square - 1) / 2 - log_noise)

        slope, _, log_noise = minimize(loss, rng.normal(size=3)).x
        information = 0.5 * np.log1p(slope**2 * variance / np.exp(2 * log_noise))
        assert information == pytest.approx(
            start_here._information(variance, scale, beta), abs=1e-3
        )
        assert start_here._survives(variance, scale, beta) == (factor < 1)
