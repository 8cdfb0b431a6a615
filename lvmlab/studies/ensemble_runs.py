"""Bags of words, mixtures of unigrams and classifiers of the ensemble studies in `ensemble`.

"EM" climbs the marginal likelihood from random responsibilities. "CoLLike" gives each text a latent
drawn once from the prior, re-pairs them by batches (Algorithm 1) and has EM's M step in place of
gradient steps.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lvmlab import datasets
from lvmlab.joint import Batch, Joint
from lvmlab.models import padded, unigram_mixture
from lvmlab.objectives import best_pairing, exact_posterior
from lvmlab.steps import expect_then_maximise

SWEEPS = 40
BATCH = 256  # texts that are paired at once
WORDS = slice(50, 4000)  # of the words by frequency: the commonest say nothing about topics


class Corpus(NamedTuple):
    """Texts as bags of words: padded word numbers (N, L), labels (N,), and what made them."""

    name: str
    x: Tensor
    labels: Tensor
    test_x: Tensor
    test_labels: Tensor
    texts: tuple[str, ...]
    test_texts: tuple[str, ...]
    words: tuple[str, ...]
    label_names: tuple[str, ...]


@cache
def corpus(name: str, rows: int | None = None) -> Corpus:
    """A named set of labelled texts as bags of words; `rows` training texts at most.

    Words of three letters or more, the 51st to the 4,000th most frequent of the training texts.
    Other words are left out, also in the test texts. Nothing is downloaded.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    train = datasets.load(name, "train", download=False)
    if rows is not None and rows < len(train):
        train = datasets.load(name, "train", size=rows, download=False)
    test = datasets.load(name, "test", download=False)
    vectorizer = CountVectorizer(token_pattern=r"[a-z]{3,}")
    counts = vectorizer.fit_transform(train.texts)
    kept = np.argsort(-np.asarray(counts.sum(0)).ravel(), kind="stable")[WORDS]
    bags = [counts[:, kept], vectorizer.transform(test.texts)[:, kept]]
    length = max(int(b.sum(1).max()) for b in bags)
    x, test_x = (padded(b, length) for b in bags)
    words = tuple(vectorizer.get_feature_names_out()[kept].tolist())
    sides = (x, train["label"], test_x, test["label"], train.texts, test.texts)
    return Corpus(name, *sides, words, train.label_names)


def fit_unigrams(
    objective: str,
    x: Tensor,
    vocabulary: int,
    categories: int,
    seed: int,
    sweeps: int,
    look: Callable[[int, Joint, Tensor | None], None] | None = None,
) -> Joint:
    """Fit a mixture of unigrams by "EM" or "CoLLike" to words x (N, L); returns p.

    look(sweep, p, stored) is called before each sweep and at the end, with CoLLike's stored
    latents. Raises `ValueError` for another objective.
    """
    if objective not in ("EM", "CoLLike"):
        raise ValueError(f"objective must be EM or CoLLike, got {objective!r}")
    torch.manual_seed(seed)
    p, _ = unigram_mixture(categories, vocabulary, x.shape[1])
    p.validate = False  # `padded` made the words, and looking again costs as much as a sweep
    factors: dict[str, Any] = p.factors
    stored: Tensor | None = None
    if objective == "EM":
        weights = torch.distributions.Dirichlet(torch.ones(categories)).sample((len(x),))
        respond: Callable[[Joint, Batch], Tensor] = exact_posterior
    else:
        stored = factors["k"]().sample((len(x),))  # once, from the prior
        weights, respond = one_hot(stored, categories).float(), pair_by_batches(stored, categories)
    factors["x|k"].maximise(x, weights)
    step = expect_then_maximise(p, respond)
    for sweep in range(sweeps):
        if look is not None:
            look(sweep, p, stored)
        step({"x": x})
    if look is not None:
        look(sweeps, p, stored)
    return p


def pair_by_batches(
    stored: Tensor, categories: int, size: int = BATCH
) -> Callable[[Joint, Batch], Tensor]:
    """CoLLike's E step: rows re-pair the latents they own, batch by batch, and keep them.

    stored: (N,) long, changed in place. A full pairing of thousands of rows costs the cube of
    their number, one of a batch next to nothing (CoLLike, section 4).
    """

    def respond(p: Joint, batch: Batch) -> Tensor:
        scores = p.enumerate(batch).log_joint
        for rows in torch.randperm(len(scores)).split(size):
            owned = stored[rows]
            stored[rows] = owned[best_pairing(scores[rows][:, owned])]
        return one_hot(stored, categories).to(scores)

    return respond


def tf_idf(texts: Corpus) -> tuple[Any, Any]:
    """The words of training and test texts as TF-IDF, sparse (N, V) each, from the counts of x."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfTransformer

    def counts(x: Tensor) -> Any:
        row, place = (x >= 0).nonzero(as_tuple=True)
        where = (row.int().numpy(), x[row, place].int().numpy())
        return csr_array((np.ones(len(row)), where), shape=(len(x), len(texts.words)))

    transformer = TfidfTransformer(sublinear_tf=True)
    return transformer.fit_transform(counts(texts.x)), transformer.transform(counts(texts.test_x))


def supervised_posterior(
    train: Any, labels: np.ndarray, test: Any, count: int, folds: int, seed: int, of: int = 8
) -> np.ndarray:
    """Class probabilities (N, C) from `count` labelled rows, averaged over so many of `of` folds.

    Each fold fits a logistic regression to seven eighths of the labelled rows and chooses its
    penalty on the eighth. Raises `ValueError` for more labels than rows.
    """
    if not of <= count <= len(labels):
        raise ValueError(f"count must lie between {of} and the {len(labels)} rows, got {count}")
    random, classes = np.random.default_rng(seed), int(labels.max()) + 1
    chosen, total = random.permutation(len(labels))[:count], np.zeros((test.shape[0], classes))
    for part in np.array_split(chosen, of)[:folds]:
        inside = np.setdiff1d(chosen, part)
        model = _best_penalty(train, labels, inside, part)
        total[:, model.classes_] += model.predict_proba(test)
    return total / folds


def _best_penalty(
    train: Any, labels: np.ndarray, inside: np.ndarray, held: np.ndarray,
    penalties: Sequence[float] = (1.0, 10.0, 100.0),
) -> Any:  # fmt: skip
    """A logistic regression on rows `inside`, its C the first of the best on rows `held`."""
    from sklearn.linear_model import LogisticRegression

    models = [
        LogisticRegression(C=c, max_iter=300).fit(train[inside], labels[inside]) for c in penalties
    ]
    return max(models, key=lambda model: model.score(train[held], labels[held]))
