"""Training and measures of "critics-text" in `sentences`: one pair of LSTMs, seven methods.

As for images in `critic_runs`, by the protocol for texts: SGD at a rate that halves when the
validation bound does not improve, a gradient clip of 5, no annealing, sentences of similar length
together where the published code has equal ones. The rate may fall from the first epoch on.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lvmlab import noise
from lvmlab.batches import LengthBuckets
from lvmlab.diagnostics import gaussian_information
from lvmlab.joint import Joint
from lvmlab.lagging import lag
from lvmlab.models import refined_sentences, sentence_lstm
from lvmlab.networks import Embedded, Reader
from lvmlab.objectives import HybridCritic, NeuralCritic, SelfCritic, criticised, elbo
from lvmlab.steps import Step, descend
from lvmlab.studies import critic_runs
from lvmlab.studies.hierarchy_runs import Data
from lvmlab.studies.sentence_runs import Corpus, corpus
from lvmlab.train import fit, quietly

CLIP = 5.0
METHODS = (
    "VAE",
    "SA-VAE",
    "Skip-VAE",
    "Lagging-VAE",
    "self critic",
    "hybrid critic",
    "neural critic",
)


def begun(method: str, size: Any, data: Corpus, seed: int) -> tuple[Joint, Joint]:
    """The joints of a seed before training."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    torch.manual_seed(seed)
    length = data.rows["train"].x.shape[1]
    sizes = len(data.words), size.latent, size.embedding, size.hidden, length, size.dropout
    p, q = sentence_lstm(*sizes, skip=method == "Skip-VAE")
    if method == "SA-VAE":
        q = refined_sentences(p, q, size.refinements, 1 / size.batch)
    return p, q


def objective(method: str, q: Joint, size: Any, data: Corpus) -> Any:
    """What a method descends. The hybrid critic shares the encoder's embeddings."""
    if "critic" not in method:
        return elbo
    if method == "self critic":
        return criticised(SelfCritic())
    head = nn.Sequential(
        Reader(size.embedding, size.hidden, "lstm"), nn.Linear(size.hidden, size.latent)
    )
    if method == "hybrid critic":
        encoder: Any = q.factors["z|x"]
        return criticised(HybridCritic(encoder.network[0], head))
    own = Embedded(nn.Embedding(len(data.words), size.embedding))
    return criticised(NeuralCritic(nn.Sequential(own, head)))


def made(
    method: str, size: Any, data: Corpus, seed: int
) -> tuple[Joint, Joint, Step, LengthBuckets]:
    """The joints of a method, its step, and the batches of the seed."""
    train = data.rows["train"]
    stream = partial(LengthBuckets, {"x": train.x}, train.lengths, size.batch, drop_last=True)
    p, q = begun(method, size, data, seed)
    goal, sgd = objective(method, q, size, data), partial(torch.optim.SGD, lr=size.lr)
    if method == "Lagging-VAE":
        information = partial(_information, q, data, size.batch)
        optimisers = sgd(p.parameters()), sgd(q.parameters())
        inner = stream(seed=seed + 10**6)
        step = lag(
            goal, p, q, *optimisers, inner, information, CLIP, size.inner, look=15, patience=1
        )
        return p, q, step, stream(seed=seed)
    parts = [p, q, *([goal] if isinstance(goal, nn.Module) else [])]
    step = descend(goal, p, q, sgd(nn.ModuleList(parts).parameters()), CLIP)
    return p, q, step, stream(seed=seed)


def trained(method: str, size: Any, data: Corpus, seed: int) -> tuple[Joint, Joint]:
    """One run of at most `size.epochs` epochs, and the weights of its best bound."""
    held = _data(data)
    with quietly(seed):
        p, q, step, batches = made(method, size, data, seed)

        def validate() -> float:
            return critic_runs.look(p, q, held, size.batch)["nll_upper_bound"]

        fit(
            step,
            batches,
            epochs=size.epochs,
            validate=validate,
            patience=size.patience,
            schedulers=[
                ReduceLROnPlateau(optimiser, factor=0.5, patience=size.plateau)
                for optimiser in step.optimisers.values()
            ],
        )
    return p, q


def each(method: str, size: Any, name: str, seeds: list[int]) -> list[dict[str, float]]:
    """The numbers of every seed, those of `critic_runs.measured`."""
    data = corpus(name, size.most, size.vocabulary, size.rows, size.points)
    found = []
    for seed in seeds:
        p, q = trained(method, size, data, seed)
        found.append(critic_runs.measured(p, q, _data(data), seed, size))
    return found


def _data(data: Corpus) -> Data:
    """Rows in one random order: they come sorted by length, and minibatch information takes
    neighbours, whom their length would not tell apart."""
    parts = []
    for split in ("train", "validation", "test"):
        x = data.rows[split].x
        parts.append({"x": x[torch.randperm(len(x), generator=noise.generator("order", split))]})
    return Data(*parts)


def _information(q: Joint, data: Corpus, batch: int) -> float:
    """I(x; z) within batches of validation sentences, nats; Lagging-VAE's question."""
    device = next(q.parameters()).device
    x = _data(data).validation["x"]
    with torch.no_grad():
        pairs = q.draw({"x": x.to(device)})
    posterior: Any = pairs.distributions["z|x"]
    z, mean, scale = (v.cpu() for v in (pairs.values["z"], posterior.mean, posterior.stddev))
    return gaussian_information(z, mean, scale, min(batch, len(x))).information
