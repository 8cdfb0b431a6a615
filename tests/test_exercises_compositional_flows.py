"""The checks of notebook 12: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects

from lvmlab.exercises import compositional_flows as exercises

coupling, inverse = exercises.coupling_layer.answers
combine = exercises.one_division.answers[0]
bound = exercises.pay_for_the_code.answers[0]


def halves(x):
    return np.split(np.asarray(x), 2, axis=1)


def from_the_changed_half(x, net):
    x1, x2 = halves(x)
    s, shift = net(x2)
    return np.concatenate([x1, x2 * np.exp(s) + shift], 1), s.sum(1)


def swapped(x, net):
    y, log_det = coupling(x, net)
    return y[:, ::-1], log_det


def shift_inside(x, net):
    x1, x2 = halves(x)
    s, shift = net(x1)
    return np.concatenate([x1, (x2 + shift) * np.exp(s)], 1), s.sum(1)


def shift_left(y, net):
    y1, y2 = halves(y)
    s, shift = net(y1)
    return np.concatenate([y1, y2 * np.exp(-s) - shift], 1)


WRONG_COUPLINGS = {
    "changed half": (from_the_changed_half, inverse, "what it is computing"),
    "sign": (lambda x, net: (coupling(x, net)[0], -coupling(x, net)[1]), inverse, "must raise"),
    "no log det": (lambda x, net: coupling(x, net)[0], inverse, "two things"),
    "mean": (lambda x, net: (coupling(x, net)[0], coupling(x, net)[1] / 2), inverse, "you say"),
    "swapped": (swapped, inverse, "stays as it is"),
    "shift first": (shift_inside, inverse, "y2 = x2 exp(s) + shift"),
    "inverse": (coupling, shift_left, "take the shift away first"),
    "one number": (lambda x, net: (coupling(x, net)[0], 0.0), inverse, "must have shape (4,)"),
}


@pytest.mark.parametrize(("answer", "back", "hint"), WRONG_COUPLINGS.values(), ids=WRONG_COUPLINGS)
def test_wrong_couplings(answer, back, hint):
    rejects(exercises.coupling_layer, hint, answer, back)


def divided(times):
    def answer(p_t, decoders, priors):
        table = combine(p_t, decoders, priors)
        column = p_t[(slice(None), *[None] * len(decoders))]
        return table * column ** (len(decoders) - 1 - times(len(decoders)))

    return answer


def normalised(p_t, decoders, priors):
    table = divided(lambda many: 0)(p_t, decoders, priors)
    return table / table.sum()


WRONG_TABLES = {
    "not divided": (divided(lambda many: 0), "nothing is divided"),
    "once too often": (divided(lambda many: many), "each t carries mass 1"),
    "normalised": (normalised, "normalising the product"),
    "always once": (divided(lambda many: 1), "each t carries mass 1"),
    "twice": (divided(lambda many: 2 if many > 1 else 0), "each t carries mass 1"),
    "decoders alone": (
        lambda p, d, k: combine(p, d, [np.ones_like(x) for x in k]),
        "the first cell is",
    ),
    "summed": (lambda p, d, k: combine(p, d, k).sum(-1), "must have shape"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_wrong_tables(answer, hint):
    rejects(exercises.one_division, hint, answer)


WRONG_CHOICES = {
    "smallest": (lambda r, h: [min(r, key=lambda n: r[n]())], "impossible for a likelihood"),
    "none": (lambda r, h: [], "importance weighting pays"),
    "all": (lambda r, h: list(r), "impossible for a likelihood"),
    "above the entropy": (
        lambda r, h: [n for n in r if r[n]() > h + 1e-9],
        "add the rate, or average",
    ),
    "not below the entropy": (
        lambda r, h: [n for n in r if r[n]() >= h - 1e-9],
        "above the entropy by chance is no bound",
    ),
    "one missing": (lambda r, h: ["code from q, rate added"], "bound the NLL"),
    "numbers": (lambda r, h: [1.0], "names among"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_CHOICES.values(), ids=WRONG_CHOICES)
def test_wrong_choices(answer, hint):
    rejects(exercises.distortion_or_likelihood, hint, answer)


def parts(decoder, q, prior, p_t):
    distortion = -(p_t[:, None] * q * np.log(decoder)).sum()
    return distortion, bound(decoder, q, prior, p_t) - distortion


WRONG_PAYMENTS = {
    "nothing": (lambda *given: parts(*given)[0], "the distortion alone"),
    "reverse": (
        lambda d, q, k, t: parts(d, q, k, t)[0] + (t[:, None] * k * np.log(k / q)).sum(),
        "under q, as in 02",
    ),
    "mean posterior": (
        lambda d, q, k, t: parts(d, q, k, t)[0] + ((t @ q) * np.log(t @ q / k)).sum(),
        "average after the KL",
    ),
    "minus": (lambda *given: parts(*given)[0] - parts(*given)[1], "its rate is added"),
    "twice": (lambda *given: parts(*given)[0] + 2 * parts(*given)[1], "expected"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_PAYMENTS.values(), ids=WRONG_PAYMENTS)
def test_wrong_payments(answer, hint):
    rejects(exercises.pay_for_the_code, hint, answer)


def test_the_numbers_of_the_page():
    """F4: .315 in a cell, .812197 of distortion, 1.029653 paid, .38 and 3 by the wrong powers."""
    decoders, priors = exercises._decoders([exercises.P_K1, exercises.P_K2])
    table = combine(exercises.P_T, decoders, priors)
    assert table[0, 0, 1] == pytest.approx(0.315) and table.sum() == pytest.approx(1)
    product = table * exercises.P_T[:, None, None]
    assert product.sum() == pytest.approx(0.38)
    assert (table / exercises.P_T[:, None, None]).sum() == pytest.approx(3)
    given = (decoders[0], exercises.P_K1, priors[0], exercises.P_T)
    assert bound(*given) == pytest.approx(1.029653, abs=1e-6)
    assert parts(*given)[0] == pytest.approx(0.812197, abs=1e-6)
