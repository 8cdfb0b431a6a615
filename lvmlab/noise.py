"""Where Gaussian draws get their noise: torch's generator, or a supply that somebody hands over.

A supply makes a draw repeatable from outside, which `many.fit_many` needs: inside `torch.vmap` each
model must get the very noise that it would get alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_supply: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("supply", default=None)


def like(value: Tensor) -> Tensor:
    """Standard normal noise of the shape, type and device of `value`."""
    supply = _supply.get()
    return torch.randn_like(value) if supply is None else supply(value)


@contextmanager
def supplied(supply: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside, every `like(value)` is `supply(value)`."""
    token = _supply.set(supply)
    try:
        yield
    finally:
        _supply.reset(token)
