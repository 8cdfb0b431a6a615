"""Streams of batches that are pure functions of the step number, so that a run can be resumed."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from lvmlab.joint import Batch


class Stream(Protocol):
    """What `fit` reads: the batch of any step, and how many batches make an epoch."""

    def at(self, step: int) -> Batch: ...
    def __len__(self) -> int: ...


class Batches:
    """Shuffled batches of a data set: `Batches(data.values, size=128, seed=0)`.

    values: tensors by variable name with equal first axes N (missing `index` is added, 0 ... N-1).
    `at(step)` is the batch of that step of an endless stream; each epoch is a new permutation
    drawn from (seed, epoch) alone. Iterating gives one epoch in row order, for evaluation. The
    last batch of an epoch may be smaller unless `drop_last`.
    Raises `ValueError` for no rows, unequal first axes, NaN or infinite values, and a size that
    is below 1 or above N.
    """

    def __init__(
        self,
        values: Batch,
        size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
    ):
        rows = _rows(values)
        if not 1 <= size <= rows:
            raise ValueError(
                f"size must lie between 1 and the {rows} rows of the data, got {size}: "
                f"try size={min(max(size, 1), rows)}"
            )
        self.values = {"index": torch.arange(rows)} | dict(values)
        self.rows, self.size, self.seed = rows, size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def __len__(self) -> int:
        return self.rows // self.size if self.drop_last else -(-self.rows // self.size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.rows, self.size):
            yield {name: v[start : start + self.size] for name, v in self.values.items()}

    def at(self, step: int) -> Batch:
        """The batch of this step (from 0) of the endless stream."""
        epoch, place = divmod(step, len(self))
        if self._order[0] != epoch:
            self._order = (epoch, self._permutation(epoch))
        rows = self._order[1][place * self.size : (place + 1) * self.size]
        return {name: v[rows] for name, v in self.values.items()}

    def to(self, device: torch.device) -> "Batches":
        """Keep the values on this device from now on."""
        self.values = {name: v.to(device) for name, v in self.values.items()}
        self._order = (-1, self._order[1])
        return self

    def describe(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be resumed on this stream."""
        names = ["rows", "size", "seed", "shuffle", "drop_last"]
        return {name: getattr(self, name) for name in names}

    def _permutation(self, epoch: int) -> Tensor:
        order = torch.arange(self.rows)
        if self.shuffle:  # drawn on the CPU, so that it is the same wherever the values are
            order = torch.randperm(self.rows, generator=_generator(self.seed, epoch))
        return order.to(self.values["index"].device)


class Fresh:
    """Batches drawn anew at every step from a known density: `Fresh(mixture.sample, size=128)`.

    sample(size, generator=...) gives a batch; the generator of a step is seeded by (seed, step).
    `length` is the number of batches called an epoch. Iterating gives one epoch of draws that
    training never sees. Raises `ValueError` for sizes or lengths below 1.
    """

    def __init__(
        self,
        sample: Callable[..., Batch],
        size: int,
        seed: int = 0,
        length: int = 100,
    ):
        if size < 1 or length < 1:
            raise ValueError(f"size and length must be 1 or more, got {size} and {length}")
        self.sample, self.size, self.seed, self.length = sample, size, seed, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        for i in range(self.length):
            yield self.sample(self.size, generator=_generator(self.seed, -1 - i))

    def at(self, step: int) -> Batch:
        """The batch of this step (from 0)."""
        return self.sample(self.size, generator=_generator(self.seed, step))

    def describe(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be resumed on this stream."""
        return {"size": self.size, "seed": self.seed, "length": self.length}


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(((seed << 32) + step) % 2**63)


def _rows(values: Batch) -> int:
    if not values:
        raise ValueError('values are empty: expected tensors by name, such as {"x": x}')
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.ndim < 1:
            raise ValueError(
                f"{name!r} must be a tensor with one row for each example, got "
                f"{type(value).__name__}: try torch.as_tensor"
            )
        if value.is_floating_point() and not value.isfinite().all():
            bad = int((~value.isfinite()).reshape(len(value), -1).any(1).sum())
            raise ValueError(
                f"{name!r} holds NaN or infinite values in {bad} of {len(value)} rows: expected "
                "finite data, clean it first"
            )
    sizes = {name: len(value) for name, value in values.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"first axes must agree, one row for each example, got {sizes}")
    if (rows := next(iter(sizes.values()))) < 1:
        raise ValueError(f"the data are empty: {sizes}")
    return rows
