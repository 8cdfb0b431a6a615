"""Ensembles: alignment against brute force, averages of members whose names were shuffled."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmlab.diagnostics import ensembles, hungarian_accuracy

A, B = [0, 0, 1, 1, 2, 2, 3, 3], [2, 2, 0, 0, 3, 3, 1, 0]


def noisy(seed, members=5, rows=400, categories=4, right=0.8):
    """Posteriors of members that know a truth with errors, each under its own names."""
    random = np.random.default_rng(seed)
    truth = random.integers(categories, size=rows)
    made, names = [], []
    for _ in range(members):
        seen = np.where(random.random(rows) < right, truth, random.integers(categories, size=rows))
        posterior = 0.7 * np.eye(categories)[seen] + 0.3 / categories
        names.append(random.permutation(categories))
        renamed = np.empty_like(posterior)
        renamed[:, names[-1]] = posterior
        made.append(renamed)
    return np.array(made), np.array(names), truth


@pytest.mark.parametrize("method", ["greedy", "hungarian"])
def test_ensemble_alignment(method):
    assert ensembles.align(B, A, method).tolist() == [1, 3, 0, 2]
    assert ensembles.agreement(B, A, method) == 0.875
    relabelled = np.array([3, 1, 0, 2])[B]
    assert ensembles.agreement(relabelled, A, method) == 0.875
    assert ensembles.agreement(torch.tensor(B), torch.tensor(A), method) == 0.875


def test_greedy_takes_the_largest_cell_first_and_hungarian_the_best_sum():
    counts = np.array([[6, 5], [5, 1]])  # greedy 6 + 1, best 5 + 5
    member, pivot = np.repeat(np.indices((2, 2)).reshape(2, -1), counts.ravel(), 1)
    assert ensembles.align(member, pivot).tolist() == [0, 1]
    assert ensembles.align(member, pivot, "hungarian").tolist() == [1, 0]
    assert ensembles.agreement(member, pivot) == 7 / 17
    assert ensembles.agreement(member, pivot, "hungarian") == 10 / 17


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_alignment_is_one_to_one_and_hungarian_is_the_best_of_all(pairs):
    a, b = np.array(pairs).T
    categories = 1 + max(a.max(), b.max())
    shared = np.zeros((categories, categories), int)
    np.add.at(shared, (a, b), 1)
    best = max(shared[range(categories), order].sum() for order in permutations(range(categories)))
    assert sorted(ensembles.align(a, b)) == list(range(categories))
    assert ensembles.agreement(a, b) <= ensembles.agreement(a, b, "hungarian") + 1e-12
    assert ensembles.agreement(a, b, "hungarian") == pytest.approx(best / len(a))


@pytest.mark.parametrize("method", ["greedy", "hungarian"])
@pytest.mark.parametrize("seed", range(4))
def test_shuffled_names_change_nothing_but_names(seed, method):
    shuffled, names, truth = noisy(seed)
    back = np.array([member[:, name] for member, name in zip(shuffled, names, strict=True)])
    expected = back.mean(0)
    pivot = int(ensembles.coherence(shuffled, method).argmax())
    found = ensembles.average(shuffled, method=method)[:, names[pivot]]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(
        ensembles.average(shuffled, pivot=2, method=method)[:, names[2]], expected, atol=1e-12
    )
    unaligned = hungarian_accuracy(shuffled.mean(0), truth).accuracy
    together = hungarian_accuracy(ensembles.average(shuffled, method=method), truth).accuracy
    assert together > unaligned


@pytest.mark.parametrize("seed", range(4))
def test_coherence_is_the_mean_agreement_with_the_others_and_ranks_members(seed):
    good, _, truth = noisy(seed, members=4, right=0.9)
    random = np.random.default_rng(seed + 100)
    bad = np.eye(4)[random.integers(4, size=len(truth))]
    members = np.concatenate([good[:2], bad[None], good[2:]])
    found = ensembles.coherence(members)
    by_hand = [
        np.mean([ensembles.agreement(members[i], members[j]) for j in range(5) if j != i])
        for i in range(5)
    ]
    np.testing.assert_allclose(found, by_hand)
    assert found.argmin() == 2
    chosen = ensembles.top_k_by_coherence(members, 4)
    assert 2 not in chosen and (np.diff(found[chosen]) <= 0).all()
    everyone = ensembles.top_k_by_coherence(members, 5)
    assert sorted(everyone) == [0, 1, 2, 3, 4] and everyone[-1] == 2


def test_labels_vote_and_one_member_is_its_own_average():
    votes = ensembles.average([A, B, B], pivot=0)
    assert votes.shape == (8, 4) and votes[:7].max(1).tolist() == [1.0] * 7
    assert votes[7].tolist() == pytest.approx([0, 2 / 3, 0, 1 / 3])
    alone = np.array([[[0.2, 0.8], [0.6, 0.4]]])
    np.testing.assert_array_equal(ensembles.average(alone), alone[0])


def test_tensors_and_lists_of_tensors_are_members_too():
    members, _, _ = noisy(0)
    tensors = [torch.tensor(m, dtype=torch.float32, requires_grad=True) for m in members]
    np.testing.assert_allclose(ensembles.average(tensors), ensembles.average(members), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensembles.align([0, 1], [0, 1, 1]), "member has 2, pivot has 3"),
        (lambda: ensembles.align([0, -1], [0, 1]), "labels from 0 up, but the smallest is -1"),
        (lambda: ensembles.align([0, 1], [0, 1], "best"), "method must be one of greedy"),
        (lambda: ensembles.align(np.eye(3), np.eye(4)[:3]), r"posteriors of \[3, 4\]"),
        (lambda: ensembles.align([[0.5, 0.6]], [0]), "rows of member must sum to 1"),
        (lambda: ensembles.coherence([A]), r"of 2 models or more, but have shape \(1, 8\)"),
        (lambda: ensembles.coherence([A, A[:4]]), "members must all be of one shape"),
        (lambda: ensembles.coherence([]), "members must hold at least one number"),
        (lambda: ensembles.top_k_by_coherence([A, B], 3), r"k must be .* between 1 and 2"),
        (lambda: ensembles.average([A, B], pivot=2), "pivot must be .* between 0 and 1"),
        (lambda: ensembles.average(np.ones((2, 3, 4))), "rows of members must sum to 1"),
    ],
)
def test_bad_members_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
