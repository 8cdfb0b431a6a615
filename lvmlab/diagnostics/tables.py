"""Entropy, divergence and information of finite tables, in nats, with 0 log 0 = 0.

A table is an array of probabilities of any shape that sums to 1: one axis a variable. A sum that is
off by rounding (up to 1e-4, as float32 is) is divided out.
"""

from typing import Any

import numpy as np

from lvmlab.diagnostics import arrays


def entropy(table: Any) -> float:
    """Entropy H of a table, in nats; for a table with several axes the joint entropy.

    Raises `ValueError` for negative entries, NaN, and a sum other than 1.
    """
    from scipy.special import entr

    return float(entr(arrays.probabilities("table", table)).sum())


def kl_divergence(q: Any, p: Any) -> float:
    """Kullback-Leibler divergence KL(q || p) of two tables of one shape, in nats.

    It is infinite where p excludes a cell to which q gives probability: that is the answer, not an
    error. Raises `ValueError` for different shapes, negative entries, NaN, and a sum other than 1.
    """
    from scipy.special import rel_entr

    q, p = arrays.probabilities("q", q), arrays.probabilities("p", p)
    if q.shape != p.shape:
        raise ValueError(
            f"q and p must be tables of one shape, but q has {q.shape} and p has {p.shape}. "
            "Use `np.broadcast_to` to repeat a marginal, then multiply to a joint."
        )
    return float(rel_entr(q, p).sum())


def mutual_information(table: Any) -> float:
    """Mutual information I(x; z) of a joint table (X, Z), in nats.

    It is KL(joint || product of its own marginals) = H(x) + H(z) - H(x, z). Raises `ValueError` for
    a table that has not two axes, negative entries, NaN, and a sum other than 1.
    """
    from scipy.special import rel_entr

    joint = arrays.shaped("table", arrays.probabilities("table", table), ("X", "Z"))
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float(rel_entr(joint, independent).sum())


def plug_in_information(x_labels: Any, z_labels: Any) -> float | np.ndarray:
    """Plug-in estimate of I(x; z) from pairs of labels: the information of the table of counts.

    x_labels (N,) gives a float; x_labels (N, P) gives P numbers, (P,), one for each column with
    z_labels (N,). Integers or booleans; nats. The estimate is biased upwards, by about
    (R - 1)(C - 1) / 2N for independent labels with R and C values: shuffle one of them to see this
    floor. Raises `ValueError` for floats, different lengths, and nothing at all.
    """
    x, z = arrays.integers("x_labels", x_labels), arrays.labels("z_labels", z_labels)
    if x.ndim != 1:
        arrays.shaped("x_labels", x, ("N", "P"))
    arrays.same_length(x_labels=x, z_labels=z)
    columns = x[:, None] if x.ndim == 1 else x
    z_codes, z_size = _codes(z)
    z_entropy = _entropy_of(z_codes)
    information = np.empty(columns.shape[1])
    for i, column in enumerate(columns.T):
        codes, _ = _codes(column)
        information[i] = _entropy_of(codes) + z_entropy - _entropy_of(codes * z_size + z_codes)
    information = information.clip(0)  # only rounding takes it below
    return float(information[0]) if x.ndim == 1 else information


def _codes(column: np.ndarray) -> tuple[np.ndarray, int]:
    """The labels as 0, 1, ... and how many codes there are; sorts only labels far apart."""
    low, high = int(column.min()), int(column.max())
    if high - low <= 1000:  # codes that nobody uses become empty cells, which cost little
        return column - low, high - low + 1
    values, codes = np.unique(column, return_inverse=True)
    return codes, len(values)


def _entropy_of(codes: np.ndarray) -> float:
    """Entropy, in nats, of the shares of codes 0, 1, ... in a sample."""
    from scipy.special import entr

    if codes.max() > 4 * len(codes) + 1000:  # a table of counts would be almost empty, and large
        codes = np.unique(codes, return_inverse=True)[1]
    return float(entr(np.bincount(codes) / len(codes)).sum())
