"""Data, training and measures of the text studies in `text`.

Training as in CoLLike, F.2 and Algorithm 1, but for what a `Recipe` says: texts of similar length
share a batch, and networks may compute in bfloat16 where the processor can (weights, softmax,
optimiser and all measures in single precision). A run is cut at its looks: at each one the
validation texts are measured and a line is added to `curve.jsonl` beside the checkpoint.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lvmlab import datasets, devices
from lvmlab.batches import LengthBuckets
from lvmlab.datasets.tokens import BytePairs, Encoded
from lvmlab.diagnostics import categorical_information, ensembles, hungarian_accuracy
from lvmlab.history import History
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.models import text_categories
from lvmlab.objectives import complete_likelihood, marginal_likelihood
from lvmlab.steps import Step, descend, match_then_descend
from lvmlab.studies import ensemble_runs
from lvmlab.train import fit

CATEGORIES = 4
BAGS = 8  # of words, for the `piles` of a seed
TOGETHER = 32  # texts measured at a time
RECORD = Path(__file__).with_name("collike-news.jsonl")  # `gathered` from runs of that study


class Recipe(NamedTuple):
    """How one model is trained."""

    epochs: float
    looks: int
    """How often the validation texts are measured, evenly over the run."""
    batch: int = 32
    learning_rate: float = 3e-3
    """Of Adam: it rises over `warm_up` steps, and falls to 0 over the last share `decay`."""
    warm_up: int = 50
    decay: float = 0.4
    forget: float = 0.5
    """The share of tokens read as blanks in training, see `Transformer`; falls with the rate."""
    cutoffs: tuple[int, ...] = (300, 1200)
    """Groups of rare tokens for `AdaptiveSoftmax`; none is the full softmax."""
    coarse: bool = True
    """Whether networks compute in bfloat16 where the processor can."""
    embedded: float = 1.0
    """Standard deviation of the embeddings of tokens and of categories at first."""
    start: str = "drawn"
    """CoLLike's stored categories at first: "drawn" from the prior, or the "piles" of `piles`."""
    held: float = 0.0
    """Passes before the first match, in which a model learns what the stored categories are."""


class Corpus(NamedTuple):
    """Texts as tokens, with labels that training never sees."""

    name: str
    tokens: BytePairs
    texts: dict[str, Encoded]
    labels: dict[str, Tensor]


class Trained(NamedTuple):
    """A model and how it came about."""

    p: Joint
    q: Joint
    history: History
    curve: list[dict[str, float]]
    """One row a look: `passes` over the training texts, `seconds` of training, and `measured`."""


@cache
def corpus(name: str, vocabulary: int, limit: int, size: int | None = None) -> Corpus:
    """A named set of texts, cut to `limit` tokens; the pieces are learned from training texts.

    size: at most so many training texts, and a quarter as many of the others.
    """
    parts = {split: datasets.load(name, split) for split in ("train", "validation", "test")}
    if size is not None:
        for split, part in parts.items():
            wanted = size if split == "train" else max(size // 4, 1)
            parts[split] = datasets.load(name, split, size=min(wanted, len(part)))
    tokens = BytePairs.fit(parts["train"].texts, vocabulary)
    texts = {split: tokens.encode(part.texts, limit) for split, part in parts.items()}
    return Corpus(name, tokens, texts, {split: part["label"] for split, part in parts.items()})


def trained(
    objective: str, data: Corpus, recipe: Recipe, seed: int, folder: Path | None = None
) -> Trained:
    """Train one model: "CoLLike" or "MaL". With a folder, a run that was killed goes on there."""
    if folder is None:
        with tempfile.TemporaryDirectory() as own:
            return trained(objective, data, recipe, seed, Path(own))
    texts = data.texts["train"]
    begun = (folder / "run.pt").is_file()  # and holds the categories that are stored now
    unread = torch.zeros(len(texts.x), dtype=torch.long) if begun else None
    p, q, step = _prepared(objective, data, recipe, seed, unread)
    stream = LengthBuckets({"x": texts.x}, texts.lengths, recipe.batch, seed)
    total = max(round(recipe.epochs * len(stream)), recipe.looks)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        step.optimisers["optimiser"], lambda done: _rate(done, total, recipe)
    )
    settings = {"objective": objective, "corpus": data.name, **recipe._asdict()}
    curve = _curve(folder)
    for look in range(1, recipe.looks + 1):
        done = total * look // recipe.looks
        history = fit(
            step,
            stream,
            steps=done,
            schedulers=[schedule],
            checkpoint=folder / "run.pt",
            checkpoint_every=total,
            settings=settings,
            progress=False,
        )
        if look > len(curve):
            row = {"passes": done / len(stream), "seconds": history.seconds}
            curve.append(row | measured(p, data, "validation"))
            (folder / "curve.jsonl").write_text("".join(json.dumps(r) + "\n" for r in curve))
    return Trained(p, q, history, curve)


def measured(p: Joint, data: Corpus, split: str = "test") -> dict[str, float]:
    """Table 2's columns on one split, by the exact posterior over the categories.

    `accuracy_percent` under the best pairing of categories with labels; `nll` of a text in nats,
    cut texts without their end; `information` of text and category, and `aggregated_kl`, which
    together are at most `ceiling`.
    """
    posterior, nll = posteriors(p, data.texts[split])
    found = categorical_information(posterior)
    return {
        "accuracy_percent": 100 * hungarian_accuracy(posterior, data.labels[split]).accuracy,
        "nll": nll.mean().item(),
        "information": found.information,
        "aggregated_kl": found.aggregated_kl,
        "ceiling": found.ceiling,
    }


def posteriors(p: Joint, texts: Encoded) -> tuple[Tensor, Tensor]:
    """p(z|x) of every text (N, K), and -log p(x) (N,) in nats; short texts are scored together."""
    order, scores = texts.lengths.argsort(), []
    device = next(p.parameters()).device
    with torch.no_grad():
        for rows in order.split(TOGETHER):
            x = texts.x[rows, : int(texts.lengths[rows].max())]
            scores.append(p.enumerate({"x": x.to(device)}).log_joint.cpu())
    log_joint = torch.cat(scores)[order.argsort()].double()
    return log_joint.softmax(1), -log_joint.logsumexp(1)


def gathered(folder: Path) -> list[dict[str, Any]]:
    """The curves of all runs in a folder of a study's preset, a row a look: see `Trained`.

    Each row says its `objective` and `seed`; the folder is `checkpoints/VERSION/STUDY/PRESET`
    under the ledger's. Raises `ValueError` when there is no curve.
    """
    names = {name.lower(): name for name in ("CoLLike", "MaL")}
    rows = []
    for path in sorted(folder.glob("*-*/curve.jsonl")):
        objective, _, seed = path.parent.name.rpartition("-")
        origin = {"objective": names[objective], "seed": int(seed)}
        rows += [origin | json.loads(line) for line in path.read_text().splitlines()]
    if not rows:
        raise ValueError(f"{folder} has no OBJECTIVE-SEED/curve.jsonl: run the study first")
    return rows


def recorded() -> list[dict[str, Any]]:
    """The curves of our own `lvmlab run collike-news`, as `gathered` gives them."""
    return [json.loads(line) for line in RECORD.read_text().splitlines()]


def piles(name: str, rows: int, seed: int) -> Tensor:
    """A category (N,) for each training text, by eight bags of words, aligned and averaged.

    They are "EM" of `ensemble_runs`, which sees no labels. What is averaged is p(z|x) of the
    training texts themselves; the pile of a text is its largest entry.
    """
    bags = ensemble_runs.corpus(name, rows)
    members = []
    for member in range(seed * BAGS, (seed + 1) * BAGS):
        p = ensemble_runs.fit_unigrams(
            "EM", bags.x, len(bags.words), CATEGORIES, member, ensemble_runs.SWEEPS
        )
        with torch.no_grad():
            members.append(p.enumerate({"x": bags.x}).log_joint.softmax(1))
    return torch.as_tensor(ensembles.average(members).argmax(1))


def _stored(data: Corpus, recipe: Recipe, seed: int) -> Tensor:
    """The categories that the training texts have at first, (N,)."""
    rows = len(data.texts["train"].x)
    starts = {
        "drawn": lambda: torch.randint(
            CATEGORIES,
            (rows,),
            generator=torch.Generator().manual_seed(10**6 + seed),  # not the stream of the weights
        ),
        "piles": lambda: piles(data.name, rows, seed),
    }
    if recipe.start not in starts:
        raise ValueError(f"start must be one of {', '.join(starts)}, got {recipe.start!r}")
    return starts[recipe.start]()


def _prepared(
    objective: str, data: Corpus, recipe: Recipe, seed: int, latents: Tensor | None = None
) -> tuple[Joint, Joint, Step]:
    texts = data.texts["train"]
    latents = _stored(data, recipe, seed) if latents is None else latents
    torch.manual_seed(seed)
    cutoffs = [c for c in recipe.cutoffs if c < len(data.tokens)]
    p, q = text_categories(
        latents, CATEGORIES, len(data.tokens), length=texts.x.shape[1], cutoffs=cutoffs
    )
    decoder: Any = p.factors["x|z"]
    with torch.no_grad():
        decoder.embed.weight *= recipe.embedded
        decoder.network.tokens.weight *= recipe.embedded
    learned = [v for v in p.parameters() if v.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=recipe.learning_rate, fused=True)
    clip = float(texts.lengths.float().mean())  # a gradient of 1 for each token
    makers: dict[str, Callable[[], Step]] = {
        "CoLLike": lambda: _held(
            descend(complete_likelihood, p, q, optimiser, clip),
            match_then_descend(p, q, optimiser, clip),
            round(recipe.held * len(texts.x) / recipe.batch),
        ),
        "MaL": lambda: descend(marginal_likelihood, p, q, optimiser, clip),
    }
    if objective not in makers:
        raise ValueError(f"objective must be one of {', '.join(makers)}, got {objective!r}")
    return p, q, _by_recipe(makers[objective](), decoder, recipe)


def _held(still: Step, step: Step, moves: int) -> Step:
    """`still` for so many moves of their optimiser, `step` from then on."""
    (optimiser,) = step.optimisers.values()

    def move(batch: Batch) -> Evaluation:
        states = optimiser.state.values()  # a checkpoint has them
        done = max((int(state["step"]) for state in states), default=0)
        return (still if done < moves else step).move(batch)

    return replace(step, move=move)


def _by_recipe(step: Step, decoder: Any, recipe: Recipe) -> Step:
    """The same step, forgetting and computing as the recipe says."""
    dtype = devices.coarse_dtype() if recipe.coarse else None
    (group,) = step.optimisers["optimiser"].param_groups

    def move(batch: Batch) -> Evaluation:
        decoder.network.forget = recipe.forget * group["lr"] / recipe.learning_rate
        with torch.autocast(batch["x"].device.type, dtype, enabled=dtype is not None):
            return step.move(batch)

    return replace(step, move=move)


def _rate(done: int, total: int, recipe: Recipe) -> float:
    rising = min(1.0, (done + 1) / recipe.warm_up)
    left = 1 - done / total
    return rising * (min(1.0, left / recipe.decay) if recipe.decay else 1.0)


def _curve(folder: Path) -> list[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "curve.jsonl"
    if not (path.is_file() and (folder / "run.pt").is_file()):
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
