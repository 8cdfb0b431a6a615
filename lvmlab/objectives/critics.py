"""Inference critics: a classifier in the batch that must find which x belongs to which z.

For one z and K candidates x, of which one belongs to it and K - 1 were drawn without it,

    c = E log f(x, z) / sum_i f(x_i, z)    and    c + log K <= min( I(x; z), log K )

for every positive f: the classifier cannot know more than there is, nor tell more than its K
answers can. Best is f proportional to q(z|x), the density and not its logarithm; any factor of z
alone drops out (critics paper, eqs 6 and 15; `infonce-bounds`, `self-critic-is-density`). The step
before the paper's eq. 14 needs what may fail for single pairs (`eq14-pointwise-condition`); the
bound holds all the same.
"""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from lvmlab.joint import Batch, Draw, Evaluation, Joint, parents_of, variable_of
from lvmlab.objectives.elbo import bound_of
from lvmlab.objectives.reinforce import discrete_nats

Network = Callable[..., Tensor]
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Critic(nn.Module):
    """What scores every x of a batch with every z of it.

    `scores(pairs, data, latents)` is (B, B), log f(x_i, z_j) with i the row, where f is the
    positive score of the paper's eq. 6.
    """

    def scores(self, pairs: Draw, data: Collection[str], latents: Collection[str]) -> Tensor:
        raise NotImplementedError

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Around the draw of the pairs, for a critic that shares work with the encoder."""
        yield


class SelfCritic(Critic):
    """The encoder as its own critic, f(x, z) = q(z|x): no parameters, and no better one exists.

    On the model's side the decoder, f(x, z) = p(x|z). The distributions that drew the pairs judge
    them, by broadcasting, so nothing is computed twice. latents: the factors to read; all when
    None. A bound for some of the latents is one for all, and in q(z2|x) q(z1|x,z2) only z2 can be
    judged so. Raises `ValueError` for a factor such as q(z1|x,z2), whose parents are of both kinds,
    and for distributions that do not broadcast.
    """

    def __init__(self, latents: Collection[str] | None = None):
        super().__init__()
        self.latents = latents

    def scores(self, pairs: Draw, data: Collection[str], latents: Collection[str]) -> Tensor:
        read = latents if self.latents is None else self.latents
        total: Tensor | None = None
        for text in pairs.distributions:
            variable, parents = variable_of(text), parents_of(text)
            inside = set(data if variable in data else latents)
            if variable in latents and variable not in read:
                continue
            if not parents or set(parents) <= inside:
                continue  # says nothing about which x belongs to which z
            if set(parents) & inside:
                raise ValueError(
                    f"{text} has parents on both sides, so it cannot judge an x with the z of "
                    f"another: try SelfCritic(latents=...) without {variable!r}, or a NeuralCritic"
                )
            table = self._table(text, pairs, variable)
            table = table.T if variable in latents else table
            total = table if total is None else total + table
        if total is None:
            raise ValueError(
                f"no factor of {list(pairs.distributions)} says which of {sorted(data)} belongs to "
                f"which of {sorted(read)}: name latents that are drawn given the data"
            )
        return total

    def _table(self, text: str, pairs: Draw, variable: str) -> Tensor:
        """Each value (rows) under each of the distributions (columns)."""
        values, here = pairs.values[variable], pairs.distributions[text]
        normal = getattr(here, "base_dist", None)
        if isinstance(normal, Normal) and values.ndim == 2 and normal.loc.shape == values.shape:
            return _gaussian_table(values, normal)
        why: Exception | None = None
        try:
            table = here.log_prob(values.unsqueeze(1))
        except (ValueError, RuntimeError) as error:
            why, table = error, values.new_empty(0)
        if table.shape != (len(values), len(values)):
            raise ValueError(
                f"the {type(here).__name__} of {text} cannot judge the values of one row by the "
                "distribution of another: use a NeuralCritic"
            ) from why
        return table


def _gaussian_table(values: Tensor, normal: Normal) -> Tensor:
    """Each value (rows) under each normal (columns), nats.

    By differences: a matrix product would cancel digits where scales are small. What belongs to a
    distribution alone is computed once.
    """
    apart = (values.unsqueeze(1) - normal.loc) * normal.scale.reciprocal()
    own = normal.scale.log().sum(-1) + values.shape[-1] * HALF_LOG_TWO_PI
    return -0.5 * torch.linalg.vecdot(apart, apart) - own


class NeuralCritic(Critic):
    """log f(x, z) = g(x) . h(z) with networks of its own: B pairs take 2 B looks, not B squared.

    of_data: g, called with the data, to (B, E); of_latents: h, to (B, E), or z as it is when None
    (critics paper, section 4.5, which prints neither: `separable-critic`).
    Raises `ValueError` when the two have different sizes.
    """

    def __init__(self, of_data: Network, of_latents: Network | None = None):
        super().__init__()
        self.of_data, self.of_latents = of_data, of_latents

    def scores(self, pairs: Draw, data: Collection[str], latents: Collection[str]) -> Tensor:
        g = self._seen(pairs.values, data)
        z = [pairs.values[v] for v in latents]
        if self.of_latents is not None:
            h = self.of_latents(*z)
        else:
            h = torch.cat([v.flatten(1) for v in z], 1)
        if g.shape != h.shape:
            raise ValueError(
                f"a separable critic multiplies g(x) and h(z), but they have shapes "
                f"{tuple(g.shape)} and {tuple(h.shape)}: give both (B, E)"
            )
        return g @ h.T

    def _seen(self, values: Batch, data: Collection[str]) -> Tensor:
        return self.of_data(*(values[v] for v in data))


class HybridCritic(NeuralCritic):
    """A `NeuralCritic` that shares the encoder's first layers: g(x) = head(trunk(x)).

    trunk: a module inside the encoder, such as `q.factors["z|x"].network[0]`. What it gave the
    encoder is used again, so only the head is paid for (critics paper, section 3.3).
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, of_latents: Network | None = None):
        super().__init__(nn.Sequential(trunk, head), of_latents)
        self.trunk, self.head = trunk, head
        self._heard: list[tuple[Tensor, Tensor]] = []

    @contextmanager
    def attending(self) -> Iterator[None]:
        self._heard = []
        listen = lambda module, given, output: self._heard.append((given[0], output))  # noqa: E731
        hook = self.trunk.register_forward_hook(listen)
        try:
            yield
        finally:
            hook.remove()

    def _seen(self, values: Batch, data: Collection[str]) -> Tensor:
        heard, self._heard = self._heard, []
        for given, output in heard:
            if given is values[next(iter(data))]:  # what it heard is about these data, no others
                return self.head(output)
        return super()._seen(values, data)


class PairwiseCritic(Critic):
    """log f(x, z) = network(x, z), one look for each of the B squared pairs.

    The form that VAE-MINE takes (critics paper, appendix H); to compare with separable ones.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def scores(self, pairs: Draw, data: Collection[str], latents: Collection[str]) -> Tensor:
        size = len(next(iter(pairs.values.values())))
        x = [pairs.values[v].repeat_interleave(size, 0) for v in data]
        z = [pairs.values[v].repeat(size, *[1] * (pairs.values[v].ndim - 1)) for v in latents]
        return self.network(*x, *z).reshape(size, size)


def infonce(scores: Tensor, choose: str = "x") -> Tensor:
    """Lower bounds (B,) nats on I(x; z) from scores (B, B) of x_i with z_j, at most log B each.

    choose: "x" finds the x of each z (the paper's eq. 6), "z" the z of each x, "both" takes the
    mean of the two, which differ on a finite batch (`infonce-batch`). log B is included, so 0 is
    chance. Raises `ValueError` for another word, scores that are not square, and a batch of one.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores must be (B, B), x_i with z_j, got {tuple(scores.shape)}")
    if len(scores) < 2:
        raise ValueError(
            "a critic finds the true pair among others, but the batch holds one row: take batches "
            "of 2 or more, and drop_last=True where the last one is smaller"
        )
    axes = {"x": (0,), "z": (1,), "both": (0, 1)}
    if choose not in axes:
        raise ValueError(f'choose must be "x", "z" or "both", got {choose!r}')
    others = sum(scores.logsumexp(axis) for axis in axes[choose]) / len(axes[choose])
    return scores.diagonal() - others + math.log(len(scores))


class InfoNCE(nn.Module):
    """The critic's objective alone: `weighted((elbo, 1.0), (InfoNCE(critic), 0.5))`.

    loss: minus the mean of the term `infonce` (B,) nats, a lower BOUND on I(x; z), never above
    log B. side: "inference" takes encoded pairs q(x) q(z|x), "model" drawn ones p(z) p(x|z)
    (critics paper, appendix E). The gradient of discrete draws is REINFORCE's, for all rows at
    once: the bound depends on the draws of all. choose: as of `infonce`; when None "x" on the
    inference side and "z" on the model's. The paper calls the two symmetric, but a `SelfCritic` is
    the best one only there, where the factor that its density lacks drops out.
    Raises `ValueError` as `infonce` and the critics do, and for another side.
    """

    def __init__(self, critic: Critic, choose: str | None = None, side: str = "inference"):
        super().__init__()
        if side not in ("inference", "model"):
            raise ValueError(f'side must be "inference" or "model", got {side!r}')
        self.critic, self.side = critic, side
        self.choose = choose or {"inference": "x", "model": "z"}[side]

    def forward(self, p: Joint, q: Joint, batch: Batch) -> Evaluation:
        if self.side == "inference":
            with self.critic.attending():
                pairs = q.draw(batch)
            bound = _criticism(self.critic, self.choose, pairs, batch)
            return Evaluation(_together(-bound.mean(), pairs, batch), {"infonce": bound})
        data = [v for v in batch if v in p.variables]
        given = {v: value for v, value in batch.items() if v not in p.variables}
        pairs = p.draw(given, size=len(next(iter(batch.values()))))
        bound = _criticism(self.critic, self.choose, pairs, data)
        return Evaluation(_together(-bound.mean(), pairs, given), {"infonce": bound})


class criticised(nn.Module):  # noqa: N801 - used like a function: criticised(SelfCritic())
    """The negative ELBO minus `weight` times InfoNCE, from one draw of q (critics paper, eq. 7).

    loss: mean of distortion + beta * rate - weight * infonce. The paper gives its weight no value;
    Algorithm 1 adds a mean to a sum over the batch, which is a weight of 1 / B here
    (`critic-reductions`). Terms (B,) nats, unweighted: `distortion`, `rate` and `infonce`, whose
    mean is a bound on I(x; z) and so lies below that of `rate` on average.
    Raises `ValueError` as `InfoNCE` does and for a weight that is not a finite number.
    """

    def __init__(self, critic: Critic, weight: float = 1.0, choose: str = "x"):
        super().__init__()
        if not math.isfinite(weight):
            raise ValueError(f"weight must be a finite number, got {weight}")
        self.critic, self.weight, self.choose = critic, weight, choose

    def forward(self, p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
        with self.critic.attending():
            pairs = q.draw(batch)
        bound = bound_of(p, pairs, batch, beta)
        information = _criticism(self.critic, self.choose, pairs, batch)
        loss = bound.loss - _together(self.weight * information.mean(), pairs, batch)
        return Evaluation(loss, bound.terms | {"infonce": information})


class DensityRatio(nn.Module):
    """A critic as a binary classifier, which says of one pair at a time whether it is a true one.

    loss: mean of `classifier_nll`, the cross-entropy between the B true pairs and the B (B - 1)
    others, each kind with half of the weight, in nats. Its best score is the log density ratio
    log q(x, z) / (q(x) q(z)), whose mean over true pairs is I(x; z) (critics paper, appendix B;
    `density-ratio-classifier`): the term `log_ratio` (B,) estimates it and is no bound. A
    `SelfCritic` lacks the factor of z that a ratio needs.
    Raises `ValueError` for a batch of one.
    """

    def __init__(self, critic: Critic):
        super().__init__()
        self.critic = critic

    def forward(self, p: Joint, q: Joint, batch: Batch) -> Evaluation:
        with self.critic.attending():
            pairs = q.draw(batch)
        scores = _scores(self.critic, pairs, batch)
        infonce(scores)  # for its complaints
        true = scores.diagonal()
        false = F.softplus(scores).sum(1) - F.softplus(true)
        nll = (F.softplus(-true) + false / (len(true) - 1)) / 2
        return Evaluation(nll.mean(), {"classifier_nll": nll, "log_ratio": true})


def _scores(critic: Critic, pairs: Draw, given: Collection[str]) -> Tensor:
    known = {variable_of(text) for text in pairs.distributions}
    latents = [v for v in pairs.values if v in known and v not in given]
    parents = {v for text in pairs.distributions for v in parents_of(text)}
    data = [v for v in pairs.values if v in given and (v in known or v in parents)]
    return critic.scores(pairs, data, latents)


def _criticism(critic: Critic, choose: str, pairs: Draw, given: Collection[str]) -> Tensor:
    size = len(next(iter(pairs.values.values())))
    if size < 2:
        infonce(torch.zeros(size, size), choose)
    return infonce(_scores(critic, pairs, given), choose)


def _together(loss: Tensor, pairs: Draw, known: Collection[str]) -> Tensor:
    """A loss that hangs on the draws of all rows at once, with REINFORCE for discrete ones."""
    nats = discrete_nats(pairs, known)
    return loss if nats is None else loss + loss.detach() * (nats.sum() - nats.sum().detach())
