"""Models made elsewhere as p and q: networks that return means, log-variances or logits.

    scale = best_scale(model.encode, model.decode, x)
    p, q = from_moments(model.encode, model.decode, dim=2, scale=scale)
    lvmlab.report(p, q, x)

What p and q must promise is a log-probability of shape (B,), in nats, with a density for x. A
decoder trained by squared error has none until it is given a scale.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from lvmlab.conditionals import Bernoulli, Proportions, StandardNormal
from lvmlab.joint import Joint
from lvmlab.train import evaluating

PAIRS = (("mean", "log_variance"), ("embedding", "log_covariance"), ("mu", "logvar"))
OUTPUTS = ("reconstruction", "logits", "mean")


class _Adapter(nn.Module):
    """A network of the reader's, kept where parameters() and eval() find it.

    That is a module, or one whose method it is.
    """

    def __init__(self, network: Callable[..., Any], scale: float | str | None = None):
        super().__init__()
        self.network, self.scale = network, scale
        self.owner = None if isinstance(network, nn.Module) else _owner(network)


class _Fixed(nn.Module):
    """A prior that is always the same distribution."""

    def __init__(self, distribution: Distribution):
        super().__init__()
        self.distribution = distribution

    def forward(self) -> Distribution:
        return self.distribution


class _Posterior(_Adapter):
    def forward(self, x: Tensor) -> Distribution:
        mean, log_variance = _pair("encode", self.network(x))
        return _gaussian(mean, (0.5 * log_variance).exp())


class _Categories(_Adapter):
    def forward(self, x: Tensor) -> Distribution:
        logits = _output("encode", self.network(x))
        if logits.ndim != 2:
            raise ValueError(f"encode must return logits (B, K), but returned {_shape(logits)}")
        return Categorical(logits=logits, validate_args=False)


class _Decoder(_Adapter):
    def forward(self, z: Tensor) -> Distribution:
        found = self.network(z)
        if self.scale == "moments":
            mean, log_variance = _pair("decode", found)
            return _gaussian(mean, (0.5 * log_variance).exp())
        out = _output("decode", found)
        if self.scale == "bernoulli":
            return Bernoulli(nn.Identity())(out)
        if self.scale == "probabilities":
            if not bool(((out >= 0) & (out <= 1)).all()):
                raise ValueError(
                    'decode must return probabilities from 0 to 1 with scale="probabilities", but '
                    f"returned {out.min().item():.3g} to {out.max().item():.3g}. If these are "
                    'logits, pass scale="bernoulli".'
                )
            return Bernoulli(nn.Identity())(torch.logit(out, eps=1e-6))
        return _gaussian(out, torch.full_like(out, float(self.scale)))  # type: ignore[arg-type]


def from_moments(
    encode: Callable[..., Any],
    decode: Callable[..., Any],
    dim: int,
    scale: float | str | None = None,
    prior: Any = None,
) -> tuple[Joint, Joint]:
    """Wrap a model whose encoder returns means and log-variances: p(z) p(x|z) and q(x) q(z|x).

    encode(x) gives (mean, log-variance), each (B, dim), as a pair or under the names mean and
    log_variance, mu and logvar, or embedding and log_covariance. What decode(z) gives is said by
    `scale`: a number, the standard deviation around means of x (`best_scale` finds it);
    "bernoulli" for logits of pixels, "probabilities" for their sigmoids; "moments" for (mean,
    log-variance) of x. prior: a callable without arguments or a distribution, N(0, I) when None.
    All axes but the first are one example.
    Raises `ValueError`, now or at the first call, for a missing scale and for other outputs.
    """
    _check_scale(scale)
    _check_count("dim", dim)
    if isinstance(prior, Distribution):
        prior = _Fixed(prior)
    p = Joint("p", {"z": prior or StandardNormal(dim), "x|z": _Decoder(decode, scale)})
    return p, Joint("q", {"x": None, "z|x": _Posterior(encode)})


def from_logits(
    encode: Callable[..., Any],
    decode: Callable[..., Any],
    categories: int,
    scale: float | str | None = None,
) -> tuple[Joint, Joint]:
    """Wrap a model whose z is one of K categories: encode(x) gives logits (B, K).

    decode(k) is called with whole numbers (B,) from 0 to K - 1; `scale` says what it gives, as in
    `from_moments`. The prior is uniform. Raises `ValueError` as that does.
    """
    _check_scale(scale)
    _check_count("categories", categories)
    p = Joint("p", {"z": Proportions(categories), "x|z": _Decoder(decode, scale)})
    return p, Joint("q", {"x": None, "z|x": _Categories(encode)})


def best_scale(
    encode: Callable[..., Any], decode: Callable[..., Any], data: Tensor, chunk: int = 1000
) -> float:
    """The standard deviation that a decoder trained by squared error would give its residuals.

    With d outputs and squared error e = E |x - decode(z)|^2, z drawn by the encoder, the distortion
    d/2 log(2 pi s^2) + e / 2 s^2 is least at s^2 = e / d, where it is d/2 (1 + log(2 pi e / d)).
    data (N, ...), best the training set. Raises `ValueError` for outputs of another shape, and when
    nothing is lost, so that no scale is best.
    """
    if not isinstance(data, Tensor) or data.ndim < 2 or not len(data):
        raise ValueError(f"data must be a tensor (N, ...) of rows, but is {_shape(data)}")
    squared = 0.0
    owners = {str(i): _owner(network) for i, network in enumerate((encode, decode))}
    modules = {i: owner for i, owner in owners.items() if owner is not None}
    with torch.no_grad(), evaluating(modules):
        for x in data.split(chunk):
            mean, log_variance = _pair("encode", encode(x))
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            out = _output("decode", decode(z))
            if out.shape != x.shape:
                raise ValueError(
                    f"decode must return the shape of x, {tuple(x.shape)}, but returned "
                    f"{tuple(out.shape)}. Reshape one of them."
                )
            squared += float((x - out).double().square().sum())
    if not math.isfinite(squared) or squared <= 0:
        raise ValueError(
            f"the squared error is {squared}, so no scale is best: look for NaN in data, or for a "
            "decoder that copies its rows"
        )
    return math.sqrt(squared / data.numel())


def _owner(network: Callable[..., Any]) -> nn.Module | None:
    """The module that a callable is, or is a method of."""
    found = network if isinstance(network, nn.Module) else getattr(network, "__self__", None)
    return found if isinstance(found, nn.Module) else None


def _check_scale(scale: Any) -> None:
    known = ("bernoulli", "probabilities", "moments")
    if scale is None:
        raise ValueError(
            "scale is missing, and a decoder that was trained by squared error has no density "
            "until it has one: pass scale=best_scale(encode, decode, training_rows), or "
            f"{', '.join(map(repr, known))} for other outputs"
        )
    number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if not (scale in known if isinstance(scale, str) else number and 0 < scale < math.inf):
        raise ValueError(
            f"scale must be a positive standard deviation or one of {', '.join(known)}, "
            f"but is {scale!r}"
        )


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 up, but is {value!r}")


def _pair(who: str, found: Any) -> tuple[Tensor, Tensor]:
    """Mean and log-variance out of a pair, a dictionary or an object with known names."""
    for names in PAIRS:
        values = tuple(_named(found, name) for name in names)
        if all(isinstance(value, Tensor) for value in values):
            found = values
    if not (isinstance(found, tuple | list) and len(found) == 2):
        raise ValueError(
            f"{who} must return (mean, log-variance), as a pair or under the names "
            f"{', '.join('/'.join(pair) for pair in PAIRS)}, but returned {_shape(found)}"
        )
    mean, log_variance = found
    if not (isinstance(mean, Tensor) and isinstance(log_variance, Tensor)):
        raise ValueError(f"{who} must return two tensors, but returned {_shape(found)}")
    if mean.shape != log_variance.shape or mean.ndim < 2:
        raise ValueError(
            f"{who} must return a mean and a log-variance of one shape (B, ...), but returned "
            f"{tuple(mean.shape)} and {tuple(log_variance.shape)}"
        )
    return mean, log_variance


def _output(who: str, found: Any) -> Tensor:
    for name in OUTPUTS:
        value = _named(found, name)
        if isinstance(value, Tensor):
            found = value
            break
    if not isinstance(found, Tensor):
        raise ValueError(
            f"{who} must return one tensor, alone or under the names {', '.join(OUTPUTS)}, but "
            f'returned {_shape(found)}. For (mean, log-variance) pass scale="moments".'
        )
    return found


def _named(found: Any, name: str) -> Any:
    if isinstance(found, Tensor):
        return None  # tensors have a mean of their own
    return found.get(name) if isinstance(found, dict) else getattr(found, name, None)


def _gaussian(mean: Tensor, scale: Tensor) -> Distribution:
    here = Normal(mean, scale, validate_args=False)
    return Independent(here, mean.ndim - 1, validate_args=False)


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
