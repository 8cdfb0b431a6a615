"""The one thing every loader gives back: variables by name, texts, names of labels, a note."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

ORDER_SEED = 0


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Data as variables by name, each with the rows on its first axis.

    `values` always holds `index`, the row number 0 ... N-1 within this data set (long). Where they
    exist: `x` (float32; images are (N, C, H, W) in [0, 1]), `label` (long, an index into
    `label_names`), and `row` (long), the place in the whole split of a subset's rows. `texts` has
    one string a row for text sets and is empty otherwise. `note` says what a reader must know:
    subsets, averaged pixels, inferred labels.
    """

    name: str
    split: str
    values: dict[str, torch.Tensor]
    texts: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        lengths = {name: len(value) for name, value in self.values.items()}
        if self.texts:
            lengths["texts"] = len(self.texts)
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(
                f"data set {self.name!r}: every variable needs the same number of rows, at least "
                f"one; came {lengths or 'no variable at all'}"
            )
        index = torch.arange(next(iter(lengths.values())))
        object.__setattr__(self, "values", {"index": index, **self.values})

    def __len__(self) -> int:
        return len(self.values["index"])

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> torch.Tensor:
        if not isinstance(name, str):
            raise ValueError(
                f"a Dataset is indexed by the name of a variable ({', '.join(self.values)}); "
                f"came {name!r}. For some of the rows use .select(rows)"
            )
        if name not in self.values:
            texts = "; the texts are in .texts" if self.texts else ""
            raise ValueError(
                f"data set {self.name!r} has no variable {name!r}; it has "
                f"{', '.join(self.values)}{texts}"
            )
        return self.values[name]

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
            for name, value in self.values.items()
        )
        texts = f", {len(self.texts):,} texts" if self.texts else ""
        names = f", {len(self.label_names)} label names" if self.label_names else ""
        return f"Dataset {self.name} {self.split}, {len(self):,} rows: {shapes}{texts}{names}"

    def select(self, rows: torch.Tensor | np.ndarray | Sequence[int]) -> "Dataset":
        """The data set made of these rows, in this order, numbered anew from 0.

        `rows` are row numbers (repeats allowed) or a boolean mask of length N. The old numbers
        stay in the variable `row`. Raises ValueError for numbers out of range and an empty choice.
        """
        kept = torch.as_tensor(rows)
        if kept.dtype == torch.bool and kept.shape == (len(self),):
            kept = kept.nonzero().squeeze(1)
        if (
            kept.dim() != 1
            or len(kept) == 0
            or kept.is_floating_point()
            or kept.dtype == torch.bool
        ):
            raise ValueError(
                f"rows must be a non-empty list of row numbers or a mask of length {len(self)}; "
                f"came shape {tuple(kept.shape)} of {kept.dtype}"
            )
        if kept.min() < 0 or kept.max() >= len(self):
            raise ValueError(
                f"rows must lie in 0 ... {len(self) - 1}; came {int(kept.min())} ... "
                f"{int(kept.max())}"
            )
        kept = kept.long()
        values = {name: value[kept] for name, value in self.values.items()}
        values.setdefault("row", values.pop("index"))
        values.pop("index", None)
        texts = tuple(self.texts[i] for i in kept.tolist()) if self.texts else ()
        return Dataset(self.name, self.split, values, texts, self.label_names, self.note)


def chosen_rows(available: int, size: int | None) -> np.ndarray | None:
    """The row numbers of a subset of this size: a prefix of one fixed permutation; None for all.

    A smaller subset is the beginning of a larger one, and classes come mixed. Raises ValueError
    for a size that is not a whole number from 1 to the number of rows available.
    """
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"size must be a whole number of rows, at least 1; came {size!r}")
    if size > available:
        raise ValueError(
            f"size={size:,} asks for more rows than there are: {available:,}. "
            f"Leave size out to get them all"
        )
    return np.random.default_rng(ORDER_SEED).permutation(available)[:size]


def bucket(text: str, buckets: int) -> int:
    """A number 0 ... buckets - 1 from a hash of the text, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % buckets
