"""Cluster accuracy: matchings against brute force over all permutations."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmlab.diagnostics import greedy_accuracy, greedy_assignment, hungarian_accuracy


def rows_of(counts):
    """Predicted component and label of each example in a table (components, classes)."""
    counts = np.array(counts)
    component, label = np.indices(counts.shape).reshape(2, -1)
    return np.repeat(component, counts.ravel()), np.repeat(label, counts.ravel())


def test_cluster_accuracy():
    found = hungarian_accuracy(*rows_of([[30, 5, 2], [4, 3, 25], [1, 28, 6]]))
    assert found.accuracy == pytest.approx(0.798077, abs=1e-6)
    assert found.assignment == {0: 0, 1: 2, 2: 1}


def test_greedy_label_assignment():
    averages = np.array([[0.55, 0.45, 0], [0.54, 0.05, 0.41], [0, 0.1, 0.9]])
    greedy = greedy_assignment(averages)
    assert greedy.tolist() == [0, 1, 2]
    assert averages[range(3), greedy].sum() == pytest.approx(1.5)
    best = max(permutations(range(3)), key=lambda order: averages[range(3), order].sum())
    assert best == (1, 0, 2)
    assert averages[range(3), best].sum() == pytest.approx(1.89)
    # the same as samples: 100 of each class, hard components in these shares
    predicted, labels = rows_of((100 * averages.T).round().astype(int))
    assert greedy_accuracy(predicted, labels).accuracy == pytest.approx(1.5 / 3)
    assert greedy_accuracy(predicted, labels).assignment == {0: 0, 1: 1, 2: 2}
    assert hungarian_accuracy(predicted, labels).accuracy == pytest.approx(1.89 / 3)
    assert hungarian_accuracy(predicted, labels).assignment == {0: 1, 1: 0, 2: 2}


def test_agreement_of_two_members_of_an_ensemble():
    a, b = [0, 0, 1, 1, 2, 2, 3, 3], [2, 2, 0, 0, 3, 3, 1, 0]
    found = hungarian_accuracy(b, a)
    assert found.accuracy == 0.875
    assert found.assignment == {0: 1, 1: 3, 2: 0, 3: 2}


def test_greedy_serves_the_most_certain_class_first_and_leaves_none_twice():
    assert greedy_assignment([[0.6, 0.4], [0.9, 0.1]]).tolist() == [1, 0]
    assert greedy_assignment([[0.6], [0.9], [0.7]]).tolist() == [-1, 0, -1]
    assert greedy_assignment([[0.1, 0.2, 0.7]]).tolist() == [2]
    assert greedy_assignment([[0.5, 0.5], [0.5, 0.5]]).tolist() == [0, 1]


def test_greedy_weighs_every_class_the_same_whatever_its_size():
    found = greedy_accuracy(*rows_of([[6, 55], [4, 45]]))  # 0.6 of ten goes before 0.55 of 100
    assert found.assignment == {0: 0, 1: 1}
    assert found.accuracy == pytest.approx(51 / 110)
    assert hungarian_accuracy(*rows_of([[6, 55], [4, 45]])).accuracy == pytest.approx(59 / 110)


def test_greedy_uses_averages_of_posteriors_and_scores_their_largest_entry():
    posteriors = [[0.4, 0.6], [0.9, 0.1], [0.45, 0.55], [0.0, 1.0]]
    found = greedy_accuracy(posteriors, [0, 0, 1, 1])
    assert found.assignment == {0: 0, 1: 1}
    assert found.accuracy == 0.75
    assert hungarian_accuracy(posteriors, [0, 0, 1, 1]) == found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_hungarian_equals_brute_force_over_permutations_of_five(seed):
    rng = np.random.default_rng(seed)
    predicted, labels = rng.integers(0, 5, (2, 60))
    predicted[:5] = labels[:5] = range(5)  # every name occurs
    best = max((np.array(order)[predicted] == labels).mean() for order in permutations(range(5)))
    assert hungarian_accuracy(predicted, labels).accuracy == pytest.approx(best)
    assert greedy_accuracy(predicted, labels).accuracy <= best + 1e-12


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7))
def test_accuracy_forgets_names_and_matches_its_assignment(seed, components, classes):
    rng = np.random.default_rng(seed)
    predicted, labels = rng.integers(0, components, 50), rng.integers(0, classes, 50)
    names = rng.choice(1000, components, replace=False) - 500
    for accuracy in (hungarian_accuracy, greedy_accuracy):
        found = accuracy(predicted, labels)
        by_hand = [found.assignment.get(c) == y for c, y in zip(predicted, labels, strict=True)]
        assert found.accuracy == pytest.approx(np.mean(by_hand))
        assert len(set(found.assignment.values())) == len(found.assignment)
    renamed = hungarian_accuracy(names[predicted], labels)
    assert renamed.accuracy == pytest.approx(hungarian_accuracy(predicted, labels).accuracy)


def test_perfect_clusters_and_a_single_one():
    labels = np.array([7, 7, -2, -2, 0])
    assert hungarian_accuracy([1, 1, 0, 0, 5], labels) == (1.0, {0: -2, 1: 7, 5: 0})
    assert hungarian_accuracy(np.zeros(5, int), labels).accuracy == 0.4
    assert greedy_accuracy(np.zeros(5, int), labels).assignment == {0: -2}


@pytest.mark.parametrize("accuracy", [hungarian_accuracy, greedy_accuracy])
@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        ([0, 1], [0, 1, 1], "predicted has 2, labels has 3"),
        ([0.5, 1.0], [0, 1], "predicted must hold integers"),
        ([0, 1], [0.5, 1.0], "labels must hold integers"),
        ([0, 1], ["a", "b"], "labels must hold real numbers"),
        ([], [], "predicted must hold at least one"),
        ([[0.5, 0.6]], [0], "rows of predicted must sum to 1"),
        ([[1.5, -0.5]], [0], "predicted must hold probabilities"),
        ([[np.nan, 1.0]], [0], "predicted must be finite"),
        (np.zeros((1, 1, 1), int), [0], r"predicted must have shape \(N,\)"),
        ([0], [[0]], r"labels must have shape \(N,\)"),
    ],
)
def test_bad_clusters_are_refused(accuracy, predicted, labels, message):
    with pytest.raises(ValueError, match=message):
        accuracy(predicted, labels)


def test_bad_averages_are_refused():
    with pytest.raises(ValueError, match=r"averages must have shape \(C, K\)"):
        greedy_assignment([0.5, 0.5])
    with pytest.raises(ValueError, match="averages must be finite"):
        greedy_assignment([[np.nan]])
