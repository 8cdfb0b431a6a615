"""What no table can show: printed numbers tested against each other, with nothing run.

Every check is an inequality or a sum that holds whatever was trained, so a row that breaks it
cannot stand as printed, or measures something else than its column says. A unit of the last printed
digit is allowed everywhere: numbers are rounded, and some are cut.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from lvmlab.studies.ledger import Row
from lvmlab.studies.papers import Printed, printed


class Problem(NamedTuple):
    """A row that breaks a check."""

    check: str
    id: str
    words: str
    """What is printed, and what it would have to be."""


RECORDED = {
    "mim-t71-everything-train-sentences": "one sentence off",
    "mim-t71-everything-valid-sentences": "one sentence off",
    "mim-t71-everything-test-sentences": "as if WikiText-103 had 9,999 test sentences, not 2,185",
    "mim-t81-mnist-percent-of-multidata": "3.2 is the share of its training images alone",
    "mim-t81-imagenet-percent-of-multidata": "shares of another total than the printed one",
    "mim-t81-celeba-percent-of-multidata": "shares of another total than the printed one",
    "vade-dgm-count": "a ninth of the design is missing, or was not run",
    "vade-pairs": "55 counts each seed with itself",
    "vade-grid-mcc-count": "neither 64 x 45 nor 64 x 55 = 3,520",
}
"""The rows that fail today, by id, with what we make of them: a new failure is news."""

TOKENS = 0.003  # mean tokens of one test set agree to this share: NLL and PPL are both rounded


def information_and_rate(rows: Iterable[Printed]) -> list[Problem]:
    """Rows whose information exceeds the rate: the rate is information plus KL to the prior.

    Source: the ELBO surgery (`elbo-surgery`).
    """
    found = []
    for group in _groups(rows, ("mi", "kl")):
        mi, kl = group["mi"], group["kl"]
        if mi.value > kl.value + mi.digit + kl.digit:
            words = f"information {mi.value:g} above the rate {kl.value:g}"
            found.append(Problem("information <= rate", mi.id, words))
    return found


def information_and_ceiling(rows: Iterable[Printed]) -> list[Problem]:
    """Rows whose information, with the aggregated KL where it is printed, exceeds the ceiling.

    Under a uniform prior over K, I + KL(q(k) || U) = log K - H(k|x) <= log K; an estimate in
    minibatches is at most log M (`aggkl-uniform-prior`, `infonce-perfect`).
    """
    rows = list(rows)
    beside = {_key(row): row for row in rows if row.metric == "agg_kl"}
    found = []
    for row in rows:
        if row.metric != "mi" or row.ceiling is None:
            continue
        other = beside.get(_key(row))
        total = row.value + (other.value if other else 0)
        if total > row.ceiling + row.digit + (other.digit if other else 0):
            told = "information and aggregated KL" if other else "information"
            words = f"{told} {total:g} above {row.ceiling:.3f}"
            found.append(Problem("information <= ceiling", row.id, words))
    return found


def perplexity_and_nll(rows: Iterable[Printed]) -> list[Problem]:
    """Rows whose perplexity and NLL ask for another mean length than the rest of their table.

    PPL = exp(NLL / mean tokens), and one test set has one mean (`ppl-from-nll`). The mean of a
    table is the median over its rows.
    """
    tables: dict[tuple[str, str], list[tuple[float, Printed]]] = {}
    for group in _groups(rows, ("nll", "ppl")):
        ppl, nll = group["ppl"], group["nll"]
        tables.setdefault((ppl.source, ppl.dataset), []).append(
            (nll.value / math.log(ppl.value), ppl)
        )
    found = []
    for lengths in tables.values():
        middle = sorted(length for length, _ in lengths)[len(lengths) // 2]
        for length, row in lengths:
            slack = TOKENS + row.digit / row.value / math.log(row.value)
            if abs(length / middle - 1) > slack:
                words = f"needs {length:.2f} tokens a sentence, its table {middle:.2f}"
                found.append(Problem("one length a test set", row.id, words))
    return found


def sums_and_shares(rows: Iterable[Printed]) -> list[Problem]:
    """Totals that are not the sum of their parts, and percentages that are not their share.

    Source of the arithmetic: `table8.1-arithmetic`; the corpora of Table 7.1 likewise.
    """
    rows, found = list(rows), []
    for kind in ("train", "valid", "test"):
        parts = [row for row in rows if row.metric == f"{kind}_sentences"]
        total = [row for row in parts if row.dataset == "Everything"]
        counted = sum(row.value for row in parts if row.dataset != "Everything")
        found += [
            Problem("total = sum", row.id, f"{row.value:,.0f} printed, {counted:,.0f} counted")
            for row in total
            if row.value != counted
        ]
    images = [row for row in rows if row.metric in ("train_images", "valid_images")]
    counted = sum(row.value for row in images)
    for row in rows:
        if row.metric == "total_images" and row.value != counted:
            words = f"{row.value:,.0f} printed, {counted:,.0f} counted"
            found.append(Problem("total = sum", row.id, words))
        if row.metric == "percent_of_multidata" and images:
            share = 100 * sum(i.value for i in images if i.dataset == row.dataset) / counted
            if abs(share - row.value) > row.digit:
                words = f"{row.value:g} % printed, {share:.2f} % counted"
                found.append(Problem("share of the total", row.id, words))
    return found


def ratios(rows: Iterable[Printed]) -> list[Problem]:
    """Running times over that of the plain VAE which are not the ratio of the printed hours."""
    rows, found = list(rows), []
    hours = {(r.source, r.system): r for r in rows if r.metric == "runtime_hours"}
    for row in rows:
        mine, plain = hours.get((row.source, row.system)), hours.get((row.source, "VAE"))
        if row.metric != "runtime_factor" or mine is None or plain is None:
            continue
        ratio = mine.value / plain.value
        if abs(ratio - row.value) > row.digit:
            words = f"{row.value:g} printed, the hours give {ratio:.3f}"
            found.append(Problem("factor = ratio", row.id, words))
    return found


def counts(rows: Iterable[Printed]) -> list[Problem]:
    """Numbers that combinatorics fixes (`seed-pair-counts`, `max-latent-dim`)."""
    right = {
        "vade-pairs": (math.comb(10, 2), "10 seeds make {} pairs"),
        "vade-grid-mcc-count": (64 * math.comb(10, 2), "64 positions of 10 seeds make {}"),
        "vade-dgm-count": (2 * 3 * 3 * 3 * 10, "the whole design has {}"),
        "vade-max-dz-10": ((10 - 1) // 2, "2 d + 1 <= 10 allows {}"),
    }
    return [
        Problem("counts", row.id, f"{row.value:g} printed, {words.format(exact)}")
        for row in rows
        for exact, words in [right.get(row.id, (row.value, ""))]
        if row.value != exact
    ]


def normal_entropies(rows: Iterable[Printed]) -> list[Problem]:
    """Entropies of standard normals that are not d/2 log(2 pi e) (`normal-entropy-table7.6`)."""
    found = []
    for row in rows:
        if row.metric != "latent_entropy" or row.objective != "closed form":
            continue
        dim = int(row.setting.split()[0])
        exact = dim / 2 * math.log(2 * math.pi * math.e)
        if abs(exact - row.value) > row.digit:
            words = f"{row.value:g} printed, {exact:.2f} for {dim} dimensions"
            found.append(Problem("entropy of N(0, I)", row.id, words))
    return found


CHECKS: tuple[Callable[[Iterable[Printed]], list[Problem]], ...] = (
    information_and_rate,
    information_and_ceiling,
    perplexity_and_nll,
    sums_and_shares,
    ratios,
    counts,
    normal_entropies,
)


def problems(rows: Iterable[Printed] | None = None) -> list[Problem]:
    """Everything the checks find, in these rows or in all of `papers.csv`."""
    rows = list(printed() if rows is None else rows)
    return [problem for check in CHECKS for problem in check(rows)]


AT_MOST = (
    ("ksg_information", "ksg_ceiling", 1e-6),
    ("information", "information_ceiling", 1e-6),
    ("information", "rate", 0.05),
)
"""Metrics of our own rows, of which the first cannot exceed the second by more than so many nats.

A ceiling holds for every draw. The rate bounds the information on average: as a mean over one draw
for each of some hundred rows it passes a rate in closed form by hundredths now and then.
"""


def measured(rows: Iterable[Row]) -> list[Problem]:
    """The same of our own rows, seed by seed: information, its ceilings, the rate, accuracies.

    A KSG reading may pass its ceiling by chance only where x and z are copies of each other.
    """
    groups: dict[str, dict[str, Row]] = {}
    for row in rows:
        key = (row["study"], row["preset"], row["dataset"], row["system"], row["objective"])
        groups.setdefault(", ".join(key), {})[row["metric"]] = row
    found = []
    for name, group in groups.items():
        for low, high, chance in AT_MOST:
            if low in group and high in group:
                pairs = zip(group[low]["each"], group[high]["each"], strict=True)
                if over := [(a, b) for a, b in pairs if a > b + chance]:
                    words = f"{over[0][0]:.4g} above {over[0][1]:.4g}"
                    found.append(Problem(f"{low} <= {high}", name, words))
        for metric, row in group.items():
            if metric.endswith("accuracy") and not all(0 <= v <= 1 for v in row["each"]):
                words = f"{metric} {row['value']:g}, a fraction lies in 0 ... 1"
                found.append(Problem("accuracy in 0 ... 1", name, words))
    return found


def _key(row: Printed) -> tuple[str, ...]:
    return row.paper, row.source, row.system, row.objective, row.dataset


def _groups(rows: Iterable[Printed], metrics: tuple[str, ...]) -> list[dict[str, Printed]]:
    """For each model on each data set that has all of these metrics: its rows by metric."""
    groups: dict[tuple[str, ...], dict[str, Printed]] = {}
    for row in rows:
        if row.metric in metrics:
            groups.setdefault(_key(row), {})[row.metric] = row
    return [group for group in groups.values() if len(group) == len(metrics)]
