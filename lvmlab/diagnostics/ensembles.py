"""Ensembles of latent labels: align members whose categories carry other numbers, then average.

Members are M models of the same N rows. What CoLLike (section 6.1) leaves open is decided here.
The pivot, to which all others are aligned, is the member with the highest coherence. Coherence is
the mean agreement with the others, each pair aligned by itself, so it needs no pivot. Top-k keeps
the k members with the highest coherence among all members; k is the reader's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lvmlab.diagnostics import arrays

METHODS = ("greedy", "hungarian")


def align(member: Any, pivot: Any, method: str = "greedy") -> np.ndarray:
    """The pivot's category for each category of a member, (K,): a one-to-one renaming.

    member, pivot: labels, integers (N,) from 0 up, or posteriors (N, K), of which the largest entry
    counts. "greedy" takes the largest remaining number of rows that two categories share and fixes
    that pair, ties to the smaller numbers; "hungarian" maximises the number of rows that agree. Of
    labels, K is one more than the largest number that occurs. Raises `ValueError` for lengths and
    numbers of categories that differ, and for labels below 0.

    Source: CoLLike, section 6.1 (greedy); Kuhn (1955).
    """
    _known(method)
    return _renaming(*_pair(member, pivot), method)


def agreement(a: Any, b: Any, method: str = "greedy") -> float:
    """Share of rows, 0 ... 1, on which two members agree once their categories are aligned.

    Arguments and errors as in `align`.
    """
    _known(method)
    return _agreement(*_pair(a, b), method)


def coherence(members: Any, method: str = "greedy") -> np.ndarray:
    """Mean agreement of each member with all others, (M,), each pair aligned by itself.

    members: labels (M, N) or posteriors (M, N, K), two members or more; a list of arrays will do.
    Raises `ValueError` as `align` does, and for fewer than two members.
    """
    _known(method)
    labels, categories = _labels(_members(members, at_least=2))
    table = np.zeros((len(labels), len(labels)))
    for i in range(len(labels)):
        for j in range(i):
            table[i, j] = table[j, i] = _agreement(labels[i], labels[j], categories, method)
    return table.sum(1) / (len(labels) - 1)


def top_k_by_coherence(members: Any, k: int, method: str = "greedy") -> np.ndarray:
    """Numbers of the k members that agree best with all others, the best first, (k,).

    Arguments as in `coherence`; equal members keep their order. Raises `ValueError` for a k that is
    not between 1 and M.
    """
    found = coherence(members, method)
    k = arrays.whole_number("k", k, 1, len(found), "(the number of members)")
    return np.argsort(-found, kind="stable")[:k]


def average(members: Any, pivot: int | None = None, method: str = "greedy") -> np.ndarray:
    """The mean posterior of all members, in the categories of the pivot, (N, K).

    members: posteriors (M, N, K), or labels (M, N), of which the votes are counted. pivot: the
    number of a member; the one with the highest coherence when None. Raises `ValueError` as `align`
    does, and for a pivot that is no member.

    Source: CoLLike, section 6.1.
    """
    _known(method)
    posteriors = _members(members, at_least=1)
    if pivot is None:
        pivot = int(coherence(posteriors, method).argmax()) if len(posteriors) > 1 else 0
    pivot = arrays.whole_number("pivot", pivot, 0, len(posteriors) - 1, "(the last member)")
    labels, categories = _labels(posteriors)
    total = np.zeros(posteriors.shape[1:])
    for label, posterior in zip(labels, posteriors, strict=True):
        total[:, _renaming(label, labels[pivot], categories, method)] += posterior
    return total / len(posteriors)


def _known(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")


def _renaming(member: np.ndarray, pivot: np.ndarray, categories: int, method: str) -> np.ndarray:
    shared = np.bincount(member * categories + pivot, minlength=categories**2)
    shared = shared.reshape(categories, categories)
    if method == "hungarian":
        from scipy.optimize import linear_sum_assignment

        return linear_sum_assignment(shared, maximize=True)[1]
    renaming, free = np.zeros(categories, dtype=np.int64), shared.copy()
    for _ in range(categories):
        row, column = np.unravel_index(free.argmax(), free.shape)
        renaming[row] = column
        free[row], free[:, column] = -1, -1
    return renaming


def _agreement(a: np.ndarray, b: np.ndarray, categories: int, method: str) -> float:
    return float((_renaming(a, b, categories, method)[a] == b).mean())


def _pair(member: Any, pivot: Any) -> tuple[np.ndarray, np.ndarray, int]:
    found = [_one(name, v) for name, v in (("member", member), ("pivot", pivot))]
    arrays.same_length(member=found[0][0], pivot=found[1][0])
    widths = {width for _, width in found if width is not None}
    if len(widths) > 1:
        raise ValueError(
            f"member and pivot must have as many categories, got posteriors of {sorted(widths)}: "
            "add columns of zeros for categories that one of them lacks"
        )
    used = 1 + max(int(label.max()) for label, _ in found)
    return found[0][0], found[1][0], max([used, *widths])


def _one(name: str, value: Any) -> tuple[np.ndarray, int | None]:
    """Labels (N,), and the number of categories where posteriors tell it."""
    array = arrays.numeric(name, value)
    if array.ndim == 2:
        posteriors = arrays.probabilities(name, array, by_row=True)
        return posteriors.argmax(1), posteriors.shape[1]
    return _from_zero(name, arrays.labels(name, array)), None


def _from_zero(name: str, labels: np.ndarray) -> np.ndarray:
    if labels.min() < 0:
        raise ValueError(
            f"{name} must hold labels from 0 up, but the smallest is {labels.min()}. "
            "Number them with `np.unique(labels, return_inverse=True)[1]`."
        )
    return labels


def _members(members: Any, at_least: int) -> np.ndarray:
    """Posteriors (M, N, K) of all members; labels become one-hot rows."""
    if isinstance(members, Sequence):  # of tensors, maybe: each is read by itself
        each = [arrays.numeric(f"members[{i}]", m) for i, m in enumerate(members)]
        if len({m.shape for m in each}) > 1:
            raise ValueError(
                f"members must all be of one shape, but have {[m.shape for m in each]}. "
                "Evaluate them on the same rows."
            )
        members = np.stack(each) if each else np.empty((0, 0))
    array = arrays.non_empty("members", arrays.numeric("members", members))
    if array.ndim not in (2, 3) or len(array) < at_least:
        raise ValueError(
            f"members must be posteriors (M, N, K) or labels (M, N) of {at_least} models or more, "
            f"but have shape {array.shape}. Put the models first, with np.stack."
        )
    if array.ndim == 2:
        labels = _from_zero("members", arrays.integers("members", array))
        return np.eye(labels.max() + 1)[labels]
    flat = arrays.probabilities("members", array.reshape(-1, array.shape[-1]), by_row=True)
    return flat.reshape(array.shape)


def _labels(posteriors: np.ndarray) -> tuple[np.ndarray, int]:
    """The largest entry of each row, (M, N), and the number of categories."""
    return posteriors.argmax(2), posteriors.shape[2]
