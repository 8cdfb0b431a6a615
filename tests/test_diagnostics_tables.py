"""Tables: identities of the papers, and two roads to every number."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmlab.diagnostics import entropy, kl_divergence, mutual_information, plug_in_information

# CoLLike, fixture F1: a model table (4, 2), data on its first three rows, an encoder
P = np.array([[0.20, 0.05], [0.10, 0.15], [0.05, 0.25], [0.12, 0.08]])
DATA = np.array([1 / 3, 1 / 3, 1 / 3, 0])
ENCODER = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8], [0.5, 0.5]])


def random_table(seed, shape=(4, 3)):
    return np.random.default_rng(seed).dirichlet(np.ones(math.prod(shape))).reshape(shape)


seeds = st.integers(0, 2**32 - 1)


def test_family_split_x():
    joint = DATA[:, None] * ENCODER
    first = kl_divergence(DATA, P.sum(1))
    posterior = P / P.sum(1, keepdims=True)
    second = sum(DATA[i] * kl_divergence(ENCODER[i], posterior[i]) for i in range(3))
    assert first == pytest.approx(0.226908, abs=1e-6)
    assert second == pytest.approx(0.017462, abs=1e-6)
    assert kl_divergence(joint, P) == pytest.approx(0.244370, abs=1e-6)
    assert kl_divergence(joint, P) == pytest.approx(first + second, abs=1e-12)


def test_family_split_z():
    joint = DATA[:, None] * P / P.sum(1, keepdims=True)
    aggregate = joint.sum(0)
    inside = sum(
        aggregate[k] * kl_divergence(joint[:, k] / aggregate[k], P[:, k] / P[:, k].sum())
        for k in range(2)
    )
    latent = kl_divergence(aggregate, P.sum(0))
    assert aggregate[0] == pytest.approx(0.455556, abs=1e-6)
    assert inside == pytest.approx(0.226489, abs=1e-6)
    assert latent == pytest.approx(0.000419, abs=1e-6)
    assert kl_divergence(joint, P) == pytest.approx(inside + latent, abs=1e-12)


def test_empirical_mi_equals_hz():
    z = [0, 0, 0, 1, 1, 2]
    for pairing in sorted(set(permutations(z))):
        table = np.zeros((6, 3))
        table[np.arange(6), pairing] = 1 / 6
        assert mutual_information(table) == pytest.approx(1.011404, abs=1e-6)
        assert plug_in_information(np.arange(6), pairing) == pytest.approx(1.011404, abs=1e-6)
        assert entropy(table) == pytest.approx(1.791759, abs=1e-6)
    assert entropy(table.sum(0)) == pytest.approx(1.011404, abs=1e-6)


def test_figure4_entropies():
    assert entropy([[1 / 4, 1 / 4], [1 / 2, 0]]) == pytest.approx(1.039721, abs=1e-6)
    assert entropy(np.full((2, 2), 1 / 4)) == pytest.approx(1.386294, abs=1e-6)
    assert entropy(np.eye(4) / 4) == pytest.approx(1.386294, abs=1e-6)


def test_mi_entropic_form():
    joint = np.array([[0.3, 0.1], [0.2, 0.4]])
    x, z = joint.sum(1), joint.sum(0)
    given_x = sum(x[i] * entropy(joint[i] / x[i]) for i in range(2))
    assert mutual_information(joint) == pytest.approx(0.086305, abs=1e-6)
    assert entropy(z) == pytest.approx(0.693147, abs=1e-6)
    assert given_x == pytest.approx(0.606843, abs=1e-6)
    assert mutual_information(joint) == pytest.approx(entropy(z) - given_x, abs=1e-12)
    assert mutual_information(np.diag([0.3, 0.7])) == pytest.approx(entropy([0.3, 0.7]), abs=1e-12)


def test_joint_entropy_identity():
    joint = np.array([0.6, 0.4])[:, None] * [[0.8, 0.2], [0.25, 0.75]]
    assert entropy(joint) == pytest.approx(1.198187, abs=1e-6)
    assert entropy(joint.sum(1)) == pytest.approx(0.673012, abs=1e-6)
    assert entropy(joint.sum(0)) == pytest.approx(0.680292, abs=1e-6)
    assert mutual_information(joint) == pytest.approx(0.155116, abs=1e-6)


def test_discrete_kl_bound():
    uniform = np.full(10, 0.1)
    assert kl_divergence(np.eye(10)[3], uniform) == pytest.approx(2.302585, abs=1e-6)
    half = np.r_[0.5, 0.5, np.zeros(8)]
    assert kl_divergence(half, uniform) == pytest.approx(1.609438, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_chain_rules_and_signs_hold_on_random_tables(seed):
    q, p = random_table(seed), random_table(seed + 1)
    by_row = kl_divergence(q.sum(1), p.sum(1)) + sum(
        q[i].sum() * kl_divergence(q[i] / q[i].sum(), p[i] / p[i].sum()) for i in range(4)
    )
    assert kl_divergence(q, p) == pytest.approx(by_row, abs=1e-12)
    assert kl_divergence(q, p) > 0
    assert kl_divergence(q, q) == 0
    total = entropy(q.sum(0)) + entropy(q.sum(1)) - mutual_information(q)
    assert entropy(q) == pytest.approx(total, abs=1e-12)
    assert -1e-15 <= mutual_information(q) <= min(entropy(q.sum(0)), entropy(q.sum(1)))


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_information_does_not_see_the_names_of_the_values(seed):
    table, rng = random_table(seed), np.random.default_rng(seed)
    renamed = table[rng.permutation(4)][:, rng.permutation(3)]
    assert mutual_information(renamed) == pytest.approx(mutual_information(table), abs=1e-12)
    x, z = rng.integers(0, 5, (2, 80))
    names_x = rng.choice([-7, 3, 11, 4_000_000_000, 40], 5, replace=False)
    names_z = rng.choice([-70_000, 0, 5_000, 8, 9], 5, replace=False)
    expected = plug_in_information(x, z)
    assert plug_in_information(names_x[x], names_z[z]) == pytest.approx(expected, abs=1e-12)
    assert plug_in_information(z, x) == pytest.approx(expected, abs=1e-12)


def test_plug_in_information_is_that_of_the_table_of_counts():
    rng = np.random.default_rng(0)
    x, z = rng.integers(-3, 4, (200, 6)), rng.integers(0, 5, 200)
    expected = []
    for column in x.T:
        table = np.zeros((7, 5))
        np.add.at(table, (column + 3, z), 1 / 200)
        expected.append(mutual_information(table))
    np.testing.assert_allclose(plug_in_information(x, z), expected, atol=1e-12)
    assert plug_in_information(x[:, 0], z) == pytest.approx(expected[0], abs=1e-12)
    many = np.arange(200) * 1_000_003  # identifiers far apart: no table of that size is made
    assert plug_in_information(many, many[::-1]) == pytest.approx(math.log(200), abs=1e-9)
    assert plug_in_information(x > 0, z).shape == (6,)
    hashes = np.array([-(2**62), 2**61, 5])  # no product of such labels may overflow
    by_hash = plug_in_information(hashes[x[:, 0] % 3], hashes[z % 3])
    assert by_hash == pytest.approx(plug_in_information(x[:, 0] % 3, z % 3), abs=1e-12)


def test_plug_in_information_is_never_below_zero():
    for a, b, c, d in np.random.default_rng(0).integers(1, 9, (200, 4)):
        counts = np.outer([a, b], [c, d])  # exactly independent: only rounding is left
        x, z = (np.repeat(i.ravel(), counts.ravel()) for i in np.indices((2, 2)))
        assert 0 <= plug_in_information(x, z) < 1e-12


def test_plug_in_information_of_independent_labels_sits_at_its_bias():
    rng = np.random.default_rng(0)
    n, rows, columns = 2000, 4, 3
    found = [
        plug_in_information(rng.integers(0, rows, n), rng.integers(0, columns, n))
        for _ in range(200)
    ]
    bias = (rows - 1) * (columns - 1) / (2 * n)
    assert abs(np.mean(found) - bias) < 4 * np.std(found) / math.sqrt(len(found))
    assert min(found) >= 0


def test_kl_is_infinite_on_missing_support_and_only_there():
    assert kl_divergence([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert kl_divergence([1.0, 0.0], [0.5, 0.5]) == pytest.approx(math.log(2))
    assert kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0


def test_a_sum_off_by_rounding_is_divided_out():
    table = np.array([[0.3, 0.1], [0.2, 0.4]]) * (1 + 5e-5)
    assert mutual_information(table) == pytest.approx(0.086305, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy([0.5, 0.4]), "table must sum to 1.*0.9"),
        (lambda: entropy([1.5, -0.5]), r"table must hold probabilities.*entry \(1,\) is -0.5"),
        (lambda: entropy([]), "table must hold at least one number"),
        (lambda: entropy([np.nan, 1.0]), r"table must be finite.*first at \(0,\)"),
        (lambda: entropy(["a", "b"]), "table must hold real numbers"),
        (lambda: entropy([[0.5], [0.25, 0.25]]), "table must be one rectangular array"),
        (lambda: kl_divergence([0.5, 0.6], [1, 0]), "q must sum to 1"),
        (lambda: kl_divergence([1, 0], [0.5, 0.6]), "p must sum to 1"),
        (
            lambda: kl_divergence([1, 0], [[1, 0]]),
            r"one shape, but q has \(2,\) and p has \(1, 2\)",
        ),
        (lambda: mutual_information([0.5, 0.5]), r"table must have shape \(X, Z\)"),
        (lambda: plug_in_information([0.5, 1.0], [0, 1]), "x_labels must hold integers"),
        (lambda: plug_in_information([0, 1], [0.5, 1]), "z_labels must hold integers"),
        (lambda: plug_in_information([0, 1, 1], [0, 1]), "x_labels has 3, z_labels has 2"),
        (lambda: plug_in_information([], []), "x_labels must hold at least one"),
        (lambda: plug_in_information(np.zeros((2, 2, 2), int), [0, 1]), "x_labels must have shape"),
        (lambda: plug_in_information(3, [0, 1]), "x_labels must have shape"),
        (lambda: plug_in_information([0, 1], [[0, 1]]), r"z_labels must have shape \(N,\)"),
    ],
)
def test_bad_tables_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
