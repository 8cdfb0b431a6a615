"""Pairs p, q and data whose state is known by construction: the bench of the collapse report."""

import math

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lvmlab.distributions import Delta
from lvmlab.joint import Joint

V, S = 4.0, 0.5  # variance of the data, scale of the decoder

CALIBRATION = {  # distortion, rate, information, mismatch, NLL, gap: closed forms, nats
    "healthy": (0.7258, 1.3863, 1.3863, 0.0, 2.1121, 0.0),
    "ignored by both": (2.1121, 0.0, 0.0, 0.0, 2.1121, 0.0),
    "encoder asleep": (15.7258, 0.0, 0.0, 0.0, 2.1121, 13.6137),
    "prior off": (0.2508, 3.9070, 2.8842, 1.0229, 3.1350, 1.0229),
    "tiny codes": (2.1050, 0.0072, 0.0071, 0.0001, 2.1121, 0.0001),
}


def normal(mean, scale):
    return Independent(Normal(mean, torch.as_tensor(scale).expand_as(mean)), 1)


def standard(dim):
    return lambda: normal(torch.zeros(dim), 1.0)


def linear(w, a, sigma, s, shift=0.0):
    """p(z) N(w z, s^2) and N(a x + shift, sigma^2), one axis."""
    p = Joint("p", {"z": standard(1), "x|z": lambda z: normal(w * (z - shift), s)})
    q = Joint("q", {"x": None, "z|x": lambda x: normal(a * x + shift, sigma)})
    return p, q


def optimum(eta=1.0, beta=1.0):
    """w, a, sigma, s at the optimum of one axis with entropy weight eta and rate weight beta."""
    rho = beta * eta * S**2 / V
    sigma = math.sqrt(rho * eta)
    a = math.sqrt((eta - rho * eta) / V)
    return a * V / eta, a, sigma, S


def line(seed, rows):
    """Data N(0, V), from a generator that the report does not share."""
    generator = torch.Generator().manual_seed(seed + 10_000)
    return {"x": math.sqrt(V) * torch.randn(rows, 1, generator=generator)}


def calibration(name):
    w, a, sigma, _ = optimum()
    return {
        "healthy": lambda: linear(w, a, sigma, S),
        "ignored by both": lambda: linear(0.0, 0.0, 1.0, 2.0),
        "encoder asleep": lambda: linear(w, 0.0, 1.0, S),
        "prior off": lambda: linear(*optimum(eta=0.05)),
        "tiny codes": lambda: linear(0.06 * V / (1 + 0.06**2 * V), 0.06, 1.0, 2.0),
    }[name]()


def some_off():
    """Two axes of data, four latents; the last two are the prior, and the decoder ignores them."""
    w, a, sigma, s = optimum()
    scale = torch.tensor([sigma, sigma, 1.0, 1.0])

    def encode(x):
        return normal(torch.cat([a * x, torch.zeros_like(x)], 1), scale)

    p = Joint("p", {"z": standard(4), "x|z": lambda z: normal(w * z[:, :2], s)})
    return p, Joint("q", {"x": None, "z|x": encode})


def plane(seed, rows):
    generator = torch.Generator().manual_seed(seed + 10_000)
    return {"x": math.sqrt(V) * torch.randn(rows, 2, generator=generator)}


def at_cap(dim=4, s=0.01):
    """Consistent pair of `dim` axes of variance 1, each with log 1/s nats: 18 for four."""
    w = math.sqrt(1 - s**2)
    p = Joint("p", {"z": standard(dim), "x|z": lambda z: normal(w * z, s)})
    return p, Joint("q", {"x": None, "z|x": lambda x: normal(w * x, s)})


def cube(seed, rows, dim=4):
    generator = torch.Generator().manual_seed(seed + 10_000)
    return {"x": torch.randn(rows, dim, generator=generator)}


CENTRES = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, -4.0]])


def blobs(seed, rows, used=4):
    generator = torch.Generator().manual_seed(seed + 10_000)
    k = torch.randint(used, (rows,), generator=generator)
    return {"x": CENTRES[k] + torch.randn(rows, 2, generator=generator)}


def categories(temperature=1.0, dead=0, asleep=False, points=False):
    """K Gaussians of scale 1; q(k|x) the exact posterior, its logits divided by a temperature.

    With `dead`, so many components stand far from all data.
    """
    far = torch.full((dead, 2), 60.0) + 3 * torch.arange(dead)[:, None]
    means = torch.cat([CENTRES, far])

    def logits(x):
        return -0.5 * (x[:, None] - means).square().sum(-1) / temperature

    def encode(x):
        if points:
            return Delta(logits(x).argmax(1))
        return Categorical(logits=0 * logits(x) if asleep else logits(x))

    prior = Categorical(logits=torch.zeros(len(means)))
    p = Joint("p", {"k": lambda: prior, "x|k": lambda k: normal(means[k], 1.0)})
    return p, Joint("q", {"x": None, "k|x": encode})


def mixture_prior(dead=0):
    """z from two clusters at -2 and 2, x = z + noise: the prior is a mixture, and q is exact.

    With `dead`, as many further components carry prior mass where no data are.
    """
    means = torch.cat([torch.tensor([[-2.0], [2.0]]), 30.0 + 3 * torch.arange(dead)[:, None]])
    spread, s = 0.5, 0.3
    even = Categorical(logits=torch.zeros(len(means)))
    prior = MixtureSameFamily(even, normal(means, spread))
    variance = 1 / (1 / spread**2 + 1 / s**2)

    def encode(x):  # exact given the cluster, which x tells: they are 8 scales apart
        centre = means[:2].flatten()[(x > 0).long()]
        return normal(variance * (centre / spread**2 + x / s**2), math.sqrt(variance))

    p = Joint("p", {"z": lambda: prior, "x|z": lambda z: normal(z, s)})
    return p, Joint("q", {"x": None, "z|x": encode})


def humps(seed, rows):
    generator = torch.Generator().manual_seed(seed + 10_000)
    side = 4.0 * torch.randint(2, (rows, 1), generator=generator) - 2
    return {"x": side + math.hypot(0.5, 0.3) * torch.randn(rows, 1, generator=generator)}


def two_floors():
    """z2 -> z1 -> x, all Gaussian, with the exact posterior written as q(z1|x) q(z2|z1)."""
    r, w, s = 0.8, math.sqrt(V - S**2), S
    post = 1 / (1 + w**2 / s**2)
    p = {
        "z2": standard(1),
        "z1|z2": lambda z: normal(r * z, math.sqrt(1 - r**2)),
        "x|z1": lambda z: normal(w * z, s),
    }
    q = {
        "x": None,
        "z1|x": lambda x: normal(post * w / s**2 * x, math.sqrt(post)),
        "z2|z1": lambda z: normal(r * z, math.sqrt(1 - r**2)),
    }
    return Joint("p", p), Joint("q", q)


def pointed():
    """A deterministic encoder of a continuous latent: no density."""
    p, _ = calibration("healthy")
    return p, Joint("q", {"x": None, "z|x": lambda x: Delta(0.48 * x)})


def _named(name):
    return lambda: calibration(name)


BENCH = {  # name: state, pair, data
    "healthy line": ("healthy", _named("healthy"), line),
    "ignored by both": ("ignored", _named("ignored by both"), line),
    "tiny codes": ("ignored", _named("tiny codes"), line),
    "encoder asleep": ("asleep", _named("encoder asleep"), line),
    "shrunken codes": ("prior off", _named("prior off"), line),
    "shifted codes": ("prior off", lambda: linear(*optimum(), shift=2.0), line),
    "half of the dimensions": ("some off", some_off, plane),
    "beta of 4": ("over-regularised", lambda: linear(*optimum(beta=4.0)), line),
    "a tenth of the scale": (
        "too sharp",
        lambda: linear(optimum()[0], optimum()[1], optimum()[2] / 10, S),
        line,
    ),
    "decoder without z": ("deaf", lambda: linear(0.0, *optimum()[1:3], 2.0), line),
    "far above log N": ("at its cap", at_cap, cube),
    "exact categories": ("healthy", categories, blobs),
    "three of seven categories dead": ("dead components", lambda: categories(dead=3), blobs),
    "categories, encoder even": ("asleep", lambda: categories(asleep=True), blobs),
    "categories, encoder hot": ("over-regularised", lambda: categories(temperature=8.0), blobs),
    "categories, all mass on one": ("healthy", lambda: categories(points=True), blobs),
    "mixture prior": ("healthy", mixture_prior, humps),
    "mixture prior, two of four dead": ("dead components", lambda: mixture_prior(2), humps),
    "two floors": ("healthy", two_floors, line),
    "point encoder": ("cannot tell", pointed, line),
}
