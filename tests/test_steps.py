"""Steps: what moves, what stays, and what a step says when a loss is no longer finite."""

import math
from itertools import pairwise

import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import nn

from lvmlab import (
    Batches,
    Evaluation,
    Joint,
    alternate,
    descend,
    elbo,
    exact_posterior,
    expect_then_maximise,
    fit,
    marginal_likelihood,
    match_then_descend,
)
from lvmlab.conditionals import Assignment, Components, Gaussian, Proportions, StandardNormal
from lvmlab.networks import MLP


def vae():
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 8, 3), scale=0.5)})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(3, 8, 4))})
    return p, q


def adam(*modules, lr=1e-2):
    return torch.optim.Adam(nn.ModuleList(modules).parameters(), lr=lr)


def three_blobs(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    means = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    k = torch.randint(3, (rows,), generator=generator)
    return means[k] + 0.3 * torch.randn(rows, 2, generator=generator), means


def drawn_from_the_prior(rows, seed):
    """Latents that know nothing of the data: never the seed that drew the labels."""
    return torch.randint(3, (rows,), generator=torch.Generator().manual_seed(1000 + seed))


def mixture(means, scale=1.0):
    return Joint("p", {"k": Proportions(len(means)), "x|k": Components(means, scale)})


def test_descend_is_a_gradient_step_written_out():
    p, q = vae()
    x = torch.randn(6, 3)
    optimiser = torch.optim.SGD(nn.ModuleList([p, q]).parameters(), lr=0.1)
    before = [v.clone() for v in nn.ModuleList([p, q]).parameters()]
    torch.manual_seed(1)
    loss = elbo(p, q, {"x": x}).loss
    gradients = torch.autograd.grad(loss, list(nn.ModuleList([p, q]).parameters()))
    torch.manual_seed(1)
    evaluation = descend(elbo, p, q, optimiser)({"x": x})
    torch.testing.assert_close(evaluation.loss, loss)
    after = nn.ModuleList([p, q]).parameters()
    for old, new, gradient in zip(before, after, gradients, strict=True):
        torch.testing.assert_close(new, old - 0.1 * gradient)


def test_clip_bounds_the_move():
    p, q = vae()
    optimiser = torch.optim.SGD(nn.ModuleList([p, q]).parameters(), lr=1.0)
    before = torch.cat([v.detach().flatten() for v in nn.ModuleList([p, q]).parameters()])
    descend(elbo, p, q, optimiser, clip=0.01)({"x": 100 * torch.randn(6, 3)})
    after = torch.cat([v.detach().flatten() for v in nn.ModuleList([p, q]).parameters()])
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_loss_that_is_not_finite_is_named_and_nothing_moves():
    p, q = vae()

    def broken(p, q, batch):
        rate = torch.full((len(batch["x"]),), math.nan)
        return Evaluation(rate.mean(), {"distortion": torch.zeros(2), "rate": rate})

    before = p.factors["x|z"].network.layers[0].weight.clone()
    with pytest.raises(FloatingPointError, match=r"^rate of broken is no longer finite\. Try"):
        descend(broken, p, q, adam(p, q))({"x": torch.zeros(2, 3)})
    assert torch.equal(p.factors["x|z"].network.layers[0].weight, before)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_moves_nothing_and_says_where(clip):
    """The square root of 0 is 0, and its slope there infinite."""
    p, q = vae()
    weight = p.factors["x|z"].network.layers[0].weight

    def steep(p, q, batch):
        term = (weight.sum() - weight.sum()).sqrt().expand(len(batch["x"]))
        return Evaluation(term.mean(), {"distortion": term})

    before = weight.clone()
    with pytest.raises(
        FloatingPointError, match=r"gradient of steep .* at p\.conditionals\.x\|z.*weight"
    ):
        descend(steep, p, q, adam(p, q), clip)({"x": torch.zeros(2, 3)})
    assert torch.equal(weight, before)


def test_an_encoder_that_diverges_is_a_floating_point_error_not_bad_data():
    p, q = vae()
    with torch.no_grad():
        q.factors["z|x"].network.layers[0].weight.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="distortion and rate of elbo"):
        descend(elbo, p, q, adam(p, q))({"x": torch.zeros(2, 3)})


def test_alternate_turns_as_often_as_asked():
    p, q = vae()
    seen = []

    def counted(name):
        def objective(p, q, batch):
            seen.append(name)
            return elbo(p, q, batch)

        return objective

    encoder, decoder = (
        descend(counted("encoder"), p, q, adam(q)),
        descend(counted("decoder"), p, q, adam(p)),
    )
    both = alternate((encoder, 3), (decoder, 1))
    both({"x": torch.randn(4, 3)})
    assert seen == ["encoder"] * 3 + ["decoder"]
    assert set(both.modules) == {"p", "q"}
    assert len(both.optimisers) == 2


def test_match_never_lowers_the_likelihood_of_the_stored_pairs():
    for seed in range(5):
        x, means = three_blobs(60, seed)
        p = mixture(means + torch.randn(3, 2, generator=torch.Generator().manual_seed(seed)))
        stored = drawn_from_the_prior(60, seed)
        q = Joint("q", {"x": None, "k|index": Assignment(stored)})
        index = torch.arange(60)
        step = match_then_descend(p, q, torch.optim.SGD(p.parameters(), lr=1e-12))
        scores = p.enumerate({"x": x}).log_joint
        before = scores[index, q.factors["k|index"].latents].sum()
        for rows in index.split(10):
            step({"x": x[rows], "index": rows})
        latents = q.factors["k|index"].latents
        assert scores[index, latents].sum() > before
        assert torch.equal(latents.sort().values, stored.sort().values)  # only their order changed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_collike_leaves_the_symmetric_start_that_mal_cannot_leave(seed):
    x, means = three_blobs(300, seed)
    batch = {"x": x, "index": torch.arange(300)}
    stuck = mixture(torch.zeros(3, 2))
    q = Joint("q", {"x": None})
    for _ in range(100):
        descend(marginal_likelihood, stuck, q, adam(stuck, lr=0.05))(batch)
    centres = stuck.factors["x|k"].means
    assert torch.allclose(centres, centres[:1].expand(3, 2), atol=1e-5)

    x, means = three_blobs(3000, seed)  # so many that the counts of z and of the blobs agree
    p = mixture(torch.zeros(3, 2))
    paired = Joint("q", {"x": None, "k|index": Assignment(drawn_from_the_prior(3000, seed))})
    fit(match_then_descend(p, paired, adam(p, lr=0.05)), Batches({"x": x}, 150), steps=200)
    found = p.factors["x|k"].means
    assert torch.cdist(means, found).min(1).values.max() < 0.35


def test_expect_then_maximise_is_sklearns_em():
    x, means = three_blobs(300, 0)
    start = means + 0.5
    reference = GaussianMixture(
        3,
        covariance_type="spherical",
        means_init=start.numpy(),
        weights_init=[1 / 3] * 3,
        precisions_init=[1.0] * 3,
        max_iter=200,
        tol=1e-8,
        reg_covar=0,
    ).fit(x.numpy())
    p = Joint(
        "p", {"k": Proportions(3, learned=True), "x|k": Components(start, 1.0, separate=True)}
    )
    step = expect_then_maximise(p, exact_posterior)
    nll = [step({"x": x}).loss.item() for _ in range(200)]
    assert all(b <= a + 1e-5 for a, b in pairwise(nll))
    assert -nll[-1] == pytest.approx(reference.score(x.numpy()), abs=1e-4)
    found = p.factors["x|k"].means.detach().numpy()
    assert found == pytest.approx(reference.means_, abs=1e-3)
    assert p.factors["k"]().probs.detach().numpy() == pytest.approx(reference.weights_, abs=1e-3)


def test_bad_arguments_are_named():
    p, q = vae()
    with pytest.raises(ValueError, match="holds no parameter of"):
        descend(elbo, p, q, adam(nn.Linear(1, 1)))
    with pytest.raises(ValueError, match="times >= 1"):
        alternate((descend(elbo, p, q, adam(p)), 0))
    with pytest.raises(ValueError, match="0 stored assignments"):
        match_then_descend(p, q, adam(p))
    with pytest.raises(ValueError, match=r"p\(z\) has no closed-form M step"):
        expect_then_maximise(p, exact_posterior)
