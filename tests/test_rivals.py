"""The critics' rivals: an encoder that is refined, and a decoder that lags behind."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical

from lvmlab import Batches, Joint, elbo, fit, lag, noise
from lvmlab.conditionals import Bernoulli, Gaussian, StandardNormal
from lvmlab.models import Refined, strong_vae
from lvmlab.networks import MLP


def linear(start=0.0, scale=0.5):
    """x = 2 z + 0.5 noise; an encoder that always answers N(start, 1)."""
    p = Joint("p", {"z": StandardNormal(1), "x|z": lambda z: Gaussian(lambda z: 2 * z, scale)(z)})
    encoder = Gaussian(lambda x: torch.full_like(x, start), scale=1.0)
    return p, encoder


def quiet(value):
    return torch.zeros_like(value)


# -- SA-VAE


@pytest.mark.slow
def test_refinement_reaches_the_exact_posterior_of_a_linear_model(float64):
    """N(2 x / 4.25, 0.25 / 4.25), reached from N(0, 1); the bound rises with the steps."""
    p, encoder = linear()
    x = torch.linspace(-2, 2, 9)[:, None].expand(9, 15).reshape(-1, 1)
    torch.manual_seed(0)
    bounds = []
    for steps in (1, 20, 400):
        refined = Refined(encoder, p, steps=steps, rate=0.01, clip=1e9)
        q = Joint("q", {"x": None, "z|x": refined})
        with torch.no_grad():
            terms = elbo(p, q, {"x": x}).terms
        bounds.append(-(terms["distortion"] + terms["rate"]).mean().item())
    assert bounds[0] < bounds[1] < bounds[2]
    posterior = refined(x).base_dist
    off = (posterior.loc - 2 * x / 4.25).reshape(9, 15).mean(1)
    assert off.abs().max() < 0.1
    assert posterior.scale.mean().item() == pytest.approx(math.sqrt(0.25 / 4.25), rel=0.15)


def test_refinement_is_momentum_ascent_written_out(float64):
    p, encoder = linear(start=0.3)
    x = torch.tensor([[1.2], [-0.4]])
    with noise.supplied(quiet):  # z at the location: the bound's slope has a closed form
        found = Refined(encoder, p, steps=3, rate=0.01, momentum=0.5, clip=5.0)(x).base_dist
    loc, log_variance = torch.full((2, 1), 0.3), torch.zeros(2, 1)
    speed = [torch.zeros(2, 1), torch.zeros(2, 1)]
    for _ in range(3):
        slopes = [2 * (x - 2 * loc) / 0.25 - loc, torch.full((2, 1), 0.5)]
        length = (slopes[0] ** 2 + slopes[1] ** 2).sqrt()
        speed = [
            0.5 * v + s * (5 / length).clamp(max=1) for v, s in zip(speed, slopes, strict=True)
        ]
        loc, log_variance = loc + 0.01 * speed[0], log_variance + 0.01 * speed[1]
    torch.testing.assert_close(found.loc, loc)
    torch.testing.assert_close(found.scale, (log_variance / 2).exp())


@pytest.mark.slow
@pytest.mark.parametrize("clip", [0.5, 1e9], ids=["clipped", "free"])
def test_gradients_through_the_refinement_are_those_of_finite_differences(clip, float64):
    """d loss / d every weight of encoder and decoder, through five steps and their gradients."""
    torch.manual_seed(1)
    p = Joint("p", {"z": StandardNormal(2), "x|z": Bernoulli(MLP(2, 4, 3))})
    encoder = Gaussian(MLP(3, 3, 4))
    q = Joint("q", {"x": None, "z|x": Refined(encoder, p, steps=5, rate=0.1, clip=clip)})
    x = (torch.rand(4, 3) > 0.5).double()
    weights = list(nn.ModuleList([p, q]).parameters())
    assert len(weights) == 8

    def loss():
        torch.manual_seed(5)
        return elbo(p, q, {"x": x}).loss

    slopes = torch.autograd.grad(loss(), weights)
    amortised = torch.autograd.grad(
        elbo(p, Joint("q", {"x": None, "z|x": encoder}), {"x": x}).loss, weights
    )
    for weight, slope in zip(weights, slopes, strict=True):
        flat, found = weight.data.view(-1), []
        for i in range(len(flat)):
            kept = flat[i].item()
            ends = []
            for step in (1e-6, -1e-6):
                flat[i] = kept + step
                ends.append(loss().item())
            flat[i] = kept
            found.append((ends[0] - ends[1]) / 2e-6)
        torch.testing.assert_close(slope.flatten(), torch.tensor(found), rtol=1e-5, atol=1e-7)
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(slopes, amortised, strict=True))


def test_refinement_treats_each_example_alone_and_keeps_q_free_of_p(float64):
    torch.manual_seed(0)
    p, _ = strong_vae((1, 4, 4), 2, width=4, kernels=(3, 3), features=6)
    p.eval()
    encoder = Gaussian(MLP(16, 4))
    refined = Refined(encoder, p, steps=2)
    q = Joint("q", {"x": None, "z|x": refined})
    assert sum(v.numel() for v in q.parameters()) == 16 * 4 + 4
    x = (torch.rand(3, 1, 4, 4) > 0.5).double()
    with noise.supplied(quiet):
        together = refined(x).mean
        alone = torch.cat([refined(x[i : i + 1]).mean for i in range(3)])
    torch.testing.assert_close(together, alone)
    with torch.no_grad():
        assert not refined(x).mean.requires_grad
    elbo(p, q, {"x": x}).loss.backward()
    assert all(v.grad is not None for v in nn.ModuleList([p, q]).parameters())


def test_refined_refuses_nonsense_in_words():
    p, encoder = linear()
    for wrong in ({"steps": 0}, {"rate": 0.0}, {"momentum": 1.0}, {"clip": -1.0}):
        with pytest.raises(ValueError, match=r"steps from 1 up, a positive rate and clip"):
            Refined(encoder, p, **wrong)
    with pytest.raises(ValueError, match="gives a diagonal Gaussian, got Categorical"):
        Refined(lambda x: Categorical(torch.ones(2, 2)), p)(torch.zeros(2, 1))


# -- Lagging-VAE


def small(seed=0, rows=40):
    torch.manual_seed(seed)
    p = Joint("p", {"z": StandardNormal(1), "x|z": Gaussian(nn.Linear(1, 4))})
    q = Joint("q", {"x": None, "z|x": Gaussian(nn.Linear(2, 2))})
    x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed + 10_000))
    return p, q, {"x": x}


def lagging(p, q, batch, information=lambda: 0.0, objective=elbo, lr=0.05, **more):
    optimisers = [torch.optim.SGD(joint.parameters(), lr=lr) for joint in (p, q)]
    inner = Batches(batch, 10, seed=99)
    return lag(objective, p, q, *optimisers, inner, information, **more)


class Scripted:
    """An objective whose losses are written down; notes which rows it saw and what moved."""

    def __init__(self, losses, p, q):
        self.losses, self.p, self.q, self.rows, self.moved = iter(losses), p, q, [], []
        self.before = self.weights()

    def weights(self):
        return [sum(v.sum().item() for v in joint.parameters()) for joint in (self.p, self.q)]

    def __call__(self, p, q, batch):
        now = self.weights()
        self.moved.append([a != b for a, b in zip(now, self.before, strict=True)])
        self.before = now
        self.rows.append(batch["index"].tolist())
        evaluation = elbo(p, q, batch)
        value = next(self.losses)
        loss = evaluation.loss - evaluation.loss.detach() + value
        return evaluation._replace(loss=loss)


def test_the_inner_loop_stops_when_the_mean_loss_of_a_look_does_not_fall():
    p, q, batch = small()
    first = {"x": batch["x"][:10], "index": torch.arange(10)}
    # means of 3: 5, then 4, then 4: the third look is not below the second
    scripted = Scripted([5, 5, 5, 3, 4, 5, 4, 4, 4, 7.0], p, q)
    step = lagging(p, q, batch, objective=scripted, look=3)
    evaluation = step(first)
    assert evaluation.loss.item() == 7.0
    assert len(scripted.rows) == 10 and step.modules["lag"].inner == 9
    assert scripted.rows[0] == scripted.rows[-1] == list(range(10))  # first and last on the batch
    assert all(rows != list(range(10)) for rows in scripted.rows[1:-1])
    assert scripted.moved[1:] == [[False, True]] * 9  # each inner step moved q alone
    assert scripted.weights()[0] != scripted.before[0]  # and the last one p
    assert scripted.weights()[1] == scripted.before[1]


def test_the_inner_loop_ends_after_so_many_steps():
    p, q, batch = small()
    scripted = Scripted([-float(i) for i in range(50)], p, q)
    step = lagging(p, q, batch, objective=scripted, look=2, most=7)
    step({"x": batch["x"][:10], "index": torch.arange(10)})
    assert step.modules["lag"].inner == 6


def test_the_phase_ends_when_information_stops_growing():
    p, q, batch = small()
    answers = iter([0.1, 0.3, 0.2, 0.35, 0.3, 0.35, 0.1])
    modes = []

    def information():
        modes.append(p.training or q.training)
        torch.rand(100)
        return next(answers)

    step = lagging(p, q, batch, information, look=1, most=2, patience=3)
    state = step.modules["lag"]
    lasted = []
    for _ in range(36):
        lasted.append(bool(state.lagging))
        step({"x": batch["x"][:10], "index": torch.arange(10)})
    # 4 batches an epoch; the best, 0.35, at the fourth look, then three that are no more
    assert lasted == [True] * 28 + [False] * 8
    assert state.inner == 28 and state.best.item() == pytest.approx(0.35)
    assert not any(modes) and next(answers, None) is None
    before = [v.clone() for v in q.parameters()]
    step({"x": batch["x"][:10], "index": torch.arange(10)})
    assert state.inner == 28  # from now on both move, once
    assert any((a != b).any() for a, b in zip(before, q.parameters(), strict=True))


def test_a_lagging_run_goes_on_from_its_checkpoint_bit_for_bit(tmp_path):
    def run(steps, path=None):
        p, q, batch = small(3)
        torch.manual_seed(7)
        step = lagging(p, q, batch, look=2, most=6, patience=1, lr=2e-3)
        history = fit(step, Batches(batch, 10, seed=1), steps=steps, checkpoint=path, device="cpu")
        assert not step.modules["lag"].lagging  # the phase ended after 8 steps
        return [v.clone() for v in nn.ModuleList([p, q]).parameters()], history["loss"]

    whole, losses = run(13)
    path = tmp_path / "run.safetensors"
    run(9, path)
    again, resumed = run(13, path)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    assert losses == resumed


def test_lag_refuses_nonsense_in_words():
    p, q, batch = small()
    for wrong in ({"most": 0}, {"look": 0}, {"patience": 0}):
        with pytest.raises(ValueError, match="most, look and patience must be 1 or more"):
            lagging(p, q, batch, **wrong)
    both = torch.optim.SGD(nn.ModuleList([p, q]).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="hold the same parameters"):
        lag(elbo, p, q, both, both, Batches(batch, 10), lambda: 0.0)
    nan = lambda p, q, batch: elbo(p, q, batch)._replace(loss=torch.tensor(math.nan))  # noqa: E731
    with pytest.raises(FloatingPointError, match="no longer finite"):
        lagging(p, q, batch, objective=nan)(batch)
