"""CoLLike's match of a whole data set: the best one-hot rows with a given number of each value."""

import itertools

import oracles
import pytest
import torch

from lvmlab import Joint, complete_likelihood, expect_then_maximise
from lvmlab.conditionals import Assignment, Components, Proportions
from lvmlab.objectives import quota_posterior
from lvmlab.steps import match

pytestmark = pytest.mark.usefixtures("float64")


def mixture(seed, values=3, rows=7):
    """A mixture of random Gaussians and rows of data, the number of rows not a multiple of K."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(values, 2, generator=generator)
    x = torch.randn(rows, 2, generator=generator)
    return Joint("p", {"z": Proportions(values), "x|z": Components(means, 0.8)}), {"x": x}


def total(p, batch, latents):
    return p.score(batch | {"z": latents}).nats().sum().item()


def every_choice(quota):
    """All latents that use value k exactly quota[k] times."""
    stock = [k for k, n in enumerate(quota) for _ in range(n)]
    return set(itertools.permutations(stock))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("quota", [None, (3, 2, 2), (0, 6, 1)])
def test_quota_is_filled_and_no_other_choice_is_more_likely(seed, quota):
    p, batch = mixture(seed)
    given = None if quota is None else torch.tensor(quota)
    rows = quota_posterior(p, batch, given)
    assert rows.sum(1).eq(1).all()
    assert rows.sum(0).tolist() == list(quota or (3, 2, 2))
    best = max(total(p, batch, torch.tensor(choice)) for choice in every_choice(quota or (3, 2, 2)))
    assert total(p, batch, rows.argmax(1)) == pytest.approx(best, abs=1e-12)


def test_quota_on_the_table_is_the_best_of_its_three_pairings():
    oracle = oracles.finite_table()
    rows = quota_posterior(oracle.p, oracle.batch, torch.tensor([1, 2]))
    assert rows.argmax(1).tolist() == [0, 1, 1]
    assert total(oracle.p, oracle.batch, rows.argmax(1)) == pytest.approx(-4.892852, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_quota_agrees_with_the_match_of_stored_latents(seed):
    p, batch = mixture(seed, values=4, rows=30)
    stored = torch.randint(4, (30,), generator=torch.Generator().manual_seed(seed))
    assignment = Assignment(stored)
    rows = quota_posterior(p, batch, torch.bincount(stored, minlength=4))
    match(p, "z", assignment, batch | {"index": torch.arange(30)})
    q = Joint("q", {"x": None, "z|index": assignment})
    paired = complete_likelihood(p, q, batch | {"index": torch.arange(30)})
    assert total(p, batch, rows.argmax(1)) == pytest.approx(-30 * paired.loss.item(), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_with_a_quota_neither_step_lowers_the_likelihood_of_the_pairs(seed):
    p, batch = mixture(seed, values=3, rows=60)
    pairs = []

    def respond(p, batch):
        rows = quota_posterior(p, batch)
        if pairs:  # the M step has moved p since: the old pairs must have gained, the new ones more
            assert total(p, batch, pairs[-1][0]) >= pairs[-1][1] - 1e-9
            assert total(p, batch, rows.argmax(1)) >= total(p, batch, pairs[-1][0]) - 1e-9
        pairs.append((rows.argmax(1), total(p, batch, rows.argmax(1))))
        return rows

    step = expect_then_maximise(p, respond)
    for _ in range(10):
        step(batch)
    assert pairs[-1][1] > pairs[0][1]


@pytest.mark.parametrize("quota", [(3, 2), (3, 2, 1), (4, 4, -1)])
def test_a_quota_that_does_not_fit_is_named(quota):
    p, batch = mixture(0)
    with pytest.raises(ValueError, match=r"quota must be 3 whole numbers .* sum to the 7 rows"):
        quota_posterior(p, batch, torch.tensor(quota))
