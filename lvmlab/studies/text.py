"""CoLLike on texts: the third row of Table 2, complete against marginal likelihood.

How the models are trained and measured: `text_runs`. Where the paper trains on 120,000 news texts
for 256 passes, the lesson has the docstrings of installed libraries, which need no download.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from lvmlab.studies.compare import Claim, quoted
from lvmlab.studies.ensemble import ensemble_numbers
from lvmlab.studies.ledger import Cell, Row, code_version, folder, measure, sizes
from lvmlab.studies.text_runs import Recipe, corpus, measured, posteriors, trained

PAPER = Recipe(256, looks=256, batch=64, learning_rate=2e-4, decay=0, forget=0, cutoffs=())

FROM_PILES = "Transformer from piles"
ON_PILES = Recipe(2, looks=2, embedded=0.3, start="piles", held=1.0)

# vocabulary and limit in tokens; rows: training texts, all when None; minutes on one core
# fmt: off
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "collike-text": {
        "smoke": {"seeds": 1, "dataset": "docstrings", "vocabulary": 400, "limit": 24,
                  "rows": 200, "recipe": Recipe(2, looks=2), "minutes": 0.2},
        "lesson": {"seeds": 2, "dataset": "docstrings", "vocabulary": 2000, "limit": 48,
                   "rows": None, "recipe": Recipe(4, looks=8), "minutes": 7},
        "paper": {"seeds": 4, "dataset": "ag_news", "vocabulary": 4000, "limit": 192,
                  "rows": None, "recipe": PAPER, "minutes": 50_000},
    },
    "collike-news": {
        "smoke": {"seeds": 1, "dataset": "docstrings", "vocabulary": 400, "limit": 24,
                  "rows": 200, "recipe": Recipe(2, looks=2), "minutes": 0.1},
        "lesson": {"seeds": 1, "dataset": "ag_news_lower", "vocabulary": 4000, "limit": 64,
                   "rows": None, "recipe": Recipe(4, looks=16), "minutes": 20},
        "paper": {"seeds": 8, "dataset": "ag_news_lower", "vocabulary": 4000, "limit": 64,
                  "rows": None, "recipe": Recipe(4, looks=16), "minutes": 160},
    },
    "collike-news-ensemble": {
        "smoke": {"seeds": 1, "dataset": "docstrings", "vocabulary": 400, "limit": 24,
                  "rows": 200, "members": 2, "keep": 1, "minutes": 0.2,
                  "systems": {"Transformer": Recipe(1, looks=1), FROM_PILES: ON_PILES}},
        "lesson": {"seeds": 1, "dataset": "ag_news_lower", "vocabulary": 4000, "limit": 64,
                   "rows": None, "members": 8, "keep": 3, "minutes": 105,
                   "systems": {"Transformer": Recipe(4, looks=4, embedded=0.3),
                               FROM_PILES: ON_PILES._replace(epochs=3, looks=3)}},
        "paper": {"seeds": 4, "dataset": "ag_news", "vocabulary": 4000, "limit": 192,
                  "rows": None, "members": 8, "keep": 3, "minutes": 400_000,
                  "systems": {"Transformer": PAPER}},
    },
    "collike-recipe": {
        "smoke": {"seeds": 1, "dataset": "docstrings", "vocabulary": 400, "limit": 24,
                  "rows": 100, "recipe": Recipe(1, looks=1), "minutes": 0.3},
        "lesson": {"seeds": 3, "dataset": "ag_news_lower", "vocabulary": 4000, "limit": 64,
                   "rows": None, "recipe": Recipe(1, looks=1), "minutes": 60},
        "paper": {"seeds": 4, "dataset": "ag_news_lower", "vocabulary": 4000, "limit": 64,
                  "rows": None, "recipe": Recipe(4, looks=1), "minutes": 320},
    },
}

RECIPE = "the recipe"
VARIATIONS: dict[str, dict[str, Any]] = {  # one thing changed at a time
    RECIPE: {},
    "nothing forgotten": {"forget": 0.0},
    "a rate that never falls": {"decay": 0.0},
    "a third of the rate": {"learning_rate": 1e-3},
    "batches of 64": {"batch": 64},
    "embeddings of sd 0.3": {"embedded": 0.3},
    "full softmax": {"cutoffs": ()},
    "single precision": {"coarse": False},
    "half of the pieces": {"vocabulary": 0.5},
    "half of the length": {"limit": 0.5},
}
# fmt: on

AG_NEWS = "collike-t2-agnews"
METRICS = {
    "accuracy": "accuracy_percent",
    "nll": "nll",
    "aggkl": "aggregated_kl",
    "mi": "information",
}

CLAIMS = {
    "collike-text": (
        Claim("Table 2", "CoLLike", "information", "above", "MaL"),
        Claim("Table 2", "CoLLike", "accuracy_percent", "above", "MaL"),
        Claim("Table 2", "MaL", "nll", "below", "CoLLike"),
        *(
            quoted(f"{AG_NEWS}-{one.lower()}-{name}", one, metric, datasets=("ag_news",))
            for one in ("CoLLike", "MaL")
            for name, metric in METRICS.items()
        ),
    ),
    "collike-news": (
        quoted(f"{AG_NEWS}-collike-accuracy", "CoLLike", "accuracy_percent"),
        quoted(f"{AG_NEWS}-mal-accuracy", "MaL", "accuracy_percent"),
        Claim("Table 2", "CoLLike", "information", "above", "MaL"),
        Claim("Table 2", "CoLLike", "accuracy_percent", "above", "MaL"),
        Claim("Table 2", "MaL", "nll", "below", "CoLLike"),
    ),
    "collike-news-ensemble": (
        *(
            quoted(f"collike-s61-{id}", objective, "accuracy_percent", systems=("Transformer",))
            for id, objective in (
                ("single-mean", "CoLLike"),
                ("ens-mean", "CoLLike, average"),
                ("ens-topk", "CoLLike, best"),
            )
        ),
        Claim("Section 6.1", "CoLLike, average", "accuracy_percent", "above", "CoLLike"),
        Claim("Section 6.1", "CoLLike, best", "accuracy_percent", "above", "CoLLike, average"),
    ),
    "collike-recipe": (
        quoted(f"{AG_NEWS}-collike-accuracy", "CoLLike", "accuracy_percent", systems=(RECIPE,)),
    ),
}


def collike_text(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """A language model with four categories, by CoLLike and by exact MaL (Table 2 and Figure 2).

    Measures as in `text_runs.measured`, on test texts. The tokens are our own byte-level BPE, so
    nats for a text can be compared between the rows, not with the paper.
    """
    return _study("collike-text", preset, seeds)


def collike_news(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """CoLLike and MaL in minutes on 20,000 news descriptions (beside Table 2 and Figure 3).

    A sixth of the paper's texts, in lower case and without headlines, and a sixtieth of its passes;
    a larger learning rate, smaller batches, texts cut at 64 tokens, an adaptive softmax, and half
    of the tokens forgotten while the rate is high.
    """
    return _study("collike-news", preset, seeds)


def collike_news_ensemble(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Eight Transformers on news descriptions, aligned and averaged (Section 6.1).

    A seed is one ensemble: "CoLLike" is the mean over its members, with their `spread_percent`,
    "CoLLike, average" all of them and "CoLLike, best" the `keep` most coherent. The recipe of
    `collike_news`, but that embeddings start smaller. "Transformer from piles" is not in the paper:
    the categories stored at first are no draws, but the piles that eight bags of words agree on
    (`text_runs.piles`, no labels either), and are matched again after a first pass. A run that was
    killed goes on with the member it was at.
    """
    name = "collike-news-ensemble"
    size = sizes(SIZES[name], preset)
    here = folder() / "checkpoints" / code_version() / name / preset
    texts = (size.dataset, size.vocabulary, size.limit, size.rows)
    cells = []
    for system, recipe in size.systems.items():
        members = partial(_members, texts, recipe, size.members, here / system.replace(" ", "-"))
        for which, title in enumerate(("CoLLike", "CoLLike, average", "CoLLike, best")):
            run = partial(_ensemble, which, texts, size.keep, members)
            cells.append(Cell(system, title, size.dataset, run))
    return measure(name, preset, size.seeds if seeds is None else seeds, cells)


def _ensemble(
    which: int, texts: tuple, keep: int, members: Any, seeds: list[int]
) -> list[dict[str, float]]:
    labels = corpus(*texts).labels["test"]
    return [ensemble_numbers(members(seed), labels, keep)[which] for seed in seeds]


@cache
def _members(texts: tuple, recipe: Recipe, count: int, place: Path, seed: int) -> list[Tensor]:
    """Posteriors of the test texts, (N, K) each, of the members of one ensemble.

    The three rows of an ensemble may be measured by three processes: one trains a member, and the
    others find it done.
    """
    from filelock import FileLock

    place.mkdir(parents=True, exist_ok=True)
    data, found = corpus(*texts), []
    for member in range(seed * count, (seed + 1) * count):
        with FileLock(place / f"collike-{member}.lock"):
            run = trained("CoLLike", data, recipe, member, place / f"collike-{member}")
        found.append(posteriors(run.p, data.texts["test"])[0])
    return found


def collike_recipe(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """What each part of our recipe does: CoLLike with one thing changed (beside Table 2).

    Systems are the entries of `VARIATIONS`. Nats for a text can be compared between rows with the
    same pieces and length only.
    """
    name = "collike-recipe"
    size = sizes(SIZES[name], preset)
    cells = []
    for system, changes in VARIATIONS.items():
        shares = {key: changes.get(key, 1.0) for key in ("vocabulary", "limit")}
        vocabulary, limit = (int(getattr(size, key) * share) for key, share in shares.items())
        data = partial(corpus, size.dataset, vocabulary, limit, size.rows)
        recipe = size.recipe._replace(**{k: v for k, v in changes.items() if k not in shares})
        run = partial(_run, name, f"{preset}/{system}", "CoLLike", data, recipe)
        cells.append(Cell(system, "CoLLike", size.dataset, run))
    return measure(name, preset, size.seeds if seeds is None else seeds, cells)


def _study(name: str, preset: str, seeds: int | None) -> list[Row]:
    size = sizes(SIZES[name], preset)
    data = partial(corpus, size.dataset, size.vocabulary, size.limit, size.rows)
    cells = [
        Cell("4 categories", one, size.dataset, partial(_run, name, preset, one, data, size.recipe))
        for one in ("CoLLike", "MaL")
    ]
    return measure(name, preset, size.seeds if seeds is None else seeds, cells)


def _run(
    name: str, under: str, objective: str, data: Any, recipe: Recipe, seeds: list[int]
) -> list[dict[str, float]]:
    """Train each seed; its checkpoint and the curve of its validation stay under the ledger."""
    found = []
    for seed in seeds:
        here = folder() / "checkpoints" / code_version()
        place = here / name / under / f"{objective}-{seed}".lower()
        run = trained(objective, data(), recipe, seed, place)
        found.append(measured(run.p, data()) | {"train_minutes": run.history.seconds / 60})
    return found
