"""Exercises of notebook 14: impossible rows, best of n, say it right, add a row."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, expect

_LOG_10, _LOG_32 = math.log(10), math.log(32)


def _planted() -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows as the exercise gets them, and the inequality that each planted one breaks."""
    rows = [
        # K = 10 under a uniform prior: information + aggregated KL <= log 10 = 2.3026
        {"id": "a", "mi": 2.20, "agg_kl": 0.01, "ceiling": _LOG_10},
        {"id": "b", "mi": 1.50, "agg_kl": 0.74, "ceiling": _LOG_10},
        {"id": "c", "mi": 2.10, "agg_kl": 0.31, "ceiling": _LOG_10},
        {"id": "d", "mi": 2.30, "agg_kl": 0.01, "ceiling": _LOG_10},  # 2.31: rounding
        # rate >= information; information in minibatches of 32 <= log 32 = 3.4657
        {"id": "e", "mi": 2.60, "rate": 3.60, "ceiling": _LOG_32},
        {"id": "f", "mi": 0.23, "rate": 0.22, "ceiling": _LOG_32},  # rounding
        {"id": "g", "mi": 3.10, "rate": 2.90, "ceiling": _LOG_32},
        {"id": "h", "mi": 3.52, "rate": 17.5, "ceiling": _LOG_32},
        {"id": "i", "mi": 3.30, "rate": 18.6, "ceiling": _LOG_32},  # large is not impossible
        {"id": "j", "mi": 9.10, "rate": 9.90},  # no ceiling is known
        # one test set has one mean length: 22.7 tokens
        {"id": "k", "table": "T", "nll": 113.46, "ppl": 148.18},
        {"id": "l", "table": "T", "nll": 67.46, "ppl": 19.53},
        {"id": "m", "table": "T", "nll": 34.66, "ppl": 4.60},
        {"id": "n", "table": "T", "nll": 98.35, "ppl": 67.30},
        {"id": "o", "table": "U", "nll": 228.58, "ppl": 9.98},
        {"id": "p", "table": "U", "nll": 410.83, "ppl": 62.51},
        {"id": "q", "table": "U", "nll": 389.14, "ppl": 50.25},
    ]
    broken = {
        "c": "information + aggregated KL <= log K",
        "g": "information <= rate",
        "h": "a minibatch of M reads at most log M",
        "n": "one test set has one mean length: NLL / log PPL",
    }
    return rows, broken


def _check_impossible(impossible: Callable[..., Any]) -> None:
    rows, broken = _planted()
    answer = impossible([dict(row) for row in rows])
    expect(
        isinstance(answer, list | tuple | set) and all(isinstance(one, str) for one in answer),
        'return a list of ids, such as ["a", "g"]',
    )
    found = set(answer)
    known = {row["id"] for row in rows}
    expect(found <= known, f"{sorted(found - known)} are no ids of the rows")
    rounded = found & {"d", "f", "m"}
    expect(not rounded, f"{sorted(rounded)}: printed numbers are rounded, so 0.01 is no proof")
    large = found & {"i", "j"}
    expect(not large, f"{sorted(large)}: large is not impossible, name the inequality it breaks")
    wrong = sorted(found - set(broken))
    expect(not wrong, f"{wrong} break none of the three inequalities")
    for id, words in broken.items():
        expect(id in found, f"one is missing that breaks: {words}")
    random = np.random.default_rng(14)
    others = dict(zip(sorted(known), map(str, random.permutation(sorted(known))), strict=True))
    mixed = [dict(rows[i]) | {"id": others[rows[i]["id"]]} for i in random.permutation(len(rows))]
    again, wanted = set(impossible(mixed)), {others[id] for id in broken}
    expect(
        again == wanted,
        f"the same rows in another order, their ids dealt anew: you name {sorted(again)}, but "
        f"{sorted(wanted)} are impossible. Decide by the numbers",
    )
    left = set(impossible([dict(row) for row in rows if row["id"] not in broken]))
    expect(not left, f"without the impossible rows the list is empty; yours has {sorted(left)}")


def _maximum(n: int) -> float:
    """E max of n standard normals, from the distribution of the maximum by parts."""
    from scipy.special import ndtr

    z = np.linspace(0, 12, 6001)
    below = ndtr(-z) ** n
    above = 1 - ndtr(z) ** n
    return float(np.trapezoid(above - below, z))


def _check_inflation(inflation: Callable[..., Any]) -> None:
    for n in range(2, 21):
        answer = np.asarray(inflation(n), dtype=float)
        expect(answer.size == 1 and np.isfinite(answer), "return one finite number")
        found, right = float(answer.reshape(())), _maximum(n)
        near = abs(found - right) < 0.02
        told = f"at n={n} the maximum lies {right:.2f} sd above the mean on average"
        expect(
            near or abs(found - 1 / math.sqrt(n)) > 1e-6,
            f"sd/sqrt(n) is the spread of a mean; {told}",
        )
        expect(
            near or abs(found - math.sqrt(2 * math.log(n))) > 1e-6,
            f"sqrt(2 log n) is asymptotic only: it says {found:.2f}, but {told}",
        )
        expect(found > 0, f"the best of n is above the mean: yours is {found:.2f} at n={n}")
        expect(near, f"{told}, yours says {found:.3f}")
    expect(abs(float(inflation(1))) < 0.02, "the best of one is that one: 0 sd above the mean")


def _answer(compare: Callable[..., Any], a: Any, b: Any) -> tuple[str, float, float]:
    answer = compare(a.copy(), b.copy())
    expect(
        isinstance(answer, tuple) and len(answer) == 2 and np.size(answer[1]) == 2,
        'return two things: a word and an interval, such as "better", (0.1, 0.5)',
    )
    word, (low, high) = answer
    words = ("better", "not shown", "worse")
    expect(word in words, f"the word must be one of {', '.join(words)}, yours is {word!r}")
    expect(low <= high, f"the interval runs from {low:.3g} to {high:.3g}: its low end first")
    return word, float(low), float(high)


def _check_compare(compare: Callable[..., Any]) -> None:
    from scipy.stats import ttest_ind

    random = np.random.default_rng(14)
    for sizes, scales, shift in (
        ((5, 5), (1.0, 1.0), 3.0),
        ((3, 10), (2.0, 0.3), -6.0),
        ((4, 6), (0.5, 3.0), 0.5),
        ((8, 3), (1.0, 4.0), 0.0),
    ):
        a = shift + scales[0] * random.standard_normal(sizes[0])
        b = scales[1] * random.standard_normal(sizes[1])
        word, low, high = _answer(compare, a, b)
        right = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        told = f"for {sizes[0]} against {sizes[1]} seeds of unequal spread"
        expect(
            abs((low + high) / 2 - (a.mean() - b.mean())) < 1e-6 * (1 + abs(shift)),
            "the interval is about mean(a) - mean(b), and has it in its middle",
        )
        expect(
            abs(low - right.low) < 0.02 * (right.high - right.low),
            f"{told} Welch's 95 % interval is {right.low:.3f} to {right.high:.3f}, "
            f"yours {low:.3f} to {high:.3f}: which quantile, how many degrees of freedom?",
        )
        should = "better" if right.low > 0 else "worse" if right.high < 0 else "not shown"
        expect(word == should, f"with an interval {low:.2f} to {high:.2f} say {should!r}: {word!r}")
    _check_level(compare, random)


def _check_level(compare: Callable[..., Any], random: np.random.Generator) -> None:
    """Of equal models at most 6 % may be called different."""
    equal = random.standard_normal((2000, 2, 5))
    said = [_answer(compare, *pair)[0] for pair in equal]
    share = sum(word != "not shown" for word in said) / len(said)
    expect(share < 1, "two equal models never got the answer: not shown")
    expect(
        share <= 0.06,
        f"of 2,000 pairs of equal models {100 * share:.0f} % were called better or worse: which "
        "confidence has your rule?",
    )


def _measured() -> list[dict[str, Any]]:
    """What three or more seeds of smoke studies gave, before it is a row."""
    shared = {
        **{"preset": "smoke", "system": "20 hidden units", "dataset": "five_blobs"},
        **{"objective": "MIM", "hardware": "2 CPU cores", "versions": "torch", "commit": "abc"},
    }
    return [
        {"study": study, "metric": metric, "unit": unit, "each": each, "minutes": 0.1} | shared
        for study, metric, unit, each in (
            ("collapse-2d", "nll_upper_bound", "nats", [1.9, 2.0, 2.4]),
            ("collapse-20d", "explained_variance", "percent", [71.0, 76.0, 75.0, 78.0]),
            ("collapse-2d", "ksg_information", "nats", [3.1, 2.9, 3.4]),
        )
    ]


def _check_row(add_a_row: Callable[..., Any]) -> None:
    """Rows tested as the ledger tests them."""
    from lvmlab.studies import export

    for measured in _measured():
        each = measured["each"]
        row = add_a_row(measured | {"each": list(each)})
        expect(isinstance(row, dict), "return one row, a dictionary")
        expect(row.get("command"), "a row without a command is not admitted")
        missing = sorted(export.Row.__required_keys__ - row.keys())
        expect(not missing, f"the row lacks {', '.join(missing)}")
        mean, std = float(np.mean(each)), float(np.std(each, ddof=1))
        expect(row["value"] not in (min(each), max(each)), "mean and sd, please: not the best seed")
        expect(abs(row["value"] - mean) < 1e-9, f"the value of {each} is their mean {mean:.4f}")
        expect(row["std"] is not None, "the spread over seeds belongs to the row")
        expect(
            abs(row["std"] - float(np.std(each))) > 1e-9,
            "of few seeds the spread divides by n - 1, else it is too small",
        )
        expect(abs(row["std"] - std) < 1e-9, f"the spread of {each} is {std:.4f}")
        unit = "" if measured["unit"] == "nats" else f"_{measured['unit']}"
        expect(
            row["metric"] == measured["metric"] + unit,
            f"nats, bits or percent? A name tells its unit unless it is nats: "
            f"{measured['metric']}{unit}",
        )
        try:
            export.check(row)
        except ValueError as error:
            expect(False, f"the ledger refuses it: {error}")


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def impossible(rows):
        """Three inequalities, each with a slack for two rounded numbers."""
        lengths: dict[str, list[float]] = {}
        for row in rows:
            if "ppl" in row:
                lengths.setdefault(row["table"], []).append(row["nll"] / np.log(row["ppl"]))
        broken = []
        for row in rows:
            total = row.get("mi", 0) + row.get("agg_kl", 0)
            wrong = total > row.get("ceiling", np.inf) + 0.02
            wrong = wrong or row.get("mi", 0) > row.get("rate", np.inf) + 0.02
            if "ppl" in row:
                tokens, middle = row["nll"] / np.log(row["ppl"]), np.median(lengths[row["table"]])
                wrong = abs(tokens / middle - 1) > 0.003
            if wrong:
                broken.append(row["id"])
        return broken

    def inflation(n):
        """The mean of the largest of n standard normals, by a sum over its density."""
        from scipy.stats import norm

        z = np.linspace(-9, 9, 20_001)
        return np.trapezoid(z * n * norm.pdf(z) * norm.cdf(z) ** (n - 1), z)

    def compare(a, b):
        """Welch: the spread of a difference of means, and its own degrees of freedom."""
        from scipy.stats import t

        va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        degrees = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        half = t.ppf(0.975, degrees) * np.sqrt(va + vb)
        low, high = a.mean() - b.mean() - half, a.mean() - b.mean() + half
        return ("better" if low > 0 else "worse" if high < 0 else "not shown"), (low, high)

    def add_a_row(measured):
        """Mean, spread and the command; the name tells the unit."""
        study, preset, each = measured["study"], measured["preset"], measured["each"]
        unit = "" if measured["unit"] == "nats" else "_" + measured["unit"]
        return {
            **{name: value for name, value in measured.items() if name != "unit"},
            "metric": measured["metric"] + unit,
            "value": float(np.mean(each)),
            "std": float(np.std(each, ddof=1)),
            "seeds": len(each),
            "command": f"lvmlab run {study} --preset {preset} --seeds {len(each)}",
        }

    return impossible, inflation, compare, add_a_row


_impossible, _inflation, _compare, _add_a_row = _solutions()

impossible_rows = Exercise("Impossible rows", _check_impossible, (_impossible,))
best_of_n = Exercise("Best of n", _check_inflation, (_inflation,))
say_it_right = Exercise("Say it right", _check_compare, (_compare,))
add_a_row = Exercise("Add a row", _check_row, (_add_a_row,))
