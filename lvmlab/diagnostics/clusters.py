"""Accuracy of clusters that carry no names: which component stands for which class."""

from typing import Any, NamedTuple

import numpy as np

from lvmlab.diagnostics import arrays


class ClusterAccuracy(NamedTuple):
    """Share of examples, 0 ... 1, whose component was given their class, and what was given."""

    accuracy: float
    assignment: dict[int, int]  # component -> class; the components left over are not in it


def hungarian_accuracy(predicted: Any, labels: Any) -> ClusterAccuracy:
    """Clustering accuracy under the best one-to-one pairing of components with classes.

    predicted: component of each example, integers (N,), or posteriors (N, K), of which the largest
    entry counts. labels: integers (N,). With more components than classes the rest counts as wrong.
    Raises `ValueError` for labels that are not integers, lengths that differ, and posteriors whose
    rows do not sum to 1.

    Source: Kuhn (1955), solved by `scipy.optimize.linear_sum_assignment`.
    """
    from scipy.optimize import linear_sum_assignment

    groups = _grouped(predicted, labels)
    return _scored(groups, *linear_sum_assignment(groups.counts, maximize=True))


def greedy_accuracy(predicted: Any, labels: Any) -> ClusterAccuracy:
    """Clustering accuracy when each class in turn takes its favourite among the free components.

    predicted: component of each example, integers (N,), or posteriors (N, K). labels: integers
    (N,). The favourite is the component with the largest average q(k | x) over the class; see
    `greedy_assignment` for the order. Never above `hungarian_accuracy`. Raises `ValueError` as that
    does.

    Source: GM-WAE, evaluation of the categorical latent.
    """
    groups = _grouped(predicted, labels)
    chosen = greedy_assignment(groups.averages)
    served = np.flatnonzero(chosen >= 0)
    return _scored(groups, chosen[served], served)


def greedy_assignment(averages: Any) -> np.ndarray:
    """Component for each class, (C,), when classes choose in turn; -1 when none is left.

    averages (C, K): entry (c, k) is the average q(k | x) over class c. Classes choose in decreasing
    order of their largest average, each the best component that is still free; ties go to the
    smaller number. Raises `ValueError` for NaN and other shapes.

    Source: GM-WAE; that taken components are no longer free is our reading of it.
    """
    averages = arrays.shaped("averages", arrays.finite("averages", averages), ("C", "K"))
    free = averages.copy()
    chosen = np.full(len(averages), -1)
    order = np.argsort(-averages.max(1), kind="stable")
    for c in order[: averages.shape[1]]:
        chosen[c] = free[c].argmax()
        free[:, chosen[c]] = -np.inf
    return chosen


class _Groups(NamedTuple):
    components: np.ndarray  # (K,), their names
    classes: np.ndarray  # (C,), their names
    counts: np.ndarray  # (K, C), examples of each component in each class
    averages: np.ndarray  # (C, K), mean posterior over each class


def _grouped(predicted: Any, labels: Any) -> _Groups:
    array = arrays.numeric("predicted", predicted)
    if array.ndim == 2:
        posteriors = arrays.probabilities("predicted", array, by_row=True)
        components, codes = np.arange(posteriors.shape[1]), posteriors.argmax(1)
    else:
        names = arrays.labels("predicted", array)
        components, codes = np.unique(names, return_inverse=True)
        posteriors = np.eye(len(components))[codes]
    classes, class_codes = np.unique(arrays.labels("labels", labels), return_inverse=True)
    arrays.same_length(predicted=codes, labels=class_codes)
    members = np.eye(len(classes))[class_codes]
    averages = members.T @ posteriors / members.sum(0)[:, None]
    counts = np.bincount(codes * len(classes) + class_codes, minlength=averages.size)
    return _Groups(components, classes, counts.reshape(len(components), len(classes)), averages)


def _scored(groups: _Groups, rows: np.ndarray, columns: np.ndarray) -> ClusterAccuracy:
    accuracy = groups.counts[rows, columns].sum() / groups.counts.sum()
    pairs = zip(groups.components[rows].tolist(), groups.classes[columns].tolist(), strict=True)
    return ClusterAccuracy(float(accuracy), dict(sorted(pairs)))
