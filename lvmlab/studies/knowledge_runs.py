"""Training and measures of the studies in `knowledge`: a flow, then kinds on its frozen latents.

The flow is trained without labels, as a density; then it is frozen, the rows are sent through it
once, and everything else learns on these stored z: kinds of knowledge, and the control, a flow of z
as large as that of one value of e, which sees no labels. All of them see the same rows in the same
order; the weights kept are those with the best loss on validation rows, where there are any.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lvmlab import datasets, noise
from lvmlab.batches import Batches
from lvmlab.diagnostics import (
    bits_per_dim,
    conditional_likelihood,
    existence_nll,
    importance_weighted_nll,
)
from lvmlab.flows import Chain, Flow, Logit, dequantise, glow
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.models import Knowledge, dense_flow, dense_kind
from lvmlab.objectives import marginal_likelihood, per_knowledge
from lvmlab.steps import descend
from lvmlab.train import evaluate, evaluating, fit

OBJECTIVES = ("e alone", "TzK")
"""A kind without a code, whose p(t|e) is a likelihood; and one with a code that nobody observes."""

ROWS_AT_ONCE = 500


KEPT = 16  # flows that a process remembers

_flows: dict[str, "Trained"] = {}


class Trained(NamedTuple):
    """A frozen flow, and the time that training it took."""

    knowledge: Knowledge
    seconds: float


class Spread(Batches):
    """Shuffled batches with the same share of e = 1 in each, so that a rare kind is in every one.

    The first variable `e_...` of the values counts; without one these are plain `Batches`.
    """

    def _permutation(self, epoch: int) -> Tensor:
        order = super()._permutation(epoch)
        name = next((name for name in self.values if name.startswith("e_")), None)
        if name is None:
            return order
        present, place = self.values[name][order] == 1, torch.zeros(self.rows)
        for side in (present, ~present):
            count = int(side.sum())
            place[side] = (torch.arange(count) + 0.5) / max(count, 1)
        return order[place.argsort()]


def descended(
    objective: Callable[..., Evaluation],
    p: Joint,
    q: Joint,
    rows: Batch,
    size: Any,
    seed: int,
    steps: int,
    held_out: Batch | None = None,
) -> float:
    """Train p and q for so many steps, the learning rate falling to 0; gives the seconds.

    They are those of the processor, which others on the machine do not change. With held-out rows,
    the best weights of ten looks are kept.
    """
    adam = torch.optim.Adam(list(dict.fromkeys([*p.parameters(), *q.parameters()])), lr=size.lr)
    batches = Spread(rows, min(size.batch, len(next(iter(rows.values())))), seed, drop_last=True)
    looks: dict[str, Any] = {}
    if held_out is not None:
        judge = Batches(held_out, min(ROWS_AT_ONCE, len(next(iter(held_out.values())))))
        looks = {
            "validate": lambda: evaluate(objective, p, q, judge, "cpu")["loss"],
            "validate_every": max(1, steps // 10),
        }
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    torch.manual_seed(seed)
    step = descend(objective, p, q, adam, clip=size.clip)
    start = time.process_time()
    fit(step, batches, steps=steps, schedulers=[falling], device="cpu", **looks)
    return time.process_time() - start


def attach(
    knowledge: Knowledge,
    name: str,
    objective: str,
    rows: Batch,
    size: Any,
    seed: int,
    held_out: Batch | None = None,
) -> float:
    """Add a kind to a frozen flow and train it on rows with z and e; gives the seconds.

    A kind of that name is replaced. Raises `ValueError` for an objective not in `OBJECTIVES`.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    torch.manual_seed(seed)
    if name in knowledge.kinds:
        del knowledge.kinds[name]
    codes = size.codes if objective == "TzK" else 0
    dim = rows["z"].shape[1]
    kind = dense_kind(dim, codes, size.hidden, size.kind_layers, size.kind_width, size.floor)
    knowledge.add(name, kind)
    p, q = knowledge.pair(name, latent=True)
    seconds = descended(per_knowledge, p, q, rows, size, seed, size.kind_steps, held_out)
    knowledge.eval()
    return seconds


def control(rows: Batch, size: Any, seed: int, held_out: Batch | None = None) -> tuple[Flow, float]:
    """The control: a density of z by a flow as large as one of a kind's, without any labels."""
    torch.manual_seed(seed)
    dim = rows["z"].shape[1]
    density = Flow(dense_flow(dim, size.kind_layers, size.kind_width), (dim,))
    p, q = Joint("p", {"z": density}), Joint("q", {"z": None})
    inside = {"z": rows["z"]}
    held_out = None if held_out is None else {"z": held_out["z"]}
    seconds = descended(marginal_likelihood, p, q, inside, size, seed, size.kind_steps, held_out)
    return density.eval(), seconds


def remembered(make: Callable[..., Trained], *asked: Any) -> Trained:
    """What `make(*asked)` gives; of the last 16 different ones without training again."""
    key = repr((make.__name__, *asked))
    if key not in _flows:
        if len(_flows) >= KEPT:
            del _flows[next(iter(_flows))]
        _flows[key] = make(*asked)
    return _flows[key]


class Images(NamedTuple):
    """Rows of all parts of a set, with e of every kind; `part` is the place of their part."""

    x: Tensor
    part: Tensor
    names: tuple[str, ...]
    levels: int

    def rows(self, names: Sequence[str]) -> Tensor:
        """Which rows belong to these parts."""
        places = torch.tensor([self.names.index(name) for name in names])
        return torch.isin(self.part, places).nonzero()[:, 0]

    def existence(self, name: str) -> Tensor:
        """The e of a kind that is one part, (N,)."""
        return (self.part == self.names.index(name)).long()


def images(size: Any, split: str) -> Images:
    """Rows of every part, so many at most each; nothing is downloaded.

    A part is a data set and some of its classes, all when None. Pixels are padded with black to
    `side` and repeated to `channels`, and rounded to the levels, as the thesis does (section 8.4).
    """
    found, places = [], []
    limit = size.rows if split == "train" else size.points
    for place, (dataset, classes) in enumerate(size.parts.values()):
        whole = datasets.load(dataset, split, download=False)
        label, x = whole["label"], whole["x"]
        if classes is not None:
            x = x[torch.isin(label, torch.tensor(classes))]
        order = torch.randperm(len(x), generator=noise.generator("images", dataset, split))
        x = _framed(x[order[:limit]], size)
        found.append(x)
        places.append(torch.full((len(x),), place))
    return Images(torch.cat(found), torch.cat(places), tuple(size.parts), size.levels)


def _framed(x: Tensor, size: Any) -> Tensor:
    pad = size.side - x.shape[-1]
    x = F.pad(x, (pad // 2, pad - pad // 2, pad // 2, pad - pad // 2))
    x = x.expand(-1, size.channels, -1, -1)
    return (x * (size.levels - 1)).round() / (size.levels - 1)


def image_flow(s: Any, seen: tuple[str, ...], seed: int) -> Trained:
    """The flow of a set of size `s`, trained on the parts `seen` and frozen."""
    train, held_out = (images(s, split) for split in ("train", "validation"))
    torch.manual_seed(seed)
    shape = tuple(train.x.shape[1:])
    bijection = glow(shape, s.scales, s.steps, s.width, s.blocks)
    if s.margin is not None:
        bijection = Chain(Logit(s.margin), bijection)
    knowledge = Knowledge(Flow(bijection, shape))
    p, q = Joint("p", {"t": knowledge.density}), Joint("q", {"t": None})
    noisy = [
        {"t": dequantise(some.x[some.rows(seen)].repeat(times, 1, 1, 1), s.levels, generator)}
        for some, times, generator in (
            (train, s.copies, noise.generator(seed, "train")),
            (held_out, 1, noise.generator(seed, "validation")),
        )
    ]
    seconds = descended(marginal_likelihood, p, q, noisy[0], s, seed, s.flow_steps, noisy[1])
    return Trained(knowledge.freeze().eval(), seconds)


@torch.no_grad()
def stored(knowledge: Knowledge, some: Images, times: int, seed: int, name: str) -> Batch:
    """The z and log|det dz/dt| of every row with so many draws of the noise, and e of one kind."""
    noisy = dequantise(some.x.repeat(times, 1, 1, 1), some.levels, noise.generator(seed, "stored"))
    with evaluating({"knowledge": knowledge}):
        parts = [knowledge.density.bijection(t) for t in noisy.split(ROWS_AT_ONCE)]
    z, log_det = (torch.cat(one) for one in zip(*parts, strict=True))
    return {"z": z, "log_det": log_det, f"e_{name}": some.existence(name).repeat(times)}


def measured(p: Joint, q: Joint, rows: Batch, name: str, levels: int, seed: int) -> dict:
    """Bits per dimension of the rows with e = 1, in its parts, and how well q(e|z) tells them.

    `distortion_bits_per_dim` is what the thesis reports; `bits_per_dim_upper_bound`, of -log
    p(t|e=1), adds the rate, or weighs 100 codes by their importance where that is less.
    """
    e = f"e_{name}"
    own = {v: x[rows[e] == 1] for v, x in rows.items()}
    batch = {v: own[v] for v in ("z", e)}
    found = conditional_likelihood(p, q, batch, samples=5, seed=seed)
    bound = found.bound.mean()
    if len(p.variables) > 2:
        torch.manual_seed(seed)
        closer = importance_weighted_nll(p, q, batch, 100) - existence_nll(p, batch, seed=seed)
        bound = min(bound, closer.mean())
    with torch.no_grad(), evaluating({"q": q}):
        discriminator: Any = q.factors[f"{e}|z"]
        told = discriminator(rows["z"]).probs.argmax(1)
    dim = own["z"].shape[1]
    return {
        "distortion_bits_per_dim": pixels(found.distortion.mean(), own, levels),
        "rate_bits_per_dim": float(found.rate.mean()) / dim / math.log(2),
        "bits_per_dim_upper_bound": pixels(bound, own, levels),
        "accuracy_percent": 100 * (told == rows[e]).double().mean().item(),
    }


def pixels(nats: float, rows: Batch, levels: int) -> float:
    """Bits per dimension of the pixels, from the mean of -log p(z) over these rows."""
    nll = nats - rows["log_det"].double().mean().item()
    return float(bits_per_dim(nll, rows["z"].shape[1], bins=levels))
