"""Conditionals: shapes, floors, closed-form M steps, stored assignments, messages."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal

from lvmlab.conditionals import (
    Assignment,
    Bernoulli,
    Categorical,
    Components,
    Gaussian,
    Mixture,
    Proportions,
    StandardNormal,
    VampPrior,
)
from lvmlab.networks import MLP

MAKERS = {
    "Gaussian": lambda: Gaussian(MLP(3, 8, 4)),
    "Gaussian, fixed": lambda: Gaussian(MLP(3, 8, 2), scale=0.5),
    "Gaussian, learned": lambda: Gaussian(MLP(3, 8, 2), scale="learned"),
    "Bernoulli": lambda: Bernoulli(MLP(3, 8, 2)),
    "Categorical": lambda: Categorical(MLP(3, 8, 5)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_one_log_probability_an_example_and_a_gradient_to_each_parameter(make):
    conditional = make()
    distribution = conditional(torch.randn(7, 3))
    nats = distribution.log_prob(distribution.sample())
    assert nats.shape == (7,)
    nats.sum().backward()
    for name, parameter in conditional.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


PRIORS = {
    "StandardNormal": lambda: StandardNormal(2),
    "Mixture": lambda: Mixture(torch.randn(3, 2), torch.tensor([0.5, 1.0, 2.0])),
    "VampPrior": lambda: VampPrior(Gaussian(MLP(3, 4)), torch.randn(6, 3)),
}


@pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS)
def test_priors_integrate_to_one_over_the_plane(make):
    line = torch.linspace(-12, 12, 241)
    plane = torch.cartesian_prod(line, line)
    prior = make()()
    assert prior.sample((5,)).shape == (5, 2)
    total = prior.log_prob(plane).exp().sum() * (line[1] - line[0]) ** 2
    assert total.item() == pytest.approx(1.0, abs=2e-3)


def test_scale_is_a_standard_deviation_above_its_floor():
    fixed = Gaussian(nn.Identity(), scale=0.3)(torch.zeros(2, 3))
    assert fixed.stddev.tolist() == [[pytest.approx(0.3)] * 3] * 2
    start = Gaussian(nn.Identity(), scale="learned", floor=0.1)(torch.zeros(1, 1))
    assert start.stddev.item() == pytest.approx(1.0)
    raw = torch.tensor([[0.0, -100.0]])
    assert Gaussian(nn.Identity(), floor=0.05)(raw).stddev.item() == pytest.approx(0.05)


@pytest.mark.parametrize("number", [np.float32(0.3), torch.tensor(0.3), np.array(0.3)])
def test_any_single_number_is_a_fixed_scale(number):
    fixed = Gaussian(nn.Identity(), scale=number)(torch.zeros(2, 4))
    assert fixed.event_shape == (4,) and fixed.stddev.tolist() == [[pytest.approx(0.3)] * 4] * 2


def test_a_scale_that_is_no_number_is_refused():
    for wrong in (torch.ones(2), [0.3, 0.4], "small", math.nan):
        with pytest.raises(ValueError, match="scale must be a positive number"):
            Gaussian(nn.Identity(), scale=wrong)
    with pytest.raises(ValueError, match="starts at 1, above its floor, got floor 1"):
        Gaussian(nn.Identity(), scale="learned", floor=1.0)


def test_the_m_step_finds_tight_clusters_far_from_zero():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) * 0.01
    x[100:] += 1.0
    scales = []
    for offset in (0.0, 100.0):
        components = Components(torch.zeros(2, 2), 0.5)
        moved = x + offset
        components.maximise(moved, torch.eye(2).repeat_interleave(100, 0))
        by_hand = torch.stack([part - part.mean(0) for part in moved.double().split(100)])
        assert components.scale.item() == pytest.approx(
            by_hand.square().mean().sqrt().item(), rel=2e-3
        )
        scales.append(components.scale.item())
    assert scales[0] == pytest.approx(scales[1], rel=5e-3)


def test_components_start_where_they_are_told():
    means = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    for scale in (0.01, 1.0, 800.0):
        assert Components(means, scale).scale.item() == pytest.approx(scale, rel=1e-4)
    both = Components(means, 0.5, separate=True)
    k = torch.tensor([1, 0, 1])
    assert torch.equal(both(k).mean, means[k])
    assert both(k).stddev.detach().tolist() == [[pytest.approx(0.5)] * 2] * 3


@pytest.mark.parametrize("separate", [False, True])
def test_the_m_step_is_the_maximum(separate, float64):
    """No small move of means, scales or proportions improves the weighted likelihood."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(50, 2, generator=generator)
    weights = torch.rand(50, 3, generator=generator).softmax(1)
    components, proportions = Components(torch.zeros(3, 2), 1.0, separate), Proportions(3, True)
    components.maximise(x, weights)
    proportions.maximise(weights, weights)

    def likelihood():
        k = torch.arange(3).repeat(50)
        nats = components(k).log_prob(x.repeat_interleave(3, 0)).unflatten(0, (50, 3))
        return (weights * (nats + proportions().logits)).sum()

    likelihood().backward()
    assert components.means.grad.abs().max() < 1e-9
    assert components.raw_scale.grad.abs().max() < 1e-6
    assert proportions.logits.grad.abs().max() < 1e-9


def test_a_component_without_weight_stays_where_it_is():
    components = Components(torch.tensor([[5.0], [7.0]]), 0.5, separate=True)
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    components.maximise(torch.tensor([[0.0], [1.0]]), weights)
    assert components.means.flatten().tolist() == [0.5, 7.0]
    assert components.scale.tolist() == [pytest.approx(0.5), pytest.approx(0.5)]


def test_assignment_draws_what_it_stores_and_is_saved_with_the_joint():
    assignment = Assignment(torch.tensor([3, 1, 4]))
    assert assignment(torch.tensor([2, 0])).sample().tolist() == [4, 3]
    assignment.store(torch.tensor([2, 0]), torch.tensor([7, 8]))
    assert assignment.state_dict()["latents"].tolist() == [8, 1, 7]
    continuous = Assignment(torch.zeros(3, 2))(torch.tensor([0, 1]))
    assert continuous.log_prob(torch.zeros(2, 2)).tolist() == [0.0, 0.0]


def test_mixture_matches_a_sum_written_out(float64):
    means, weights = torch.randn(3, 2), torch.tensor([0.2, 0.3, 0.5])
    scales = torch.rand(3, 2) + 0.3
    z = torch.randn(4, 2)
    expected = torch.zeros(4)
    for k in range(3):
        expected += weights[k] * Normal(means[k], scales[k]).log_prob(z).sum(1).exp()
    torch.testing.assert_close(Mixture(means, scales, weights)().log_prob(z), expected.log())


def test_uniform_and_learned_proportions():
    assert Proportions(4)().probs.tolist() == [0.25] * 4
    assert not Proportions(4).logits.requires_grad
    fixed = Proportions(2)
    fixed.maximise(torch.zeros(1), torch.tensor([[1.0, 0.0]]))
    assert fixed().probs.tolist() == [0.5, 0.5]
    assert isinstance(fixed(), TorchCategorical)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(nn.Identity(), scale=-1.0), "standard deviation and must be positive"),
        (lambda: Gaussian(nn.Identity(), scale="fitted"), "\"learned\" or None, got 'fitted'"),
        (lambda: Gaussian(nn.Identity(), floor=0.0), "floor must be positive"),
        (lambda: Gaussian(nn.Identity())(torch.zeros(1, 3)), "even number of outputs.*got 3"),
        (lambda: StandardNormal(0), "dim must be"),
        (lambda: Proportions(0), "categories must be"),
        (lambda: Mixture(torch.zeros(3)), r"means must be \(K, D\), got shape \(3,\)"),
        (lambda: Mixture(torch.zeros(3, 2), -1.0), "scales must be positive"),
        (lambda: Mixture(torch.zeros(3, 2), torch.ones(4)), r"\(3,\).*got shape \(4, 1\)"),
        (lambda: Mixture(torch.zeros(3, 2), weights=torch.ones(2)), "weights must be 3 positive"),
        (lambda: Components(torch.zeros(3)), r"means must be \(K, D\)"),
        (lambda: Components(torch.zeros(3, 1), scale=0.0), "above the floor"),
        (lambda: VampPrior(nn.Identity(), torch.zeros(3)), "pseudo_inputs must be"),
        (lambda: Assignment(torch.tensor(1.0)), "latents must be"),
        (lambda: Assignment(torch.zeros(3))(torch.tensor([3])), "runs from 3 to 3.*stores 3"),
        (
            lambda: Assignment(torch.zeros(3)).store(torch.tensor([0]), torch.zeros(2)),
            r"must have shape \(1,\), got \(2,\)",
        ),
        (lambda: MLP(3), "two or more"),
        (lambda: MLP(3, 0), "two or more whole numbers"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_vampprior_clips_to_the_range_of_the_data_and_shares_its_encoder():
    seen = []

    def encoder(u):
        seen.append(u)
        return Gaussian(nn.Identity(), scale=1.0)(u)

    VampPrior(encoder, torch.tensor([[-3.0], [0.5], [9.0]]), limits=(0.0, 1.0))()
    assert seen[0].flatten().tolist() == [0.0, 0.5, 1.0]
    module = Gaussian(MLP(3, 4))
    assert VampPrior(module, torch.zeros(2, 3)).encoder is module
    assert math.isfinite(VampPrior(module, torch.zeros(2, 3))().log_prob(torch.zeros(1, 2)).item())
