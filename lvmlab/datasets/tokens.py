"""Byte-level BPE: texts to rows of token numbers and back.

Pieces are numbered from 1, the most frequent first; 0 is END, which fills the rest of a row. Every
text can be written, because the 256 bytes are pieces. Needs the package `tokenizers`.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

END = 0


class Encoded(NamedTuple):
    """Texts as token numbers."""

    x: Tensor
    """(N, limit) long; END fills what a text leaves free."""
    lengths: Tensor
    """(N,) long: the tokens that count, END included where it found a place."""
    cut: int
    """How many texts were longer than the limit and lost their end."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], limit: int) -> "Encoded":
        """Whole texts as numbers, cut to `limit` or filled with END."""
        x = torch.full((len(rows), limit), END)
        for i, row in enumerate(rows):
            x[i, : len(row)] = torch.tensor(row[:limit])
        sizes = torch.tensor([len(row) for row in rows])
        return cls(x, (sizes + 1).clamp(max=limit), int((sizes > limit).sum()))


def check_texts(texts: Sequence[str], limit: int) -> None:
    """Raise `ValueError` for no texts, for blank ones, and for a limit below 1."""
    if limit < 1:
        raise ValueError(f"limit must be 1 token or more, got {limit}")
    if not len(texts):
        raise ValueError("texts are empty: expected one or more")
    if empty := [i for i, text in enumerate(texts) if not text.strip()]:
        raise ValueError(
            f"{len(empty)} of {len(texts)} texts are empty, the first in row {empty[0]}: "
            "leave them out"
        )


def until_end(row: list[int]) -> list[int]:
    """The tokens before the first END."""
    return row[: row.index(END)] if END in row else row


class BytePairs:
    """A byte-level BPE tokenizer: `BytePairs.fit(texts, 4000).encode(texts, 64)`.

    The same texts give the same pieces every time. `state` is all there is to it, a JSON text.
    Raises `ImportError` when the package `tokenizers` is not installed.
    """

    def __init__(self, state: str):
        self.state = state
        held = json.loads(state)
        self._tokenizer = _package().Tokenizer.from_str(json.dumps(held["tokenizer"]))
        self._piece = torch.tensor(held["by_frequency"])
        self._number = self._piece.argsort() + 1

    @classmethod
    def fit(cls, texts: Iterable[str], vocabulary: int = 4000) -> "BytePairs":
        """Learn pieces from texts, at most `vocabulary` tokens with END.

        Raises `ValueError` for a vocabulary without room for END and the 256 bytes, and for no
        or only empty texts.
        """
        if vocabulary < 257:
            raise ValueError(f"vocabulary must be 257 or more (END, 256 bytes), got {vocabulary}")
        texts = list(texts)
        if not any(text.strip() for text in texts):
            raise ValueError(f"texts must hold something to learn from, got {len(texts)} empty")
        package = _package()
        letters = package.pre_tokenizers.ByteLevel
        tokenizer = package.Tokenizer(package.models.BPE())
        tokenizer.pre_tokenizer = letters(add_prefix_space=True)
        tokenizer.decoder = package.decoders.ByteLevel()
        trainer = package.trainers.BpeTrainer(
            vocab_size=vocabulary - 1, initial_alphabet=letters.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        counts = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.long)
        for found in tokenizer.encode_batch(texts):
            counts += torch.tensor(found.ids, dtype=torch.long).bincount(minlength=len(counts))
        order = counts.argsort(descending=True, stable=True).tolist()
        held = {"tokenizer": json.loads(tokenizer.to_str()), "by_frequency": order}
        return cls(json.dumps(held))

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size() + 1

    def encode(self, texts: Sequence[str], limit: int) -> Encoded:
        """Rows of `limit` tokens; a longer text keeps its first `limit` and no END.

        Raises `ValueError` for no texts, for a text without any character but blanks, naming the
        first, and for a limit below 1.
        """
        check_texts(texts, limit)
        rows = [found.ids for found in self._tokenizer.encode_batch(list(texts))]
        return Encoded.of([self._number[row].tolist() for row in rows], limit)

    def decode(self, x: Tensor) -> list[str]:
        """The texts of rows (N, T) of token numbers, each up to its first END."""
        texts = []
        for row in x.tolist():
            pieces = [int(self._piece[number - 1]) for number in until_end(row)]
            texts.append(self._tokenizer.decode(pieces).removeprefix(" "))
        return texts


def _package() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise ImportError(
            "BytePairs needs the package tokenizers: pip install 'lvmlab[text]'"
        ) from error
    return tokenizers
