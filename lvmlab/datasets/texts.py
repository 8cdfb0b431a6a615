"""The named sets of texts: docstrings, AG News, Penn Treebank, Yahoo Answers.

A text is a string; where tokens are needed they are made later. `label` exists where there is one.
"""

from collections.abc import Sequence

import torch

from lvmlab.datasets import docstrings as corpus
from lvmlab.datasets import readers
from lvmlab.datasets.dataset import Dataset, bucket, chosen_rows
from lvmlab.datasets.where import Found

NEWS_NAMES = ("World", "Sports", "Business", "Sci/Tech")
YAHOO_NAMES = (
    "Society & Culture",
    "Science & Mathematics",
    "Health",
    "Education & Reference",
    "Computers & Internet",
    "Sports",
    "Business & Finance",
    "Entertainment & Music",
    "Family & Relationships",
    "Politics & Government",
)


def docstrings(split: str, size: int | None) -> Dataset:
    """Sentences from the docstrings of four installed libraries; the library is the label."""
    texts, labels = corpus.corpus()
    kept = [i for i, text in enumerate(texts) if corpus.split_of(text) == split]
    note = (
        f"read from the installed {', '.join(corpus.LIBRARIES.values())}: the number of sentences "
        "follows their versions; split 80 / 10 / 10 by a hash of the sentence"
    )
    chosen = [texts[i] for i in kept], [labels[i] for i in kept]
    return _dataset("docstrings", split, *chosen, size, tuple(corpus.LIBRARIES.values()), note)


def ag_news(found: Found, split: str, size: int | None) -> Dataset:
    """AG News: title, a space, description; a twentieth of the training texts is validation."""
    if found.form == "prepared":
        texts, labels = found.read(found.files[0].name, readers.json_lines)
        note = "train and validation come from a SUBSET of 15,184 of the 120,000 training texts, "
        note += "classes not balanced; test is whole. "
    else:
        rows = found.read(found.files[0].name, readers.csv_rows, 3)
        texts = [f"{title} {description}" for _, title, description in rows]
        labels = [int(number) - 1 for number, _, _ in rows]
        note = ""
    texts, labels = _part(split, texts, labels)
    note += "Validation is the twentieth of the training texts that a hash chooses; escapes of the "
    note += "original (a backslash for a line break, #39; for an apostrophe) are kept"
    return _dataset("ag_news", split, texts, labels, size, NEWS_NAMES, note)


def ag_news_lower(found: Found, split: str, size: int | None) -> Dataset:
    """AG News: the description alone, in lower case; splits as in `ag_news`."""
    if found.form == "prepared":
        texts, labels = found.read(found.files[0].name, readers.json_lines)
        note = "train and validation come from a SUBSET of 20,985 of the 120,000 training texts; "
        note += "test is whole. "
    else:
        rows = found.read(found.files[0].name, readers.csv_rows, 3)
        texts = [description.lower() for _, _, description in rows]
        labels = [int(number) - 1 for number, _, _ in rows]
        note = ""
    texts, labels = _part(split, texts, labels)
    note += "Some texts are also in ag_news: do not mix the two. Validation is the twentieth of "
    note += "the training texts that a hash chooses; escapes of the original are kept"
    return _dataset("ag_news_lower", split, texts, labels, size, NEWS_NAMES, note)


def ptb(found: Found, split: str, size: int | None) -> Dataset:
    """The Penn Treebank as prepared by Mikolov: one sentence a row, words apart by one space."""
    texts = found.read(found.files[0].name, readers.text_lines)
    note = (
        "no labels; numbers are N, rare words <unk>, no end-of-sentence mark. The text belongs to "
        "the LDC and Dow Jones and has no open licence: do not pass it on"
    )
    return _dataset("ptb", split, texts, None, size, (), note)


def yahoo_answers(found: Found, split: str, size: int | None) -> Dataset:
    """Yahoo Answers as sampled by Yang et al. (2017): lower case, at most 200 words, rare _UNK."""
    if found.form == "prepared":
        texts, labels = found.read(found.files[0].name, readers.json_lines)
        note = (
            "labels are INFERRED from the order of the rows (ten blocks of 1,000, one a topic); "
            "validation and test only. For research use only: do not pass it on"
        )
        return _dataset("yahoo_answers", split, texts, labels, size, YAHOO_NAMES, note)
    part = {"validation": "valid"}.get(split, split)
    texts = found.read(found.files[0].name, readers.tar_lines, f"yahoo.{part}.txt")
    note = "no labels in the downloaded files. For research use only: do not pass it on"
    return _dataset("yahoo_answers", split, texts, None, size, (), note)


def _part(split: str, texts: list[str], labels: list[int]) -> tuple[list[str], list[int]]:
    """Training texts without the twentieth that is validation, or that twentieth; test whole."""
    if split == "test":
        return texts, labels
    kept = [i for i, t in enumerate(texts) if (bucket(t, 20) == 0) == (split == "validation")]
    return [texts[i] for i in kept], [labels[i] for i in kept]


def _dataset(
    name: str,
    split: str,
    texts: Sequence[str],
    labels: Sequence[int] | None,
    size: int | None,
    label_names: tuple[str, ...],
    note: str,
) -> Dataset:
    chosen = chosen_rows(len(texts), size)
    rows = range(len(texts)) if chosen is None else chosen.tolist()
    values = {} if chosen is None else {"row": torch.from_numpy(chosen)}
    if labels is not None:
        values["label"] = torch.tensor([labels[i] for i in rows], dtype=torch.long)
    return Dataset(name, split, values, tuple(texts[i] for i in rows), label_names, note)
