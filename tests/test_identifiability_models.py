"""Sources, iVAE, VaDE and flows with a mixture base: exact sums, Jacobians, inverses, messages."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import RelaxedOneHotCategorical

from lvmlab import Joint
from lvmlab.batches import Batches
from lvmlab.conditionals import Bernoulli, Gaussian, Mixture, Proportions, StandardNormal
from lvmlab.datasets import sources
from lvmlab.flows import Autoregressive
from lvmlab.many import fit_many
from lvmlab.models import (
    Component,
    Labelled,
    Responsibilities,
    Weights,
    autoencoder,
    bayes_optimal,
    dense_pair,
    differences,
    gmm_flow,
    ivae,
    mixture_prior,
    relaxed_vq,
    repair,
    unit_codes,
    vade,
    variability,
)
from lvmlab.networks import MLP
from lvmlab.objectives import elbo, marginal_likelihood

READINGS = [
    {"layers": 2},
    {"layers": 4},
    {"layers": 3, "activations": "between", "matrices": "uniform"},
    {"layers": 2, "activations": "after", "repeated": True, "slope": 0.1},
]


@pytest.mark.parametrize("reading", READINGS)
def test_mixing_is_a_bijection_with_the_log_determinant_of_autograd(reading):
    segments = sources.time_contrastive(3, 4, **reading)
    source = 2 * torch.randn(5, 3, dtype=torch.float64)
    x = segments.mixing(source)
    torch.testing.assert_close(segments.mixing.inverse(x), source)
    for row, log_det in zip(source, segments.mixing.log_det(source), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: segments.mixing(v[None])[0], row)
        assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(log_det.item(), abs=1e-10)


def test_layers_are_counted_as_each_reading_says():
    def kinds(**reading):
        parts = sources.time_contrastive(2, 3, **reading).mixing._parts()
        return "".join("a" if part is None else "M" for part in parts)

    assert kinds(layers=2) == "aM" and kinds(layers=4) == "aMaMaM"
    assert kinds(layers=2, activations="between") == "MaM"
    assert kinds(layers=2, activations="after") == "MaMa"


def test_matrices_are_orthogonal_or_well_conditioned_with_columns_of_length_one():
    turned = sources.time_contrastive(4, 2, layers=4).mixing.matrices
    torch.testing.assert_close(
        turned @ turned.mT, torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    )
    assert not torch.allclose(turned[0], turned[1])
    drawn = {"matrices": "uniform", "activations": "between", "layers": 3}
    uniform = sources.time_contrastive(4, 2, **drawn).mixing.matrices
    torch.testing.assert_close(uniform.norm(dim=1), torch.ones(3, 4, dtype=torch.float64))
    assert torch.linalg.cond(uniform).max() < 5  # a quarter of random ones lies below about 4
    again = sources.time_contrastive(4, 2, **drawn, repeated=True).mixing.matrices
    assert torch.equal(again[0], again[2])


def test_segments_have_the_means_and_scales_that_were_drawn():
    segments = sources.time_contrastive(3, 4, seed=5)
    assert segments.means.abs().max() <= 3 and segments.scales.min() >= 0.01
    assert segments.scales.max() <= 3 and (segments.means > 0).any() and (segments.means < 0).any()
    drawn = segments.sample(4000, seed=0, dtype=torch.float64)
    assert drawn["x"].shape == (16_000, 3) and drawn["u"].bincount().tolist() == [4000] * 4
    for u in range(4):
        rows = drawn["source"][drawn["u"] == u]
        away = (rows.mean(0) - segments.means[u]) / segments.scales[u] * 4000**0.5
        assert away.abs().max() < 4.5  # 12 standard normals
        assert ((rows.std(0) / segments.scales[u] - 1) * 8000**0.5).abs().max() < 4.5
    assert torch.equal(drawn["x"], segments.mixing(drawn["source"]))
    assert torch.equal(drawn["x"], segments.sample(4000, seed=0, dtype=torch.float64)["x"])
    assert not torch.equal(drawn["x"], segments.sample(4000, seed=1, dtype=torch.float64)["x"])
    assert segments.sample(2)["x"].dtype == torch.float32
    other = sources.time_contrastive(3, 4, seed=6)
    assert not torch.equal(other.means, segments.means)


def test_the_exact_density_of_x_is_that_of_its_sources_by_scipy():
    segments = sources.time_contrastive(2, 3, layers=3, activations="between")
    drawn = segments.sample(5, seed=1, dtype=torch.float64)
    source, u = drawn["source"].numpy(), drawn["u"].numpy()
    normal = stats.norm(segments.means.numpy()[:, None], segments.scales.numpy()[:, None])
    log_det = segments.mixing.log_det(drawn["source"]).numpy()
    each = normal.logpdf(source).sum(2) - log_det  # (segments, rows)
    given = segments.log_prob(drawn["x"], drawn["u"]).numpy()
    np.testing.assert_allclose(given, each[u, np.arange(len(u))], rtol=1e-9)
    every = np.log(np.exp(each).mean(0))
    np.testing.assert_allclose(segments.log_prob(drawn["x"]).numpy(), every, rtol=1e-9)


def test_hashes_share_the_rows_out_and_a_projection_stays_fixed():
    projection = sources.rademacher(3, 6, seed=0)
    assert projection.shape == (3, 6) and set(projection.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(projection, sources.rademacher(3, 6, seed=0))
    many = sources.rademacher(50, 50, seed=1)
    assert abs(many.mean().item()) < 4 / 50  # 2,500 coins
    x = torch.randn(4000, 2, 3)
    u = sources.hashed(x, projection)
    assert u.dtype == torch.long and u.min() >= 0 and u.max() <= 7
    bits = (x.flatten(1).double().numpy() @ projection.double().numpy().T > 0) * [1, 2, 4]
    assert (u.numpy() == bits.sum(1)).all()


def small_vade(labels, components=4):
    torch.manual_seed(3)
    prior = mixture_prior(components, 2, "spread")
    with torch.no_grad():
        prior.logits.copy_(torch.randn(components))
        prior.log_scales.copy_(0.3 * torch.randn(components, 2))
    decoder, encoder = dense_pair(3, 2, (8,), scale=0.5)
    return vade(prior, decoder, encoder, labels), prior


def test_vade_with_u_summed_out_or_drawn_is_the_same_number_for_every_u():
    (p, q), _ = small_vade(False)
    (p_u, q_u), _ = small_vade(True)
    x = torch.randn(64, 3)
    values = q.draw({"x": x}).values
    bound = p.score(values).nats() - q.score(values).nats()
    summed = p_u.enumerate({"x": x, "z": values["z"]}).log_joint.logsumexp(1)
    torch.testing.assert_close(summed, p.score(values).nats())
    torch.testing.assert_close(bound, summed - q.score(values).nats())
    for u in range(4):
        full = values | {"u": torch.full((64,), u)}
        torch.testing.assert_close(p_u.score(full).nats() - q_u.score(full).nats(), bound)
    drawn = q_u.draw({"x": x, "z": values["z"]})
    terms = elbo(p_u, q_u, drawn.values).terms
    assert set(drawn.values) == {"x", "z", "u"} and terms["distortion"].isfinite().all()


def test_responsibilities_are_bayes_rule_of_the_mixture():
    _, prior = small_vade(True)
    z = torch.randn(9, 2)
    exact = Joint("p", {"u": Weights(prior), "z|u": Component(prior)}).enumerate({"z": z})
    found = Responsibilities(prior)(z).probs
    torch.testing.assert_close(found, exact.log_joint.softmax(1))
    torch.testing.assert_close(prior().log_prob(z), exact.log_joint.logsumexp(1))
    one, minimum = bayes_optimal(found.log()[None])
    torch.testing.assert_close(one, found)
    assert minimum.abs().max() < 1e-6
    logs = Responsibilities(prior)(torch.randn(6, 9, 2)).probs.log()
    several, above = bayes_optimal(logs)
    weighted, same = bayes_optimal(logs, torch.full((6, 9), 1 / 6))
    torch.testing.assert_close(several, weighted)
    torch.testing.assert_close(above, same)
    assert (above > 0).all() and torch.allclose(several.sum(1), torch.ones(9))


@pytest.mark.parametrize("sees_u", [False, True])
def test_ivae_bounds_the_conditional_likelihood_of_a_linear_model(sees_u):
    """p(x|u) is exact when p(x|z) is linear; with the exact posterior the bound has no gap."""
    means, scales = torch.tensor([[0.0], [2]]), torch.tensor([[1.0], [0.3]])
    prior = Component(Mixture(means, scales))
    slope, noise = 1.5, 0.4

    def posterior(x, u):
        precision = scales[u] ** -2 + slope**2 / noise**2
        loc = (means[u] / scales[u] ** 2 + slope * x / noise**2) / precision
        return torch.distributions.Independent(torch.distributions.Normal(loc, precision**-0.5), 1)

    decoder = Gaussian(lambda z: slope * z, scale=noise)
    encoder = posterior if sees_u else Gaussian(MLP(1, 4, 2))
    p, q = ivae(prior, decoder, encoder, sees_u)
    u = torch.arange(2).repeat_interleave(300)
    x = (slope * means[u] + torch.randn(600, 1)).detach()
    exact = torch.distributions.Normal(
        slope * means[u, 0], (slope**2 * scales[u, 0] ** 2 + noise**2).sqrt()
    ).log_prob(x[:, 0])
    terms = elbo(p, q, {"x": x, "u": u}).terms
    bound = -(terms["distortion"] + terms["rate"])
    if sees_u:
        torch.testing.assert_close(bound, exact, atol=1e-4, rtol=1e-4)
    else:
        assert bound.mean() < exact.mean()


def test_a_network_prior_and_an_encoder_get_u_as_a_row_of_zeros_and_a_one():
    prior = Gaussian(Labelled(MLP(3, 6, 4), 3))
    decoder, encoder = dense_pair(5, 2, (8,), labels=3)
    p, q = ivae(prior, decoder, encoder, sees_u=True, weights=Proportions(3))
    batch = {"x": torch.randn(7, 5), "u": torch.tensor([0, 1, 2, 0, 1, 2, 0])}
    terms = elbo(p, q, batch).terms
    assert terms["distortion"].shape == (7,)
    scored = q.draw(batch)
    at = scored.distributions["z|x,u"].mean
    torch.testing.assert_close(
        at, encoder.network.network(batch["x"], torch.eye(3)[batch["u"]]).chunk(2, 1)[0]
    )


def test_starts_are_those_of_the_paper():
    torch.manual_seed(0)
    prior = mixture_prior(40, 5)
    bound = (6 / 45) ** 0.5
    for values in (prior.means, 2 * prior.log_scales):
        assert 0.9 * bound < values.abs().max() <= bound
    assert not prior.logits.any() and len(list(prior.parameters())) == 3
    assert not mixture_prior(40, 5, "spread").log_scales.any()


@pytest.mark.parametrize("hidden", [(7,), (4, 9)])
def test_every_dimension_answers_to_those_before_it_and_the_map_is_undone(hidden):
    torch.manual_seed(1)
    part = Autoregressive(4, hidden)
    y, log_det = part(torch.randn(3, 4))
    assert not log_det.any()  # the identity at first
    for value in part.parameters():
        torch.nn.init.normal_(value, std=0.7)
    x = torch.randn(3, 4)
    y, log_det = part(x)
    torch.testing.assert_close(part.inverse(y), x, atol=1e-4, rtol=1e-4)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: part(v[None])[0][0], x[i])
        assert not jacobian.triu(1).any() and (jacobian.tril(-1) != 0).sum() == 6
        assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(log_det[i].item(), 1e-4)


def shaken_flow(dim, layers):
    torch.manual_seed(2)
    p, q = gmm_flow(dim, components=3, layers=layers, hidden=(6,), start="spread")
    with torch.no_grad():
        for value in p.factors["x"].bijection.parameters():
            value += 0.25 * torch.randn_like(value)
    return p, q


def test_the_density_of_a_flow_agrees_with_its_jacobian_and_sums_to_one():
    p, q = shaken_flow(2, 3)
    flow = p.factors["x"]
    x = torch.randn(4, 2)
    nll = marginal_likelihood(p, q, {"x": x}).terms["nll"]
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.bijection(v[None])[0][0], x[i])
        at = (
            flow.base().log_prob(flow.bijection(x[i : i + 1])[0])
            + torch.linalg.slogdet(jacobian)[1]
        )
        assert nll[i].item() == pytest.approx(-at.item(), abs=1e-5)
    line = torch.linspace(-14, 14, 561)
    grid = torch.cartesian_prod(line, line)
    total = p.score({"x": grid}).nats().exp().sum() * (line[1] - line[0]) ** 2
    assert total.item() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("kind", ["ivae", "vade", "flow"])
def test_seeds_train_together_as_alone(kind):
    segments = sources.time_contrastive(2, 5, layers=2)
    drawn = segments.sample(40, seed=10_000)
    data = {"x": drawn["x"], "u": drawn["u"]} if kind == "ivae" else {"x": drawn["x"]}

    def make(seed):
        if kind == "flow":
            return gmm_flow(2, 5, 2, (6,))
        decoder, encoder = dense_pair(2, 2, (8,))
        if kind == "ivae":
            return ivae(Component(mixture_prior(5, 2)), decoder, encoder)
        return vade(mixture_prior(5, 2), decoder, encoder)

    def trained(seeds):
        objective = marginal_likelihood if kind == "flow" else elbo
        return fit_many(
            *(make, seeds, lambda s: Batches(data, 50, s), objective),
            steps=20, lr=1e-2, device="cpu", progress=False,
        )  # fmt: skip

    together, alone = trained([0, 1]), trained([1])
    losses = together[1].history.terms["loss"]
    assert losses == pytest.approx(alone[0].history.terms["loss"], rel=1e-3, abs=1e-3)
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def relaxed(temperature=0.5):
    torch.manual_seed(4)
    codes = unit_codes(5, 2)
    encoder = nn.Sequential(MLP(4, 6), nn.Unflatten(1, (3, 2)))
    decoder = nn.Sequential(nn.Flatten(1), MLP(6, 4))
    return (*relaxed_vq(encoder, decoder, Bernoulli, codes, 3, temperature), codes, encoder)


def test_relaxed_codes_are_drawn_and_scored_as_torch_scores_points_of_the_simplex():
    p, q, codes, encoder = relaxed()
    x = torch.rand(6, 4)
    drawn = q.draw({"x": x})
    simplex = drawn.values["u"].exp()
    torch.testing.assert_close(simplex.sum(2), torch.ones(6, 3))
    logits = -0.5 * torch.cdist(encoder(x), codes.means.expand(6, 5, 2)).square()
    half = torch.tensor(0.5)
    for joint, logits_here, values in ((q, logits, drawn.values), (p, 0 * logits, drawn.values)):
        exact = RelaxedOneHotCategorical(half, logits=logits_here).log_prob(simplex)
        there = joint.score(values).log_prob["u|x" if joint is q else "u"]
        # a density of log u has the Jacobian that one of u lacks
        expected = (exact + drawn.values["u"].sum(2)).sum(1)
        torch.testing.assert_close(there, expected, atol=1e-3, rtol=1e-4)
    terms = elbo(p, q, {"x": x}).terms
    assert terms["rate"].isfinite().all() and terms["distortion"].shape == (6,)
    likelihood = p.factors["x|u"]
    pixels = likelihood.network.decoder(simplex @ codes.means)
    torch.testing.assert_close(likelihood(drawn.values["u"]).mean, pixels.sigmoid())
    torch.testing.assert_close(q.factors["u|x"].mean(x), logits.softmax(2) @ codes.means)
    assert [v.requires_grad for v in codes.parameters()] == [True, False, False]


def test_cold_draws_are_single_codes_and_gradients_reach_codes_and_encoder():
    p, q, codes, encoder = relaxed(0.01)
    drawn = q.draw({"x": torch.rand(50, 4)}).values["u"].exp()
    assert (drawn.max(2).values > 0.99).float().mean() > 0.9
    p, q, codes, encoder = relaxed()
    elbo(p, q, {"x": torch.rand(8, 4)}).loss.backward()
    assert codes.means.grad.abs().sum() > 0 and encoder[0].layers[0].weight.grad.abs().sum() > 0
    plain, at = autoencoder(encoder, nn.Sequential(nn.Flatten(1), MLP(6, 4)), Bernoulli)
    terms = elbo(plain, at, {"x": torch.rand(8, 4)}).terms
    assert not terms["rate"].any() and (terms["distortion"] > 0).all()
    with pytest.raises(ValueError, match="no encoder"):
        p.factors["u"].probabilities(torch.rand(2, 4))


def test_noise_mends_a_singular_l_and_leaves_a_good_one_alone():
    torch.manual_seed(0)
    prior = mixture_prior(11, 5, "spread")  # all scales equal
    assert not variability(prior.means, prior.log_scales.exp()).satisfied
    assert repair(prior)
    mended = variability(prior.means, prior.log_scales.exp())
    assert mended.satisfied and mended.rank == 10
    before = prior.means.clone()
    assert not repair(prior) and torch.equal(prior.means, before)
    assert differences(prior.means, prior.log_scales.exp()).shape == (10, 10)
    with pytest.raises(ValueError, match="11 are needed, so at most 4 dimensions"):
        repair(mixture_prior(10, 5))


def test_the_units_of_z_do_not_change_whether_l_is_invertible():
    torch.manual_seed(0)
    means, scales = torch.randn(2, 9, 3).double().unbind()
    scales = scales.exp()
    unit = torch.tensor([1e-5, 1, 1e5]).double()
    for rank, s in ((6, scales), (3, torch.ones_like(scales))):
        assert variability(means, s).rank == variability(means * unit, s * unit).rank == rank


# fmt: off
BAD = [
    (lambda: sources.Mixing(torch.zeros(1, 2, 2)), "full rank"),
    (lambda: sources.Mixing(torch.eye(2)), r"\(M, D, D\)"),
    (lambda: sources.Mixing(torch.eye(2)[None], slope=0.0), "slope must be positive"),
    (lambda: sources.Mixing(torch.eye(2)[None], activations="inside"), "before, between, after"),
    (lambda: sources.time_contrastive(layers=1), "layers 2 or more"),
    (lambda: sources.time_contrastive(dim=0), "dim"),
    (lambda: sources.time_contrastive(matrices="sparse"), "orthogonal, uniform"),
    (lambda: sources.time_contrastive(mean_range=(1.0, 0.0)), "mean_range"),
    (lambda: sources.time_contrastive(scale_range=(0.0, 0.0)), "scales are standard deviations"),
    (lambda: sources.time_contrastive().sample(0), "per_segment"),
    (lambda: sources.time_contrastive().sample(1, 0, torch.Generator()), "seed or generator"),
    (lambda: sources.Segments(torch.zeros(3, 2), torch.ones(3, 3),
                              sources.Mixing(torch.eye(2)[None])), r"\(segments, 2\)"),
    (lambda: sources.hashed(torch.zeros(3, 4), torch.ones(2, 5)), r"\(bits, 4\)"),
    (lambda: sources.rademacher(0, 3, 0), "bits and dim"),
    (lambda: mixture_prior(0, 2), "components and dim"),
    (lambda: mixture_prior(3, 2, "kmeans"), "xavier, spread"),
    (lambda: vade(StandardNormal(2), *dense_pair(3, 2), labels=True), "Mixture as prior"),
    (lambda: relaxed(0.0), "temperature must be positive"),
    (lambda: unit_codes(0, 2), "number and dim"),
    (lambda: gmm_flow(2, layers=0), "layers must be"),
    (lambda: Autoregressive(0), "dim and hidden"),
    (lambda: Autoregressive(3)(torch.zeros(2, 4)), r"takes \(B, 3\)"),
    (lambda: variability(torch.zeros(3, 2), torch.ones(3, 1)), "values of u, dimensions"),
    (lambda: variability(torch.zeros(3, 2), torch.zeros(3, 2)), "scales are standard"),
]
# fmt: on


@pytest.mark.parametrize(("call", "says"), BAD)
def test_bad_input_is_refused_with_what_was_expected(call, says):
    with pytest.raises(ValueError, match=says):
        call()
