"""Scores of all pairs, exact and soft pairings, new data, and the step that uses them."""

import itertools
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from lvmlab import Batches, Joint, complete_likelihood, descend, fit, match_then_descend
from lvmlab.conditionals import Assignment, Components, Gaussian, Proportions, StandardNormal
from lvmlab.networks import MLP
from lvmlab.objectives import (
    best_pairing,
    entropic_likelihood,
    extend_pairing,
    pair_scores,
    soft_pairing,
)
from lvmlab.steps import match
from lvmlab.studies import relatives, transport

SEEDS = range(4)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def one_by_one(p, batch, latents):
    """The same scores by a double loop over the joint's own `score`."""
    ((name, z),) = latents.items()
    rows = [{v: value[i : i + 1] for v, value in batch.items()} for i in range(len(batch["x"]))]
    with torch.no_grad():
        scores = [p.score(row | {name: one[None]}).nats() for row in rows for one in z]
    return torch.cat(scores).unflatten(0, (len(rows), len(z)))


class RowByRow(nn.Module):
    """A Gaussian that brings no expand, as one that runs a network in log_prob."""

    class Distribution(Normal):
        def __init__(self, loc, scale, calls):
            super().__init__(loc, scale)
            self.calls = calls

        def log_prob(self, value):
            self.calls.append(len(value))
            return super().log_prob(value)

    def __init__(self, network):
        super().__init__()
        self.network, self.calls, self.given = network, [], []

    def forward(self, z):
        self.given.append(len(z))
        return Independent(self.Distribution(self.network(z), 0.7, self.calls), 1)


# -- scores


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pairs", [5, 4096])
def test_scores_are_those_of_the_joint_pair_by_pair(seed, pairs):
    torch.manual_seed(seed)
    network = MLP(2, 8, 3)
    x, c = torch.randn(6, 3), torch.randn(6, 3)
    z, k = torch.randn(7, 2), torch.randint(3, (7,))
    uniform = torch.distributions.Uniform(torch.full((3,), -9.0), 9.0)
    joints = [
        ({"z": StandardNormal(2), "x|z": Gaussian(network, scale=0.7)}, z),
        ({"z": StandardNormal(2), "x|z": RowByRow(network)}, z),
        ({"x": None, "z|x": Gaussian(MLP(3, 8, 4))}, z),  # the reverse factorisation
        ({"x": lambda: Independent(uniform, 1), "z|x": Gaussian(MLP(3, 8, 4))}, z),
        ({"z": Proportions(3), "x|z": Components(torch.randn(3, 3), 0.5)}, k),
        (
            {
                "c": lambda: Independent(Normal(torch.zeros(3), 1.0), 1),
                "z|c": Gaussian(MLP(3, 4)),
                "x|z,c": lambda z, c: Independent(Normal(network(z) + c, 1.0), 1),
            },
            z,
        ),
    ]
    for factors, latents in joints:
        p = Joint("p", factors)
        batch = {"x": x, "c": c} if "c" in factors else {"x": x}
        found = pair_scores(p, batch | {"index": torch.arange(6)}, {"z": latents}, None, pairs)
        torch.testing.assert_close(found, one_by_one(p, batch, {"z": latents}))
        assert not found.requires_grad


def test_the_reverse_factorisation_encodes_every_row_once():
    """z given x, one call for all latents; so is the decoder that has a Gaussian to expand."""
    seen = []

    class Counted(nn.Module):
        def forward(self, rows):
            seen.append(len(rows))
            return rows

    x, z = torch.randn(40, 2), torch.randn(40, 2)
    reverse = Joint("p", {"x": None, "z|x": Gaussian(Counted(), scale=1.0)})
    pair_scores(reverse, {"x": x}, {"z": z})
    assert seen == [40]
    forward = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(Counted(), scale=1.0)})
    pair_scores(forward, {"x": x[:7]}, {"z": z})
    assert seen == [40, 40]


def test_a_pass_is_never_larger_than_asked_and_equal_latents_are_scored_once():
    decoder = RowByRow(MLP(2, 4, 3))
    p = Joint("p", {"z": StandardNormal(2), "x|z": decoder})
    z = torch.randn(4, 2)[torch.tensor([0, 1, 1, 2, 3, 3, 3, 0, 2, 1])]
    pair_scores(p, {"x": torch.randn(10, 3)}, {"z": z}, pairs_at_once=16)
    assert decoder.calls == [16, 16, 8]  # ten rows by four distinct latents


def test_more_values_than_rows_cost_only_those_of_the_batch():
    decoder = RowByRow(nn.Embedding(50, 3))
    p = Joint("p", {"z": Proportions(50), "x|z": decoder})
    stored = torch.arange(50)
    step_of = Assignment(stored)
    match(p, "z", step_of, {"x": torch.randn(5, 3), "index": torch.tensor([3, 9, 20, 30, 49])})
    assert sum(decoder.calls) == 5 * 5
    assert step_of.latents.sort().values.equal(stored)


def test_gradients_of_scores_are_recorded_only_when_asked():
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 4, 3), scale=1.0)})
    x, z = torch.randn(3, 3), torch.randn(3, 2)
    scores = pair_scores(p, {"x": x}, {"z": z}, gradient=True)
    (total,) = torch.autograd.grad(scores.diagonal().sum(), [next(p.parameters())])
    (own,) = torch.autograd.grad(p.score({"x": x, "z": z}).nats().sum(), [next(p.parameters())])
    torch.testing.assert_close(total, own)


# -- pairings


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e3])
def test_prices_for_ties_change_the_time_and_not_the_optimum(seed, spread):
    from scipy.optimize import linear_sum_assignment

    drawn = torch.randint(4, (600,), generator=generator(seed))
    scores = spread * torch.randn(600, 4, generator=generator(seed + 100))[:, drawn].double()
    found = best_pairing(scores)
    rows, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    best = scores[torch.as_tensor(rows), torch.as_tensor(columns)].sum()
    assert found.sort().values.equal(torch.arange(600))
    assert scores[torch.arange(600), found].sum().item() == pytest.approx(best.item(), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("epsilon", [3.0, 0.3, 0.03, 1e-4])
def test_soft_pairings_are_doubly_stochastic_and_never_beat_the_best(seed, epsilon):
    scores = 3 * torch.randn(12, 12, generator=generator(seed)).double()
    for iterations in (3, 2000):  # also when it was stopped long before
        weights = soft_pairing(scores, epsilon, iterations=iterations)
        assert weights.min() >= 0
        for axis in (0, 1):
            torch.testing.assert_close(weights.sum(axis), torch.ones(12).double())
        best = scores[torch.arange(12), best_pairing(scores)].sum()
        assert (weights * scores).sum() <= best + 1e-9
    if epsilon == 1e-4:
        assert (weights * scores).sum().item() == pytest.approx(best.item(), abs=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_pairings_are_the_entropic_optimum(seed):
    """The condition of an optimum: log R - scores / epsilon is a sum of a row and a column term."""
    scores = torch.randn(9, 9, generator=generator(seed)).double()
    weights = soft_pairing(scores, 0.8, tolerance=1e-10)
    rest = weights.log() - scores / 0.8
    rest = rest - rest.mean(0) - rest.mean(1, keepdim=True) + rest.mean()
    assert rest.abs().max() < 1e-6
    prices = torch.randn(9, generator=generator(seed))
    torch.testing.assert_close(soft_pairing(scores + prices, 0.8, 1e-10), weights)


def test_scores_that_cannot_be_paired_are_refused():
    for pairing in (best_pairing, partial(soft_pairing, epsilon=1.0)):
        with pytest.raises(ValueError, match=r"scores must be \(B, B\).*got \(2, 3\)"):
            pairing(torch.zeros(2, 3))
        for bad in (math.nan, -math.inf, math.inf):
            with pytest.raises(ValueError, match="NaN or infinite values"):
                pairing(torch.tensor([[0.0, bad], [0.0, 0.0]]))
    for epsilon in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="epsilon must be positive"):
            soft_pairing(torch.zeros(2, 2), epsilon)


# -- the entropic loss


@pytest.mark.parametrize("seed", SEEDS)
def test_the_entropic_loss_tends_to_that_of_the_match_with_its_gradient(seed):
    torch.manual_seed(seed)
    p = Joint("p", {"x": None, "z|x": Gaussian(MLP(3, 8, 2), scale=0.5)})
    assignment = Assignment(torch.randn(16, 2, generator=generator(seed + 10_000)))
    q = Joint("q", {"x": None, "z|index": assignment})
    batch = {"x": torch.randn(16, 3), "index": torch.arange(16)}
    weight = next(p.parameters())
    losses, gradients = [], []
    for epsilon in (10.0, 1.0, 0.1, 1e-3):
        evaluation = entropic_likelihood(p, q, batch, epsilon)
        assert evaluation.terms["pair_nll"].shape == (16,)
        losses.append(evaluation.loss.item())
        gradients.append(torch.autograd.grad(evaluation.loss, [weight])[0])
    match(p, "z", assignment, batch)
    exact = complete_likelihood(p, q, batch).loss
    assert losses == sorted(losses, reverse=True) and losses[-1] > exact.item() - 1e-4
    assert losses[-1] == pytest.approx(exact.item(), abs=1e-3)
    (limit,) = torch.autograd.grad(exact, [weight])
    torch.testing.assert_close(gradients[-1], limit, atol=2e-2, rtol=2e-2)
    assert (gradients[0] - limit).norm() > (gradients[-1] - limit).norm()


@pytest.mark.slow
def test_codes_follow_a_prior_that_is_drawn_anew_for_every_batch():
    """The Sinkhorn autoencoder's half: an encoder alone, pulled towards N(0, I) by the batch."""
    for seed in range(3):
        torch.manual_seed(seed)
        network = nn.Linear(1, 1)
        p = Joint("p", {"x": None, "z|x": Gaussian(network, scale=0.5)})
        q = Joint("q", {"x": None, "z": StandardNormal(1)})
        x = 1 + 4 * torch.rand(300, 1)
        optimiser = torch.optim.Adam(p.parameters(), 0.2)
        step = descend(partial(entropic_likelihood, epsilon=0.2), p, q, optimiser)
        fit(step, Batches({"x": x}, 30, seed), steps=70, progress=False, device="cpu")
        with torch.no_grad():
            codes = network(x)
        assert abs(codes.mean()) < 0.5 and 0.6 < codes.std() < 1.2


# -- new data


def blobs(rows, seed):
    k = torch.randint(3, (rows,), generator=generator(seed))
    centres = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    x = centres[k] + 0.3 * torch.randn(rows, 2, generator=generator(seed + 1))
    return Joint("p", {"z": Proportions(3), "x|z": Components(centres, 0.3)}), {"x": x}, k


@pytest.mark.parametrize("seed", SEEDS)
def test_new_data_take_over_latents_from_what_is_matched(seed):
    """One new row: kept pairs leave it the latent that was drawn, extended ones find its own."""
    p, matched, k = blobs(300, seed)
    _, new, label = blobs(6, seed + 50)
    alone = together = 0
    for i in range(6):
        row = {"x": new["x"][i : i + 1]}
        fresh = {"z": torch.randint(3, (1,), generator=generator(seed + 500 + i))}
        kept = extend_pairing(p, matched, {"z": k}, row, fresh, keep=True)["z"]
        assert kept[:300].equal(k) and kept[300] == fresh["z"][0]
        free = extend_pairing(p, matched, {"z": k}, row, fresh)["z"]
        assert free.bincount(minlength=3).equal(kept.bincount(minlength=3))  # the same latents
        alone += int(kept[300] == label[i])
        together += int(free[300] == label[i])
    assert together == 6 > alone


def test_extending_is_the_best_pairing_of_all_and_keeping_of_the_new():
    p, batch, _ = blobs(6, 3)
    p.factors["x|z"].raw_scale.data.fill_(2.0)
    z = torch.tensor([0, 1, 2, 0, 1, 1])
    parts = {"x": batch["x"][:3]}, {"z": z[:3]}, {"x": batch["x"][3:]}, {"z": z[3:]}

    def total(latents):
        return p.score(batch | {"z": torch.as_tensor(latents)}).nats().sum().item()

    free = extend_pairing(p, *parts)["z"]
    assert total(free) == pytest.approx(
        max(total(list(z)) for z in set(itertools.permutations(z.tolist())))
    )
    kept = extend_pairing(p, *parts, keep=True)["z"]
    tails = set(itertools.permutations(z[3:].tolist()))
    assert total(kept) == pytest.approx(max(total([0, 1, 2, *tail]) for tail in tails))
    assert total(free) >= total(kept)


def test_new_data_that_do_not_fit_are_named():
    p, batch, k = blobs(4, 0)
    with pytest.raises(ValueError, match="rows came with 4 latents and 4 new rows with 3 fresh"):
        extend_pairing(p, batch, {"z": k}, batch, {"z": k[:3]})
    with pytest.raises(ValueError, match=r"must hold the same variables, got \['x'\] and \['y'\]"):
        extend_pairing(p, batch, {"z": k}, {"y": batch["x"]}, {"z": k})


# -- the step


def continuous(rows=40, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(rows, 3)
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 8, 3), scale=0.5)})
    q = Joint("q", {"x": None, "z|index": Assignment(torch.randn(rows, 2))})
    return x, p, q


@pytest.mark.parametrize("seed", SEEDS)
def test_continuous_latents_are_matched_and_only_reordered(seed):
    x, p, q = continuous(seed=seed)
    assignment = q.factors["z|index"]
    before = assignment.latents.clone()
    batch = {"x": x, "index": torch.randperm(40)[:20]}
    batch["x"] = x[batch["index"]]
    first = complete_likelihood(p, q, batch).loss
    match(p, "z", assignment, batch)
    assert complete_likelihood(p, q, batch).loss < first
    assert torch.equal(before.sort(0).values, assignment.latents.sort(0).values)
    kept = torch.ones(40, dtype=torch.bool)
    kept[batch["index"]] = False
    assert torch.equal(before[kept], assignment.latents[kept])


@pytest.mark.slow
def test_the_reverse_factorisation_trains_by_the_same_step():
    x, _, q = continuous()
    p = Joint("p", {"x": None, "z|x": Gaussian(MLP(3, 32, 2), scale=0.5)})
    step = match_then_descend(p, q, torch.optim.Adam(p.parameters(), 1e-2))
    history = fit(step, Batches({"x": x}, 20), steps=200, progress=False, device="cpu")
    assert history["distortion"] == [0.0] * 200
    assert history["loss"][-1] < history["loss"][0] - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_large_batch_is_matched_whole_and_descended_in_pieces(seed):
    x, p, q = continuous(seed=seed)
    batch = {"x": x, "index": torch.arange(40)}
    twin = continuous(seed=seed)
    pieces = match_then_descend(p, q, torch.optim.SGD(p.parameters(), 0.01), descent_rows=16)
    by_hand = descend(complete_likelihood, *twin[1:], torch.optim.SGD(twin[1].parameters(), 0.01))
    found = pieces(batch)
    match(twin[1], "z", twin[2].factors["z|index"], batch)
    parts = [by_hand({n: v[i : i + 16] for n, v in batch.items()}) for i in (0, 16, 32)]
    for name, nats in found.terms.items():
        torch.testing.assert_close(nats, torch.cat([part.terms[name] for part in parts]))
    assert found.loss.item() == pytest.approx(sum(found.terms.values()).mean().item())
    for ours, theirs in zip(p.parameters(), twin[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="descent_rows must be a whole number from 1 up, got 0"):
        match_then_descend(p, q, torch.optim.SGD(p.parameters(), 0.01), descent_rows=0)


def test_a_resumed_run_has_the_same_assignment(tmp_path):
    def run(steps, resume=True):
        x, p, q = continuous()
        step = match_then_descend(p, q, torch.optim.Adam(p.parameters(), 1e-2))
        fit(
            step,
            Batches({"x": x}, 8),
            steps=steps,
            checkpoint=tmp_path / "kept" if resume else None,
            progress=False,
            device="cpu",
        )
        return q.factors["z|index"].latents

    whole, half = run(20, resume=False), run(9)
    assert not torch.equal(whole, half)
    assert torch.equal(run(20), whole)


# -- what goes wrong


def test_rows_that_come_twice_are_refused_before_a_latent_is_lost():
    x, p, q = continuous()
    step = match_then_descend(p, q, torch.optim.SGD(p.parameters(), 0.01))
    before = q.factors["z|index"].latents.clone()
    with pytest.raises(ValueError, match=r"index holds row 7 twice .* one would be lost"):
        step({"x": x[:3], "index": torch.tensor([7, 2, 7])})
    with pytest.raises(ValueError, match=r"holds \['x'\] and no 'index'.*Batches adds it"):
        step({"x": x[:3]})
    with pytest.raises(ValueError, match="index runs from 1 to 40, but this Assignment stores 40"):
        step({"x": x[:2], "index": torch.tensor([1, 40])})
    assert torch.equal(before, q.factors["z|index"].latents)


def test_fewer_latents_than_rows_are_named_before_the_first_step():
    x, p, q = continuous(rows=40)
    step = match_then_descend(p, q, torch.optim.SGD(p.parameters(), 0.01))
    more = torch.cat([x, x[:1]])
    with pytest.raises(ValueError, match=r"rows up to index 40, but Assignment stores 40 latents"):
        fit(step, Batches({"x": more}, 2), steps=1, progress=False, device="cpu")
    part = {"x": x[:9], "index": torch.arange(31, 40)}  # some of the rows: nothing is wrong
    fit(step, Batches(part, 3), steps=3, progress=False, device="cpu")


def test_latents_of_another_shape_or_value_are_named_at_the_first_step():
    x, p, _ = continuous()
    q = Joint("q", {"x": None, "z|index": Assignment(torch.randn(40, 3))})
    step = match_then_descend(p, q, torch.optim.SGD(p.parameters(), 0.01))
    with pytest.raises(ValueError, match=r"its distribution is over \(2,\)"):
        step({"x": x, "index": torch.arange(40)})
    p = Joint("p", {"z": Proportions(3), "x|z": Components(torch.randn(3, 3))})
    q = Joint("q", {"x": None, "z|index": Assignment(torch.arange(40) % 5)})
    step = match_then_descend(p, q, torch.optim.SGD(p.parameters(), 0.01))
    with pytest.raises(ValueError, match=r"'z' lie outside the support of p\(z\)"):
        step({"x": x, "index": torch.arange(40)})


def test_data_of_another_size_and_unknown_names_are_named():
    x, p, _ = continuous()
    z = torch.randn(5, 2)
    with pytest.raises(ValueError, match=r"p\(x\|z\) cannot score 'x': its distribution is over"):
        pair_scores(p, {"x": x[:, :2]}, {"z": z})
    with pytest.raises(ValueError, match="has no latent 'w'"):
        pair_scores(p, {"x": x}, {"w": z})
    with pytest.raises(ValueError, match=r"needs \['x'\]"):
        pair_scores(p, {"y": x}, {"z": z})
    with pytest.raises(ValueError, match="one latent variable to pair"):
        pair_scores(p, {"x": x}, {"z": z, "w": z})


def test_an_impossible_pair_is_an_error_and_nothing_is_paired():
    edges = torch.tensor([[0.0, 1.0], [0.0, 2.0]])  # z = 0 cannot make what lies above 1

    def uniform(z):
        return torch.distributions.Uniform(*edges[z].T, validate_args=False)

    p = Joint("p", {"z": Proportions(2), "x|z": uniform})
    assignment = Assignment(torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="NaN or infinite values"):
        match(p, "z", assignment, {"x": torch.tensor([1.5, 0.5]), "index": torch.arange(2)})
    assert assignment.latents.tolist() == [0, 1]


# -- the relatives, by two roads each


@pytest.mark.parametrize("seed", SEEDS)
def test_constrained_kmeans_is_followed_step_by_step(seed):
    assert relatives.balanced_kmeans(57, seed, iterations=4)["largest_gap"] < 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_permutation_invariant_training_has_the_loss_of_its_formula(seed):
    assert relatives.separation(6, True, seed)["largest_gap"] < 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_as_target_pairs_by_the_largest_inner_product(seed):
    found = relatives.noise_as_target(10, True, seed)
    assert found["largest_gap"] < 1e-5
    assert found["inner_product"] > relatives.noise_as_target(10, False, seed)["inner_product"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_likelihood_is_a_wasserstein_distance_on_the_line_and_in_the_plane(seed):
    assert transport.wasserstein(30, 5, True, seed)["largest_gap"] < 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sinkhorn_divergence_goes_to_wasserstein_and_to_the_distance_of_means(seed):
    from scipy.stats import wasserstein_distance_nd

    a = torch.randn(20, 1, generator=generator(seed)).double()
    b = 1 + 2 * torch.randn(20, 1, generator=generator(seed + 100)).double()

    def divergence(epsilon):
        pairs = ((a, b), (a, a), (b, b))
        between, own, other = (transport.entropic_cost(x, y, epsilon) for x, y in pairs)
        return between - (own + other) / 2

    by_sorting = (a[:, 0].sort().values - b[:, 0].sort().values).square().mean().item()
    assert divergence(1e-3) == pytest.approx(by_sorting, rel=0.02)
    means = (a.mean() - b.mean()).square().item()
    assert divergence(1e4) == pytest.approx(means, rel=0.01, abs=1e-3)
    assert wasserstein_distance_nd(a, b) <= math.sqrt(by_sorting) + 1e-9  # W1 is below W2


@pytest.mark.parametrize("epsilon", [0.3, 2.0])
def test_the_entropic_cost_of_two_points_is_the_least_over_all_tables(epsilon):
    a, b = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[0.4], [2.0]]).double()
    share = torch.linspace(1e-6, 1 - 1e-6, 200_001).double()  # of the diagonal
    table = torch.stack([share, 1 - share, 1 - share, share], 1) / 2
    costs = torch.cdist(a, b).square().flatten()
    values = table @ costs + epsilon * torch.xlogy(table, 4 * table).sum(1)
    assert transport.entropic_cost(a, b, epsilon) == pytest.approx(values.min().item(), abs=1e-6)
