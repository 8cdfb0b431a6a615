"""Exercises of notebook 06: InfoNCE, the self-critic, a cap and the truth, the right price."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal

from lvmlab.exercises import Exercise, expect

BOOK = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3], [0.2, -0.4, 1.5]])  # `infonce-batch`
TABLE = torch.tensor([[0.4, 0.1], [0.1, 0.4]])  # p(x, z) of `infonce-bounds`


def _tensor(name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    found = torch.as_tensor(value)
    expect(tuple(found.shape) == shape, f"{name} must be {shape}, yours is {tuple(found.shape)}")
    expect(bool(found.isfinite().all()), f"{name} must be finite: use a stable log of a sum")
    return found


def _far(a: Tensor, b: Tensor | float, tolerance: float = 1e-5) -> bool:
    return bool((a - b).abs().max() > tolerance)


def _check_infonce(infonce: Callable[..., Any]) -> None:
    size = len(BOOK)
    found = _tensor("the bound", infonce(BOOK.clone()), (size,))
    right = BOOK.diagonal() - BOOK.logsumexp(0) + math.log(size)
    other = BOOK.diagonal() - BOOK.logsumexp(1) + math.log(size)
    expect(
        _far(found, other),
        "which is being chosen, x or z? add a number to one column (a factor of z alone): the "
        "bound must not move",
    )
    expect(
        _far(found, right - math.log(size)), "log B is missing: chance should give 0, not -log B"
    )
    without = BOOK.diagonal() - _others(BOOK).logsumexp(0) + math.log(size)
    expect(
        _far(found, without) and _far(found, without - math.log(size) + math.log(size - 1)),
        "the true pair is one of the B candidates: without it in the sum your bound can pass log B",
    )
    expect(_far(found, -right), "a bound on information rises with it: yours has the other sign")
    expect(
        not _far(found, right),
        f"on the first scores the mean is {right.mean():.6f}, yours {found.mean():.6f}",
    )
    constant = _tensor("the bound", infonce(torch.full((5, 5), 0.7)), (5,))
    expect(not _far(constant, 0.0), "a critic that says nothing must read 0")
    sure = _tensor("the bound", infonce(1e4 * torch.eye(32)), (32,))
    expect(not _far(sure, math.log(32), 1e-3), f"certainty among 32 is log 32, yours {sure[0]:.4f}")


def _others(scores: Tensor) -> Tensor:
    return scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -math.inf)


def _table_joint() -> Any:
    from lvmlab.joint import Joint

    rows = TABLE / TABLE.sum(1, keepdim=True)
    return Joint("q", {"x": None, "z|x": lambda x: Categorical(rows[x])})


class _Random:
    """An encoder that is different at every call, as with dropout."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Independent:
        self.calls += 1
        return Independent(Normal(x + self.calls, torch.full_like(x, 0.5) + 0.1 * x.abs()), 1)


def _check_self(self_scores: Callable[..., Any]) -> None:
    x, z = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])
    found = _tensor("the scores", self_scores(_table_joint(), {"x": x, "z": z}), (3, 3))
    rows = TABLE / TABLE.sum(1, keepdim=True)
    right = rows[x][:, z].log()
    expect(
        _far(found, (-right).log()),
        "the score is log q: f is the density itself. With f = log q a critic of three comes to "
        "-1.798335, below chance; with f = q to -0.969155",
    )
    expect(_far(found, right.exp()), "this is f; the matrix asks for log f")
    expect(
        _far(found, right.T),
        "i is the row and belongs to x: exchanging two x must exchange two rows",
    )
    expect(not _far(found, right), f"row 0 should be {right[0].tolist()}, is {found[0].tolist()}")
    _check_gaussian(self_scores)


def _check_gaussian(self_scores: Callable[..., Any]) -> None:
    from lvmlab.joint import Joint

    x, z = torch.linspace(-1, 1, 8).reshape(4, 2), torch.linspace(2, -1, 8).reshape(4, 2)
    encoder = _Random()
    q = Joint("q", {"x": None, "z|x": encoder})
    found = _tensor("the scores", self_scores(q, {"x": x, "z": z}), (4, 4))
    posterior = Independent(Normal(x + 1, 0.5 + 0.1 * x.abs()), 1)
    right = torch.stack([posterior.log_prob(v) for v in z], 1)
    expect(
        encoder.calls == 1,
        f"you called the encoder {encoder.calls} times; once is enough, and the B z must be judged "
        "by the very distributions that drew them",
    )
    expect(
        not _far(found, right),
        "with a Gaussian encoder of two latents the scores are off: sum over latents, and judge "
        "the given z, not new draws",
    )


def _check_batch(certifying_batch: Callable[..., Any]) -> None:
    from lvmlab.diagnostics.estimators import infonce_readings

    size = certifying_batch()
    whole = not isinstance(size, bool) and float(size) == int(size) and size >= 2
    expect(whole, f"return a whole number from 2 up, not {size!r}")
    size = int(size)
    expect(size & (size - 1) == 0 and size <= 4096, "return a power of two, 4096 at most")
    cap = math.log(size)
    expect(cap > 2.9, f"log {size} is {cap:.2f}: no critic can read 2.9 with so few candidates")
    bound = float(infonce_readings(3.0, [size], samples=4096, seeds=5).mean())
    expect(
        bound >= 2.9,
        f"log {size} is {cap:.2f}, yet the best critic reads {bound:.2f}: the cap is necessary, "
        "not sufficient",
    )
    half = float(infonce_readings(3.0, [size // 2], samples=4096, seeds=5).mean())
    expect(half < 2.9, f"half of it reads {half:.2f} already: look for the smallest")


def _check_price(combined_loss: Callable[..., Any]) -> None:
    random = torch.Generator().manual_seed(0)
    for size in (4, 32):
        for weight in (1.0, 0.3):
            bound = (-3 + torch.randn(size, generator=random)).requires_grad_()
            c = torch.rand(size, generator=random).requires_grad_()
            loss = torch.as_tensor(combined_loss(bound, c, weight))
            expect(loss.numel() == 1, f"a loss is one number, yours is {tuple(loss.shape)}")
            expect(loss.requires_grad, "keep the tensors: a loss made of floats has no gradient")
            of_bound, of_c = torch.autograd.grad(loss.sum(), (bound, c), allow_unused=True)
            expect(of_bound is not None and of_c is not None, "use both, bound and c")
            _compare_price(of_bound, of_c, size, weight)


def _compare_price(of_bound: Tensor, of_c: Tensor, size: int, weight: float) -> None:
    expect(
        bool((of_bound < 0).all()),
        "descend moves downhill: a loss falls when the bound rises",
    )
    expect(bool((of_c < 0).all()), "the critic's bound is to rise, so the loss must fall with it")
    ratio = float(of_c.mean() / of_bound.mean())
    expect(
        abs(ratio - weight / size) > 1e-6,
        f"a sum of bounds and a mean of c: with {size} rows the price is {weight} / {size}",
    )
    expect(abs(ratio - weight) < 1e-5, f"the price of c is {ratio:.4f} bounds, wanted {weight}")
    expect(
        not _far(of_bound, -1 / size),
        "the ratio is right; now take means, so that the step does not grow with the batch",
    )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def infonce(scores):
        """The true pair against all candidates x of the same z, in nats above chance."""
        return scores.diagonal() - scores.logsumexp(0) + math.log(len(scores))

    def self_scores(q, values):
        """Every z under every posterior, log q(z_j|x_i), by broadcasting."""
        posterior = q.score(values).distributions["z|x"]
        return posterior.log_prob(values["z"].unsqueeze(1)).T

    def certifying_batch():
        """Although log 32 = 3.47 is above 3, it takes 256 to read 2.93; 128 reads 2.87."""
        return 256

    def combined_loss(bound, c, weight):
        """Mean and mean: the price of c does not depend on the batch."""
        return -(bound.mean() + weight * c.mean())

    return infonce, self_scores, certifying_batch, combined_loss


_infonce, _self_scores, _certifying_batch, _combined_loss = _solutions()

bound_of_a_critic = Exercise("InfoNCE", _check_infonce, (_infonce,))
own_critic = Exercise("Self-critic", _check_self, (_self_scores,))
cap_and_truth = Exercise("Cap and truth", _check_batch, (_certifying_batch,))
right_price = Exercise("Pay the right price", _check_price, (_combined_loss,))
