"""Where random numbers come from: streams by name, torch's generator, or a supply handed over.

A supply makes a draw repeatable from outside, which `many.fit_many` needs: inside `torch.vmap` each
model must get the very noise that it would get alone.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_supply: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("supply", default=None)


def generator(*key: int | str) -> torch.Generator:
    """A stream of its own for each key, such as (seed, step), on the CPU.

    torch's generator there reads the lowest 32 bits of a seed only, and a seed that the data share
    with the weights correlates them: so the whole key is hashed into those bits.
    """
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


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
