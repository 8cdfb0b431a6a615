"""Critics: bounds held to enumeration and closed forms; work shared and not repeated."""

import itertools
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, Independent, Normal

from lvmlab import Joint, criticised, elbo, weighted
from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.joint import Draw
from lvmlab.objectives import (
    DensityRatio,
    HybridCritic,
    InfoNCE,
    NeuralCritic,
    PairwiseCritic,
    SelfCritic,
    importance_weighted,
    infonce,
    sentence_mim,
)

pytestmark = pytest.mark.usefixtures("float64")

TABLE = torch.tensor([[0.4, 0.1], [0.1, 0.4]], dtype=torch.float64)  # p(x, z)
INFORMATION = 0.192745


def expected_score(scores, candidates):
    """E log f(x, z) / sum f over a true pair and independent x, by enumeration; no log K in it.

    scores: (2, 2), log f(x, z).
    """
    total = torch.zeros(())
    marginal = TABLE.sum(1)
    for x, z in itertools.product(range(2), range(2)):
        for others in itertools.product(range(2), repeat=candidates - 1):
            weight = TABLE[x, z] * marginal[list(others)].prod()
            square = scores[[x, *others]][:, [z] * candidates]
            total = total + weight * (infonce(square)[0] - math.log(candidates))
    return total.item()


def encoder_table():
    """log q(z|x) of all pairs by a SelfCritic, from a joint whose encoder is a table."""
    rows = TABLE / TABLE.sum(1, keepdim=True)
    q = Joint("q", {"x": None, "z|x": lambda x: Categorical(rows[x])})
    both = torch.arange(2)
    return SelfCritic().scores(q.score({"x": both, "z": both}), ["x"], ["z"])


RATIO = (TABLE / (TABLE.sum(1, keepdim=True) * TABLE.sum(0))).log()


def test_infonce_bounds():
    for candidates, value in {2: 0.096372, 3: 0.129457, 8: 0.169740}.items():
        bound = expected_score(RATIO, candidates) + math.log(candidates)
        assert bound == pytest.approx(value, abs=1e-6)
        assert bound <= INFORMATION and bound <= math.log(candidates)
    for seed in range(20):
        torch.manual_seed(seed)
        assert expected_score(2 * torch.randn(2, 2), 4) + math.log(4) <= INFORMATION


def test_self_critic_is_density():
    own = encoder_table()
    torch.testing.assert_close(own, (TABLE / TABLE.sum(1, keepdim=True)).log())
    assert expected_score(own, 3) == pytest.approx(-0.969155, abs=1e-6)
    assert expected_score(RATIO, 3) == pytest.approx(-0.969155, abs=1e-6)
    literal = (-own).log()  # f = log q read literally: the minus signs cancel in the ratio
    assert expected_score(literal, 3) == pytest.approx(-1.798335, abs=1e-6)
    assert expected_score(literal, 3) < -math.log(3)


@pytest.mark.parametrize("scale", [1.0, 1e-2, 7e-3])
def test_a_gaussian_self_critic_is_the_table_of_log_densities(scale):
    """Also in single precision, where a matrix product would lose digits at small scales."""
    torch.manual_seed(0)
    mean = 2 * torch.randn(6, 3)
    wide = scale * (1 + torch.rand(6, 3))
    exact = Independent(Normal(mean, wide), 1)
    z = exact.sample()
    z[0] = z[1]
    expected = torch.stack([exact.log_prob(one.expand(6, 3)) for one in z], 1)
    for kind, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        here = Independent(Normal(mean.to(kind), wide.to(kind)), 1)
        found = SelfCritic().scores(Draw({"z": z.to(kind)}, {}, {"z|x": here}), ["x"], ["z"])
        assert found.dtype == kind
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    parts = [v.clone().requires_grad_() for v in (z, mean, wide)]
    here = Independent(Normal(*parts[1:]), 1)
    own = SelfCritic().scores(Draw({"z": parts[0]}, {}, {"z|x": here}), ["x"], ["z"])
    slopes = torch.autograd.grad(infonce(own).sum(), parts)
    by_rows = torch.stack([here.log_prob(one.expand(6, 3)) for one in parts[0]], 1)
    for a, b in zip(slopes, torch.autograd.grad(infonce(by_rows).sum(), parts), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_infonce_collapse():
    scores = torch.full((5, 5), 0.7)
    for choose in ("x", "z", "both"):
        torch.testing.assert_close(infonce(scores, choose), torch.zeros(5))
    assert -math.log(5) == pytest.approx(-1.609438, abs=1e-6)


def test_infonce_perfect():
    for size, cap in {32: 3.465736, 50: 3.912023}.items():
        bound = infonce(1e4 * torch.eye(size))
        assert bound.tolist() == pytest.approx([cap] * size, abs=1e-6)


def test_infonce_batch():
    scores = torch.tensor([[2, 0.5, -1], [0, 1, 0.3], [0.2, -0.4, 1.5]])
    chance = math.log(3)
    assert infonce(scores).mean().item() - chance == pytest.approx(-0.401395, abs=1e-6)
    assert infonce(scores, "z").mean().item() - chance == pytest.approx(-0.405473, abs=1e-6)
    both = (-0.401395 - 0.405473) / 2
    assert infonce(scores, "both").mean().item() - chance == pytest.approx(both, abs=1e-6)
    shifted = scores + torch.tensor([3.0, -1.0, 0.5])  # a factor of z alone
    torch.testing.assert_close(infonce(shifted), infonce(scores))
    assert (infonce(shifted, "z") - infonce(scores, "z")).abs().max() > 0.1


def test_eq14_pointwise_condition():
    ratio, size = 2.0, 4
    assert -math.log(size * ratio + 1 - ratio) == pytest.approx(-1.945910, abs=1e-6)
    assert -math.log(size * ratio) == pytest.approx(-2.079442, abs=1e-6)


def test_separable_critic():
    g = torch.tensor([[1, 2], [0, 1], [-1, 0.5]])
    h = torch.tensor([[0.5, 0.5], [1, -1], [0, 2]])
    looks = []

    def seen(rows):
        def network(v):
            looks.append(len(v))
            return rows[v]

        return network

    pairs = Draw({"x": torch.arange(3), "z": torch.arange(3)}, {}, {})
    scores = NeuralCritic(seen(g), seen(h)).scores(pairs, ["x"], ["z"])
    found = scores[0, 0].item(), scores[0, 2].item(), scores[2, 1].item()
    assert found == pytest.approx((1.5, 4.0, -1.5))
    assert infonce(scores).mean().item() - math.log(3) == pytest.approx(-1.520241, abs=1e-6)
    assert looks == [3, 3]  # 2 n, where pairs take n squared
    looks.clear()
    product = lambda x, z: (seen(g)(x) * h[z]).sum(1)  # noqa: E731
    torch.testing.assert_close(PairwiseCritic(product).scores(pairs, ["x"], ["z"]), scores)
    assert looks == [9]


def test_density_ratio_classifier():
    """On rows in the very proportions of the table the loss is flat at the density ratio."""
    cells = torch.arange(4).repeat_interleave((TABLE.flatten() * 200).round().long())
    x, z = cells // 2, cells % 2
    q = Joint("q", {"x": None, "z|x": lambda x: _Given(z[:, None] * 1.0)})
    shift = torch.zeros(2, 2, requires_grad=True)

    def evaluated(logits):
        critic = PairwiseCritic(lambda a, b: logits[a, b.long().squeeze(1)])
        return DensityRatio(critic)(None, q, {"x": x})

    found = evaluated(RATIO + shift)
    assert found.terms["log_ratio"].mean().item() == pytest.approx(INFORMATION, abs=1e-6)
    assert torch.sigmoid(RATIO)[0, 0].item() == pytest.approx(0.615385, abs=1e-6)
    assert RATIO[0, 0].item() == pytest.approx(0.470004, abs=1e-6)
    (slope,) = torch.autograd.grad(found.loss, shift)
    assert slope.abs().max() < 1e-3  # 1 / 200: the others leave out the row's own pair
    (off,) = torch.autograd.grad(evaluated(RATIO + shift + 1).loss, shift)
    assert (off > 0.01).all()
    even = evaluated(shift)
    assert even.loss.item() == pytest.approx(math.log(2))


class _Given(Independent):
    """Draws what it was given."""

    def __init__(self, value):
        super().__init__(Normal(value, 1.0), 1)
        self.value = value

    def rsample(self, sample_shape=()):
        return self.value


def test_critic_reductions():
    """Mean ELBO plus weight times mean c; weight 0 is the VAE; a constant critic moves nothing."""
    p, q, batch = small_vae(4)
    constant = NeuralCritic(lambda x: torch.zeros(len(x), 2))
    found = {}
    for weight in (0.0, 1.0, 3.0):
        torch.manual_seed(1)
        found[weight] = criticised(constant, weight)(p, q, batch)
    torch.manual_seed(1)
    plain = elbo(p, q, batch)
    for weight, evaluation in found.items():
        torch.testing.assert_close(evaluation.loss, plain.loss)
        c = evaluation.terms["infonce"].mean() - math.log(4)
        paper = -plain.loss + weight * c  # its objective is shifted by weight log K
        assert paper.item() == pytest.approx(-plain.loss.item() - weight * math.log(4))
    bound, c = torch.tensor([-3.0, -2, -4, -3.5]), -0.5
    assert bound.sum() + c == pytest.approx(-13.0)
    assert bound.mean() + c == pytest.approx(-3.625)


def small_vae(rows=6, dim=2):
    torch.manual_seed(0)
    trunk, top = nn.Sequential(nn.Linear(3, 8), nn.Tanh()), nn.Linear(8, 2 * dim)
    p = Joint("p", {"z": StandardNormal(dim), "x|z": Gaussian(nn.Linear(dim, 6))})
    q = Joint("q", {"x": None, "z|x": Gaussian(nn.Sequential(trunk, top))})
    return p, q, {"x": torch.randn(rows, 3), "index": torch.arange(rows)}


CRITICS = {
    "self": lambda q: SelfCritic(),
    "hybrid": lambda q: HybridCritic(q.factors["z|x"].network[0], nn.Linear(8, 2)),
    "neural": lambda q: NeuralCritic(nn.Linear(3, 5), nn.Linear(2, 5)),
    "pairwise": lambda q: PairwiseCritic(lambda x, z: (x[:, :2] * z).sum(1)),
}


@pytest.mark.parametrize("make", CRITICS.values(), ids=CRITICS)
def test_one_draw_gives_the_elbo_and_the_critic(make):
    p, q, batch = small_vae()
    critic = make(q)
    torch.manual_seed(4)
    both = criticised(critic, 0.7)(p, q, batch)
    torch.manual_seed(4)
    plain = elbo(p, q, batch)
    torch.manual_seed(4)
    alone = InfoNCE(critic)(p, q, batch)
    for name, values in (plain.terms | alone.terms).items():
        torch.testing.assert_close(both.terms[name], values)
    torch.testing.assert_close(both.loss, plain.loss + 0.7 * alone.loss)
    assert list(both.terms) == ["distortion", "rate", "infonce"]
    torch.manual_seed(4)
    annealed = criticised(critic, 0.7)(p, q, batch, beta=0.25)
    torch.testing.assert_close(both.loss - annealed.loss, 0.75 * plain.terms["rate"].mean())
    together = weighted((elbo, 1.0), (InfoNCE(critic), 0.7))(p, q, batch)
    assert set(together.terms) == {"distortion", "rate", "infonce"}


def test_scores_of_the_self_critic_one_pair_at_a_time():
    _, q, batch = small_vae()
    pairs = q.draw(batch)
    scores = SelfCritic().scores(pairs, ["x"], ["z"])
    for i, j in itertools.product(range(6), range(6)):
        alone = {"x": batch["x"][i : i + 1], "z": pairs.values["z"][j : j + 1]}
        torch.testing.assert_close(scores[i, j : j + 1], q.score(alone).log_prob["z|x"])


def test_the_hybrid_critic_hears_the_trunk_and_runs_it_once():
    p, q, batch = small_vae()
    critic = CRITICS["hybrid"](q)
    trunk, calls = q.factors["z|x"].network[0], []
    trunk.register_forward_hook(lambda *given: calls.append(1))
    evaluation = criticised(critic)(p, q, batch)
    assert len(calls) == 1
    evaluation.loss.backward()
    assert trunk[0].weight.grad.abs().sum() > 0 and critic.head.weight.grad.abs().sum() > 0
    pairs = q.draw(batch)
    calls.clear()
    fresh = critic.scores(pairs, ["x"], ["z"])  # nothing heard: it looks for itself
    assert len(calls) == 1
    torch.testing.assert_close(fresh, critic.head(trunk(batch["x"])) @ pairs.values["z"].T)
    other = {"x": torch.randn(6, 3)}
    criticised(critic)(p, q, batch)
    with critic.attending():
        pairs = q.draw(other)
    expected = critic.head(trunk(other["x"])) @ pairs.values["z"].T
    torch.testing.assert_close(critic.scores(pairs, ["x"], ["z"]), expected)
    with critic.attending():
        q.draw(other)  # heard and never asked about: the next question is about other data
    pairs = q.draw(batch)
    expected = critic.head(trunk(batch["x"])) @ pairs.values["z"].T
    torch.testing.assert_close(critic.scores(pairs, ["x"], ["z"]), expected)


def gaussian_joints(information, dim=2):
    """x and z standard normal with so many nats between them, as p(z) p(x|z) and q(x) q(z|x)."""
    scale = math.exp(-information / dim)
    mean = math.sqrt(-math.expm1(-2 * information / dim))
    to = lambda v: Independent(Normal(mean * v, scale), 1)  # noqa: E731
    p = Joint("p", {"z": StandardNormal(dim), "x|z": to})
    return p, Joint("q", {"x": None, "z|x": to})


@pytest.mark.slow
@pytest.mark.parametrize("side", ["inference", "model"])
@pytest.mark.parametrize(
    ("information", "size", "known"),
    [(0.5, 8, 0.42), (1.386, 32, 1.30), (3.0, 32, 2.57), (5.0, 32, 3.29), (5.0, 128, 4.27)],
)
def test_infonce_stays_below_known_information_and_below_log_b(side, information, size, known):
    """The best critic on Gaussian pairs in one dimension, five seeds of 40 batches."""
    p, q = gaussian_joints(information, dim=1)
    means = {"x": [], "z": []}
    for seed, (choose, found) in itertools.product(range(5), means.items()):
        torch.manual_seed(seed)
        objective = InfoNCE(SelfCritic(), choose, side)
        bounds = torch.stack(
            [objective(p, q, {"x": torch.randn(size, 1)}).terms["infonce"] for _ in range(40)]
        )
        assert bounds.max() <= math.log(size) + 1e-12
        found.append(bounds.mean().item())
    best, other = ("x", "z") if side == "inference" else ("z", "x")
    assert InfoNCE(SelfCritic(), side=side).choose == best
    mean = {choose: sum(found) / 5 for choose, found in means.items()}
    error = torch.tensor(means[best]).std().item() / math.sqrt(5)
    assert mean[best] <= information + 4 * error
    assert mean[best] == pytest.approx(known, abs=0.015 + 4 * error)
    if information < 2:  # the wrong way round it lacks a factor, which matters most when unsure
        assert mean[other] < mean[best] - 0.02


@pytest.mark.slow
def test_a_trained_critic_finds_most_of_the_information_and_never_more():
    p, q = gaussian_joints(1.386)
    critic = NeuralCritic(nn.Linear(2, 2, bias=False))
    untrained = InfoNCE(critic)(p, q, {"x": torch.randn(256, 2)}).terms["infonce"].mean()
    quadratic = PairwiseCritic(_Quadratic())
    for one in (critic, quadratic):
        adam = torch.optim.Adam(one.parameters(), lr=5e-2)
        found = []
        for step in range(100):
            evaluation = InfoNCE(one)(p, q, {"x": torch.randn(48, 2)})
            adam.zero_grad()
            evaluation.loss.backward()
            adam.step()
            found += [-evaluation.loss.item()] if step >= 70 else []
        mean = sum(found) / len(found)
        assert untrained < mean < 1.386 + 0.05
    assert mean > 1.1  # the quadratic one holds the log density ratio


class _Quadratic(nn.Module):
    """-|a x - z|^2 times a number."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor([0.1, 0.1]))

    def forward(self, x, z):
        return -((self.a[0] * x - z) ** 2).sum(1) * self.a[1].exp()


@pytest.mark.parametrize("choose", ["x", "z"])
def test_the_model_side_gradient_of_discrete_data_is_that_of_enumeration(choose):
    """Two pairs of one bit each: the gradient of the expected loss, and the expected gradient."""
    weight = torch.tensor(0.8, requires_grad=True)
    signs = torch.tensor([-1.0, 1.0])

    class Fixed(Bernoulli):
        """Draws what was decided."""

        def sample(self, shape=()):
            return self.decided

    def decided(value, **given):
        bit = Fixed(**given)
        bit.decided = torch.tensor(value)
        return bit

    exact, estimated = torch.zeros(()), torch.zeros(())
    objective = InfoNCE(SelfCritic(), choose, "model")
    for zs in itertools.product((0.0, 1.0), repeat=2):
        for xs in itertools.product((0.0, 1.0), repeat=2):
            p = Joint(
                "p",
                {
                    "z": lambda zs=zs: decided(zs, probs=torch.tensor(0.5)),
                    "x|z": lambda z, xs=xs: decided(xs, logits=weight * signs[z.long()]),
                },
            )
            evaluation = objective(p, None, {"x": torch.zeros(2)})
            chance = p.score({"z": torch.tensor(zs), "x": torch.tensor(xs)}).nats().sum().exp()
            exact = exact - chance * evaluation.terms["infonce"].mean()
            (slope,) = torch.autograd.grad(evaluation.loss, weight, retain_graph=True)
            estimated = estimated + chance.detach() * slope
    (expected,) = torch.autograd.grad(exact, weight)
    assert expected.abs() > 0.01
    torch.testing.assert_close(estimated, expected)


LOSSES = {  # of objectives, from their terms: those carry no REINFORCE
    "elbo": (elbo, lambda t: t["distortion"] + t["rate"]),
    "beta": (partial(elbo, beta=0.3), lambda t: t["distortion"] + 0.3 * t["rate"]),
    "sentence_mim": (
        sentence_mim,
        lambda t: t["distortion"] + (t["encoder_nll"] + t["latent_nll"]) / 2,
    ),
    "InfoNCE": (InfoNCE(SelfCritic(), "x"), lambda t: -t["infonce"]),
    "criticised": (
        criticised(SelfCritic(), weight=0.7),
        lambda t: t["distortion"] + t["rate"] - 0.7 * t["infonce"],
    ),
    "importance_weighted": (partial(importance_weighted, samples=2), lambda t: -t["bound"]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_a_discrete_encoder_are_those_of_enumeration(name):
    """Two rows, one bit of code each (two for two samples): all codes, by their probability."""
    objective, loss_of = LOSSES[name]
    weight = torch.tensor(0.8, requires_grad=True)
    x = torch.tensor([-1.0, 1.0])

    class Decided(Bernoulli):
        def sample(self, shape=()):
            return codes

    q = Joint("q", {"x": None, "z|x": lambda x: Decided(logits=weight * x + 0.3)})
    prior, means = Bernoulli(torch.tensor(0.4)), torch.tensor([-0.5, 1.0])
    p = Joint("p", {"z": lambda: prior, "x|z": lambda z: Normal(means[z.long()], 1.0)})
    rows = x.repeat_interleave(2 if name == "importance_weighted" else 1, 0)
    exact, estimated = torch.zeros(()), torch.zeros(())
    for drawn in itertools.product((0.0, 1.0), repeat=len(rows)):
        codes = torch.tensor(drawn)
        evaluation = objective(p, q, {"x": x})
        chance = q.score({"x": rows, "z": codes}).nats(["z"]).sum().exp()
        exact = exact + chance * loss_of(evaluation.terms).mean()
        (slope,) = torch.autograd.grad(evaluation.loss, weight, retain_graph=True)
        estimated = estimated + chance.detach() * slope
    (expected,) = torch.autograd.grad(exact, weight)
    assert expected.abs() > 0.01
    torch.testing.assert_close(estimated, expected)


def hierarchy(rows=5):
    torch.manual_seed(0)
    below = nn.Linear(5, 4)
    q = Joint(
        "q",
        {
            "x": None,
            "z2|x": Gaussian(nn.Linear(3, 4)),
            "z1|x,z2": Gaussian(lambda x, z2: below(torch.cat([x, z2], 1))),
        },
    )
    return q, {"x": torch.randn(rows, 3)}


def test_a_hierarchy_is_judged_by_its_upper_latent():
    q, batch = hierarchy()
    pairs = q.draw(batch)
    scores = SelfCritic(["z2"]).scores(pairs, ["x"], ["z2", "z1"])
    torch.testing.assert_close(scores.diagonal(), pairs.log_prob["z2|x"])
    with pytest.raises(ValueError, match=r"z1\|x,z2 has parents on both sides.*SelfCritic\(latent"):
        InfoNCE(SelfCritic())(None, q, batch)
    with pytest.raises(ValueError, match=r"says which of \['x'\] belongs to which of \['z'\]"):
        InfoNCE(SelfCritic(["z"]))(None, q, batch)
    neural = InfoNCE(NeuralCritic(nn.Linear(3, 4)))(None, q, batch)
    assert neural.terms["infonce"].shape == (5,)


def test_bad_input_is_refused_in_words():
    p, q, batch = small_vae(1)
    for objective in (InfoNCE(SelfCritic()), criticised(SelfCritic()), DensityRatio(SelfCritic())):
        with pytest.raises(ValueError, match=r"the batch holds one row: take batches of 2 or more"):
            objective(p, q, batch)
    with pytest.raises(ValueError, match=r"the batch holds one row"):
        InfoNCE(NeuralCritic(nn.Linear(3, 2)), side="model")(p, q, batch)
    with pytest.raises(ValueError, match=r"scores must be \(B, B\).*\(2, 3\)"):
        infonce(torch.zeros(2, 3))
    with pytest.raises(ValueError, match='choose must be "x", "z" or "both", got \'y\''):
        infonce(torch.zeros(2, 2), "y")
    with pytest.raises(ValueError, match='"inference" or "model", got \'decoder\''):
        InfoNCE(SelfCritic(), side="decoder")
    with pytest.raises(ValueError, match="weight must be a finite number, got nan"):
        criticised(SelfCritic(), math.nan)
    p, q, batch = small_vae()
    with pytest.raises(ValueError, match=r"shapes \(6, 5\) and \(6, 2\)"):
        InfoNCE(NeuralCritic(nn.Linear(3, 5)))(p, q, batch)
