"""The checks of notebook 10: right answers pass, typical wrong ones meet their hint."""

import math
from collections import Counter

import pytest
from answers import rejects

from lvmlab.exercises import sentences as exercises

ALL = ("loss_in_one_line", "melbo_by_hand", "clipped_bleu", "the_shell", "fair_table")


@pytest.mark.parametrize("name", ALL)
def test_solutions_pass_and_blanks_do_not(name):
    exercise = getattr(exercises, name)
    assert exercise(*exercise.answers).status == "right", exercise(*exercise.answers).message
    blank = exercise(lambda *_: ...)
    assert blank.status == "unanswered"


WRONG_LOSSES = {
    "whole halves": (lambda x, z, p: -x - z - p, "halves of an average"),
    "whole prior": (lambda x, z, p: -x - z / 2 - p, "log P(z) counts half"),
    "half the rate": (lambda x, z, p: -x + (z - p) / 2, "is a cost"),
    "half the decoder": (lambda x, z, p: -(x + z + p) / 2, "whole weight"),
    "a gain": (lambda x, z, p: x + (z + p) / 2, "downhill"),
    "ELBO": (lambda x, z, p: -x + z - p, "1.570400, you have"),
    "a mean": (lambda x, z, p: (-x - (z + p) / 2).mean(), "must be (9,)"),
    "constant": (lambda x, z, p: -x - (z + p) / 2 + 0.514826507, "leave the constant"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_LOSSES.values(), ids=WRONG_LOSSES)
def test_wrong_losses(answer, hint):
    rejects(exercises.loss_in_one_line, hint, answer)


def _tight(s):
    return s.logsumexp(1) - math.log(s.shape[1])


WRONG_BOUNDS = {
    "plus log N": (lambda s, N: (_tight(s) + math.log(N), s.mean(1) + math.log(N)), "not easier"),
    "no log N": (lambda s, N: (_tight(s), s.mean(1)), "log N is missing"),
    "turned": (lambda s, N: (s.mean(1) - math.log(N), _tight(s) - math.log(N)), "tight first"),
    "tight twice": (lambda s, N: (_tight(s) - math.log(N),) * 2, "once only"),
    "underflow": (
        lambda s, N: (s.exp().mean(1).log() - math.log(N), s.mean(1) - math.log(N)),
        "finite",
    ),
    "own N": (
        lambda s, N: (_tight(s) - math.log(len(s)), s.mean(1) - math.log(len(s))),
        "falls by log 2",
    ),
    "sum": (lambda s, N: (s.logsumexp(1) - math.log(N), s.sum(1) - math.log(N)), "we find"),
    "one": (lambda s, N: _tight(s), "return tight, jensen"),
    "clamped": (
        lambda s, N: (s.exp().mean(1).clamp(1e-300).log() - math.log(N), s.mean(1) - math.log(N)),
        "long sentences underflow",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_BOUNDS.values(), ids=WRONG_BOUNDS)
def test_wrong_bounds(answer, hint):
    rejects(exercises.melbo_by_hand, hint, answer)


def _bleu(same, penalty=lambda c, r: math.exp(min(0, 1 - r / c))):
    def answer(candidate, reference):
        ours, theirs = candidate.split(), reference.split()
        return same(ours, theirs) / len(ours) * penalty(len(ours), len(theirs)) if ours else 0.0

    return answer


def _clipped(a, b):
    return (Counter(a) & Counter(b)).total()


WRONG_BLEU = {
    "no clipping": (_bleu(lambda a, b: sum(w in b for w in a)), "seven times scores 1"),
    "sets": (_bleu(lambda a, b: len(set(a) & set(b))), "sets forget"),
    "no penalty": (_bleu(_clipped, lambda c, r: 1.0), "penalty exp(1 - r / c) is missing"),
    "penalty turned": (
        _bleu(_clipped, lambda c, r: math.exp(1 - c / r) if c < r else 1),
        "r is the reference",
    ),
    "penalty for long": (
        _bleu(_clipped, lambda c, r: math.exp(-abs(1 - r / c))),
        "should score 2 / 7",
    ),
    "half the penalty": (
        _bleu(_clipped, lambda c, r: math.exp(min(0, 1 - r / c) / 2)),
        "should score 0.606531",
    ),
    "penalty for very long": (
        _bleu(_clipped, lambda c, r: math.exp(min(0, 1 - r / c)) / (1 + (c > 2 * r))),
        "should score 3 / 7",
    ),
    "empty is right": (
        lambda a, b: _bleu(_clipped)(a, b) if a else 1.0,
        "an empty candidate scores 0",
    ),
    "crashes": (lambda a, b: _clipped(a.split(), b.split()) / len(a.split()), "exp(1 - r / c)"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_BLEU.values(), ids=WRONG_BLEU)
def test_wrong_bleu(answer, hint):
    rejects(exercises.clipped_bleu, hint, answer)


WRONG_RADII = {
    "sigma": (lambda s, d: s, "nothing lives within one sigma"),
    "sigma d": (lambda s, d: s * d, "take the root"),
    "no sigma": (lambda s, d: math.sqrt(d), "sigma = 0.007"),
    "variance": (lambda s, d: s**2 * math.sqrt(d), "sigma = 0.007"),
    "a list": (lambda s, d: [s, d], "one number"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_RADII.values(), ids=WRONG_RADII)
def test_wrong_radii(answer, hint):
    rejects(exercises.the_shell, hint, answer)


def _fair(rows, key=None, change=lambda e, m: (e, m), leave=()):
    value = {(s, b): v for s, b, v in rows}
    table = [
        (s, *change(value[s, "ELBO"], value[s, "MELBO"])) for s in sorted({r[0] for r in rows})
    ]
    return sorted((r for r in table if r[0] not in leave), key=key or (lambda r: r[0]))


WRONG_TABLES = {
    "left out": (lambda rows: _fair(rows, leave=("sMIM",)), "leave none out"),
    "converted": (
        lambda rows: _fair(rows, change=lambda e, m: (e, m - math.log(100))),
        "the priors differ",
    ),
    "turned": (lambda rows: _fair(rows, change=lambda e, m: (m, e)), "ELBO first"),
    "ranked": (lambda rows: _fair(rows, key=lambda r: min(r[1:])), "order the rows by name"),
    "as it came": (lambda rows: rows, "one row a system"),
    "one column": (lambda rows: [(s, e) for s, e, _ in _fair(rows)], "each row is (system"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_wrong_tables(answer, hint):
    rejects(exercises.fair_table, hint, answer)
