"""Section F of the identities: sums over components, discrepancies of sets of points, priors."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from oracles import Fixed, Strings
from scipy.optimize import linprog
from torch.distributions import Categorical, MultivariateNormal, Normal

from lvmlab import Joint
from lvmlab.conditionals import Proportions
from lvmlab.diagnostics import greedy_assignment
from lvmlab.objectives import elbo, mmd, sinkhorn_divergence, summed_elbo, wasserstein
from lvmlab.objectives.summed import summed_out
from lvmlab.objectives.transport import BANDWIDTHS

# the entry gmvae-elbo-corrected-3
PI = torch.tensor([0.7, 0.3], dtype=torch.float64)
MEAN, SCALE = torch.tensor([[0.5, -0.2], [0.6, 0.9]], dtype=torch.float64)
PRIOR = torch.tensor([1.0, -1.0], dtype=torch.float64)
NATS = torch.tensor([-3.0, -4.0], dtype=torch.float64)
# the entry mmd-u-statistic
X = torch.tensor([[0.0, 0], [1, 0], [0, 2]], dtype=torch.float64)
Y = torch.tensor([[0.5, 0.5], [1, 1], [-1, 0]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def joints(pi=PI):
    p = Joint(
        "p",
        {
            "k": Proportions(len(pi)),
            "z|k": lambda k: Normal(PRIOR[k], 0.5),
            "x|k,z": lambda k, z: Fixed(NATS[k]),
        },
    )
    q = Joint(
        "q",
        {
            "x": None,
            "k|x": lambda x: Categorical(pi.expand(len(x), -1)),
            "z|x,k": lambda x, k: Normal(MEAN[k], SCALE[k]),
        },
    )
    return p, q


def test_gmvae_elbo_corrected_3():
    terms = summed_elbo(*joints(), {"x": torch.zeros(4)}).terms
    p, q = joints()
    every = summed_out(q, {"x": torch.zeros(1)})
    assert every.draw.values["k"].tolist() == [0, 1]
    assert every.log_weights.exp().flatten().tolist() == pytest.approx([0.7, 0.3])
    # a joint whose rows are one component each gives its own KL
    for k, exact in enumerate((0.537678, 1.812213)):
        one = torch.zeros(2).index_fill(0, torch.tensor(k), 1.0)
        found = summed_elbo(p, joints(one)[1], {"x": torch.zeros(1)}).terms["continuous_rate"]
        assert found.item() == pytest.approx(exact, abs=1e-6)
    bound = -sum(terms.values())
    assert terms["discrete_rate"][0].item() == pytest.approx(0.082283, abs=1e-6)
    torch.testing.assert_close(bound, torch.full((4,), -4.302322), atol=1e-6, rtol=0)


def test_gm_reductions():
    for beta, exact in ((0.0, 3.3), (1.0, 4.302322), (10.0, 13.323218)):
        loss = summed_elbo(*joints(), {"x": torch.zeros(2)}, beta=beta).loss
        assert loss.item() == pytest.approx(exact, abs=1e-6)


def test_gm_reductions_one_component_is_the_gaussian_vae():
    """K = 1, in distribution: the closed form is the mean of elbo's draws; lambda = 0 ditto."""

    def pair(with_k):
        def decoder(z):
            return Normal(2 * z, 0.7)

        def encoder(x):
            return Normal(0.3 * x, 0.6)

        if not with_k:
            p = Joint("p", {"z": lambda: Normal(0.0, 1.0), "x|z": decoder})
            return p, Joint("q", {"x": None, "z|x": encoder})
        one = {"k": Proportions(1), "z|k": lambda k: Normal(torch.zeros(len(k)), 1.0)}
        p = Joint("p", {**one, "x|z": decoder})
        q = {"x": None, "k|x": lambda x: Categorical(torch.ones(len(x), 1))}
        return p, Joint("q", {**q, "z|x,k": lambda x, k: encoder(x)})

    x = {"x": torch.linspace(-1, 1, 5).repeat(4000)}
    torch.manual_seed(0)
    summed = summed_elbo(*pair(True), x)
    torch.manual_seed(0)
    plain = elbo(*pair(False), x)
    torch.testing.assert_close(summed.terms["distortion"], plain.terms["distortion"])
    assert summed.terms["discrete_rate"].abs().max() < 1e-12
    gap = (summed.terms["continuous_rate"] - plain.terms["rate"]).unflatten(0, (-1, 5))
    assert (gap.mean(0).abs() < 5 * gap.std(0) / math.sqrt(len(gap))).all()
    x = {"x": x["x"][:60]}
    torch.manual_seed(0)
    free = wasserstein(*pair(True), x, weight=0.0)
    torch.manual_seed(0)
    autoencoder = wasserstein(*pair(False), x, weight=0.0, over=None)
    torch.testing.assert_close(free.loss, autoencoder.loss)
    torch.testing.assert_close(free.loss, autoencoder.terms["squared_error"].mean())


def test_discrete_kl_bound():
    for pi, exact in (([1.0] + [0.0] * 9, 2.302585), ([0.5, 0.5] + [0.0] * 8, 1.609438)):
        p = Joint("p", {"k": Proportions(10), "x|k": lambda k: Fixed(0.0 * k)})
        q = Joint("q", {"x": None, "k|x": lambda x, pi=pi: Categorical(torch.tensor([pi]))})
        found = summed_elbo(p, q, {"x": torch.zeros(1)}).terms["discrete_rate"]
        assert found.item() == pytest.approx(exact, abs=1e-6)
    rows = torch.distributions.Dirichlet(torch.full((10,), 0.3)).sample((200,))
    q = Joint("q", {"x": None, "k|x": lambda x: Categorical(rows)})
    found = summed_elbo(p, q, {"x": torch.zeros(200)}).terms["discrete_rate"]
    assert (found >= 0).all() and (found <= math.log(10)).all() and found.max() > 1


def test_exact_sum_equals_enumeration():
    """Everything finite: the bound summed over k is the exact expectation, to rounding."""
    rng = np.random.default_rng(0)
    weights = torch.tensor(rng.dirichlet(np.ones(3)))
    first = torch.tensor(rng.dirichlet(np.ones(3), size=3))
    then = torch.tensor(rng.dirichlet(np.ones(3), size=(3, 3)))
    encoder = torch.tensor(rng.dirichlet(np.ones(3), size=27))
    texts = torch.tensor(list(itertools.product(range(3), repeat=3)))
    p = Joint("p", {"k": lambda: Categorical(weights), "x|k": lambda k: Strings(first[k], then[k])})
    place = torch.tensor([9, 3, 1])
    q = Joint("q", {"x": None, "k|x": lambda x: Categorical(encoder[(x * place).sum(1)])})
    terms = summed_elbo(p, q, {"x": texts}).terms
    exact = torch.zeros(27)
    for n, k in itertools.product(range(27), range(3)):
        a, b, c = texts[n]
        log_joint = (weights[k] * first[k, a] * then[k, a, b] * then[k, b, c]).log()
        exact[n] += encoder[n, k] * (log_joint - encoder[n, k].log())
    torch.testing.assert_close(-sum(terms.values()), exact)


def test_exact_k_expectation():
    """f(z) = z^2 is the squared error of x = 0 under the identity: by formula, and by drawing k."""
    pi, mean, scale = PI, MEAN, SCALE
    assert (pi * (mean**2 + scale**2)).sum().item() == pytest.approx(0.682, abs=1e-9)
    _, q = joints()
    p = Joint(
        "p",
        {
            "k": Proportions(2),
            "z|k": lambda k: Normal(PRIOR[k, None], 0.5),
            "x|z": lambda z: Normal(z[:, 0], 1.0),
        },
    )
    q = Joint("q", q.factors | {"z|x,k": lambda x, k: Normal(MEAN[k, None], SCALE[k, None])})
    p = Joint("p", {t: _event(f) if t == "z|k" else f for t, f in p.factors.items()})
    q = Joint("q", {t: _event(f) if t == "z|x,k" else f for t, f in q.factors.items()})
    for seed in range(3):
        torch.manual_seed(seed)
        found = wasserstein(p, q, {"x": torch.zeros(400)}, weight=0.0, draws=2)
        error = found.terms["squared_error"]
        assert abs(error.mean() - 0.682) < 5 * error.std() / math.sqrt(400)
        torch.manual_seed(seed)  # the same draws again, one for each k
        z = summed_out(q, {"x": torch.zeros(400)}).draw.values["z"].view(400, 2)
        torch.testing.assert_close(error, (pi * z**2).sum(1))


def _event(factor):
    return lambda *parents: torch.distributions.Independent(factor(*parents), 1)


def test_mmd_u_statistic():
    for c, exact in ((1.0, -0.149735), (4.0, -0.162488)):
        assert mmd(X, Y, bandwidths=[c]).item() == pytest.approx(exact, abs=1e-6)
    v = mmd(X, Y, bandwidths=[1.0], unbiased=False)
    assert v.item() == pytest.approx(0.296296, abs=1e-6)
    assert mmd(X, X, bandwidths=[1.0], unbiased=False).item() == pytest.approx(0, abs=1e-12)
    assert mmd(X, X, bandwidths=[1.0]).item() == pytest.approx(-0.474074, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_mmd_u_statistic_is_unbiased_and_the_other_is_not(seed):
    torch.manual_seed(seed)
    found = torch.tensor(
        [
            [mmd(z, y, bandwidths=[1.0], unbiased=u).item() for u in (True, False)]
            for z, y in (torch.randn(2, 8, 2) for _ in range(500))
        ]
    )
    error = found.std(0) / math.sqrt(500)
    assert abs(found[:, 0].mean()) < 4 * error[0] and found[:, 0].min() < 0
    assert found[:, 1].mean() > 10 * error[1] and found[:, 1].min() >= 0


def test_imq_bandwidths():
    assert len(BANDWIDTHS) == 15 and (min(BANDWIDTHS), max(BANDWIDTHS)) == (0.01, 500.0)
    assert mmd(X, Y).item() == pytest.approx(-0.956941, abs=1e-6)
    assert mmd(X, Y).item() == pytest.approx(
        sum(mmd(X, Y, bandwidths=[c]).item() for c in BANDWIDTHS)
    )
    one = torch.zeros(1, 2)  # two sets of one point far apart: k(a, a) + k(b, b)
    assert mmd(one, one + 1e9, unbiased=False).item() == pytest.approx(30, abs=1e-6)


def test_mmd_exact_discrete():
    pi = torch.tensor([[0.7, 0.3], [0.2, 0.8]])
    z, y = (
        torch.tensor([[0.0, 1.0], [0.5, -1.0]])[..., None],
        torch.tensor([0.2, -0.4, 1.0])[:, None],
    )
    assert mmd(z, y, pi, bandwidths=[1.0]).item() == pytest.approx(-0.198001, abs=1e-6)
    hot = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    one_hot, plain = mmd(z, y, hot, bandwidths=[1.0]), mmd(z[:, 0], y, bandwidths=[1.0])
    assert one_hot.item() == pytest.approx(-0.170212, abs=1e-6)
    torch.testing.assert_close(one_hot, plain)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_mmd_exact_discrete_is_the_mean_over_draws_of_k(seed):
    """The weighted number is the expectation of the plain one when k is drawn for each row."""
    torch.manual_seed(seed)
    pi, z, y = torch.rand(5, 3).softmax(1), torch.randn(5, 3, 2), torch.randn(6, 2)
    kinds = torch.arange(3).expand(5, 3), torch.randint(3, (6,))
    exact, drawn = mmd(z, y, pi, kinds, same=2.0), 0.0
    for ks in itertools.product(range(3), repeat=5):
        ks = torch.tensor(ks)
        rows = torch.arange(5)
        one = mmd(z[rows, ks], y, kinds=(ks, kinds[1]), same=2.0)
        drawn += pi[rows, ks].prod() * one
    torch.testing.assert_close(exact, drawn)


@pytest.mark.parametrize("same", [0.0, 10.0])
def test_points_without_weight_do_not_count(same):
    """The same number and slopes as with a point that was never there, wherever it lies."""
    torch.manual_seed(0)
    pi, z, y = torch.rand(5, 3).softmax(1), torch.randn(5, 3, 2), torch.randn(6, 2)
    pi = torch.stack([pi[:, 0], 0 * pi[:, 1], pi[:, 2]], 1) / pi[:, ::2].sum(1, keepdim=True)
    kinds = torch.arange(3).expand(5, 3), torch.randint(3, (6,))
    found, slopes = [], []
    for keep in ([0, 1, 2], [0, 2]):
        given = z[:, keep].clone().requires_grad_(), pi[:, keep].clone().requires_grad_()
        value = mmd(given[0], y, given[1], (kinds[0][:, keep], kinds[1]), same)
        found.append(value.item())
        slopes.append([v[:, [0, -1]] for v in torch.autograd.grad(value, given)])
    assert found[0] == pytest.approx(found[1], abs=1e-12)
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_light_weights_count_as_none():
    """Put to zero by hand, the others of the row scaled up, or by `least`: the same terms."""
    decoded, compared = [], []

    def decoder(z):
        decoded.append(len(z))
        return Normal(z[:, 0], 1.0)

    def pair(pi):
        p = {"k": Proportions(3), "z|k": _event(lambda k: Normal(k[:, None] * 1.0, 0.5))}
        near = _event(lambda x, k: Normal((0.9 * k + x)[:, None], 1e-9))
        q = {"x": None, "k|x": lambda x: Categorical(pi), "z|x,k": near}
        return Joint("p", {**p, "x|z": decoder}), Joint("q", q)

    def spy(z, y, weights, kinds, same):
        compared.append((z, weights, kinds[0]))
        return z.sum() * 0

    x = torch.tensor([0.1, -0.2, 0.3, 0.0])
    pi = torch.tensor([[0.98, 0.015, 0.005], [0.4, 0.3, 0.3], [0.006, 0.99, 0.004], [0, 0.5, 0.5]])
    counts = pi > 0.01
    by_hand = pi * counts / (pi * counts).sum(1, keepdim=True)
    given = {"x": x}
    for objective in (summed_elbo, partial(wasserstein, divergence=spy, same=1.0)):
        light, hand, exact = (
            objective(*pair(weights), given, least=least).terms
            for weights, least in ((pi, 0.01), (by_hand, 0.0), (pi, 0.0))
        )
        assert decoded == [8, 12, 12]
        decoded.clear()
        for name, values in light.items():
            if name != "continuous_rate":  # torch's draws differ, and their entropy with them
                torch.testing.assert_close(values, hand[name], atol=1e-6, rtol=0)
        name = next(iter(light))  # 0.02 of a row's mass is moved, costs are below 4
        assert 0 < (light[name] - exact[name]).abs().max() < 0.02 * 4
    z, weights, kinds = compared[0]
    torch.testing.assert_close(weights, by_hand)
    assert torch.equal(kinds[counts], torch.arange(3).expand(4, 3)[counts])
    torch.testing.assert_close(z[counts][:, 0], (0.9 * kinds + x[:, None])[counts])
    for least in (-0.1, 1 / 3, float("nan")):
        with pytest.raises(ValueError, match="least must be 0 or more and below 1 / 3"):
            summed_elbo(*pair(pi), given, least=least)


def test_joint_kernel_sees_proportions_and_the_marginal_one_does_not():
    z = torch.randn(40, 1).sign() * 3 + 0.1 * torch.randn(40, 1)
    by_place, all_one = (z[:, 0] > 0).long(), torch.zeros(40, dtype=torch.long)
    y = torch.randn(200, 1).sign() * 3 + 0.1 * torch.randn(200, 1)
    truth = (y[:, 0] > 0).long()
    plain = [mmd(z, y, kinds=(k, truth)) for k in (by_place, all_one)]
    assert plain[0] == plain[1] == mmd(z, y)
    joint = [mmd(z, y, kinds=(k, truth), same=10.0) for k in (by_place, all_one)]
    # written out: the kernel 1 + 10 [k = k'] times that of the places
    assert joint[1] > joint[0] + 5


def test_rotated_prior():
    from lvmlab.models import ring_prior

    here = ring_prior()(torch.tensor([3]))
    assert here.mean[0].tolist() == pytest.approx([-0.309017, 0.951057], abs=1e-6)
    flat = here.covariance_matrix[0].flatten().tolist()
    assert flat == pytest.approx([0.461803, 0.117557, 0.117557, 0.138197], abs=1e-6)
    every = ring_prior()(torch.arange(10))
    torch.testing.assert_close(every.covariance_matrix.det(), torch.full((10,), 0.05))
    gaps = (every.mean - every.mean.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(gaps, torch.full((10,), 0.618034), atol=1e-6, rtol=0)


def test_rotated_prior_in_the_other_readings():
    from lvmlab.models import ring_prior

    as_scale = ring_prior(reading="scale")(torch.tensor([0])).covariance_matrix[0]
    torch.testing.assert_close(as_scale, torch.tensor([0.01, 0.25]).diag())
    petals = ring_prior(spread=(0.5, 0.1), reading="scale")(torch.tensor([0]))
    torch.testing.assert_close(petals.covariance_matrix[0], torch.tensor([0.25, 0.01]).diag())


def test_mode_overlap():
    from lvmlab.models import equidistant_prior

    every = equidistant_prior(scale=1.0)(torch.arange(10))
    assert every.mean.max().item() == pytest.approx(2.828427, abs=1e-6)
    apart = torch.pdist(every.mean)
    torch.testing.assert_close(apart, torch.full_like(apart, 4.0))
    overlap = 2 * Normal(0.0, 1.0).cdf(torch.tensor(-2.0))
    assert overlap.item() == pytest.approx(0.0455, abs=1e-6)
    # share of the draws of one mode that lie nearer to another's mean, between any two: half of it
    torch.manual_seed(1)
    z = equidistant_prior(scale=1.0)(torch.zeros(40_000, dtype=torch.long)).sample()
    lost = (z[:, 1] > z[:, 0]).double().mean()
    assert abs(lost - overlap / 2) < 4 * math.sqrt(overlap / 2 / 40_000)


def test_w2_1d():
    z, y = torch.tensor([0.0, 1.0, 3.0])[:, None], torch.tensor([2.0, 0.5, 2.5])[:, None]
    assert ((z.sort(0)[0] - y.sort(0)[0]) ** 2).mean().item() == pytest.approx(0.5)
    found = sinkhorn_divergence(z, y, epsilon=1e-3, iterations=2000, tolerance=1e-9)
    assert found.item() == pytest.approx(0.5, abs=1e-3)
    u = (torch.arange(2000) + 0.5) / 2000  # quantiles of N(0, 1) and N(1, 2^2)
    one, two = Normal(0.0, 1.0).icdf(u), Normal(1.0, 2.0).icdf(u)
    assert ((one - two) ** 2).mean().item() == pytest.approx(2.0, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_sinkhorn_divergence_tends_to_the_exact_plan(seed):
    """Weighted points against a linear program; zero for equal sets; slopes by differences."""
    torch.manual_seed(seed)
    pi, z, y = torch.rand(4, 3).softmax(1), torch.randn(4, 3, 2), torch.randn(5, 2)
    costs = torch.cdist(z.flatten(0, 1), y).square()
    rows = np.kron(np.eye(12), np.ones((1, 5)))
    columns = np.kron(np.ones((1, 12)), np.eye(5))
    totals = np.concatenate([pi.flatten().numpy() / 4, np.full(5, 0.2)])
    exact = linprog(costs.flatten().numpy(), A_eq=np.vstack([rows, columns]), b_eq=totals).fun
    tight = {"iterations": 1000, "tolerance": 1e-9}
    found = sinkhorn_divergence(z, y, pi, 1e-3, **tight).item()
    assert found == pytest.approx(exact, abs=0.02)  # epsilon times a logarithm
    assert sinkhorn_divergence(y, y, None, 0.1, **tight).abs() < 1e-9

    def value(z, logits):
        return sinkhorn_divergence(z, y, logits.softmax(1), 0.5, **tight)

    given = z.requires_grad_(), pi.log().detach().requires_grad_()
    slopes = torch.autograd.grad(value(*given), given)
    for one, slope in zip(given, slopes, strict=True):
        way = torch.randn_like(one)
        shifts = [[v + h * way if v is one else v for v in given] for h in (1e-4, -1e-4)]
        with torch.no_grad():
            difference = (value(*shifts[0]) - value(*shifts[1])) / 2e-4
        assert difference.item() == pytest.approx((slope * way).sum().item(), rel=1e-4, abs=1e-7)


def test_wae_upper_bound():
    """A random decoder y = z + 0.5 noise: the cost is 0.5 though p(x) is q(x), so W is 0."""
    s2 = 0.25
    for seed in range(3):
        torch.manual_seed(seed)
        x = torch.randn(200_000)
        z = (1 - s2) * x + math.sqrt(s2 * (1 - s2)) * torch.randn(200_000)
        cost = (x - z - 0.5 * torch.randn(200_000)) ** 2
        assert abs(cost.mean() - 0.5) < 5 * cost.std() / math.sqrt(200_000)
        assert z.var().item() == pytest.approx(1 - s2, abs=0.02)
        # read as deterministic, as `wasserstein` does, it is the cost without the noise, 0.25
        p = Joint("p", {"z": _vector(0.0, math.sqrt(1 - s2)), "x|z": _around()})
        q = Joint("q", {"x": None, "z|x": _code(s2)})
        found = wasserstein(p, q, {"x": x[:500, None]}, weight=0.0, over=None, draws=2)
        error = found.terms["squared_error"]
        assert abs(error.mean() - 0.25) < 5 * error.std() / math.sqrt(500)


def _vector(loc, scale):
    return lambda: MultivariateNormal(torch.full((1,), loc), scale_tril=torch.tensor([[scale]]))


def _around():
    return _event(lambda z: Normal(z, 0.5))


def _code(s2):
    return _event(lambda x: Normal((1 - s2) * x, math.sqrt(s2 * (1 - s2))))


def test_greedy_label_assignment():
    averages = np.array([[0.55, 0.45, 0], [0.54, 0.05, 0.41], [0, 0.1, 0.9]])
    assert greedy_assignment(averages).tolist() == [0, 1, 2]
    totals = {
        order: sum(averages[i, j] for i, j in enumerate(order))
        for order in itertools.permutations(range(3))
    }
    assert totals[0, 1, 2] == pytest.approx(1.5)
    assert max(totals, key=totals.__getitem__) == (1, 0, 2)
    assert max(totals.values()) == pytest.approx(1.89)


@pytest.mark.parametrize("seed", range(3))
def test_slopes_of_the_discrepancy_by_differences(seed):
    torch.manual_seed(seed)
    z, y = torch.randn(4, 2, 3, requires_grad=True), torch.randn(5, 3)
    logits = torch.randn(4, 2, requires_grad=True)
    kinds = torch.arange(2).expand(4, 2), torch.randint(2, (5,))

    def value(z, logits):
        return mmd(z, y, logits.softmax(1), kinds, same=1.0)

    assert torch.autograd.gradcheck(value, (z, logits))


def test_bad_points():
    pi = torch.full((3, 2), 0.5)
    z, y = torch.randn(3, 2, 2), torch.randn(4, 2)
    with pytest.raises(ValueError, match=r"bandwidths must be positive.*0\.0"):
        mmd(z, y, pi, bandwidths=[1.0, 0.0])
    with pytest.raises(ValueError, match="bandwidths must be positive"):
        mmd(z, y, pi, bandwidths=[])
    for few in ((z[:1], y, pi[:1]), (z, y[:1], pi)):
        with pytest.raises(ValueError, match=r"2 rows or more.*larger batch"):
            mmd(*few)
    for function in (mmd, sinkhorn_divergence):
        with pytest.raises(ValueError, match=r"rows of weights must sum to 1.*0\.2"):
            function(z, y, pi * 1.2)
        with pytest.raises(ValueError, match=r"weights must be \(3, 2\)"):
            function(z, y, pi[:, :1])
        with pytest.raises(ValueError, match="no weights"):
            function(z, y)
        with pytest.raises(ValueError, match=r"y \(4, 2\)"):
            function(torch.randn(3, 5), y)
    with pytest.raises(ValueError, match="epsilon must be a positive"):
        sinkhorn_divergence(z, y, pi, 0.0)
    with pytest.raises(ValueError, match="needs kinds"):
        mmd(z, y, pi, same=1.0)


def test_bad_joints():
    p, q = joints()
    for divergence in (sinkhorn_divergence, partial(sinkhorn_divergence, epsilon=0.5)):
        with pytest.raises(ValueError, match=r"same weighs.*got same=2.0, take 0"):
            wasserstein(p, q, {"x": torch.zeros(2)}, divergence=divergence, same=2.0)
    with pytest.raises(ValueError, match=r"over names the latent.*'c'.*has none"):
        summed_elbo(p, q, {"x": torch.zeros(2)}, over="c")
    with pytest.raises(ValueError, match="already holds it"):
        summed_elbo(p, q, {"x": torch.zeros(2), "k": torch.zeros(2, dtype=torch.long)})
    with pytest.raises(ValueError, match="cannot be enumerated"):
        summed_elbo(p, q, {"x": torch.zeros(2)}, over="z")
    wide = Joint("p", p.factors | {"x|k,z": lambda k, z: Normal(torch.zeros(len(z), 3), 1.0)})
    with pytest.raises(ValueError, match="needs the shape of the data"):
        wasserstein(wide, q, {"x": torch.zeros(2)})
