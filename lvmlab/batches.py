"""Streams of batches that are pure functions of the step number, so that a run can be resumed."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from lvmlab import noise
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
        rows = self._places(step)
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

    def _places(self, step: int) -> Tensor:
        """Where in the values the rows of this step are; `index` may be the caller's own."""
        epoch, place = divmod(step, len(self))
        if self._order[0] != epoch:
            self._order = (epoch, self._permutation(epoch))
        return self._order[1][place * self.size : (place + 1) * self.size]

    def _permutation(self, epoch: int) -> Tensor:
        order = torch.arange(self.rows)
        if self.shuffle:  # drawn on the CPU, so that it is the same wherever the values are
            order = torch.randperm(self.rows, generator=noise.generator(self.seed, epoch))
        return order.to(self.values["index"].device)


class Binarised(Batches):
    """Batches whose grey pixels `x` are 0 or 1, drawn anew at every step with their grey as chance.

    The dynamic binarisation of the image papers. What is drawn depends on the seed and the step
    alone, so a run can be resumed; iterating gives one epoch in row order with pixels that training
    never sees, the same at every look. Raises `ValueError` as `Batches` and `binarise` do.
    """

    def __init__(self, values: Batch, *given: Any, **settings: Any):
        super().__init__(values, *given, **settings)
        _check_grey(self.values["x"])  # now, because the row that is not may come late

    def __iter__(self) -> Iterator[Batch]:
        for i, batch in enumerate(super().__iter__()):
            yield batch | {"x": binarise(batch["x"], noise.generator(self.seed, 2**31 + i))}

    def at(self, step: int) -> Batch:
        """The batch of this step (from 0) of the endless stream."""
        batch = super().at(step)
        return batch | {"x": binarise(batch["x"], noise.generator(self.seed, "pixels", step))}


def binarise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels 0 and 1, each 1 with its grey level in [0, 1] as chance; 0 and 1 stay what they are.

    Raises `ValueError` for levels outside [0, 1].
    """
    _check_grey(x)
    return (torch.rand(x.shape, generator=generator).to(x) < x).to(x)


def _check_grey(x: Tensor) -> None:
    least, most = (end.item() for end in x.aminmax())
    if least < 0 or most > 1:
        raise ValueError(
            f"grey levels are chances and must lie in [0, 1], but run from {least:.4g} to "
            f"{most:.4g}: divide 8-bit images by 255"
        )


class LengthBuckets(Batches):
    """Shuffled batches of rows of similar length, cut to their longest: less padding to compute.

    values: as for `Batches`, with the padded rows `trim` (N, T) among them; lengths: (N,), how
    many of its columns each row needs. Every epoch is shuffled, cut into chunks, each chunk sorted
    by length and cut into batches, and the full batches are shuffled; rows left over come last.
    Iterating gives one epoch in row order, trimmed as well.
    Raises `ValueError` as `Batches` does, for lengths that are not (N,) whole numbers from 1 to T,
    and for a chunk below the size.
    """

    def __init__(
        self,
        values: Batch,
        lengths: Tensor,
        size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        chunk: int = 512,
        trim: str = "x",
    ):
        super().__init__(values, size, seed, shuffle, drop_last)
        if trim not in self.values or self.values[trim].ndim < 2:
            raise ValueError(f"trim must name rows (N, T), got {trim!r} of {sorted(self.values)}")
        columns = self.values[trim].shape[1]
        if lengths.shape != (self.rows,) or lengths.min() < 1 or lengths.max() > columns:
            raise ValueError(
                f"lengths must be {self.rows} whole numbers from 1 to the {columns} columns of "
                f"{trim!r}, got shape {tuple(lengths.shape)}, "
                f"{int(lengths.min())} ... {int(lengths.max())}"
            )
        if chunk < size:
            raise ValueError(f"chunk must hold a batch of {size} rows or more, got {chunk}")
        self.lengths, self.chunk, self.trim = lengths.cpu(), chunk, trim

    def __iter__(self) -> Iterator[Batch]:
        for batch, lengths in zip(super().__iter__(), self.lengths.split(self.size), strict=True):
            yield self._trimmed(batch, lengths)

    def at(self, step: int) -> Batch:
        """The batch of this step (from 0) of the endless stream."""
        return self._trimmed(super().at(step), self.lengths[self._places(step).cpu()])

    def describe(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be resumed on this stream."""
        return super().describe() | {"chunk": self.chunk, "trim": self.trim}

    def _trimmed(self, batch: Batch, lengths: Tensor) -> Batch:
        return batch | {self.trim: batch[self.trim][:, : int(lengths.max())]}

    def _permutation(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return super()._permutation(epoch)
        generator = noise.generator(self.seed, epoch)
        order = torch.randperm(self.rows, generator=generator)
        lengths, full = self.lengths, self.rows // self.size
        order = torch.cat([c[lengths[c].argsort(stable=True)] for c in order.split(self.chunk)])
        head, rest = order[: full * self.size], order[full * self.size :]
        head = head.unflatten(0, (full, self.size))[torch.randperm(full, generator=generator)]
        return torch.cat([head.flatten(), rest]).to(self.values["index"].device)


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
            yield self.sample(self.size, generator=noise.generator(self.seed, -1 - i))

    def at(self, step: int) -> Batch:
        """The batch of this step (from 0)."""
        return self.sample(self.size, generator=noise.generator(self.seed, step))

    def describe(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be resumed on this stream."""
        return {"size": self.size, "seed": self.seed, "length": self.length}


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
