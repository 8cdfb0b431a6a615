"""CoLLike, section 6.1 and Figure 3: ensembles of latent labels, and what a bag of words can do.

A member is a mixture of unigrams with as many categories as the data have labels, fitted to the
training texts without their labels and scored on the test texts. How "EM" and "CoLLike" fit them:
`ensemble_runs`. An ensemble aligns its members and averages their posteriors, all of them or the
best by coherence (`diagnostics.ensembles` says what we chose where the paper is silent). Accuracies
are percent under the best one-to-one naming of categories. Supervised rows have the same words as
TF-IDF and a logistic regression; a fold leaves out an eighth of the labels to choose its penalty.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from lvmlab import datasets
from lvmlab.diagnostics import categorical_information, ensembles, hungarian_accuracy
from lvmlab.objectives import exact_posterior, marginal_likelihood
from lvmlab.studies.compare import Claim
from lvmlab.studies.ensemble_runs import corpus, fit_unigrams, supervised_posterior, tf_idf
from lvmlab.studies.ledger import Cell, Row, measure, sizes

LABELS = tuple(2**n for n in range(5, 12))
SYSTEM = "bag of words"
NEWS = ("ag_news", "ag_news_lower")

# members of an ensemble, and how many the better one keeps; rows: training texts at most; labels:
# sizes of the labelled sets; minutes: on one core, docstrings alone
# fmt: off
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "collike-ensemble": {
        "smoke": {"seeds": 2, "members": 3, "keep": 2, "sweeps": 5, "rows": 1000,
                  "labels": (32, 128), "minutes": 0.2},
        "lesson": {"seeds": 4, "members": 8, "keep": 3, "sweeps": 40, "rows": 12_000,
                   "labels": LABELS, "minutes": 2},
        "paper": {"seeds": 4, "members": 8, "keep": 3, "sweeps": 40, "rows": 120_000,
                  "labels": LABELS, "minutes": 3},
    },
}
# fmt: on


# the numbers of Figure 3 are not printed, so what can be compared is who lies above whom
CLAIMS = {
    "collike-ensemble": (
        Claim("Section 6.1", "CoLLike, average", "accuracy_percent", "above", "CoLLike"),
        Claim("Section 6.1", "CoLLike, best", "accuracy_percent", "above", "CoLLike, average"),
        Claim("Figure 3b", "CoLLike, best", "accuracy_percent", "above", "128 labels"),
        *(
            Claim("Figure 3b", f"{n} labels, average", "accuracy_percent", "above", f"{n} labels")
            for n in LABELS[:3]
        ),
    )
}


def collike_ensemble(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Single mixtures of unigrams, ensembles of 8, and classifiers with labels (Figure 3, 6.1).

    A seed is one ensemble: "CoLLike" is the mean over its members, with their `spread_percent`,
    "CoLLike, average" all of them and "CoLLike, best" the `keep` most coherent. On docstrings, and
    where its files are at hand on AG News: with headlines as in the paper, and descriptions alone.
    """
    size = sizes(SIZES["collike-ensemble"], preset)
    here = datasets.at_hand()
    wanted = ["docstrings", *(name for name in NEWS if name in here)]
    cells = [cell for name in wanted for cell in _cells(name, size)]
    return measure("collike-ensemble", preset, size.seeds if seeds is None else seeds, cells)


def _cells(name: str, size: Any) -> list[Cell]:
    def cell(objective: str, one: Callable[[int], dict[str, float]]) -> Cell:
        return Cell(SYSTEM, objective, name, partial(_each, one))

    cells = [cell("k-means", partial(_k_means, name, size.rows))]
    for objective in ("EM", "CoLLike"):
        titles = (objective, f"{objective}, average", f"{objective}, best")
        for which, title in enumerate(titles):
            cells.append(cell(title, partial(_of_one_ensemble, name, size, objective, which)))
    for count in size.labels:
        for title, folds in ((f"{count} labels", 1), (f"{count} labels, average", 8)):
            cells.append(cell(title, partial(_supervised, name, size.rows, count, folds)))
    return cells


def _each(one: Callable[[int], dict[str, float]], seeds: list[int]) -> list[dict[str, float]]:
    return [one(seed) for seed in seeds]


def _of_one_ensemble(
    name: str, size: Any, objective: str, which: int, seed: int
) -> dict[str, float]:
    """0: means over the members of this seed; 1: their average; 2: that of the best of them."""
    first = seed * size.members
    posteriors, nll = _members(name, size.rows, objective, first, size.members, size.sweeps)
    found = ensemble_numbers(posteriors, corpus(name, size.rows).test_labels, size.keep)[which]
    return found | {"nll": nll} if which == 0 else found


def ensemble_numbers(posteriors: Any, labels: Any, keep: int) -> list[dict[str, float]]:
    """Numbers of single members, of their aligned average, and of that of the `keep` best.

    posteriors: (M, N, K) of any models, labels: (N,). The first are means over the members, with
    `spread_percent`, the standard deviation of their accuracies, and `coherence`.
    """
    alone = [judged(posterior, labels) for posterior in posteriors]
    single = {metric: float(np.mean([one[metric] for one in alone])) for metric in alone[0]}
    single["spread_percent"] = float(np.std([one["accuracy_percent"] for one in alone], ddof=1))
    single["coherence"] = float(ensembles.coherence(posteriors).mean())
    best = ensembles.top_k_by_coherence(posteriors, keep)
    chosen = [posteriors[i] for i in best]
    both = (judged(ensembles.average(members), labels) for members in (posteriors, chosen))
    return [single, *both]


def judged(posterior: Any, labels: Any) -> dict[str, float]:
    """Accuracy in percent, information and aggregated KL in nats of posteriors (N, K)."""
    found = categorical_information(posterior)
    return {
        "accuracy_percent": 100 * hungarian_accuracy(posterior, labels).accuracy,
        "information": found.information,
        "aggregated_kl": found.aggregated_kl,
    }


def topic_recording(
    posteriors: Any, labels: Any, steps: Any = None, stored: Any = None
) -> dict[str, Any]:
    """What `lvmlab.widgets.topic_table` shows of members (M, T, N, K) at T evaluations.

    Entry m, t of its posteriors is the aligned average of the first m + 1 members, its categories
    in the order of the classes they are matched with. stored: (T,) percent, passed on.
    """
    members = np.asarray(posteriors, dtype=float)
    averages = np.empty_like(members)
    single = np.empty(members.shape[:2])
    for m, t in np.ndindex(*members.shape[:2]):
        single[m, t] = 100 * hungarian_accuracy(members[m, t], labels).accuracy
        averages[m, t] = named(ensembles.average(members[: m + 1, t]), labels)
    film = {"posteriors": averages, "single": single, "stored": stored, "steps": steps}
    return {name: value for name, value in film.items() if value is not None}


def named(posterior: np.ndarray, labels: Any) -> np.ndarray:
    """The same posterior (N, K), its columns in the order of the classes 0 ... C - 1."""
    match = hungarian_accuracy(posterior, labels).assignment
    rest = len(match)
    return posterior[:, sorted(range(posterior.shape[1]), key=lambda k: match.get(k, rest + k))]


@cache
def _members(
    name: str, rows: int, objective: str, first: int, count: int, sweeps: int
) -> tuple[np.ndarray, float]:
    """Test posteriors (M, N, K) of members first ... first + M - 1, and their mean NLL in nats."""
    texts, posteriors, nll = corpus(name, rows), [], []
    for seed in range(first, first + count):
        p = fit_unigrams(objective, texts.x, len(texts.words), len(texts.label_names), seed, sweeps)
        with torch.no_grad():
            posteriors.append(exact_posterior(p, {"x": texts.test_x}).double().numpy())
            nll.append(marginal_likelihood(p, p, {"x": texts.test_x}).loss.item())
    return np.array(posteriors), float(np.mean(nll))


def _k_means(name: str, rows: int, seed: int) -> dict[str, float]:
    from sklearn.cluster import KMeans

    texts = corpus(name, rows)
    train, test = tf_idf(texts)
    found = KMeans(len(texts.label_names), n_init=1, random_state=seed).fit(train)
    accuracy = hungarian_accuracy(found.predict(test), texts.test_labels).accuracy
    return {"accuracy_percent": 100 * accuracy}


def _supervised(name: str, rows: int, count: int, folds: int, seed: int) -> dict[str, float]:
    texts = corpus(name, rows)
    train, test = tf_idf(texts)
    found = supervised_posterior(train, texts.labels.numpy(), test, count, folds, seed)
    right = found.argmax(1) == texts.test_labels.numpy()
    return {"accuracy_percent": 100 * float(right.mean())}
