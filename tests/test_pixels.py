"""Pixels in order: nobody sees what comes later, probabilities sum to one, draws are exact."""

import itertools

import pytest
import torch
from scipy import stats
from torch import nn

from lvmlab import Joint, elbo
from lvmlab.conditionals import Bernoulli, Gaussian, StandardNormal
from lvmlab.distributions import DiscretisedLogistic
from lvmlab.networks import MLP, PixelCNN, ResidualPixelCNN
from lvmlab.networks.autoregressive import MaskedConv2d, walking
from lvmlab.pixels import Independently, InOrder, binary, logistic

NETWORKS = {
    "PixelCNN": lambda shape: PixelCNN(shape, (3, 2), width=6, layers=3),
    "PixelCNN, maps open": lambda shape: PixelCNN(
        shape, (3, 2), width=6, layers=3, mask_maps=False
    ),
    "residual": lambda shape: ResidualPixelCNN(shape, 3, width=6, kernels=(5, 3, 3, 3, 3), maps=2),
    "residual, skips of z": lambda shape: ResidualPixelCNN(
        shape, 3, width=6, kernels=(3, 3, 3), skip=True
    ),
}  # fmt: skip
EACH = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def ready(make, shape, rows=2):
    """A network whose statistics are not those of the start, and latents for it."""
    torch.manual_seed(3)
    network = make(shape)
    latents = [torch.randn(rows, d) for d in ((3, 2) if isinstance(network, PixelCNN) else (3,))]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval(), latents


def seen(output, given):
    """Which places (H, W) of `given` the pixels of `output`, one after the other, depend on."""
    height, width = output.shape[-2:]
    for row, column in itertools.product(range(height), range(width)):
        (slope,) = torch.autograd.grad(
            output[:, :, row, column].sum(), given, retain_graph=True, allow_unused=True
        )
        yield row * width + column, (slope.abs().sum((0, 1)) > 0).flatten()


@EACH
def test_no_pixel_depends_on_itself_or_on_later_ones(make, float64):
    network, latents = ready(make, (2, 4, 5))
    x = torch.rand(2, 2, 4, 5, requires_grad=True)
    before = []
    for place, sees in seen(network(x, *network.context(*latents)), x):
        assert not sees[place:].any()
        before += [sees[place - 1]] if place % 5 else []
    assert sum(before) > 8  # of 16, but on the one before (a ReLU may be off)


@EACH
def test_maps_of_z_are_masked_when_asked(make, float64):
    network, latents = ready(make, (1, 4, 5))
    maps, *rest = (c.detach().requires_grad_() for c in network.context(*latents))
    masked = make is NETWORKS["PixelCNN"]
    later = [
        (place, sees[place:].any())
        for place, sees in seen(network(torch.rand(2, 1, 4, 5), maps, *rest), maps)
    ]
    assert all(any_later == (not masked) for _, any_later in later)
    assert len(rest) == (2 if make is NETWORKS["residual, skips of z"] else 0)


@EACH
@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2)], ids=["2 x 2", "two channels"])
def test_all_images_together_have_probability_one(make, shape, float64):
    network, latents = ready(make, shape)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).reshape(16, *shape)
    for row in range(2):
        images = InOrder(network)(*(z[row : row + 1].expand(16, -1) for z in latents))
        assert images.log_prob(every).exp().sum().item() == pytest.approx(1.0, abs=1e-12)


@EACH
@pytest.mark.parametrize("pixels", [binary, logistic(5)], ids=["binary", "logistic"])
def test_cached_drawing_equals_a_whole_pass_for_each_pixel(make, pixels, float64):
    shape, count = (2, 4, 5), 2 if pixels is binary else 4
    network, latents = ready(make, shape)
    last = network.layers[-1] if isinstance(network, PixelCNN) else network.last[-1]
    wider = nn.Conv2d(last.in_channels, count, 1)
    (network.layers if isinstance(network, PixelCNN) else network.last)[-1] = wider
    for seed in range(3):
        torch.manual_seed(seed)
        cached = InOrder(network, pixels)(*latents).sample()
        torch.manual_seed(seed)
        naive = InOrder(network, pixels, cached=False)(*latents).sample()
        assert torch.equal(cached, naive)
    assert cached.shape == (2, *shape) and cached.min() >= 0 and cached.max() <= 1
    context = network.context(*latents)
    whole = network(cached, *context)
    with torch.no_grad(), walking(network, 4, 5) as walk:
        for walk.row, walk.column in itertools.product(range(4), range(5)):
            here = network(cached, *context)[:, :, 0, 0]
            torch.testing.assert_close(here, whole[:, :, walk.row, walk.column])
    torch.testing.assert_close(network(cached, *context), whole)  # and the walk is over


def test_draws_follow_the_probabilities_also_in_train_mode():
    network, latents = ready(NETWORKS["PixelCNN"], (1, 2, 2), rows=1)
    images = InOrder(network.train())(*latents)
    drawn = images.sample((4000,))
    assert drawn.shape == (4000, 1, 1, 2, 2) and network.layers[1].training
    place = 2 ** torch.arange(4)
    counts = torch.bincount((drawn.reshape(4000, 4).long() * place).sum(1), minlength=16)
    network.eval().requires_grad_(False)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).flip(1)
    repeated = InOrder(network)(*(z.expand(16, -1) for z in latents))
    expected = repeated.log_prob(every.reshape(16, 1, 2, 2)).exp().double()
    assert stats.chisquare(counts, expected / expected.sum() * 4000)[1] > 1e-3


@pytest.mark.parametrize("skip", [False, True])
def test_an_elbo_trains_every_parameter_and_counts_each_image_alone(skip):
    network = ResidualPixelCNN((1, 4, 4), 3, width=6, kernels=(3, 3, 3, 3), skip=skip)
    p = Joint("p", {"z": StandardNormal(3), "x|z": InOrder(network)})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(16, 6))})
    x = (torch.rand(5, 1, 4, 4) > 0.5).float()
    p.eval()  # a shift that batch normalisation takes out again would have no gradient
    elbo(p, q, {"x": x}).loss.backward()
    for name, parameter in p.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    z = torch.randn(5, 3)
    together = p.score({"x": x, "z": z}).log_prob["x|z"]
    alone = [p.score({"x": x[i : i + 1], "z": z[i : i + 1]}).log_prob["x|z"] for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_masks_keep_every_weight_a_parameter():
    conv = MaskedConv2d(3, 2, 5, here=True, open_inputs=1)
    assert conv.weight.shape == (2, 3, 5, 5) and conv.bias is None
    assert conv.mask[0, 0].sum() == 13 and conv.mask[0, 2].sum() == 25
    assert MaskedConv2d(1, 1, 5, here=False).mask.sum() == 12


# -- grey and colour


@pytest.mark.parametrize("channels", [1, 3])
def test_a_logistic_decoder_gives_every_channel_a_distribution_over_its_levels(channels, float64):
    raw = torch.randn(2, 2 * channels, 2, 2)
    decoder = Independently(lambda z: raw, logistic(17))(torch.zeros(2))
    loc, scale = raw[:, :channels].sigmoid(), raw[:, channels:].clamp(-4.5, 0).exp()
    x = torch.randint(17, (2, channels, 2, 2)) / 16
    cdf = lambda v: torch.sigmoid((v - loc) / scale)  # noqa: E731
    upper = torch.where(x > 0.99, 1.0, cdf(x + 1 / 32))
    lower = torch.where(x < 0.01, 0.0, cdf(x - 1 / 32))
    expected = (upper - lower).log().flatten(1).sum(1)
    torch.testing.assert_close(decoder.log_prob(x), expected)
    grid = torch.arange(17)[:, None, None, None, None] / 16
    each = decoder.base_dist.log_prob(grid).exp().sum(0)
    torch.testing.assert_close(each, torch.ones_like(each))
    drawn = decoder.sample() * 16
    torch.testing.assert_close(drawn, drawn.round())
    assert drawn.min() >= 0 and drawn.max() <= 16


def test_independent_binary_pixels_are_a_bernoulli():
    network = nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4)))
    z, x = torch.randn(5, 3), (torch.rand(5, 1, 4, 4) > 0.5).float()
    ours, theirs = Independently(network)(z), Bernoulli(network)(z)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))


@pytest.mark.parametrize("pixels", [binary, logistic(256)], ids=["binary", "logistic"])
@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "independently"])
def test_images_outside_zero_to_one_are_refused(pixels, in_order):
    count = 1 if pixels is binary else 2
    if in_order:
        decoder = InOrder(ResidualPixelCNN((1, 3, 3), 2, count, 4, (3, 3)), pixels)
    else:
        decoder = Independently(lambda z: torch.zeros(2, count, 3, 3), pixels)
    p = Joint("p", {"z": StandardNormal(2), "x|z": decoder})
    with pytest.raises(ValueError, match=r"'x' lie outside the support.*-0.5 to 255"):
        p.draw({"x": torch.tensor([-0.5, 255.0])[:, None, None, None].expand(2, 1, 3, 3)})


def test_wrong_images_and_sizes_are_refused_in_words():
    network = ResidualPixelCNN((1, 3, 3), 2, width=4, kernels=(3, 3))
    p = Joint("p", {"z": StandardNormal(2), "x|z": InOrder(network)})
    with pytest.raises(ValueError, match=r"over \(1, 3, 3\).*shape \(4, 3, 3, 3\)"):
        p.draw({"x": torch.zeros(4, 3, 3, 3)})
    with pytest.raises(ValueError, match=r"takes images \(B, 1, 3, 3\), got \(2, 1, 4, 4\)"):
        network(torch.zeros(2, 1, 4, 4), *network.context(torch.zeros(2, 2)))
    with pytest.raises(ValueError, match="odd number from 1 up, got 4"):
        ResidualPixelCNN((1, 3, 3), 2, kernels=(4, 3))
    with pytest.raises(ValueError, match="'latent': 0"):
        ResidualPixelCNN((1, 3, 3), 0)
    with pytest.raises(ValueError, match="'latents': 0"):
        PixelCNN((1, 3, 3), (4, 0))
    with pytest.raises(ValueError, match=r"shape must be \(channels, height, width\)"):
        PixelCNN((3, 3), (4, 4))
    with pytest.raises(ValueError, match="two numbers for each channel, got 3"):
        logistic(256)(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match="levels from 2 up"):
        DiscretisedLogistic(torch.zeros(1), 1.0, levels=1)
