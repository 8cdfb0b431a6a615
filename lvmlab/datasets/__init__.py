"""Data: named sets, toys with known densities, and your own files.

`load(name)` gives a `Dataset`; `toys` holds mixtures whose entropy is known; `sources` mixes
sources that a model shall find again; `files` reads your arrays, images, texts and tables;
`words` cuts texts to sentences and numbers their words; `status()` says what is on this machine.
"""

import difflib
from collections.abc import Callable, Iterable

from lvmlab.datasets import catalogue, files, images, sources, texts, toys, where, words
from lvmlab.datasets.catalogue import at_hand, names, status
from lvmlab.datasets.dataset import Dataset

__all__ = ["Dataset", "at_hand", "files", "load", "names", "sources", "status", "toys", "words"]

_PACKAGED: dict[str, Callable[..., Dataset]] = {
    "digits": images.digits,
    "docstrings": texts.docstrings,
}
_FROM_FILES: dict[str, Callable[..., Dataset]] = {
    "mnist": images.mnist_like,
    "fashion_mnist": images.mnist_like,
    "omniglot": images.omniglot,
    "cifar10": images.cifar10,
    "ag_news": texts.ag_news,
    "ag_news_lower": texts.ag_news_lower,
    "ptb": texts.ptb,
    "yahoo_answers": texts.yahoo_answers,
}


def load(
    name: str, split: str = "train", size: int | None = None, download: bool = True
) -> Dataset:
    """A named data set as variables by name.

    `split` is "train", "validation" or "test" (digits also "all"). `size` takes that many rows, a
    prefix of one fixed permutation, so classes are mixed and small subsets lie within larger ones.
    Files are looked for in $LVMLAB_DATA, then in the data folder, then downloaded from the address
    in the catalogue with a message, a progress bar and a checksum; `download=False` or
    LVMLAB_OFFLINE=1 forbids that. Raises ValueError for an unknown name or split, a size that is
    not there, missing, truncated or corrupt files.
    """
    _known("name", name, names(), "data set")
    _known("split", split, _splits(name), f"split of {name!r}")
    if name in _PACKAGED:
        return _PACKAGED[name](split, size)
    found = where.locate(catalogue.source(name), split, download)
    return _FROM_FILES[name](found, split, size)


def _splits(name: str) -> tuple[str, ...]:
    return (*catalogue.SPLITS, "all") if name == "digits" else catalogue.SPLITS


def _known(argument: str, value: str, known: Iterable[str], what: str) -> None:
    known = tuple(known)
    if value in known:
        return
    near = difflib.get_close_matches(str(value).lower().replace("-", "_"), known, 1, 0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{argument}={value!r} is not a known {what}; known: {', '.join(known)}.{hint}"
    )
