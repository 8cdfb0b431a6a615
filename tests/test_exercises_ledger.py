"""The checks of notebook 14: right answers pass, typical wrong ones meet their hint."""

import math

import numpy as np
import pytest
from answers import rejects
from scipy.special import stdtrit

from lvmlab.exercises import Wrong
from lvmlab.exercises import ledger as exercises

solve_rows, solve_best, solve_words, solve_row = exercises._solutions()


def _without(id):
    return lambda rows: [one for one in solve_rows(rows) if one != id]


WRONG_ROWS = {
    "no tolerance": (
        lambda rows: [
            row["id"]
            for row in rows
            if row.get("mi", 0) + row.get("agg_kl", 0) > row.get("ceiling", math.inf)
            or row.get("mi", 0) > row.get("rate", math.inf)
        ],
        "printed numbers are rounded",
    ),
    "large values": (lambda rows: [*solve_rows(rows), "j"], "large is not impossible"),
    "all": (lambda rows: [row["id"] for row in rows], "printed numbers are rounded"),
    "none": (lambda rows: [], "information + aggregated KL <= log K"),
    "no rate": (_without("g"), "information <= rate"),
    "no minibatch": (_without("h"), "at most log M"),
    "no length": (_without("n"), "one mean length"),
    "a right one": (lambda rows: [*solve_rows(rows), "a"], "break none"),
    "by heart": (lambda rows: ["c", "g", "h", "n"], "Decide by the numbers"),
    "by place": (lambda rows: [rows[i]["id"] for i in (2, 6, 7, 13)], "Decide by the numbers"),
    "always one": (
        lambda rows: solve_rows(rows) or [rows[0]["id"]],
        "without the impossible rows the list is empty",
    ),
    "places": (lambda rows: [2, 6, 7, 13], "return a list of ids"),
    "unknown": (lambda rows: ["z"], "no ids of the rows"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_ROWS.values(), ids=WRONG_ROWS)
def test_wrong_rows(answer, hint):
    rejects(exercises.impossible_rows, hint, answer)


WRONG_BEST = {
    "spread of a mean": (lambda n: 1 / math.sqrt(n), "the spread of a mean"),
    "asymptotic": (lambda n: math.sqrt(2 * math.log(n)), "asymptotic only: it says 1.18"),
    "a quantile": (lambda n: 1.645, "above the mean on average"),
    "below": (lambda n: -float(solve_best(n)), "is above the mean"),
    "infinite": (lambda n: math.inf, "one finite number"),
    "half": (lambda n: float(solve_best(n)) / 2, "yours says 0.28"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_BEST.values(), ids=WRONG_BEST)
def test_wrong_best_of_n(answer, hint):
    rejects(exercises.best_of_n, hint, answer)


def test_the_maximum_of_the_storyboard():
    right = {3: 0.8463, 4: 1.0294, 5: 1.1630, 10: 1.5388}  # Teichroew 1956
    assert {n: round(exercises._maximum(n), 4) for n in right} == right


def _interval(a, b, degrees, quantile=0.975):
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    half = stdtrit(degrees, quantile) * math.sqrt(va + vb)
    gap = a.mean() - b.mean()
    return gap - half, gap + half


def _said(low, high):
    return ("better" if low > 0 else "worse" if high < 0 else "not shown"), (low, high)


WRONG_WORDS = {
    "means": (
        lambda a, b: ("better" if a.mean() > b.mean() else "worse", (0.0, 0.0)),
        "about mean(a) - mean(b)",
    ),
    "always a winner": (
        lambda a, b: (
            "better" if a.mean() > b.mean() else "worse",
            solve_words(a, b)[1],
        ),
        "say 'not shown'",
    ),
    "normal quantile": (lambda a, b: _said(*_interval(a, b, 1e9)), "how many degrees of freedom"),
    "pooled degrees": (
        lambda a, b: _said(*_interval(a, b, len(a) + len(b) - 2)),
        "how many degrees of freedom",
    ),
    "one-sided": (lambda a, b: _said(*_interval(a, b, 5, 0.95)), "which quantile"),
    "the other way": (lambda a, b: solve_words(b, a), "about mean(a) - mean(b)"),
    "reversed": (lambda a, b: ("not shown", solve_words(a, b)[1][::-1]), "its low end first"),
    "a sentence": (lambda a, b: ("a wins", (0, 1)), "one of better, not shown, worse"),
    "a word": (lambda a, b: "better", "return two things"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_WORDS.values(), ids=WRONG_WORDS)
def test_wrong_words(answer, hint):
    rejects(exercises.say_it_right, hint, answer)


def test_a_rule_that_fires_too_often_is_found_by_its_level():
    random = np.random.default_rng(0)
    with pytest.raises(Wrong, match=r"1\d % were called"):
        exercises._check_level(lambda a, b: _said(*_interval(a, b, 8, 0.93)), random)
    with pytest.raises(Wrong, match="never got the answer: not shown"):
        exercises._check_level(
            lambda a, b: ("better" if a.mean() > b.mean() else "worse", (0, 0)), random
        )


def _changed(**changes):
    return lambda measured: solve_row(measured) | changes


WRONG_ADDED = {
    "best seed": (lambda m: solve_row(m) | {"value": min(m["each"])}, "mean and sd, please"),
    "median": (lambda m: solve_row(m) | {"value": 2.0}, "their mean 2.1000"),
    "no command": (_changed(command=""), "without a command is not admitted"),
    "no spread": (_changed(std=None), "the spread over seeds"),
    "divided by n": (
        lambda m: solve_row(m) | {"std": float(np.std(m["each"]))},
        "divides by n - 1",
    ),
    "standard error": (
        lambda m: solve_row(m) | {"std": solve_row(m)["std"] / math.sqrt(3)},
        "the spread of",
    ),
    "no unit": (lambda m: solve_row(m) | {"metric": m["metric"]}, "nats, bits or percent"),
    "a seed less": (_changed(seeds=2), "the ledger refuses"),
    "another study": (
        _changed(command="lvmlab run x --preset smoke --seeds 3"),
        "the ledger refuses",
    ),
    "a part": (lambda m: {"value": 1.0, "command": "c"}, "the row lacks commit"),
    "a number": (lambda m: 2.1, "return one row"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_ADDED.values(), ids=WRONG_ADDED)
def test_wrong_rows_to_add(answer, hint):
    rejects(exercises.add_a_row, hint, answer)
