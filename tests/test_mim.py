"""MIM and its relatives: the identities of the thesis, exactly on tables and by draws."""

import math
from functools import partial

import oracles
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from lvmlab import (
    Joint,
    amim,
    annealed,
    descend,
    elbo,
    joint_entropy,
    mim,
    mixture_cross_entropy,
    symmetric_kl,
    weighted,
)
from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.networks import MLP
from lvmlab.objectives.reinforce import reinforced

pytestmark = pytest.mark.usefixtures("float64")

# F2 of the identities: anchors, encoder, decoder, model marginals; x and z binary
ANCHOR_X, ANCHOR_Z = torch.tensor([0.6, 0.4]).double(), torch.tensor([0.3, 0.7]).double()
ENCODER = torch.tensor([[0.8, 0.2], [0.25, 0.75]]).double()  # rows x
DECODER = torch.tensor([[0.9, 0.1], [0.35, 0.65]]).double()  # rows z
Q_X, P_Z = torch.tensor([0.55, 0.45]).double(), torch.tensor([0.4, 0.6]).double()
E = ANCHOR_X[:, None] * ENCODER  # (x, z)
D = (ANCHOR_Z[:, None] * DECODER).T
M = (E + D) / 2
DRAWS = 200_000


def p_of(prior):
    return Joint("p", {"z": lambda: Categorical(prior), "x|z": lambda z: Categorical(DECODER[z])})


def q_of(density):
    marginal = None if density is None else (lambda: Categorical(density))
    return Joint("q", {"x": marginal, "z|x": lambda x: Categorical(ENCODER[x])})


P, Q = p_of(P_Z), q_of(Q_X)
ANCHOR = Joint("anchor", {"z": lambda: Categorical(ANCHOR_Z)})


def nats(joint):
    """log of a joint on all four cells, (x, z)."""
    cells = {"x": torch.tensor([0, 0, 1, 1]), "z": torch.tensor([0, 1, 0, 1])}
    return joint.score(cells).nats().unflatten(0, (2, 2))


def ce(a, log_b):
    return -(a * log_b).sum().item()


def entropy(a):
    return ce(a, a.log())


def kl(a, b):
    return (a * (a / b).log()).sum().item()


def data(rows=DRAWS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.multinomial(ANCHOR_X, rows, replacement=True, generator=generator)}


def estimate(objective, p, q, batch=None, **given):
    """Loss by draws, and four standard errors of it from ten parts."""
    batch = batch or data()
    parts = [
        objective(p, q, {k: v[i::10] for k, v in batch.items()}, **given).loss.item()
        for i in range(10)
    ]
    return sum(parts) / 10, 4 * torch.tensor(parts).std().item() / math.sqrt(10)


def agrees(found, expected):
    value, error = found
    return abs(value - expected) < error + 1e-9


# --- exact on the table -----------------------------------------------------------------------


def test_joint_entropy_identity():
    z = E.sum(0)
    information = kl(E, ANCHOR_X[:, None] * z)
    assert entropy(E) == pytest.approx(1.198187, abs=1e-6)
    assert entropy(E) == pytest.approx(entropy(ANCHOR_X) + entropy(z) - information)
    assert agrees(estimate(joint_entropy, P, q_of(ANCHOR_X)), 1.198187)


def test_jsd_plus_rh():
    jsd = (kl(E, M) + kl(D, M)) / 2
    r_h = (entropy(E) + entropy(D)) / 2
    assert jsd == pytest.approx(0.043774, abs=1e-6)
    assert r_h == pytest.approx(1.179895, abs=1e-6)
    assert jsd + r_h == pytest.approx(entropy(M))
    # with learned joints equal to the anchored ones, the mixture cross entropy is H(M)
    found = estimate(mixture_cross_entropy, p_of(ANCHOR_Z), q_of(ANCHOR_X))
    assert agrees(found, 1.223668)


def l_mim():
    return (ce(M, nats(Q)) + ce(M, nats(P))) / 2


def l_ce():
    return ce(M, torch.log((nats(Q).exp() + nats(P).exp()) / 2))


def test_mim_bound_chain():
    assert l_mim() == pytest.approx(1.247683, abs=1e-6)
    assert l_ce() == pytest.approx(1.227109, abs=1e-6)
    assert l_mim() >= l_ce() >= entropy(M)
    assert agrees(estimate(mim, P, Q, anchor=ANCHOR), 1.247683)
    assert agrees(estimate(mixture_cross_entropy, P, Q, anchor=ANCHOR), 1.227109)


def test_rmim_three_forms():
    mixture = torch.log((nats(Q).exp() + nats(P).exp()) / 2)
    second = (kl(M, nats(P).exp()) + kl(M, nats(Q).exp())) / 2 - kl(M, mixture.exp())
    third = (M * (mixture - (nats(Q) + nats(P)) / 2)).sum().item()
    assert l_mim() - l_ce() == pytest.approx(0.020573, abs=1e-6)
    assert second == pytest.approx(0.020573, abs=1e-6)
    assert third == pytest.approx(0.020573, abs=1e-6)


def test_rmim_zero_iff_consistent():
    joint = Q_X[:, None] * ENCODER
    prior, decoder = joint.sum(0), (joint / joint.sum(0)).T
    assert prior[0].item() == pytest.approx(0.5525)
    assert decoder[0, 0].item() == pytest.approx(0.796380, abs=1e-6)
    p = Joint("p", {"z": lambda: Categorical(prior), "x|z": lambda z: Categorical(decoder[z])})
    torch.manual_seed(0)
    full = mim(p, Q, data(1000), anchor=ANCHOR).loss
    torch.manual_seed(0)
    assert mixture_cross_entropy(p, Q, data(1000), anchor=ANCHOR).loss == pytest.approx(full.item())


def test_mim_decomposition_3_17():
    r_h = (entropy(E) + entropy(D)) / 2
    parts = [
        kl(ANCHOR_Z, P_Z),
        kl(ANCHOR_X, Q_X),
        kl(E, nats(P).exp()),
        kl(D, nats(Q).exp()),
    ]
    assert parts == pytest.approx([0.021601, 0.005094, 0.083853, 0.160606], abs=1e-6)
    assert r_h + sum(parts) / 4 == pytest.approx(l_mim())


def test_mim_half_a_7():
    r_h = (entropy(E) + entropy(D)) / 2
    value = r_h / 2 + kl(ANCHOR_Z, P_Z) / 4 + kl(E, nats(P).exp()) / 4
    assert value == pytest.approx(0.616311, abs=1e-6)
    assert ce(M, nats(P)) / 2 == pytest.approx(value)
    terms = mim(P, Q, data(), anchor=ANCHOR).terms
    half = sum(terms[n].mean() for n in terms if "distortion" in n or "latent" in n).item() / 4
    assert half == pytest.approx(value, abs=5e-3)


def test_amim_corrected_3_20():
    value = (ce(E, nats(Q)) + ce(E, nats(P))) / 2
    corrected = entropy(E) + kl(ANCHOR_X, Q_X) / 2 + kl(E, nats(P).exp()) / 2
    assert value == pytest.approx(1.242661, abs=1e-6)
    assert corrected == pytest.approx(value)
    assert corrected - entropy(E) / 2 == pytest.approx(0.643567, abs=1e-6)  # as printed: wrong
    mixture = ce(E, torch.log((nats(Q).exp() + nats(P).exp()) / 2))
    assert value >= mixture >= entropy(E)
    assert mixture == pytest.approx(1.220490, abs=1e-6)
    assert agrees(estimate(amim, P, Q), 1.242661)


def test_vae_as_regularised_amim_5_3():
    p, q = p_of(ANCHOR_Z), q_of(ANCHOR_X)
    assert kl(E, D) == pytest.approx(0.185966, abs=1e-6)
    difference = weighted((amim, 1.0), (joint_entropy, -1.0))
    assert agrees(estimate(difference, p, q), 0.185966 / 2)
    assert agrees(estimate(amim, p, q), 1.291170)


def test_skl_relation_a_4():
    r_h = (entropy(E) + entropy(D)) / 2
    skl = (kl(E, D) + kl(D, E)) / 2
    assert skl == pytest.approx(0.179443, abs=1e-6)
    assert skl / 2 + r_h == pytest.approx((ce(M, D.log()) + ce(M, E.log())) / 2)
    assert (kl(M, E) + kl(M, D)) / 2 == pytest.approx(0.045948, abs=1e-6)
    assert skl / 2 == pytest.approx(0.045948 + 0.043774, abs=1e-5)
    p, q = p_of(ANCHOR_Z), q_of(ANCHOR_X)
    assert agrees(estimate(symmetric_kl, p, q), 0.179443)
    assert agrees(estimate(mim, p, q), 1.269616)


def test_self_correcting_gradient_a_1():
    q, p, dq, dp = 0.3, 0.2, 0.7, -0.4
    left = (dq / q + dp / p) / 2
    right = (dq + dp) / (q + p) + ((p / q - 1) * dq + (q / p - 1) * dp) / (2 * (q + p))
    assert left == pytest.approx(0.166667, abs=1e-6)
    assert right == pytest.approx(left)
    t = torch.zeros((), requires_grad=True)
    ((q + dq * t).log() / 2 + (p + dp * t).log() / 2).backward()
    assert t.grad.item() == pytest.approx(left)


def test_amgm_gap_8_11():
    q, p = 0.3, 0.2
    gap = math.log((math.sqrt(q / p) + math.sqrt(p / q)) / 2)
    assert gap == pytest.approx(0.020411, abs=1e-6)
    assert math.log((q + p) / 2) - gap == pytest.approx((math.log(q) + math.log(p)) / 2)


def test_product_mixture_partition():
    assert (nats(Q) / 2 + nats(P) / 2).exp().sum().item() == pytest.approx(0.979865, abs=1e-6)


def test_alg3_encoder_term():
    """With "x": None log q(z|x) cancels in the encoder's half: the loss of the pairs is left."""
    p, q = p_of(ANCHOR_Z), q_of(None)
    terms = mim(p, q, data()).terms
    torch.testing.assert_close(
        terms["encoder_nll"] + terms["data_nll"], terms["distortion"] + terms["latent_nll"]
    )
    encoder = (terms["distortion"] + terms["latent_nll"]).mean().item()
    assert encoder == pytest.approx(1.384153, abs=6e-3)
    assert agrees(estimate(amim, p, q), 1.384153)
    negative_elbo = estimate(elbo, p, q)
    assert agrees(negative_elbo, 0.858977)
    rows_entropy = -(ANCHOR_X[:, None] * ENCODER * ENCODER.log()).sum().item()
    assert 0.858977 + rows_entropy == pytest.approx(1.384153, abs=1e-6)


def test_alg3_upper_bound():
    """With "x": None the loss bounds L_MIM for q(x) the decoder's marginal."""
    p, q = p_of(ANCHOR_Z), q_of(None)
    marginal = D.sum(1)
    exact = (ce(M, (marginal[:, None] * ENCODER).log()) + ce(M, D.log())) / 2
    assert exact == pytest.approx(1.269567, abs=1e-6)
    found = estimate(mim, p, q)
    assert agrees(found, 1.355609)
    assert found[0] > exact


def test_annealed_loss():
    log = {"x|z": -1.2, "z": -0.9, "z|x": -0.7, "x": -1.5}
    fixed = {t: (lambda *_, v=v: oracles.Fixed(torch.tensor([v]))) for t, v in log.items()}
    p = Joint("p", {"z": fixed["z"], "x|z": fixed["x|z"]})
    q = Joint("q", {"x": fixed["x"], "z|x": fixed["z|x"]})
    for beta, value in {0.0: 1.05, 0.25: 1.325, 1.0: 2.15}.items():
        assert amim(p, q, {"x": torch.zeros(1)}, beta=beta).loss.item() == pytest.approx(value)
    ramp = annealed(amim, over=4)
    losses = [ramp(p, q, {"x": torch.zeros(1)}).loss.item() for _ in range(6)]
    assert losses[0] == pytest.approx(1.05)
    assert losses[1] == pytest.approx(1.325)
    assert losses[4:] == pytest.approx([2.15, 2.15])


def test_reinforce_3_26():
    """A Bernoulli whose gradient is known: the drawn half's discrete x has that gradient."""
    logit = torch.tensor(0.3, requires_grad=True)
    z = torch.distributions.Bernoulli(logits=logit.expand(DRAWS)).sample()
    log_q = torch.distributions.Bernoulli(logits=logit.expand(DRAWS)).log_prob(z)
    cost = torch.where(z == 0, 2.0, -1.0)
    values = reinforced(cost, log_q)
    torch.testing.assert_close(values, cost)
    values.mean().backward()
    assert logit.grad.item() == pytest.approx(-0.733375, abs=0.01)


def test_reinforce_counts_from_the_mean_of_the_other_rows():
    """Four Bernoulli rows, all 16 outcomes: the expectation stays, a constant does nothing."""
    logit = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    rows = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    moments = {}
    for shift in (0.0, 300.0):
        gradients, weights = [], []
        for z in rows:
            log_q = torch.distributions.Bernoulli(logits=logit.expand(4)).log_prob(z)
            cost = torch.where(z == 0, 2.0, -1.0).double() + shift
            loss = reinforced(cost, log_q).mean()
            gradients.append(torch.autograd.grad(loss, logit)[0])
            weights.append(log_q.detach().sum().exp())
        gradients, weights = torch.stack(gradients), torch.stack(weights)
        mean = (weights * gradients).sum()
        moments[shift] = mean, (weights * (gradients - mean) ** 2).sum()
    assert [mean.item() for mean, _ in moments.values()] == pytest.approx([-0.733375] * 2, abs=1e-6)
    assert moments[300.0][1].item() == pytest.approx(moments[0.0][1].item(), rel=1e-9)
    alone = reinforced(torch.tensor([2.0], dtype=torch.float64), logit)  # nobody to count from
    assert torch.autograd.grad(alone.sum(), logit)[0].item() == 2.0


# each loss as a sum over all cells, of log p, log q, the mass of drawn and of encoded pairs
EXACT = {
    mim: lambda log_p, log_q, drawn, e: -((e + drawn) / 2 * (log_p + log_q) / 2).sum(),
    mixture_cross_entropy: lambda log_p, log_q, drawn, e: (
        -((e + drawn) / 2 * torch.log((log_p.exp() + log_q.exp()) / 2)).sum()
    ),
    symmetric_kl: lambda log_p, log_q, drawn, e: (
        ((e * (log_q - log_p)).sum() + (drawn * (log_p - log_q)).sum()) / 2
    ),
    amim: lambda log_p, log_q, drawn, e: -(e * (log_p + log_q) / 2).sum(),
    joint_entropy: lambda log_p, log_q, drawn, e: -(e * log_q).sum(),
    elbo: lambda log_p, log_q, drawn, e: -(e * (log_p - log_q + Q_X.log()[:, None])).sum(),
}


@pytest.mark.parametrize("objective", EXACT, ids=lambda one: one.__name__)
def test_gradients_through_discrete_draws_are_those_of_the_exact_sum(objective):
    """The mean gradient over draws agrees with the gradient of the sum over all cells."""
    decoder, encoder = DECODER.log().requires_grad_(), ENCODER.log().requires_grad_()
    p = Joint("p", {"z": lambda: Categorical(P_Z), "x|z": lambda z: Categorical(logits=decoder[z])})
    q = Joint("q", {"x": lambda: Categorical(Q_X), "z|x": lambda x: Categorical(logits=encoder[x])})
    log_p = (P_Z[:, None] * decoder.softmax(1)).T.log()
    log_q = (Q_X[:, None] * encoder.softmax(1)).log()
    drawn = (ANCHOR_Z[:, None] * decoder.softmax(1)).T
    e = ANCHOR_X[:, None] * encoder.softmax(1)
    exact, learned = EXACT[objective](log_p, log_q, drawn, e), (decoder, encoder)
    expected = torch.autograd.grad(exact, learned, allow_unused=True, materialize_grads=True)
    anchored = {} if objective in (amim, joint_entropy, elbo) else {"anchor": ANCHOR}
    found = []
    for part in range(20):
        loss = objective(p, q, data(20_000, part), **anchored).loss
        found.append(torch.autograd.grad(loss, learned, allow_unused=True, materialize_grads=True))
    for values, value in zip(zip(*found, strict=True), expected, strict=True):
        values = torch.stack(values)
        # the rows of the data are drawn as well, so the sum over cells is met on average
        error = values.std(0) / math.sqrt(20)
        assert ((values.mean(0) - value).abs() < 4.5 * error + 1e-9).all()


def test_a_fresh_code_of_drawn_pairs_learns_too():
    """With "x": None, MIM's gradient to a table of codes is that of the sum over x, z and z'."""
    encoder = ENCODER.log().requires_grad_()
    q = Joint("q", {"x": None, "z|x": lambda x: Categorical(logits=encoder[x])})
    p, code = p_of(P_Z), encoder.softmax(1)
    log_p = (P_Z[:, None] * DECODER).T.log()
    drawn = (ANCHOR_Z[:, None] * DECODER).T
    first = -(ANCHOR_X[:, None] * code * log_p).sum()  # log q(z|x) cancels
    data_nll = -(drawn.sum(1)[:, None] * code * (log_p - code.log())).sum()
    second = (-(drawn * (log_p + code.log())).sum() + data_nll) / 2
    expected = torch.autograd.grad((first + second) / 2, encoder)[0]
    found = torch.stack(
        [
            torch.autograd.grad(mim(p, q, data(20_000, i), anchor=ANCHOR).loss, encoder)[0]
            for i in range(20)
        ]
    )
    error = found.std(0) / math.sqrt(20)
    assert ((found.mean(0) - expected).abs() < 4.5 * error + 1e-9).all()


# --- continuous -------------------------------------------------------------------------------


def linear(encoder_scale, density=None):
    """z ~ N(0, 1), x|z ~ N(w z, s^2); q(z|x) = N(a x, encoder_scale^2)."""
    p = Joint("p", {"z": StandardNormal(1), "x|z": Gaussian(lambda z: 0.8 * z, scale=0.6)})
    q = Joint("q", {"x": density, "z|x": Gaussian(lambda x: 0.8 * x, scale=encoder_scale)})
    return p, q


def test_consistent_pair_of_gaussians_has_its_entropy_as_loss():
    """With q = p every form of the loss is the entropy of the one joint, at any seed."""

    def density():
        return Independent(Normal(torch.zeros(1), torch.ones(1)), 1)

    p, q = linear(0.6, density)  # w^2 + s^2 = 1, so a = w and the scales agree
    for seed in range(3):
        torch.manual_seed(seed)
        x = torch.randn(20_000, 1)
        exact = 0.5 * math.log((2 * math.pi * math.e) ** 2 * 0.36)
        for objective in (mim, amim, mixture_cross_entropy):
            assert objective(p, q, {"x": x}).loss.item() == pytest.approx(exact, abs=0.03)
        assert symmetric_kl(p, q, {"x": x}).loss.item() == pytest.approx(0.0, abs=1e-9)


def test_encoder_half_with_none_is_a_complete_likelihood():
    """Sample by sample; and no gradient reaches the encoder through log q(z|x)."""
    p, q = linear(0.3)
    x = torch.randn(50, 1)
    torch.manual_seed(4)
    evaluation = amim(p, q, {"x": x})
    torch.manual_seed(4)
    values = q.draw({"x": x}).values
    torch.testing.assert_close(evaluation.loss, -p.score(values).nats().mean())


def test_the_decoder_half_uses_a_fresh_draw_of_z():
    p, q = linear(0.3)
    terms = mim(p, q, {"x": torch.randn(2000, 1)}).terms
    same = terms["drawn_distortion"] + terms["drawn_latent_nll"] - terms["drawn_encoder_nll"]
    assert (terms["drawn_data_nll"] - same).abs().mean() > 0.1


def test_the_anchor_is_given_and_not_learned():
    """The prior learns from log p(z) of both halves, not by moving the points where P(z) draws."""
    loc = torch.zeros(1, requires_grad=True)

    def prior():
        return Independent(Normal(loc, torch.ones(1)), 1)

    p, q = linear(0.3, lambda: Independent(Normal(torch.zeros(1), torch.ones(1)), 1))
    p = Joint("p", {"z": prior, "x|z": p.factors["x|z"]})
    x = torch.randn(500, 1)
    torch.manual_seed(2)
    found = torch.autograd.grad(mim(p, q, {"x": x}).loss, loc)[0]
    torch.manual_seed(2)
    encoded = q.draw({"x": x}).values["z"]
    drawn = torch.randn(500, 1)
    expected = -(encoded.mean() + drawn.mean()) / 4  # d/dloc of -log N(z; loc, 1) is loc - z
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_decoder_that_diverges_is_no_fault_of_the_data():
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 8, 4))})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(2, 8, 4))})
    with torch.no_grad():
        p.factors["x|z"].network.layers[0].weight.fill_(math.nan)
    step = descend(mim, p, q, torch.optim.Adam(p.parameters()))
    with pytest.raises(FloatingPointError, match=r"distortion and .*of mim is no longer finite"):
        step({"x": torch.zeros(3, 2)})


def test_hierarchies_are_drawn_from_p_with_gradients():
    """Without an anchor only the top latent is fixed: p(z1|z2) learns from the drawn half."""
    top, middle = StandardNormal(2), Gaussian(MLP(2, 4, 4))
    p = Joint("p", {"z2": top, "z1|z2": middle, "x|z1,z2": Gaussian(MLP(4, 4, 6))})
    q = Joint("q", {"x": None, "z2|x": Gaussian(MLP(3, 4, 4)), "z1|x,z2": Gaussian(MLP(5, 4, 4))})
    evaluation = mim(p, q, {"x": torch.randn(7, 3)})
    assert all(nats.shape == (7,) for nats in evaluation.terms.values())
    evaluation.loss.backward()
    assert middle.network.layers[0].weight.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mim", "amim", "MIM - H", "VAE + H", "symmetric KL"])
def test_everything_trains(name):
    def density():
        return Independent(Normal(torch.zeros(2), torch.ones(2)), 1)

    objective, marginal = {
        "mim": (mim, None),
        "amim": (amim, None),
        "MIM - H": (weighted((mim, 1.0), (mixture_cross_entropy, -1.0)), density),
        "VAE + H": (weighted((elbo, 1.0), (joint_entropy, 1.0)), None),
        "symmetric KL": (symmetric_kl, density),
    }[name]
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 8, 4), floor=0.1)})
    q = Joint("q", {"x": marginal, "z|x": Gaussian(MLP(2, 8, 4), floor=0.1)})
    optimiser = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=1e-2)
    step = descend(objective, p, q, optimiser)
    x = torch.randn(256, 2) * torch.tensor([1.0, 0.3])
    losses = [step({"x": x}).loss.item() for _ in range(60)]
    assert sum(losses[-10:]) / 10 < sum(losses[:10]) / 10


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"density for \['x'\].*or use mim"):
        symmetric_kl(P, q_of(None), data(10))
    wrong = Joint("anchor", {"y": lambda: Categorical(ANCHOR_Z)})
    with pytest.raises(ValueError, match=r"anchor\(y\) defines none of the latents \['z'\]"):
        mim(P, Q, data(10), anchor=wrong)


@pytest.mark.slow
def test_without_a_floor_the_encoders_scale_shrinks_away():
    """A-MIM with a fixed q(x): nothing holds up the scale, and a floor does."""
    encoder = MLP(2, 4, 2)

    def bare(x):
        loc, log_scale = encoder(x).chunk(2, -1)
        return Independent(Normal(loc, (20 * log_scale).exp(), validate_args=False), 1)

    q = Joint("q", {"x": lambda: Independent(Normal(torch.zeros(2), 1.0), 1), "z|x": bare})
    floored = Joint("q", {"x": q.factors["x"], "z|x": Gaussian(MLP(2, 4, 2), floor=0.05)})
    scales = []
    for joint in (q, floored):
        p = Joint("p", {"z": StandardNormal(1), "x|z": Gaussian(MLP(1, 4, 4))})
        modules = nn.ModuleList([p, joint, encoder])
        step = descend(amim, p, joint, torch.optim.Adam(modules.parameters(), lr=0.05))
        x = torch.randn(64, 2)
        for _ in range(150):
            step({"x": x})
        with torch.no_grad():
            scales.append(joint.factors["z|x"](x).stddev.min().item())
    assert scales[0] < 1e-3 * scales[1]
    assert scales[1] >= 0.05


def test_beta_and_partial_reach_the_encoder_side_only():
    torch.manual_seed(0)
    plain = amim(P, Q, data(100))
    torch.manual_seed(0)
    heavier = partial(amim, beta=3.0)(P, Q, data(100))
    side = (plain.terms["encoder_nll"] + plain.terms["data_nll"]).mean()
    torch.testing.assert_close(heavier.loss - plain.loss, side)
