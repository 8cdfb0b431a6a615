"""Flows: inverses, log-determinants against autograd, densities that sum to one, messages."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from lvmlab import Joint, complete_likelihood, exact_posterior, match_then_descend
from lvmlab.conditionals import Mixture, Proportions
from lvmlab.diagnostics import bits_per_dim
from lvmlab.flows import (
    ActNorm,
    AffineCoupling,
    Bijection,
    Chain,
    Flatten,
    Flow,
    FlowDistribution,
    Invertible1x1,
    Logit,
    Shuffle,
    Split,
    Squeeze,
    dequantise,
    glow,
    quantise,
)
from lvmlab.models import flow_categories
from lvmlab.networks import MLP, ResNet
from lvmlab.objectives.complete import pair_scores

FIVE = partial(nn.Embedding, 5)


class Dense(nn.Module):
    """A network of x1 and a category for vectors."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = MLP(inputs + 5, 8, outputs)

    def forward(self, x, context):
        return self.layers(x, nn.functional.one_hot(context, 5))


# one example's shape, whether the map asks for a context, and how to make it
PARTS = {
    "ActNorm, vectors": ((3,), False, lambda: ActNorm(3)),
    "ActNorm, images": ((2, 4, 3), False, lambda: ActNorm(2)),
    "1x1, vectors": ((4,), False, lambda: Invertible1x1(4)),
    "1x1, images": ((3, 2, 4), False, lambda: Invertible1x1(3)),
    "Shuffle": ((5, 2, 2), False, lambda: Shuffle(5)),
    "Squeeze": ((2, 4, 6), False, Squeeze),
    "Flatten": ((2, 3, 4), False, lambda: Flatten((2, 3, 4))),
    "coupling, vectors": ((5,), False, lambda: AffineCoupling(MLP(3, 8, 4))),
    "coupling, exp": ((4,), False, lambda: AffineCoupling(MLP(2, 8, 4), log_scale=torch.tanh)),
    "coupling, category": ((3,), True, lambda: AffineCoupling(Dense(2, 2))),
    "coupling, images": ((4, 3, 2), False, lambda: AffineCoupling(ResNet(2, 4, 8, 1))),
    "coupling, images, category": (
        *((4, 3, 2), True),
        lambda: AffineCoupling(ResNet(2, 4, 8, 2, FIVE)),
    ),
    "Split": ((4, 2, 2), False, lambda: Split((4, 2, 2), Chain(ActNorm(2), Flatten((2, 2, 2))))),
    "Logit": ((2, 3, 2), False, lambda: Logit(0.01)),
    "glow": ((1, 8, 8), False, lambda: glow((1, 8, 8), 2, 2, 8, 1)),
    "glow, category": ((3, 4, 8), True, lambda: glow((3, 4, 8), 2, 1, 8, 1, FIVE)),
}


def shaken(part: nn.Module, by: float = 0.4) -> nn.Module:
    """In eval mode, away from its start, where couplings are constant."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in part.parameters():
            fan = value[0].numel() if value.ndim > 1 else 4
            value += by * torch.randn(value.shape, generator=generator) / math.sqrt(fan)
    return part.eval()


@pytest.fixture(params=PARTS.values(), ids=PARTS)
def part(request):
    shape, asks, make = request.param
    torch.manual_seed(3)
    context = torch.tensor([4, 0, 2]) if asks else None
    bijection, x = shaken(make()), torch.randn(3, *shape)
    return bijection, x.sigmoid() if isinstance(bijection, Logit) else x, context


def test_every_part_inverts(part):
    bijection, x, context = part
    y, log_det = bijection(x, context)
    assert log_det.shape == (3,)
    assert (bijection.inverse(y, context) - x).abs().max() < 1e-5
    again = bijection(bijection.inverse(y, context), context)
    assert (again[0] - y).abs().max() < 1e-4


@pytest.mark.usefixtures("float64")
def test_log_determinants_are_those_of_autograds_jacobian(part):
    bijection, x, context = part
    bijection, x = bijection.double(), x.double()
    found = bijection(x, context)[1]
    for i in range(len(x)):
        own = None if context is None else context[i : i + 1]

        def alone(flat, own=own):
            return bijection(flat.view(1, *x.shape[1:]), own)[0].flatten()

        jacobian = torch.autograd.functional.jacobian(alone, x[i].flatten())
        exact = torch.linalg.slogdet(jacobian).logabsdet
        assert found[i].item() == pytest.approx(exact.item(), abs=1e-9)


def test_the_parts_above_are_not_all_trivial(part):
    """Each log-determinant above says something: it is 0 only where that is the answer."""
    bijection, x, context = part
    zero = isinstance(bijection, Shuffle | Squeeze | Flatten)
    assert (bijection(x, context)[1].abs().max() < 1e-6) == zero


@pytest.mark.usefixtures("float64")
def test_a_whole_flow_of_lesson_size_inverts():
    p, _ = flow_categories((1, 28, 28), rows=1)
    flow = shaken(p, 0.3).factors["x|z"].bijection
    x, z = torch.rand(2, 1, 28, 28), torch.tensor([9, 3])
    for numbers, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        flow, x = flow.to(numbers), x.to(numbers)
        assert (flow.inverse(flow(x, z)[0], z) - x).abs().max() < tolerance


@pytest.mark.usefixtures("float64")
def test_affine_coupling_logdet():
    coupling = AffineCoupling(lambda x1: torch.tensor([[9.0, 9, 9, 0.2, -0.5, 0.1]]), lambda s: s)
    assert coupling(torch.randn(1, 6))[1].item() == pytest.approx(-0.2, abs=1e-6)
    mixing = Invertible1x1(2)
    with torch.no_grad():
        mixing.log_scale.copy_(torch.tensor([2.0, 1.5]).log())
    assert mixing(torch.randn(1, 2, 4, 4))[1].item() == pytest.approx(17.577797, abs=1e-6)
    norm = ActNorm(2).eval()
    with torch.no_grad():
        norm.log_scale.copy_(torch.tensor([0.5, 4.0]).log())
    assert norm(torch.randn(1, 2, 4, 4))[1].item() == pytest.approx(11.090355, abs=1e-6)


@pytest.mark.usefixtures("float64")
def test_flow_change_of_variables():
    """z ~ N(0, 1), t = 3 z + 1: the closed form, at one point and along a line."""
    norm = ActNorm(1).eval()
    with torch.no_grad():
        norm.shift.fill_(-1.0)
        norm.log_scale.fill_(-math.log(3))
    density = Flow(norm, (1,))()
    assert density.log_prob(torch.tensor([[2.0]])).item() == pytest.approx(-2.073106, abs=1e-6)
    t = torch.linspace(-9, 9, 41)
    torch.testing.assert_close(density.log_prob(t[:, None]), Normal(1.0, 3.0).log_prob(t))


@pytest.mark.usefixtures("float64")
def test_gmm_flow_d_4():
    """A mixture as the base: x = 2 z + 1 of 0.3 N(-1, 0.5^2) + 0.7 N(2, 1), at x = 1."""
    norm = ActNorm(1).eval()
    with torch.no_grad():
        norm.shift.fill_(-1.0)
        norm.log_scale.fill_(-math.log(2))
    base = Mixture(
        torch.tensor([[-1.0], [2.0]]), torch.tensor([0.5, 1.0]), torch.tensor([0.3, 0.7])
    )
    density = Flow(norm, (1,), base)()
    assert density.log_prob(torch.ones(1, 1)).item() == pytest.approx(-3.349721, abs=1e-6)
    assert not density.has_rsample and density.sample((4,)).shape == (4, 1)


def plane_flow(context=True):
    steps = []
    for _ in range(3):
        network = Dense(1, 2) if context else MLP(1, 8, 2)
        steps += [ActNorm(2), Invertible1x1(2), AffineCoupling(network)]
    return Flow(Chain(*steps), (2,))


@pytest.mark.parametrize("seed", range(3))
def test_a_flow_in_the_plane_integrates_to_one_for_every_context(seed):
    torch.manual_seed(seed)
    flow = shaken(plane_flow())
    line = torch.linspace(-16, 16, 241)
    plane = torch.cartesian_prod(line, line)
    for k in range(2):
        with torch.no_grad():
            density = flow(torch.tensor([k])).log_prob(plane[:, None])
        assert density.shape == (len(plane), 1)
        total = density.exp().sum() * (line[1] - line[0]) ** 2
        assert total.item() == pytest.approx(1.0, abs=5e-3)
        assert density.exp().max() > 0.01  # not a flat density that the grid happens to cut


def test_one_event_alone_has_the_density_that_it_has_in_a_batch():
    torch.manual_seed(0)
    density = shaken(plane_flow(context=False))().log_prob
    x = torch.randn(2)
    assert density(x).shape == () and density(x).item() == pytest.approx(density(x[None]).item())


# -- ActNorm


def test_actnorm_standardises_its_first_batch_and_no_other():
    norm = ActNorm(3)
    first, second = 5 + 2 * torch.randn(64, 3, 4, 4), 100 * torch.randn(64, 3, 4, 4)
    torch.testing.assert_close(norm.eval()(first)[0], first)  # asked before the start: nothing
    y = norm.train()(first)[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(1, correction=0), torch.ones(3))
    kept = norm.shift.clone()
    assert norm(second)[0].std() > 20 and torch.equal(norm.shift, kept)


@pytest.mark.parametrize("rows", [1, 8])
def test_actnorm_shifts_a_constant_channel_and_leaves_its_scale(rows):
    norm = ActNorm(2)
    first = torch.tensor([[0.1, 123.456]]).expand(rows, 2)
    y, log_det = norm(first)
    torch.testing.assert_close(y, torch.zeros(rows, 2), atol=1e-4, rtol=0)
    assert norm.log_scale.tolist() == [0, 0] and log_det.tolist() == [0] * rows
    after = norm(first + 2)[0]  # the next batch is not blown up
    torch.testing.assert_close(after, y + 2, atol=1e-4, rtol=0)
    mixed = ActNorm(2)
    mixed(torch.stack([torch.ones(64), 3 * torch.randn(64)], 1))
    assert mixed.log_scale[0] == 0 and 0.2 < mixed.log_scale[1].exp() < 0.5


def test_a_checkpoint_keeps_whether_actnorm_has_started():
    first, second = torch.randn(64, 3), 50 + torch.randn(64, 3)
    one, other = ActNorm(3), ActNorm(3)
    fresh = {name: value.clone() for name, value in one.state_dict().items()}
    one(first)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(second)[0], one(second)[0])  # no second start
    one.load_state_dict(fresh)  # back before the start: the next batch starts it
    assert one(second)[0].mean().abs() < 1e-4


# -- the distribution


def test_an_untouched_flow_of_nothing_has_the_moments_of_its_base():
    density = Flow(Flatten((2, 3)), (2, 3))()
    means = []
    for seed in range(5):
        torch.manual_seed(seed)
        x = density.sample((4000,))
        assert x.shape == (4000, 2, 3)
        means.append(x.mean())
        assert x.std().item() == pytest.approx(1.0, abs=0.03)
    assert torch.stack(means).abs().max() < 5 / math.sqrt(24_000)
    torch.testing.assert_close(density.log_prob(x), Normal(0, 1).log_prob(x).flatten(1).sum(1))


def test_draws_are_scored_at_the_very_noise_they_came_from():
    flow = shaken(plane_flow())
    context = torch.tensor([0, 3, 3, 1])
    density = flow(context)
    assert density.batch_shape == (4,) and density.has_rsample
    torch.manual_seed(5)
    x = density.sample((6,))
    torch.manual_seed(5)
    y = density.base.sample((6, 4))
    assert x.shape == (6, 4, 2)
    wide = context.expand(6, 4).reshape(-1)
    image, log_det = flow.bijection(x.reshape(-1, 2), wide)
    torch.testing.assert_close(image, y.reshape(-1, 2), atol=1e-4, rtol=1e-4)
    exact = Normal(0, 1).log_prob(y).sum(-1) + log_det.unflatten(0, (6, 4))
    torch.testing.assert_close(density.log_prob(x), exact, atol=1e-4, rtol=1e-4)
    assert torch.equal(density.log_prob(x)[0], density.log_prob(x[0]))


def test_temperature_scales_the_noise_and_draws_carry_gradients():
    flow = shaken(plane_flow())
    density = flow(torch.tensor([2, 2]))
    cold = density.sample((3,), temperature=0.0)
    torch.testing.assert_close(cold, cold[:1, :1].expand_as(cold))
    torch.manual_seed(1)
    warm = density.rsample((3,), temperature=0.5)
    torch.manual_seed(1)
    y = 0.5 * density.base.sample((3, 2))
    wide = torch.full((6,), 2)
    torch.testing.assert_close(flow.bijection(warm.flatten(0, 1), wide)[0], y.flatten(0, 1))
    warm.sum().backward()
    assert all(v.grad is not None for v in flow.parameters())
    assert not density.sample().requires_grad


@pytest.mark.slow
def test_a_flow_learns_as_a_conditional_of_a_joint():
    """Two blobs, told apart by the category: held out, near their entropy but not below."""
    generator = torch.Generator().manual_seed(11)

    def draw(size):
        k = torch.randint(2, (size,), generator=generator)
        noise = 0.4 * torch.randn(size, 2, generator=generator)
        return {"x": noise + torch.tensor([[-1.0, 1], [1, 1]])[k], "k": k}

    torch.manual_seed(0)
    p = Joint("p", {"k": Proportions(2), "x|k": plane_flow()})
    adam = torch.optim.Adam(p.parameters(), lr=2e-2)
    for _ in range(60):
        loss = -p.score(draw(128)).nats().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    entropy = math.log(2) + 2 * (0.5 + math.log(0.4) + 0.5 * math.log(2 * math.pi))
    batch = draw(4000)
    with torch.no_grad():
        nll = -p.eval().score(batch).nats()
        found = exact_posterior(p, {"x": batch["x"]}).argmax(1)
    assert entropy - 4 * nll.std() / math.sqrt(4000) < nll.mean() < entropy + 0.1
    assert (found == batch["k"]).float().mean() > 0.97


# -- the image flow


def image_model(shape=(1, 8, 8), rows=12, **sizes):
    torch.manual_seed(0)
    return flow_categories(shape, rows, **({"steps": 2, "width": 8, "blocks": 1} | sizes))


def test_all_categories_are_scored_in_one_pass_and_agree_with_one_by_one():
    p, _ = image_model(categories=5)
    shaken(p, 0.3)
    x, calls = torch.rand(3, 1, 8, 8), []
    flow = p.factors["x|z"].bijection
    flow.register_forward_hook(lambda *given: calls.append(len(given[1][0])))
    with torch.no_grad():
        found = p.enumerate({"x": x}).log_joint
        assert calls == [15]
        for k in range(5):
            alone = p.score({"x": x, "z": torch.full((3,), k)}).nats()
            torch.testing.assert_close(found[:, k], alone, rtol=1e-5, atol=1e-3)
        stored = torch.tensor([1, 4, 1])
        scores = pair_scores(p, {"x": x}, {"z": stored})
    assert (found.max(1).values - found.min(1).values).min() > 0.1  # the category matters
    torch.testing.assert_close(scores, found[:, stored], rtol=1e-5, atol=1e-3)


def test_before_training_all_categories_are_alike_and_every_weight_can_move():
    p, q = image_model()
    batch = {"x": torch.rand(12, 1, 8, 8), "index": torch.arange(12)}
    posterior = exact_posterior(p, batch)
    torch.testing.assert_close(posterior, torch.full((12, 10), 0.1), atol=1e-4, rtol=0)
    adam = torch.optim.Adam(p.parameters(), lr=1e-2)
    step = match_then_descend(p, q, adam)
    before, first = [v.detach().clone() for v in p.parameters()], step(batch).loss
    for _ in range(12):
        last = step(batch).loss
    assert last < first - 5
    moved = [not torch.equal(a, b) for a, b in zip(before, p.parameters(), strict=True)]
    assert sum(moved) == sum(v.requires_grad for v in p.parameters())
    assert complete_likelihood(p, q, batch).terms["latent_nll"].tolist() == pytest.approx(
        [math.log(10)] * 12
    )


def test_a_lower_precision_gives_nearly_the_same_scores_in_float32():
    p, _ = image_model()
    shaken(p, 0.3)
    x, stored = torch.rand(4, 1, 8, 8), torch.arange(4)
    exact = pair_scores(p, {"x": x}, {"z": stored})
    low = pair_scores(p, {"x": x}, {"z": stored}, torch.bfloat16)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.02, atol=1.0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8)])
def test_sizes_of_the_data_sets(shape):
    flow = glow(shape, 2, 1, 4, 1, FIVE)
    x, z = torch.rand(2, *shape), torch.tensor([0, 4])
    y, log_det = flow(x, z)
    assert y.shape == (2, math.prod(shape)) and log_det.shape == (2,)
    assert flow.inverse(y, z).shape == x.shape


@pytest.mark.parametrize("margin", [1e-6, 0.05])
def test_logit_turns_even_pixels_into_logistic_numbers(margin):
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    y, log_det = Logit(margin)(x)
    logistic = nn.functional.logsigmoid(y) + nn.functional.logsigmoid(-y)
    even = logistic.flatten(1).sum(1) + log_det  # the density of x: 1, but for the margins
    torch.testing.assert_close(even, torch.full_like(even, 64 * math.log(1 - 2 * margin)))


def test_a_margin_puts_a_logit_before_the_flow():
    torch.manual_seed(0)
    p, _ = flow_categories((1, 8, 8), 1, steps=1, width=4, margin=0.05)
    flow, z = p.factors["x|z"], torch.tensor([3, 7])
    draws = flow(z).sample()
    assert draws.min() >= -0.056 and draws.max() <= 1.056  # 0.05 / 0.9
    y, log_det = Logit(0.05)(x := torch.rand(2, 1, 8, 8))
    inner = flow.bijection.parts[1](y, z)
    expected = flow.base().log_prob(inner[0]) + inner[1] + log_det
    torch.testing.assert_close(flow(z).log_prob(x), expected)


def test_squeeze_puts_each_block_of_four_pixels_into_channels():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    y = Squeeze()(x)[0]
    assert y.shape == (1, 4, 2, 2)
    assert y[0, :, 0, 1].tolist() == [2.0, 3.0, 6.0, 7.0]


def test_split_finishes_one_half_and_sends_the_other_on():
    x = torch.randn(2, 4, 1, 2)
    y, _ = Split((4, 1, 2), Flatten((2, 1, 2)))(x)
    assert torch.equal(y, torch.cat([x[:, 2:].flatten(1), x[:, :2].flatten(1)], 1))


def test_a_context_changes_the_answer_of_a_resnet_everywhere():
    network = shaken(ResNet(2, 3, 8, 1, FIVE))
    x = torch.rand(1, 2, 4, 4)
    one, other = (network(x, torch.tensor([k])) for k in (0, 1))
    assert one.shape == (1, 3, 4, 4) and ((one - other).abs() > 1e-4).float().mean() > 0.9
    numbers = shaken(ResNet(2, 3, 8, 1, partial(nn.Linear, 6)))
    assert numbers(x, torch.randn(1, 6)).shape == (1, 3, 4, 4)


# -- pixels


def test_dequantised_pixels_come_back():
    for levels in (17, 256):
        x = torch.randint(levels, (5, 1, 4, 4)) / (levels - 1)
        y = dequantise(x, levels, torch.Generator().manual_seed(1))
        assert y.min() >= 0 and y.max() < 1
        torch.testing.assert_close(quantise(y, levels), x)
        assert torch.equal(y, dequantise(x, levels, torch.Generator().manual_seed(1)))
        assert not torch.equal(y, dequantise(x, levels))
        noise = (y * levels) % 1
        assert 0.3 < noise.mean() < 0.7
    assert quantise(torch.tensor([-3.0, 0.5, 7.0]), 3).tolist() == [0.0, 0.5, 1.0]


def test_bpd_from_nats():
    assert 3.45 * 3072 * math.log(2) == pytest.approx(7346.251078, abs=1e-6)
    assert bits_per_dim(7346.251078, 3072) == pytest.approx(3.45)
    assert bits_per_dim(690.152785, 784) == pytest.approx(1.27)
    assert bits_per_dim(0.0, 784, bins=256) == 8.0  # a uniform density on the unit cube


# -- bad input


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (Chain, "one bijection or more"),
        (lambda: ActNorm(0), "channels must be.*got 0"),
        (lambda: Logit(0.5), "margin must lie between.*got 0.5"),
        (lambda: ActNorm(3)(torch.zeros(2, 4)), r"ActNorm is for \(B, 3, ...\).*\(2, 4\)"),
        (lambda: Invertible1x1(3)(torch.zeros(2, 4)), "Invertible1x1 is for"),
        (lambda: Shuffle(3).inverse(torch.zeros(2, 4)), "Shuffle is for"),
        (lambda: Squeeze()(torch.zeros(1, 1, 7, 8)), r"even height and width.*\(1, 1, 7, 8\)"),
        (lambda: Squeeze()(torch.zeros(1, 8)), "takes images"),
        (lambda: AffineCoupling(MLP(1, 2))(torch.zeros(2, 1)), "2 channels or more"),
        (lambda: AffineCoupling(MLP(2, 3))(torch.zeros(2, 4)), r"must give \(2, 4\).*got \(2, 3\)"),
        (lambda: Flatten((2, 2))(torch.zeros(1, 4)), "Flatten takes"),
        (lambda: Split((3, 2, 2), Flatten((1, 2, 2))), "even number of channels"),
        (lambda: Split((4, 2), Flatten((2, 2)))(torch.zeros(1, 4, 3)), "Split takes"),
        (lambda: glow((1, 28, 28), 3), "28 x 28 pixels cannot be halved 3 times.*multiples of 8"),
        (lambda: glow((28, 28)), r"shape must be \(C, H, W\)"),
        (lambda: glow((1, 8, 8), steps=0), "steps=0"),
        (lambda: ResNet(1, 2, 0), "hidden.*0"),
        (lambda: ResNet(2, 2, 4)(torch.zeros(1, 3, 4, 4)), r"takes images \(B, 2, H, W\)"),
        (
            lambda: ResNet(2, 2, 4)(torch.zeros(1, 2, 4, 4), torch.tensor([0])),
            "no embed, but got a context",
        ),
        (lambda: ResNet(2, 2, 4, 1, FIVE)(torch.zeros(1, 2, 4, 4)), "but got no context"),
        (lambda: flow_categories((1, 8, 8), rows=0), "rows must be"),
        (lambda: dequantise(torch.tensor([0.0, 0.3]), 17), "choose levels"),
        (lambda: dequantise(torch.tensor([0.0, 2.0]), 3), "choose levels"),
        (lambda: dequantise(torch.tensor([0.0]), 1), "levels must be 2 or more, got 1"),
    ],
)
def test_bad_arguments_are_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_images_of_another_size_are_named_by_the_joint():
    p, _ = image_model((1, 8, 8))
    with pytest.raises(ValueError, match=r"over \(1, 8, 8\), but the value has shape \(20, 1, 9"):
        p.enumerate({"x": torch.rand(2, 1, 9, 9)})


def test_a_bijection_of_ones_own_needs_two_methods():
    class Twice(Bijection):
        def forward(self, x, context=None):
            return 2 * x, torch.full((len(x),), x[0].numel() * math.log(2))

        def inverse(self, y, context=None):
            return y / 2

    density = FlowDistribution(Twice(), Normal(torch.zeros(3), 1.0).expand((3,)), (3,))
    assert density.base.event_shape == ()
    with pytest.raises(NotImplementedError):
        Bijection()(torch.zeros(1))
    with pytest.raises(NotImplementedError):
        Bijection().inverse(torch.zeros(1))
    x = torch.randn(5, 3)
    exact = Normal(0, 0.5).log_prob(x).sum(1)
    torch.testing.assert_close(Flow(Twice(), (3,))().log_prob(x), exact)
