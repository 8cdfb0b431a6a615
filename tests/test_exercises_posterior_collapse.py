"""The checks of notebook 04: right answers pass, typical wrong ones meet their hint."""

import math

import numpy as np
import pytest
from answers import rejects
from scipy.special import digamma

from lvmlab.exercises import posterior_collapse as exercises


def _information(v, s, product):
    return 0.5 * math.log(max(1.0, v / (product * s**2)))


WRONG_DIALS = {
    "aggregate 1": (lambda v, s, b, e: (_information(v, s, b * e), 1.0), "differentiate line 1 in"),
    "unclipped": (
        lambda v, s, b, e: (0.5 * math.log(v / (b * e * s**2)), e),
        "rho cannot exceed 1",
    ),
    "beta moves the aggregate": (
        lambda v, s, b, e: (_information(v, s, b * e), b * e),
        "it cancels in their balance",
    ),
    "no entropy weight": (
        lambda v, s, b, e: (_information(v, s, b), e),
        "does not feel the entropy weight",
    ),
    "no half": (lambda v, s, b, e: (2 * _information(v, s, b * e), e), "a factor of two"),
    "variance for scale": (lambda v, s, b, e: (_information(v, math.sqrt(s), b * e), e), "nats"),
    "a scale": (
        lambda v, s, b, e: (_information(v, s, b * e), math.sqrt(e)),
        "a search finds an aggregate",
    ),
    "information only": (lambda v, s, b, e: _information(v, s, b * e), "return two things"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_DIALS.values(), ids=WRONG_DIALS)
def test_wrong_dials(answer, hint):
    rejects(exercises.two_dials, hint, answer)


WRONG_FLOORS = {
    "codes of variance 1": (
        lambda v, s, t: 0.5 * math.log1p(1 / t**2),
        "nothing spreads them",
    ),
    "log of one over the floor": (lambda v, s, t: math.log(1 / t), "you are 1.8 nats off"),
    "unclipped": (lambda v, s, t: 0.5 * math.log(math.sqrt(v) / (s * t)), "try floor = 5"),
    "no half": (lambda v, s, t: max(0, math.log(math.sqrt(v) / (s * t))), "a factor of two"),
    "variance for scale": (lambda v, s, t: max(0, 0.5 * math.log(v / (s * t))), "a search finds"),
    "infinite": (lambda v, s, t: math.inf, "finite"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_FLOORS.values(), ids=WRONG_FLOORS)
def test_wrong_floors(answer, hint):
    rejects(exercises.floor_buys, hint, answer)


def _cap(cap):
    return lambda estimate, kind, size, k=5, tolerance=0.05: bool(
        estimate >= (1 - tolerance) * cap(kind, size, k)
    )


def _right(kind, size, k):
    return digamma(size) - digamma(k) if kind == "ksg" else math.log(size)


WRONG_CAPS = {
    "log N for KSG": (_cap(lambda kind, size, k: math.log(size)), "6.788, not 8.294"),
    "fixed number": (_cap(lambda kind, size, k: 6.0), "batch 32 and 512"),
    "k forgotten": (_cap(lambda kind, size, k: _right(kind, size, 5)), "use k"),
    "no tolerance": (
        lambda e, kind, n, k=5, tolerance=0: e >= _right(kind, n, k),
        "at its ceiling",
    ),
    "tolerance in nats": (
        lambda e, kind, n, k=5, tolerance=0.05: bool(e >= _right(kind, n, k) - 4 * tolerance),
        "the tolerance is a part",
    ),
    "log(N/k)": (
        _cap(lambda kind, size, k: math.log(size / k) if kind == "ksg" else math.log(size)),
        "log(N/k) is for large k only",
    ),
    "more tolerance in nats": (
        lambda e, kind, n, k=5, tolerance=0.05: bool(e >= _right(kind, n, k) - 6 * tolerance),
        "not nats",
    ),
    "near": (
        lambda e, kind, n, k=5, tolerance=0.05: bool(abs(e - _right(kind, n, k)) <= tolerance * e),
        "not whether it is near",
    ),
    "never": (lambda *a, **b: False, "at its ceiling"),
    "always": (lambda *a, **b: True, "3.2 nats"),
    "a number": (lambda *a, **b: 0.3, "True or False"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_CAPS.values(), ids=WRONG_CAPS)
def test_wrong_caps(answer, hint):
    rejects(exercises.cap_detector, hint, answer)


WRONG_FLIPS = {
    "subtracted": (lambda px, pz, qz, qx: 2 * (qz + qx) - px - pz, "which way did your cost go"),
    "plain VAE": (lambda px, pz, qz, qx: qz + qx - px - pz, "this is the VAE alone"),
    "entropy of z given x": (lambda px, pz, qz, qx: qx - px - pz, "x and z together"),
    "entropy of x": (lambda px, pz, qz, qx: qz - px - pz, "x and z together"),
    "a gain": (lambda px, pz, qz, qx: px + pz, "the other sign"),
    "averaged": (lambda px, pz, qz, qx: np.mean(-px - pz), "one number for each pair"),
    "no prior": (lambda px, pz, qz, qx: -px, "CE(E, D)"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_FLIPS.values(), ids=WRONG_FLIPS)
def test_wrong_flips(answer, hint):
    rejects(exercises.flip_a_vae, hint, answer)


def test_the_long_way_to_flip_a_vae_is_right_too():
    verdict = exercises.flip_a_vae(lambda px, pz, qz, qx: (qz - px - pz + qx) - (qz + qx))
    assert verdict.status == "right", verdict.message
