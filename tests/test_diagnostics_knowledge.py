"""Numbers about knowledge, against closed forms and grids."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lvmlab import Joint
from lvmlab.conditionals import StandardNormal
from lvmlab.diagnostics import (
    block_gibbs,
    compose,
    conditional_likelihood,
    existence_nll,
    four_corners,
    importance_weighted_nll,
)

SCALE, WEIGHT = 0.5, 2.0  # t = 2 c + eps / 2 + 3 e: storyboard's v = 4, s = .5
TOTAL = WEIGHT**2 + SCALE**2
P_E = torch.tensor([0.75, 0.25])


def linear(widen=1.0):
    """One kind whose posterior is known; `widen` multiplies the scale of q(c|e,t)."""

    def encoder(e, t):
        loc = WEIGHT / TOTAL * (t - 3 * e[:, None])
        return Independent(Normal(loc, widen * SCALE / math.sqrt(TOTAL)), 1)

    def existence(t):
        nats = torch.stack(
            [Normal(3.0 * e, math.sqrt(TOTAL)).log_prob(t[:, 0]) + P_E[e].log() for e in (0, 1)], 1
        )
        return Categorical(logits=nats)

    p = Joint("p", {
        "c_a": StandardNormal(1),
        "e_a|c_a": lambda c: Categorical(P_E.expand(len(c), 2)),
        "t|e_a,c_a": lambda e, c: Independent(Normal(WEIGHT * c + 3 * e[:, None], SCALE), 1),
    })  # fmt: skip
    density = MixtureSameFamily(
        Categorical(P_E), Independent(Normal(torch.tensor([[0.0], [3.0]]), math.sqrt(TOTAL)), 1)
    )
    q = Joint("q", {"t": lambda: density, "e_a|t": existence, "c_a|e_a,t": encoder})
    return p, q


def batch(size=4000):
    e = (torch.rand(size) < 0.25).long()
    return {"t": math.sqrt(TOTAL) * torch.randn(size, 1) + 3 * e[:, None], "e_a": e}


def test_a_distortion_lies_below_the_entropy_and_pays_with_its_rate():
    """The distortion is the entropy of t given c, 0.7258 nats; the rate is I(t;c)."""
    for seed in range(3):
        torch.manual_seed(seed)
        p, q = linear()
        given = batch()
        found = conditional_likelihood(p, q, given, seed=seed)
        exact = -Normal(3.0 * given["e_a"], math.sqrt(TOTAL)).log_prob(given["t"][:, 0]).numpy()
        np.testing.assert_allclose(found.bound, exact, atol=1e-5)  # every draw is exact
        spread = found.distortion.std() / 4000**0.5
        entropy = 0.5 * math.log(2 * math.pi * math.e * TOTAL)
        assert abs(found.distortion.mean() - 0.725791) < 5 * spread
        assert abs(found.bound.mean() - entropy) < 5 * exact.std() / 4000**0.5
        assert found.rate.mean() > 1.2


def test_with_a_worse_encoder_the_bound_is_above_and_more_draws_come_closer():
    torch.manual_seed(0)
    p, q = linear(widen=1.6)
    given = batch(400)
    exact = -Normal(3.0 * given["e_a"], math.sqrt(TOTAL)).log_prob(given["t"][:, 0]).numpy()
    found = conditional_likelihood(p, q, given, samples=50)
    gap = 0.5 * (1.6**2 - 1) - math.log(1.6)  # KL of the widened Gaussian
    assert found.bound.mean() - exact.mean() == pytest.approx(gap, abs=0.02)
    closer = importance_weighted_nll(p, q, given, samples=200) - existence_nll(p, given)
    assert closer.mean() - exact.mean() == pytest.approx(0.0, abs=0.02)
    np.testing.assert_allclose(existence_nll(p, given), -P_E[given["e_a"]].log(), atol=1e-6)


def test_existence_is_averaged_over_codes():
    """p(e=1|c) = sigmoid(c + 1): its mean over N(0, 1) by quadrature; and it enters the rate."""
    p, q = linear()
    logits = lambda c: torch.cat([torch.zeros_like(c), c + 1], 1)  # noqa: E731
    p.factors["e_a|c_a"] = lambda c: Categorical(logits=logits(c))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    mean = (weights / (1 + np.exp(-nodes - 1))).sum() / weights.sum()
    given = {"t": torch.zeros(2, 1), "e_a": torch.tensor([0, 1])}
    found = existence_nll(p, given, prior_samples=200_000)
    np.testing.assert_allclose(found, -np.log([1 - mean, mean]), atol=5e-3)
    rates = conditional_likelihood(p, q, given, samples=4000).rate
    c = torch.linspace(-8, 8, 4001)[:, None]
    for row, e in enumerate((0, 1)):
        rows = {"t": torch.zeros(4001, 1), "e_a": torch.full((4001,), e)}
        log_q = q.factors["c_a|e_a,t"](rows["e_a"], rows["t"]).log_prob(c)
        log_p = Normal(0, 1).log_prob(c[:, 0]) + logits(c).log_softmax(1)[:, e] + found[e]
        kl = torch.trapezoid(log_q.exp() * (log_q - log_p), c[:, 0]).item()
        assert rates[row] == pytest.approx(kl, abs=0.05)


def test_without_a_code_or_with_a_given_one_there_is_no_rate():
    p, q = linear()
    given = batch(20)
    found = conditional_likelihood(p, q, given | {"c_a": torch.ones(20, 1)})
    exact = -Normal(2 + 3.0 * given["e_a"], SCALE).log_prob(given["t"][:, 0])
    np.testing.assert_allclose(found.distortion, exact, atol=1e-5)
    assert (found.rate == 0).all()


def test_looking_leaves_the_random_state_alone_and_is_the_same_every_time():
    p, q = linear(1.5)
    given = batch(30)
    before = torch.get_rng_state()
    first, again = (conditional_likelihood(p, q, given, seed=4).bound for _ in range(2))
    assert (first == again).all() and torch.equal(before, torch.get_rng_state())
    assert (conditional_likelihood(p, q, given, seed=5).bound != first).any()


def test_block_gibbs_reaches_the_joint_of_t_and_c():
    """E t, var t and the covariance of t and c given e = 1, from a start that is not there."""
    p, q = linear()
    p.factors["c_a"] = StandardNormal(1)
    for seed in range(3):
        values = block_gibbs(p, q, {"e_a": torch.ones(6000, dtype=torch.long)}, 5, seed)
        t, c = values["t"][:, 0], values["c_a"][:, 0]
        assert abs(t.mean() - 3) < 5 * math.sqrt(TOTAL / 6000)
        assert t.var().item() == pytest.approx(TOTAL, rel=0.12)
        assert ((t - 3) * c).mean().item() == pytest.approx(WEIGHT, rel=0.12)
    # where existence depends on the code, the chain leaves the prior's codes: p(c|e=1) has mean > 0
    p.factors["e_a|c_a"] = lambda c: Categorical(logits=torch.cat([torch.zeros_like(c), 4 * c], 1))
    half = torch.linspace(-5, 5, 301)
    weights = Normal(0, 1).log_prob(half).exp() * (4 * half).sigmoid()
    mean = ((weights * half).sum() / weights.sum()).item()

    def posterior(e, t):  # on a grid, by Bayes' rule
        nats = Normal(0, 1).log_prob(half) + Normal(WEIGHT * half + 3, SCALE).log_prob(t)
        c = half[Categorical(logits=nats + torch.nn.functional.logsigmoid(4 * half)).sample()]
        return Independent(Normal(c[:, None], 1e-6), 1)

    q.factors["c_a|e_a,t"] = posterior
    short, long = (
        block_gibbs(p, q, {"e_a": torch.ones(1500, dtype=torch.long)}, rounds)["c_a"].mean().item()
        for rounds in (1, 15)
    )
    assert abs(short) < 0.12 and long == pytest.approx(mean, abs=0.12) and mean > 0.5


def two_kinds():
    """Kinds "right" and "up" of a Gaussian in the plane, sigmoids of its two coordinates."""

    def existence(i):
        return lambda t: Categorical(logits=torch.stack([torch.zeros(len(t)), 3 * t[:, i] - 1], 1))

    return Joint("q", {"t": StandardNormal(2), "e_right|t": existence(0), "e_up|t": existence(1)})


def test_composed_draws_against_a_grid():
    axis = torch.linspace(-5, 5, 201)
    grid = torch.cartesian_prod(axis, axis)
    q = two_kinds()
    nats = Normal(0, 1).log_prob(grid).sum(1)
    for right, up in ((1, 1), (1, 0)):
        signs = torch.tensor([2 * right - 1, 2 * up - 1])
        joint = nats + torch.nn.functional.logsigmoid(signs * (3 * grid - 1)).sum(1)
        mean = (joint.softmax(0)[:, None] * grid).sum(0)
        for seed in range(3):
            values, effective = compose(q, {"e_right": right, "e_up": up}, 2000, seed=seed)
            assert values["t"].shape == (2000, 2) and (values["e_up"] == up).all()
            # 40 000 candidates stand behind, but no more than `effective` count
            error = values["t"].std(0) * math.sqrt(1 / 2000 + 1 / effective)
            assert ((values["t"].mean(0) - mean).abs() < 4.5 * error).all()
            assert 2000 < effective < 40_000


def test_a_decoder_as_proposal_aims_at_the_same_draws_and_wastes_fewer():
    """p(t|e_right) by a grid of its own; e_right is paid by the proposal, e_up by its weight."""
    q = two_kinds()
    axis = torch.linspace(-5, 5, 201)
    nats = Normal(0, 1).log_prob(axis)
    posts = [
        (nats + torch.nn.functional.logsigmoid(s * (3 * axis - 1))).softmax(0) for s in (-1, 1)
    ]

    class Right(torch.distributions.Distribution):
        def __init__(self, e):
            super().__init__(e.shape, (2,), validate_args=False)
            self.e = e

        def sample(self, shape=()):
            x = axis[Categorical(torch.stack(posts)[self.e]).sample()]
            return torch.stack([x, torch.randn(len(x))], 1)

        def log_prob(self, value):
            return torch.zeros(len(value))

    p = Joint("p", {"e_right": lambda: Categorical(torch.ones(2)), "t|e_right": Right})
    given = {"e_right": 1, "e_up": 1}
    plain, better = compose(q, given, 2000), compose(q, given, 2000, proposal=p)
    assert better.effective > 1.5 * plain.effective
    gap = (plain.values["t"].mean(0) - better.values["t"].mean(0)).abs()
    assert (gap < 0.1).all() and plain.values["t"].mean() > 0.5


def test_the_code_of_a_proposal_is_weighted_by_its_existence():
    """p(c) p(t|c) is no draw from p(t|e=1) while p(e|c) depends on c."""
    q = Joint(
        "q", {"t": StandardNormal(1), "e_a|t": lambda t: Categorical(logits=torch.cat([-t, t], 1))}
    )
    p = Joint("p", {
        "c_a": StandardNormal(1),
        "e_a|c_a": lambda c: Categorical(logits=torch.cat([-c, c], 1)),
        "t|e_a,c_a": lambda e, c: Independent(Normal(c, 1e-3), 1),
    })  # fmt: skip
    means = [compose(q, {"e_a": 1}, 4000, proposal=x).values["t"].mean().item() for x in (None, p)]
    assert means[0] == pytest.approx(means[1], abs=0.06) and means[0] > 0.4


def test_candidates_without_a_finite_weight_are_never_chosen():
    def told(t):
        logits = torch.cat([-t, t], 1)
        return Categorical(logits=torch.where(t > 0.5, torch.nan, logits), validate_args=False)

    q = Joint("q", {"t": StandardNormal(1), "e_a|t": told})
    t = compose(q, {"e_a": 1}, 500)[0]["t"]
    assert t.max() <= 0.5 and t.min() < -0.5

    def nothing(t):
        return Categorical(logits=torch.full((len(t), 2), torch.nan), validate_args=False)

    q = Joint("q", {"t": StandardNormal(1), "e_a|t": nothing})
    with pytest.raises(ValueError, match="none of the 100 candidates has a finite weight"):
        compose(q, {"e_a": 1}, 5)


def test_four_corners_and_gaussian_interpolation():
    z = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0]])
    places = four_corners(z, 5)
    for corner, place in zip(z, ((0, 0), (0, 4), (4, 0), (4, 4)), strict=True):
        torch.testing.assert_close(places[place], corner)
    torch.testing.assert_close(places[2, 2], z.mean(0))
    torch.testing.assert_close(places[0, 1], 0.75 * z[0] + 0.25 * z[1])
    # I076: densities of the ends and of the middle of the upper edge
    nats = StandardNormal(2)().log_prob(places)
    for place, printed in (((0, 0), -3.837877), ((0, 4), -2.337877), ((0, 2), -2.462877)):
        assert nats[place].item() == pytest.approx(printed, abs=1e-6)
    assert four_corners(torch.rand(4, 1, 8, 8), 3).shape == (3, 3, 1, 8, 8)


def test_bad_input():
    p, q = linear()
    with pytest.raises(ValueError, match="samples"):
        conditional_likelihood(p, q, batch(5), samples=0)
    with pytest.raises(ValueError, match=r"has no \['e_left'\], there are \['e_right', 'e_up'\]"):
        compose(two_kinds(), {"e_left": 1}, 5)
    with pytest.raises(ValueError, match=r"four places \(4, ...\), got shape \(3, 2\)"):
        four_corners(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="rounds"):
        block_gibbs(p, q, {"e_a": torch.ones(2, dtype=torch.long)}, 0)
