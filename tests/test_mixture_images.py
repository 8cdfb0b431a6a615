"""The images' mixture: each row through its own network, shapes and sizes, priors, the start."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Gumbel,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    kl_divergence,
)
from torch.nn import functional as F

from lvmlab import Joint, summed_elbo, wasserstein
from lvmlab.conditionals import Proportions
from lvmlab.models import (
    Experts,
    Modes,
    equidistant_prior,
    match_clusters,
    match_moments,
    mixture_images,
    ring_prior,
)
from lvmlab.networks import Grow, Shrink

SMALL = {"encoder": (4, 8), "decoder": (8, 4), "kernel": 3, "hidden": (6, 5)}


def pair(seed=0, components=4, **changed):
    torch.manual_seed(seed)
    return mixture_images((1, 8, 8), equidistant_prior(components), **SMALL | changed)


@pytest.mark.parametrize("seed", range(3))
def test_each_row_passes_through_the_network_of_its_own_component(seed):
    torch.manual_seed(seed)
    experts, x, k = Experts(6, 2, 3, (5, 4)), torch.randn(11, 2, 3), torch.randint(3, (11,))
    if seed == 2:
        k = torch.full((11,), 1)  # the others have no row at all
    found = experts(x, k)
    for row in range(11):
        hidden = x[row].flatten()
        for i, (w, b) in enumerate(zip(experts.weights, experts.biases, strict=True)):
            hidden = (F.relu(hidden) if i else hidden) @ w[k[row]] + b[k[row], 0]
        torch.testing.assert_close(found.mean[row], hidden[:2])
        torch.testing.assert_close(found.stddev[row], 1e-3 + F.softplus(hidden[2:]))


def test_one_pass_of_each_network_and_no_loop_over_components(monkeypatch):
    """q(k|x) is asked once for B rows, the rest once for B x K."""
    p, q = pair()
    asked = {}
    for joint in (p, q):
        for text, factor in joint.factors.items():
            if isinstance(factor, torch.nn.Module):
                asked[text] = []
                factor.register_forward_pre_hook(
                    lambda _, given, text=text: asked[text].append(len(given[0]) if given else 0)
                )
    batch = {"x": torch.rand(5, 1, 8, 8)}
    summed_elbo(p, q, batch)
    assert asked == {"k": [0], "z|k": [20], "x|z": [20], "k|x": [5], "z|x,k": [20]}
    asked.update({text: [] for text in asked})
    wasserstein(p, q, batch)
    assert asked == {"k": [0], "z|k": [5], "x|z": [20], "k|x": [5], "z|x,k": [20]}


@pytest.mark.parametrize("side", [7, 8, 13, 28])
def test_images_shrink_and_grow_back(side):
    x = torch.rand(2, 3, side, side + 1)
    assert Shrink((3, side, side + 1), 5)(x).shape == (2, 5)
    assert Grow(4, (3, side, side + 1), (8, 6, 4))(torch.randn(2, 4)).shape == x.shape


def test_a_coarse_decoder_is_the_same_up_to_rounding():
    torch.manual_seed(0)
    z, fine = torch.randn(6, 4, requires_grad=True), Grow(4, (1, 12, 12), (8, 6))
    coarse = Grow(4, (1, 12, 12), (8, 6), coarse=torch.bfloat16)
    coarse.load_state_dict(fine.state_dict())
    one, other = fine(z), coarse(z)
    assert other.dtype == one.dtype and not torch.equal(one, other)
    assert (one - other).abs().max() < 0.05 * one.std()
    slopes = [torch.autograd.grad(v.square().mean(), z)[0] for v in (one, other)]
    assert (slopes[0] - slopes[1]).norm() < 0.1 * slopes[0].norm()


def test_the_papers_sizes():
    """Counted by hand: three strided layers of 5 x 5, the dense layers, means and scales."""
    with torch.device("meta"):
        shrink, grow = Shrink((1, 28, 28), 10), Grow(10, (1, 28, 28))
        experts = Experts(784, 10, 10)
    size = [sum(v.numel() for v in net.parameters()) for net in (shrink, experts, grow)]
    conv = 25 * (16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + 10 * (64 * 4 * 4 + 1)
    dense = 10 * (785 * 32 + 33 * 32 + 33 * 20)
    up = 11 * 512 * 49 + 25 * (512 * 256 + 256 * 128) + 2 * (512 + 256 + 128) + 129
    assert size == [conv, dense, up]


@pytest.mark.parametrize("seed", range(3))
def test_kl_of_a_diagonal_from_a_full_gaussian(seed):
    torch.manual_seed(seed)
    prior = ring_prior()(torch.tensor([seed]))
    one = Experts(3, 2, 10)(torch.randn(1, 3), torch.tensor([seed]))
    full = MultivariateNormal(one.mean, one.stddev.square().diag_embed())
    torch.testing.assert_close(kl_divergence(one, prior), kl_divergence(full, prior))
    z = one.sample((40_000,))
    draws = one.log_prob(z) - prior.log_prob(z)
    assert abs(draws.mean() - kl_divergence(one, prior)) < 4 * draws.std() / 200


def test_no_closed_kl_for_what_is_no_diagonal_gaussian():
    zero, one = torch.zeros(1, 2), torch.ones(1, 2)
    prior = MultivariateNormal(zero, torch.eye(2))
    for base in (Laplace(zero, one), Gumbel(zero, one)):
        with pytest.raises(NotImplementedError, match="over a Normal"):
            kl_divergence(Independent(base, 1), prior)
    with pytest.raises(NotImplementedError, match="of one dimension"):
        kl_divergence(Independent(Normal(zero, one), 2), prior)

    def heavy(x, k=None):
        return Independent(Laplace(x, 0.5 * one), 1)

    torch.manual_seed(0)
    modes = Modes(torch.zeros(2, 2), torch.eye(2).repeat(2, 1, 1))
    see = {"k": Proportions(2), "z|k": modes, "x|z": lambda z: Independent(Normal(z, one), 1)}
    even = {"x": None, "k|x": lambda x: Categorical(logits=0 * x), "z|x,k": heavy}
    x = torch.full((20_000, 2), 0.3)
    found = summed_elbo(Joint("p", see), Joint("q", even), {"x": x}).terms["continuous_rate"]
    z = heavy(x).sample((10,))
    draws = (heavy(x).log_prob(z) - prior.log_prob(z)).flatten()
    error = (found.var() / len(found) + draws.var() / len(draws)).sqrt()
    assert abs(found.mean() - draws.mean()) < 4 * error  # estimated, as for any other pair


def test_pixels_that_count():
    """16 places a pixel: the binomial without its coefficient; one place: the cross-entropy."""
    p, _ = pair(trials=16)
    z, x = torch.randn(3, 4), torch.randint(17, (3, 1, 8, 8)) / 16
    found = p.factors["x|z"](z)
    exact = torch.distributions.Binomial(16, logits=found.logits)
    counts = torch.tensor([math.comb(16, n) for n in range(17)]).log()
    expected = exact.log_prob(16 * x) - counts[(16 * x).long()]
    torch.testing.assert_close(found.log_prob(x), expected.flatten(1).sum(1))
    torch.manual_seed(0)
    drawn = found.sample((400,))
    assert drawn.min() >= 0 and drawn.max() <= 1 and (16 * drawn == (16 * drawn).round()).all()
    error = (found.mean * (1 - found.mean) / 16 / 400).sqrt()
    assert ((drawn.mean(0) - found.mean).abs() < 5 * error + 1e-6).all()


def test_objectives_reach_every_weight_and_k_has_its_gradient():
    """Slopes of q(k|x) against differences: the sum is exact, so they are not noisy."""
    p, q = pair()
    p.eval(), q.eval()
    batch = {"x": torch.rand(6, 1, 8, 8)}
    bias = q.factors["k|x"].network.layers[-1].bias
    for objective in (summed_elbo, wasserstein):
        way, values = torch.randn_like(bias), []
        with torch.no_grad():
            for shift in (1e-2, -1e-2):
                bias += shift * way
                torch.manual_seed(3)
                values.append(objective(p, q, batch).loss)
                bias -= shift * way
        torch.manual_seed(3)
        loss = objective(p, q, batch).loss
        loss.backward()
        reached = [v for j in (p, q) for v in j.parameters() if v.requires_grad]
        assert all(v.grad is not None and v.grad.abs().max() > 0 for v in reached)
        slope = (bias.grad * way).sum().item()
        assert (values[0] - values[1]).item() / 2e-2 == pytest.approx(slope, rel=0.05, abs=0.02)
        for v in reached:
            v.grad = None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_moments_are_met_before_training(seed):
    p, q = pair(seed, components=3)
    x, untouched = torch.rand(100, 1, 8, 8), q.factors["k|x"].network.layers[0].weight.clone()
    before = match_moments(p, q, x, steps=1)
    after = match_moments(p, q, x, steps=300, lr=3e-3)
    assert after < 0.2 * before
    torch.testing.assert_close(q.factors["k|x"].network.layers[0].weight, untouched)
    k = torch.arange(3).repeat_interleave(100)
    torch.manual_seed(100 + seed)
    z = q.factors["z|x,k"](x.repeat(3, 1, 1, 1), k).sample().unflatten(0, (3, 100))
    means = p.factors["z|k"].means
    assert (z.mean(1) - means).abs().max() < 0.6 < means.max()


@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_named_before_training_and_nothing_else_moves(seed):
    """Bright images of three corners; a fourth component stays for nobody."""
    p, q = pair(seed)
    clusters = torch.arange(3).repeat(60)
    x = 0.2 * torch.rand(180, 1, 8, 8)
    for c, (i, j) in enumerate(((0, 0), (0, 4), (4, 4))):
        x[clusters == c, :, i : i + 4, j : j + 4] += 0.7
    others = [
        v for key in ("x|z", "z|x,k") for v in (p if key == "x|z" else q).factors[key].parameters()
    ]
    kept = [v.clone() for v in others]
    q.factors["k|x"].eval()
    first = match_clusters(q, x, clusters, steps=1)
    last = match_clusters(q, x, clusters, steps=150, smoothing=0.1)
    assert not q.factors["k|x"].training
    pi = q.factors["k|x"](x).probs
    assert (pi.argmax(1) == clusters).double().mean() > 0.98
    # at best the targets of 0.9 + 0.1 / 4 and thrice 0.1 / 4, whose entropy is 0.3488 nats
    assert 0.3488 - 1e-4 < last < 0.5 * first and pi[:, 3].min() > 1e-4
    assert all((a == b).all() for a, b in zip(kept, others, strict=True))


def test_marginal_proportions_of_the_prior_are_even():
    p, _ = pair()
    assert p.factors["k"]().probs.tolist() == pytest.approx([0.25] * 4)
    torch.manual_seed(1)
    k = Joint("p", {"k": p.factors["k"]}).draw(size=4000).values["k"]
    assert (torch.bincount(k) / 4000 - 0.25).abs().max() < 5 * math.sqrt(0.19 / 4000)


def test_neighbouring_petals_overlap_as_printed_and_not_as_a_pinwheel():
    """The share of a mode's draws that another mode claims, by Bayes' rule."""
    lost = {}
    for name, prior in {
        "printed": ring_prior(),
        "scale": ring_prior(reading="scale"),
        "pinwheel": ring_prior(spread=(0.5, 0.1), reading="scale"),
    }.items():
        torch.manual_seed(0)
        k = torch.arange(10).repeat_interleave(2000)
        z = prior(k).sample()
        every = torch.stack([prior(torch.full_like(k, j)).log_prob(z) for j in range(10)], 1)
        lost[name] = (every.argmax(1) != k).double().mean().item()
    assert lost["printed"] > 0.5 and lost["pinwheel"] < lost["scale"] < lost["printed"]
    apart = Normal(0.0, 1.0).cdf(torch.tensor(-2.0)).item()
    assert apart == pytest.approx(0.02275, abs=1e-5)


def test_bad_models():
    for wrong in (lambda: ring_prior(1), lambda: equidistant_prior(1)):
        with pytest.raises(ValueError, match=r"components must be 2 or more, got 1.*no mixture"):
            wrong()
    with pytest.raises(ValueError, match="components must be 2 or more"):
        Modes(torch.zeros(1, 2), torch.eye(2)[None])
    with pytest.raises(ValueError, match=r"factors \(K, D, D\)"):
        Modes(torch.zeros(3, 2), torch.eye(2))
    with pytest.raises(ValueError, match=r"reading must be one of variance, scale, got 'sd'"):
        ring_prior(reading="sd")
    with pytest.raises(ValueError, match="radius and spread must be positive"):
        ring_prior(spread=(0.0, 0.5))
    with pytest.raises(ValueError, match="scale and apart must be positive"):
        equidistant_prior(scale=-1.0)
    with pytest.raises(ValueError, match="kernel must be an odd number"):
        pair(kernel=4)
    with pytest.raises(ValueError, match="trials must be a whole number from 1 up, got 0"):
        pair(trials=0)
    with pytest.raises(ValueError, match="shape must be"):
        mixture_images((8, 8), equidistant_prior(3))
    p, q = pair()
    with pytest.raises(ValueError, match="2 rows or more, got 1"):
        match_moments(p, q, torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match="expected factors"):
        match_moments(p, p, torch.rand(4, 1, 8, 8))
    x = torch.rand(4, 1, 8, 8)
    with pytest.raises(ValueError, match=r'expected a factor "k\|x"'):
        match_clusters(p, x, torch.zeros(4).long())
    with pytest.raises(ValueError, match="one for each of 4 rows, got 3"):
        match_clusters(q, x, torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"lie in 0 ... 3, .*4 components; got 0 ... 4"):
        match_clusters(q, x, torch.tensor([0, 1, 2, 4]))
    with pytest.raises(ValueError, match="these networks take 64 numbers"):
        q.factors["z|x,k"](torch.rand(2, 5), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="2 rows or more, got 1"):
        wasserstein(p, q, {"x": torch.rand(1, 1, 8, 8)})
