"""Two layers of latents: the counts of the papers, the joints they promise, the VampPrior."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from lvmlab import Batches, amim, descend, elbo, fit, mim
from lvmlab.conditionals import StandardNormal, VampPrior
from lvmlab.diagnostics import importance_weighted_nll
from lvmlab.models import (
    ClippedGaussian,
    conv_hvae,
    dense_hvae,
    gated_vae,
    pixel_hvae,
    pseudo_inputs,
    strong_vae,
)
from lvmlab.models.hierarchical import LOG_VARIANCES
from lvmlab.networks.gated import Gated, gated_dense, gated_tower
from lvmlab.pixels import logistic

SMALL = {
    "convHVAE": partial(conv_hvae, (1, 8, 8), (3, 2), width=10, channels=6),
    "PixelHVAE": partial(pixel_hvae, (1, 8, 8), (3, 2), width=10, channels=6, layers=3),
    "HVAE": partial(dense_hvae, (1, 8, 8), (3, 2), width=10),
}
EACH = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)


def binary_images(rows, shape=(1, 8, 8)):
    return (torch.rand(rows, *shape) > 0.5).to(torch.get_default_dtype())


def count(*modules):
    return sum(v.numel() for v in nn.ModuleList(modules).parameters())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (conv_hvae, 2_210_861),
        (pixel_hvae, 1_385_821),
        (dense_hvae, 2_431_024),
        (gated_vae, 1_116_864),
    ],
)
def test_parameters_are_those_of_the_published_code(make, expected):
    assert count(*make()) == expected
    vamp = make(pseudo=torch.zeros(500, 1, 28, 28))
    assert count(*vamp) == expected + 500 * 784


def test_parameters_of_the_strong_vae():
    p, q = strong_vae()
    assert count(q) == 752_448 and count(p) == 894_400
    skip, _ = strong_vae(skip=True)
    assert count(skip) - count(p) == 12 * (32 * 64 + 64)


def test_parts_of_convhvae_have_the_parameters_worked_out():
    p, q = conv_hvae()
    parts = [*q.factors.values(), *p.factors.values()]
    assert [count(f) for f in parts if f is not None] == [228_604, 538_496, 0, 229_280, 1_214_481]


@EACH
def test_the_joints_and_their_elbo_written_out(make):
    p, q = make()
    assert str(p) == "p(z2) p(z1|z2) p(x|z1,z2)" and str(q) == "q(x) q(z2|x) q(z1|x,z2)"
    p.eval(), q.eval()
    x = binary_images(5)
    torch.manual_seed(1)
    terms = elbo(p, q, {"x": x}).terms
    torch.manual_seed(1)
    upper = q.factors["z2|x"](x)
    z2 = upper.rsample()
    lower = q.factors["z1|x,z2"](x, z2)
    z1 = lower.rsample()
    assert z1.shape == (5, 3) and z2.shape == (5, 2)
    rate = upper.log_prob(z2) - Normal(0, 1).log_prob(z2).sum(1)
    rate = rate + lower.log_prob(z1) - p.factors["z1|z2"](z2).log_prob(z1)
    torch.testing.assert_close(terms["rate"], rate)
    torch.testing.assert_close(terms["distortion"], -p.factors["x|z1,z2"](z1, z2).log_prob(x))


@EACH
@pytest.mark.parametrize("objective", [elbo, amim, mim], ids=lambda o: o.__name__)
def test_every_parameter_is_trained_and_images_are_drawn(make, objective):
    x = binary_images(12)
    p, q = make(pseudo=pseudo_inputs(x, 4))
    objective(p, q, {"x": x}).loss.backward()
    silent = [
        name
        for joint in (p, q)
        for name, parameter in joint.named_parameters()
        if parameter.grad is None or parameter.grad.abs().sum() == 0
    ]
    assert not silent
    drawn = p.draw(size=3).values
    assert drawn["x"].shape == (3, 1, 8, 8) and set(drawn["x"].unique().tolist()) <= {0.0, 1.0}
    nll = importance_weighted_nll(p, q, {"x": x[:2]}, 4)
    assert nll.shape == (2,) and (nll > 0).all()


@EACH
def test_amim_over_two_latents_is_the_sum_over_both(make):
    """-log p(z) is -log p(z2) - log p(z1|z2), -log q(z|x) likewise, and the loss cancels q."""
    p, q = make()
    p.eval(), q.eval()
    x = binary_images(6)
    torch.manual_seed(2)
    found = amim(p, q, {"x": x})
    torch.manual_seed(2)
    pairs = q.draw({"x": x})
    scored = p.score(pairs.values)
    prior = scored.log_prob["z2"] + scored.log_prob["z1|z2"]
    encoder = pairs.log_prob["z2|x"] + pairs.log_prob["z1|x,z2"]
    torch.testing.assert_close(found.terms["latent_nll"], -prior)
    torch.testing.assert_close(found.terms["encoder_nll"], -encoder)
    complete = scored.log_prob["x|z1,z2"] + prior  # with the marginal q(x), log q(z|x) cancels
    torch.testing.assert_close(found.loss, -complete.mean())
    torch.manual_seed(2)
    both = mim(p, q, {"x": x}).terms
    torch.testing.assert_close(both["latent_nll"], -prior)
    assert {"drawn_latent_nll", "drawn_encoder_nll"} <= set(both)


@pytest.mark.parametrize("make", [SMALL["convHVAE"], partial(gated_vae, (1, 8, 8), 2, 10)])
def test_vampprior_is_the_mixture_written_out(make, float64):
    x = binary_images(20)
    start = pseudo_inputs(x, 3, noise=0.3)
    p, q = make(pseudo=start)
    encoder = next(q.factors[text] for text in ("z2|x", "z|x") if text in q.factors)
    prior = p.factors["z2" if "z2" in p.factors else "z"]
    assert isinstance(prior, VampPrior) and prior.encoder is encoder
    z = torch.randn(7, 2)
    total = torch.zeros(7)
    for u in start:
        answer = encoder(u.clamp(0, 1)[None]).base_dist
        density = torch.ones(7)
        for d in range(2):
            m, s = answer.loc[0, d], answer.scale[0, d]
            density = density * (-((z[:, d] - m) ** 2) / (2 * s**2)).exp()
            density = density / (s * math.sqrt(2 * math.pi))
        total = total + density / 3
    torch.testing.assert_close(prior().log_prob(z), total.log())
    assert (start.min() < 0) and (start.max() > 1)  # so that the clipping above is seen


def test_pseudo_inputs_are_the_first_images_with_a_little_noise():
    x = binary_images(600)
    start = pseudo_inputs(x, 500)
    off = start - x[:500]
    assert start.shape == (500, 1, 8, 8)
    assert off.std().item() == pytest.approx(0.01, rel=0.03) and abs(off.mean()) < 3e-4
    torch.testing.assert_close(start, pseudo_inputs(x, 500))
    assert not torch.equal(start, pseudo_inputs(x, 500, seed=1))
    torch.testing.assert_close(pseudo_inputs(x, 2, noise=0.0), x[:2])


def test_log_variances_are_clipped_and_silent_beyond():
    raw = torch.tensor([[0.0, 0.0, 0.0, -9.0, 0.5, 7.0]], requires_grad=True)
    q = ClippedGaussian(lambda x: raw)(torch.zeros(1))
    expected = torch.tensor([LOG_VARIANCES[0], 0.5, LOG_VARIANCES[1]])
    torch.testing.assert_close(q.variance.log()[0].detach(), expected)
    q.log_prob(torch.ones(1, 3)).sum().backward()
    assert (raw.grad[0, 3:] != 0).tolist() == [False, True, False]


@EACH
def test_a_floor_holds_the_scales_of_both_encoders(make):
    _, q = make(floor=0.3)
    for conditional in list(q.factors.values())[1:]:
        assert conditional.limits == pytest.approx((2 * math.log(0.3), 2.0))
    scales = [d.stddev.min().item() for d in q.draw({"x": binary_images(9)}).distributions.values()]
    assert min(scales) >= 0.3 - 1e-6


def test_gated_layers_written_out():
    layer = Gated(nn.Linear, 3, 2)
    x = torch.randn(5, 3)
    h = x @ layer.value.weight.T + layer.value.bias
    g = x @ layer.gate.weight.T + layer.gate.bias
    torch.testing.assert_close(layer(x), h / (1 + (-g).exp()))
    wide = Gated(nn.Linear, 400, 300)
    assert wide.value.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)


def test_grey_and_colour_images():
    x = torch.randint(17, (4, 3, 8, 8)) / 16
    for make in (conv_hvae, pixel_hvae, dense_hvae):
        p, q = make((3, 8, 8), (3, 2), 10, pixels=logistic(17), parameters=2)
        loss = elbo(p, q, {"x": x}).loss
        assert loss.isfinite()
        drawn = p.draw(size=2).values["x"] * 16
        assert drawn.shape == (2, 3, 8, 8)
        torch.testing.assert_close(drawn, drawn.round())


@EACH
def test_grey_pixels_of_a_binary_decoder_score_as_the_cross_entropy(make):
    p, q = make()
    p.eval(), q.eval()
    pairs = q.draw({"x": torch.rand(4, 1, 8, 8)})
    scored = p.score(pairs.values)
    ones, zeros = (p.score(pairs.values | {"x": torch.full((4, 1, 8, 8), v)}) for v in (1.0, 0.0))
    if make is SMALL["PixelHVAE"]:  # each pixel's chance depends on those before: only finite
        assert scored.nats(["x"]).isfinite().all()
    else:
        even = p.score(pairs.values | {"x": torch.full((4, 1, 8, 8), 0.5)})
        mean = (ones.nats(["x"]) + zeros.nats(["x"])) / 2
        torch.testing.assert_close(even.nats(["x"]), mean)


@pytest.mark.slow
def test_a_short_training_lowers_the_bound_of_real_digits():
    from lvmlab.datasets import load

    x = load("digits", "train", size=256).values["x"].round()
    for seed in range(2):
        torch.manual_seed(seed)
        p, q = SMALL["HVAE"](pseudo=pseudo_inputs(x, 20))
        assert not isinstance(p.factors["z2"], StandardNormal)
        adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=3e-3)
        history = fit(descend(elbo, p, q, adam), Batches({"x": x}, 64, seed), steps=60)
        assert sum(history["loss"][-10:]) < 0.75 * sum(history["loss"][:10])


def test_bad_sizes_images_and_pseudo_inputs_are_refused_in_words():
    x = binary_images(5)
    with pytest.raises(ValueError, match=r"between 1 and the 5 training images.*got 6"):
        pseudo_inputs(x, 6)
    with pytest.raises(ValueError, match=r"between 1 and the 5 training images.*got 0"):
        pseudo_inputs(x, 0)
    with pytest.raises(ValueError, match=r"images \(K, 1, 28, 28\) like the data, got \(2, 1, 8"):
        conv_hvae(pseudo=pseudo_inputs(x, 2))
    for make in (conv_hvae, pixel_hvae, dense_hvae):
        with pytest.raises(ValueError, match=r"whole numbers from 1 up, got \{'z2': 0\}"):
            make(latents=(4, 0))
        with pytest.raises(ValueError, match="two sizes, those of z1 and z2"):
            make(latents=(4,))
        with pytest.raises(ValueError, match=r"shape must be \(channels, height, width\)"):
            make((28, 28))
    with pytest.raises(ValueError, match="floor must be a small positive standard deviation"):
        conv_hvae(floor=0.0)
    with pytest.raises(ValueError, match="'latent': 0"):
        strong_vae(latent=0)
    with pytest.raises(ValueError, match="'blocks': 0"):
        strong_vae(blocks=0)
    with pytest.raises(ValueError, match="two or more whole numbers"):
        gated_dense(3)
    p, q = SMALL["convHVAE"]()
    with pytest.raises(ValueError, match=r"takes images \(B, 1, 8, 8\), got \(2, 3, 8, 8\)"):
        q.draw({"x": torch.zeros(2, 3, 8, 8)})
    with pytest.raises(ValueError, match=r"takes images \(B, 3, 8, 8\), got \(2, 1, 8, 8\)"):
        gated_tower((3, 8, 8))(torch.zeros(2, 1, 8, 8))
    pairs = q.draw({"x": 255 * binary_images(2)})
    with pytest.raises(ValueError, match=r"'x' lie outside the support.*0 to 255"):
        p.score(pairs.values)
