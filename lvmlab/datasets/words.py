"""Sentences as words: a vocabulary, and the sets of texts cut to sentences of one length or less.

A sentence is words apart by one blank. Words are numbered from 1, the most frequent first; 0 is
END, `<eos>` and padding in one, which fills the rest of a row. `<unk>` stands for every word that
the vocabulary does not hold, as in the Penn Treebank.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lvmlab import datasets
from lvmlab.datasets.dataset import Dataset, bucket, chosen_rows
from lvmlab.datasets.tokens import Encoded, check_texts, until_end

UNKNOWN = "<unk>"
_WRITTEN = re.compile(rf"{UNKNOWN}|\w+(?:['’-]\w+)*|[^\w\s]")
_MARK = re.compile(r"(?<!\w)_unk(?!\w)", re.IGNORECASE)
_WORDS_ALREADY = ("ptb", "yahoo_answers")


class Words:
    """A vocabulary of words: `Words.fit(texts, 10_000).encode(texts, 30)`.

    words: those it holds, from number 1 on, `<unk>` among them. The same texts give the same
    numbers every time; ties go by the alphabet. Any alphabet will do, but a script without blanks
    has one word a sentence: cut it first, or take `tokens.BytePairs`.
    Raises `ValueError` for words twice, with blanks, or without `<unk>`.
    """

    def __init__(self, words: Sequence[str]):
        self.words = tuple(words)
        self._number = {word: i for i, word in enumerate(self.words, 1)}
        if len(self._number) < len(self.words) or any(w.split() != [w] for w in self.words):
            raise ValueError("words must be different, not empty and without blanks")
        if UNKNOWN not in self._number:
            raise ValueError(f"words must hold {UNKNOWN!r}, which stands for all others")

    @classmethod
    def fit(cls, texts: Iterable[str], vocabulary: int = 10_000, least: int = 1) -> "Words":
        """The words that stand `least` times or more in the texts, at most `vocabulary` with END.

        Raises `ValueError` for a vocabulary without room for END, `<unk>` and a word, and for
        texts without any word.
        """
        if vocabulary < 3:
            raise ValueError(f"vocabulary must be 3 or more (END, {UNKNOWN}, a word): {vocabulary}")
        counts = Counter(word for text in texts for word in text.split())
        if not counts:
            raise ValueError("texts must hold something to learn from, but hold no word")
        rare = [w for w, n in counts.items() if w != UNKNOWN and n < least]
        others = sorted((w for w in counts if w != UNKNOWN), key=lambda w: (-counts[w], w))
        kept = others[: min(vocabulary - 2, len(others) - len(rare))]
        counts[UNKNOWN] += sum(counts[w] for w in others[len(kept) :])
        return cls(sorted([*kept, UNKNOWN], key=lambda w: (-counts[w], w)))

    def __len__(self) -> int:
        return len(self.words) + 1

    @property
    def unknown(self) -> int:
        """The number of `<unk>`."""
        return self._number[UNKNOWN]

    def encode(self, texts: Sequence[str], limit: int) -> Encoded:
        """Rows of `limit` tokens; a text of `limit` words or more keeps its first and no END.

        Words that the vocabulary does not hold become `<unk>`, also where no word is known:
        `unknown_share` counts them. Raises `ValueError` for no texts, for a text without a word,
        naming the first, and for a limit below 1.
        """
        check_texts(texts, limit)
        unknown, number = self.unknown, self._number
        rows = [[number.get(word, unknown) for word in text.split()] for text in texts]
        return Encoded.of(rows, limit)

    def decode(self, x: Tensor) -> list[str]:
        """The texts of rows (N, T) of token numbers, each up to its first END."""
        rows = [until_end(row) for row in x.tolist()]
        return [" ".join(self.words[number - 1] for number in row) for row in rows]

    def unknown_share(self, texts: Iterable[str]) -> float:
        """The share of words that are `<unk>` here, those written so included."""
        words = [word for text in texts for word in text.split()]
        missing = sum(word not in self._number or word == UNKNOWN for word in words)
        return missing / max(len(words), 1)


def separated(text: str) -> str:
    """A text in lower case with one blank between its words and marks; `_UNK` becomes `<unk>`."""
    return " ".join(_WRITTEN.findall(_marked(text.lower())))


def sentences(
    name: str | Path,
    split: str = "train",
    most: int | None = None,
    least: int = 1,
    size: int | None = None,
) -> Dataset:
    """Texts of `least` to `most` words from a named set or from your own text file.

    name: a named set of texts ("docstrings", "ptb", "yahoo_answers", ...) or the path of a UTF-8
    file with one sentence a line, of which a hash makes 80 / 10 / 10 percent. Words of "ptb" and
    "yahoo_answers" are apart already; other texts are put in lower case and cut by `separated`.
    Where the training texts of Yahoo Answers are not at hand, "train" is nine tenths of its
    validation texts and "validation" the last, by a hash. size: so many of the texts that fit.
    Raises `ValueError` as `datasets.load` and `files.text` do, when no text fits, and for limits
    that make no sense.
    """
    if least < 1 or (most is not None and most < least):
        raise ValueError(f"expected 1 <= least <= most words, got {least} and {most}")
    data, kept = _found(name, split)
    cut = _marked if name in _WORDS_ALREADY else separated
    texts = [" ".join(cut(text).split()) for text in data.texts]
    counts = [len(text.split()) for text in texts]
    rows = [i for i in kept if least <= counts[i] and (most is None or counts[i] <= most)]
    if not rows:
        here = [counts[i] for i in kept]
        raise ValueError(
            f"no text of {name} {split} has {least} to {most or 'any number of'} words: "
            f"{len(kept)} texts have {min(here, default=0)} to {max(here, default=0)}"
        )
    if (chosen := chosen_rows(len(rows), size)) is not None:
        rows = [rows[i] for i in chosen.tolist()]
    values = {"row": torch.tensor(rows)}
    if "label" in data:
        values["label"] = data["label"][rows]
    note = f"{len(rows):,} of {len(data):,} texts, of {least} to {most or 'any number of'} words"
    note = "; ".join(filter(None, (note, data.note)))
    return Dataset(data.name, split, values, tuple(texts[i] for i in rows), data.label_names, note)


def _marked(text: str) -> str:
    """`_UNK` as a word of its own becomes `<unk>`; inside another word it stays."""
    return _MARK.sub(UNKNOWN, text)


def question_and_answer(text: str) -> tuple[str, str] | None:
    """What stands up to the first question mark, and after it; None where one of them is empty."""
    question, mark, answer = text.partition("?")
    question, answer = question.strip(), answer.strip(" ?")
    return (question, answer) if mark and question and answer else None


def _found(name: str | Path, split: str) -> tuple[Dataset, list[int]]:
    """A set of texts, and which of them belong to the split."""
    if name in datasets.names():
        if name != "yahoo_answers" or split == "test":
            data = datasets.load(str(name), split)
            return _with_texts(data), list(range(len(data)))
        here = next(row["splits"] for row in datasets.status() if row["name"] == name)
        if "train" in here:  # type: ignore[operator]
            data = datasets.load(name, split)
            return data, list(range(len(data)))
        data, last = datasets.load(name, "validation"), split == "validation"
        tenth = [bucket(text, 10) == 0 for text in data.texts]
        return data, [i for i, held_out in enumerate(tenth) if held_out == last]
    if isinstance(name, str) and "/" not in name and "." not in name and not Path(name).exists():
        datasets.load(name, split)  # says which names there are
    data = datasets.files.text(name)
    parts = {8: "validation", 9: "test"}
    places = [parts.get(bucket(text, 10), "train") for text in data.texts]
    return data, [i for i, place in enumerate(places) if place == split]


def _with_texts(data: Dataset) -> Dataset:
    if not data.texts:
        raise ValueError(
            f"{data.name!r} holds no texts: try docstrings, ptb, or a text file of your own"
        )
    return data
