"""Models made elsewhere as p and q: right numbers, clear refusals, and a model of pythae."""

import math
from types import SimpleNamespace

import pytest
import strangers
import torch
from torch import nn
from torch.distributions import Normal

from lvmlab import elbo, report
from lvmlab.adapters import best_scale, from_logits, from_moments
from lvmlab.datasets import load

W, A, SIGMA, S = strangers.optimum()


def encode(x):
    return A * x, torch.full_like(x, 2 * math.log(SIGMA))


def decode(z):
    return W * z


ENCODERS = {
    "a pair": encode,
    "a list": lambda x: list(encode(x)),
    "a dictionary": lambda x: dict(zip(("mean", "log_variance"), encode(x), strict=True)),
    "mu, logvar": lambda x: SimpleNamespace(mu=encode(x)[0], logvar=encode(x)[1]),
    "embedding": lambda x: SimpleNamespace(embedding=encode(x)[0], log_covariance=encode(x)[1]),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_wrapped_moments_are_the_healthy_stranger(name):
    p, q = from_moments(ENCODERS[name], decode, 1, S)
    data = strangers.line(0, 400)
    ours, theirs = (
        report(*pair, data, samples=32, weighed=200)
        for pair in ((p, q), strangers.calibration("healthy"))
    )
    for number in ("distortion", "rate", "nll", "information", "swap"):
        assert abs(getattr(ours, number) - getattr(theirs, number)) < 1e-4, number


def test_priors_as_distributions_and_as_callables():
    data = strangers.line(0, 100)
    wide = strangers.normal(torch.zeros(1), 2.0)
    rates = [
        report(*from_moments(encode, decode, 1, S, prior=prior), data, samples=8).rate
        for prior in (wide, lambda: wide)
    ]
    assert rates[0] == rates[1] != report(*from_moments(encode, decode, 1, S), data).rate


class Dropped(nn.Module):
    """The same model with dropout, which would show in every number, and methods to hand over."""

    def __init__(self):
        super().__init__()
        self.drop, self.weight = nn.Dropout(0.5), nn.Parameter(torch.tensor(W))

    def encode(self, x):
        return encode(self.drop(x))

    def decode(self, z):
        return self.weight * self.drop(z)


def test_methods_of_a_module_are_measured_in_eval_mode():
    model, data = Dropped(), strangers.line(0, 400)
    torch.manual_seed(1)
    expected = best_scale(encode, decode, data["x"])
    torch.manual_seed(1)
    assert best_scale(model.encode, model.decode, data["x"]) == pytest.approx(expected, rel=1e-6)
    p, q = from_moments(model.encode, model.decode, 1, S)
    ours, plain = (
        report(*pair, data, samples=8, weighed=100)
        for pair in ((p, q), from_moments(encode, decode, 1, S))
    )
    assert abs(ours.distortion - plain.distortion) < 1e-4 and abs(ours.rate - plain.rate) < 1e-4
    assert all(module.training for module in model.modules())
    assert [parameter is model.weight for parameter in p.parameters()] == [True]


def test_outputs_of_decoders():
    x = torch.tensor([[0.0, 1.0], [1.0, 0.25]])
    z = torch.tensor([[0.3], [-0.2]])
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]])

    def scored(scale, out):
        p, _ = from_moments(encode, lambda z: out, 1, scale)
        return p.factors["x|z"](z).log_prob(x)

    entropy = nn.functional.binary_cross_entropy_with_logits
    expected = -entropy(logits, x, reduction="none").sum(1)
    assert torch.allclose(scored("bernoulli", logits), expected)
    assert torch.allclose(scored("probabilities", logits.sigmoid()), expected, atol=1e-5)
    assert torch.allclose(scored("bernoulli", {"reconstruction": logits}), expected)
    log_variance = torch.full_like(logits, math.log(0.25))
    gaussian = Normal(logits, 0.5).log_prob(x).sum(1)
    assert torch.allclose(scored("moments", (logits, log_variance)), gaussian)
    assert torch.allclose(scored(0.5, logits), gaussian)


def test_best_scale_is_where_the_distortion_is_least():
    x = strangers.line(0, 20_000)["x"]
    torch.manual_seed(1)
    best = best_scale(encode, decode, x)
    assert abs(best**2 - W**2 * SIGMA**2 - strangers.V * (1 - W * A) ** 2) < 0.01
    costs = []
    for scale in (0.9 * best, best, 1.1 * best):
        p, q = from_moments(encode, decode, 1, scale)
        torch.manual_seed(2)
        costs.append(elbo(p, q, {"x": x}).terms["distortion"].mean().item())
    assert costs[1] < min(costs[0], costs[2])
    expected = 0.5 * math.log(2 * math.pi * math.e * best**2)  # line 3 of notebook 13
    assert abs(costs[1] - expected) < 0.02


def test_categories_by_logits_are_summed_exactly():
    truth = strangers.categories()
    p, q = from_logits(
        lambda x: truth[1].factors["k|x"](x).logits,
        lambda k: strangers.CENTRES[k],
        categories=4,
        scale=1.0,
    )
    data = strangers.blobs(0, 200)
    ours, theirs = report(p, q, data), report(*truth, data)
    assert ours.exact and abs(ours.nll - theirs.nll) < 1e-5
    assert abs(ours.information - theirs.information) < 1e-5


def test_parameters_are_reached_and_modules_sleep():
    encoder, decoder = nn.Linear(1, 2), nn.Linear(1, 1)
    p, q = from_moments(lambda x: encoder(x).chunk(2, -1), decoder, 1, S)
    assert {id(v) for v in decoder.parameters()} <= {id(v) for v in p.parameters()}
    report(p, q, strangers.line(0, 60), samples=8)
    assert encoder.training and decoder.training
    assert q is not None


REFUSED = {
    "no scale": (lambda: from_moments(encode, decode, 1), "best_scale"),
    "a negative scale": (lambda: from_moments(encode, decode, 1, -0.5), "positive standard"),
    "True": (lambda: from_moments(encode, decode, 1, True), "positive standard"),
    "another word": (lambda: from_moments(encode, decode, 1, "gaussian"), "one of bernoulli"),
    "no dimensions": (lambda: from_moments(encode, decode, 0, S), "dim must be"),
    "no categories": (lambda: from_logits(encode, decode, 0, S), "categories must be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_make_no_density_are_refused(name):
    make, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        make()


AT_A_CALL = {
    "a tensor": ((lambda x: x, decode, 1, S), r"encode must return \(mean, log-variance\)"),
    "three": ((lambda x: (x, x, x), decode, 1, S), "a tuple of 3"),
    "numbers": ((lambda x: (1.0, 2.0), decode, 1, S), "two tensors"),
    "two shapes": ((lambda x: (x, x.sum(1)), decode, 1, S), "of one shape"),
    "a pair decoded": ((encode, lambda z: (z, z), 1, S), 'pass scale="moments"'),
    "logits as chances": ((encode, lambda z: z + 3, 1, "probabilities"), 'pass scale="bernoulli"'),
    "another width": ((encode, decode, 3, S), r"p\(z\)"),
    "another shape of x": ((encode, lambda z: z.repeat(1, 3), 1, S), r"p\(x\|z\)"),
}


@pytest.mark.parametrize("name", AT_A_CALL)
def test_outputs_that_are_not_understood_are_refused(name):
    arguments, words = AT_A_CALL[name]
    with pytest.raises(ValueError, match=words):
        report(*from_moments(*arguments), strangers.line(0, 50), samples=4)


def test_best_scale_refuses_rows_it_cannot_judge():
    x = strangers.line(0, 10)["x"]
    with pytest.raises(ValueError, match="the shape of x"):
        best_scale(encode, lambda z: z.repeat(1, 2), x)
    with pytest.raises(ValueError, match="squared error"):
        best_scale(encode, lambda z: x, x)
    with pytest.raises(ValueError, match="data must be a tensor"):
        best_scale(encode, decode, [[1.0]])


def pythae_model(name, steps, **settings):
    models = pytest.importorskip(
        "pythae.models",
        reason="pythae is in no extra, it is not maintained and pins nothing: pip install pydantic "
        "imageio && pip install --no-deps pythae==0.1.2",
    )
    config = getattr(models, f"{name}Config")(input_dim=(1, 8, 8), latent_dim=4, **settings)
    torch.manual_seed(0)
    model = getattr(models, name)(config)
    rows, optimiser = load("digits", "train")["x"], torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        x = rows[torch.randint(len(rows), (64,))]
        optimiser.zero_grad()
        model({"data": x}).loss.backward()
        optimiser.step()
    return model


def their_numbers(model, x, times=20):
    """Distortion and rate as the model's own forward reports them."""
    model.eval()
    with torch.no_grad():
        outputs = [model({"data": x}) for _ in range(times)]
    return [float(torch.stack([o[k] for o in outputs]).mean()) for k in ("recon_loss", "reg_loss")]


@pytest.mark.slow
def test_report_on_a_vae_of_pythae():
    model = pythae_model("VAE", 100, reconstruction_loss="bce")
    digits = load("digits", "test")
    p, q = from_moments(model.encoder, model.decoder, 4, "probabilities")
    found = report(p, q, digits["x"], labels=digits["label"], samples=32, weighed=100)
    distortion, rate = their_numbers(model, digits["x"])
    assert abs(found.distortion - distortion) < 4 * found.errors["distortion"]
    assert abs(found.rate - rate) < 1e-3
    assert found.rate > 0.5 and found.swap > 1 and found.accuracy > 0.3
    assert found.arrays["decoded"].shape == (18, 1, 8, 8)


@pytest.mark.slow
def test_report_on_a_vamp_of_pythae():
    from lvmlab.conditionals import VampPrior

    model = pythae_model("VAMP", 100, reconstruction_loss="bce", number_components=20)
    inputs = model.pseudo_inputs(model.idle_input).reshape(-1, 1, 8, 8).detach()
    _, q = from_moments(model.encoder, model.decoder, 4, "probabilities")
    prior = VampPrior(q.factors["z|x"], inputs)
    p, q = from_moments(model.encoder, model.decoder, 4, "probabilities", prior=prior)
    x = load("digits", "test")["x"]
    found = report(p, q, x, samples=32, weighed=100)
    distortion, rate = their_numbers(model, x, 50)
    assert abs(found.distortion - distortion) < 4 * found.errors["distortion"]
    # their log q(z|x) lacks D/2 log 2 pi, and so does their log p(z): the difference agrees
    assert abs(found.rate - rate) < 4 * found.errors["rate"]
    assert len(found.components) == 20 and len(found.dimensions) == 4


@pytest.mark.slow
def test_squared_error_with_scale_one_makes_pixels_collapse():
    """What goes wrong in notebook 13: the default scale of a squared error is 1."""
    model = pythae_model("VAE", 150, reconstruction_loss="mse")
    digits = load("digits", "test")
    one = report(*from_moments(model.encoder, model.decoder, 4, 1.0), digits, samples=16)
    assert one.verdict.state == "ignored" and one.rate < 0.05
    scale = best_scale(model.encoder, model.decoder, load("digits", "train")["x"])
    assert 0.2 < scale < 0.35
    told = report(*from_moments(model.encoder, model.decoder, 4, scale), digits, samples=16)
    assert told.distortion < one.distortion - 20
