"""Many seeds at once give each seed what it would get alone."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from lvmlab import Batches, Joint, amim, elbo, mim, noise
from lvmlab.conditionals import Components, Gaussian, Proportions, StandardNormal, VampPrior
from lvmlab.many import fit_many
from lvmlab.networks import MLP
from lvmlab.objectives import marginal_likelihood

X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 0.5])


def make(seed):
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 20, 4), floor=0.1)})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(2, 20, 4), floor=0.05)})
    return p, q


def batches(seed):
    return Batches({"x": X}, 20, seed=seed)


def weights(trained):
    return torch.cat(
        [v.detach().flatten() for v in nn.ModuleList([trained.p, trained.q]).parameters()]
    )


def alone(seed, objective, steps, lr=1e-2, make=make):
    """The same run written out, without vmap: weights at the end."""
    torch.manual_seed(seed)
    p, q = make(seed)
    generator = noise.generator(seed, "draws")
    both = nn.ModuleList([p, q])
    optimiser = torch.optim.Adam(both.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        with noise.supplied(lambda v: torch.randn(v.shape, generator=generator)):
            loss = objective(p, q, batches(seed).at(step)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.cat([v.detach().flatten() for v in both.parameters()]), losses


@pytest.mark.slow
@pytest.mark.parametrize("objective", [elbo, mim, amim])
def test_each_seed_ends_where_it_would_alone(objective):
    seeds = [3, 1, 8, 5]
    together = fit_many(make, seeds, batches, objective, steps=40, lr=1e-2)
    assert [t.seed for t in together] == seeds
    for trained in together:
        expected, losses = alone(trained.seed, objective, 40)
        assert (weights(trained) - expected).abs().max() < 1e-5
        assert trained.history["loss"] == pytest.approx(losses, abs=1e-4)
    assert (weights(together[0]) - weights(together[1])).abs().max() > 0.1


def vamp(seed):
    """The encoder is one module in p and in q."""
    encoder = Gaussian(MLP(2, 8, 4), floor=0.1)
    p = Joint("p", {"z": VampPrior(encoder, X[:3]), "x|z": Gaussian(MLP(2, 8, 4), floor=0.1)})
    return p, Joint("q", {"x": None, "z|x": encoder})


def tied(seed):
    """The first weight of both networks is one tensor in two modules."""
    p, q = make(seed)
    q.factors["z|x"].network.layers[0].weight = p.factors["x|z"].network.layers[0].weight
    return p, q


@pytest.mark.parametrize("joints", [vamp, tied])
def test_what_p_and_q_share_is_trained_as_one(joints):
    together = fit_many(joints, [2, 7], batches, elbo, steps=10, lr=1e-2)
    for trained in together:
        expected, losses = alone(trained.seed, elbo, 10, make=joints)
        assert (weights(trained) - expected).abs().max() < 1e-5
        assert trained.history["loss"] == pytest.approx(losses, abs=1e-4)


def test_joints_without_gaussian_noise_train_too():
    def mixture(seed):
        means = torch.randn(3, 2, generator=torch.Generator().manual_seed(seed))
        p = Joint("p", {"k": Proportions(3), "x|k": Components(means)})
        return p, Joint("q", {"x": None})

    trained = fit_many(mixture, range(3), batches, marginal_likelihood, steps=60, lr=0.05)
    for one in trained:
        nll = marginal_likelihood(one.p, one.q, {"x": X}).loss.item()
        start, _ = mixture(one.seed)
        assert nll < marginal_likelihood(start, one.q, {"x": X}).loss.item() - 0.05
        assert not one.p.factors["k"].logits.requires_grad  # what is fixed stays fixed
        assert one.p.factors["k"].logits.tolist() == [0.0, 0.0, 0.0]


def test_the_best_weights_of_each_seed_come_back():
    def rate(step):
        return 1.0 if step < 30 else 60.0  # training is spoiled on purpose after 30 steps

    given = {"steps": 60, "lr": 1e-2, "held_out": lambda s: {"x": X}, "validate_every": 10}
    spoiled = fit_many(make, [0, 1], batches, elbo, schedule=rate, **given)
    plain = fit_many(make, [0, 1], batches, elbo, **given | {"steps": 30})
    for one, other in zip(spoiled, plain, strict=True):
        best = min(v for _, v in one.history.validation)
        assert best <= min(v for _, v in other.history.validation)
        values = [v for _, v in one.history.validation[:3]]
        assert values == pytest.approx([v for _, v in other.history.validation])
    for one in spoiled:  # the weights that came back are those of the best look
        generator = noise.generator(one.seed, "looks")
        with noise.supplied(lambda v, g=generator: torch.randn(v.shape, generator=g)):
            again = elbo(one.p, one.q, {"x": X}).loss.item()
        assert again == pytest.approx(min(v for _, v in one.history.validation), abs=1e-4)
    early = fit_many(make, [0, 1], batches, elbo, schedule=rate, patience=0, **given)
    assert len(early[0].history) < 60


def test_without_a_look_that_gave_a_number_the_last_weights_stay():
    given = {"steps": 5, "lr": 1e-2, "validate_every": 4}
    plain = fit_many(make, [0, 1], batches, elbo, **given)
    bad = {0: X * math.nan, 1: X}
    one, other = fit_many(make, [0, 1], batches, elbo, held_out=lambda s: {"x": bad[s]}, **given)
    assert torch.equal(weights(one), weights(plain[0]))
    assert not torch.equal(weights(other), weights(plain[1]))  # of step 4
    given |= {"validate_every": None, "steps": 2, "held_out": lambda s: {"x": X}}  # an epoch is 3
    unseen = fit_many(make, [0, 1], batches, elbo, **given)
    plain = fit_many(make, [0, 1], batches, elbo, **given | {"held_out": None})
    for one, other in zip(unseen, plain, strict=True):
        assert one.history.validation == []
        assert torch.equal(weights(one), weights(other))


def test_a_seed_out_of_patience_is_judged_no_more():
    trained = fit_many(
        make,
        range(6),
        batches,
        elbo,
        steps=60,
        lr=3e-2,
        held_out=lambda s: {"x": X},
        validate_every=1,
        patience=0,
    )
    lengths = {len(one.history.validation) for one in trained}
    assert len(lengths) > 1  # they ran out of patience at different steps
    for one in trained:
        values = [v for _, v in one.history.validation]
        assert all(b < a for a, b in pairwise(values[:-1]))
        assert values[-1] >= values[-2]


@pytest.mark.parametrize("patience", [0, 1, 2])
def test_so_many_looks_may_pass_without_a_better_one(patience):
    given = {"steps": 9, "lr": 1.0, "schedule": lambda step: 0.0, "validate_every": 1}
    given |= {"held_out": lambda seed: {"x": X}, "patience": patience}
    still = fit_many(make, [3, 4], batches, elbo, **given)  # only the first look is a better one
    for one in still:
        assert [step for step, _ in one.history.validation] == list(range(1, patience + 3))
        assert len(one.history) == patience + 2


def test_the_random_state_outside_stays_and_changes_nothing_inside():
    def categories(p, q, batch):  # draws that come from torch's own stream
        torch.distributions.Categorical(logits=torch.zeros(len(batch["x"]), 3)).sample()
        noisy = batch["x"] + 0.1 * torch.randn_like(batch["x"])
        return elbo(p, q, {"x": noisy})

    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(fit_many(make, [7, 2], batches, categories, steps=3, lr=1e-2))
        assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(weights(one), weights(other))
        assert one.history.terms == other.history.terms


def test_a_schedule_scales_the_learning_rate():
    still = fit_many(make, [7], batches, elbo, steps=5, lr=1.0, schedule=lambda step: 0.0)[0]
    torch.manual_seed(7)
    p, _ = make(7)
    assert torch.equal(
        still.p.state_dict()["conditionals.x|z.network.layers.0.weight"],
        p.state_dict()["conditionals.x|z.network.layers.0.weight"],
    )


def test_beta_reaches_the_objective():
    seen = []

    def objective(p, q, batch, beta=1.0):
        seen.append(beta)
        return elbo(p, q, batch, beta=beta)

    fit_many(make, [0, 1], batches, objective, steps=3, beta=lambda step: step / 2)
    assert seen[-3:] == [0.0, 0.5, 1.0]


def test_what_goes_wrong_is_named():
    with pytest.raises(ValueError, match="different numbers, got"):
        fit_many(make, [1, 1], batches, elbo, steps=1)
    with pytest.raises(ValueError, match="different numbers, got"):
        fit_many(make, [], batches, elbo, steps=1)
    with pytest.raises(ValueError, match="steps must be 1"):
        fit_many(make, [1], batches, elbo, steps=0)

    def odd(seed):
        p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 4 + seed, 4))})
        return p, make(0)[1]

    with pytest.raises(ValueError, match="one architecture"):
        fit_many(odd, [0, 1], batches, elbo, steps=1)

    def explode(p, q, batch):
        evaluation = elbo(p, q, batch)
        return evaluation._replace(loss=evaluation.loss * torch.inf)

    with pytest.raises(FloatingPointError, match=r"step 0: the loss of explode .* seed 4"):
        fit_many(make, [4, 5], batches, explode, steps=2)
