"""A training step of every objective, beside the step of the plain VAE.

    python benchmarks/objectives_step.py [turns]

All are `descend` or its kind on batches of 128 rows in 64 dimensions with networks of two hidden
layers of 64, so that what differs is the objective: how often it draws, scores and enumerates.
"""

import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.distributions import Independent
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab import objectives as say
from lvmlab.conditionals import Assignment, Bernoulli, Gaussian, Proportions, StandardNormal
from lvmlab.joint import Batch, Joint, Objective
from lvmlab.networks import MLP
from lvmlab.steps import Step, descend, match_then_descend

ROWS, COLUMNS, LATENTS, VALUES = 128, 64, 8, 10
PLAIN = "elbo (the plain VAE)"


def batch() -> Batch:
    random = torch.Generator().manual_seed(10_000)
    x = (torch.rand(ROWS, COLUMNS, generator=random) > 0.5).float()
    return {"x": x, "index": torch.arange(ROWS)}


def vae(objective: Objective, marginal: bool = True) -> Step:
    """Continuous latents; with a density of its own for x where the objective asks for one."""
    torch.manual_seed(0)
    encoder = Gaussian(MLP(COLUMNS, 64, 64, 2 * LATENTS), floor=0.01)
    decoder = Bernoulli(MLP(LATENTS, 64, 64, COLUMNS))
    logits = torch.zeros(COLUMNS)
    density = (
        None if marginal else lambda: Independent(torch.distributions.Bernoulli(logits=logits), 1)
    )
    p = Joint("p", {"z": StandardNormal(LATENTS), "x|z": decoder})
    q = Joint("q", {"x": density, "z|x": encoder})
    own = [objective] if isinstance(objective, nn.Module) else []
    return descend(objective, p, q, _adam(p, q, *own))


def categories(objective: Objective | None) -> Step:
    """Ten categories, embedded, under the same decoder; CoLLike's own step for None."""
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Embedding(VALUES, LATENTS), MLP(LATENTS, 64, 64, COLUMNS))
    p = Joint("p", {"z": Proportions(VALUES), "x|z": Bernoulli(decoder)})
    q = Joint("q", {"x": None, "z|index": Assignment(torch.arange(ROWS) % VALUES)})
    return match_then_descend(p, q, _adam(p)) if objective is None else descend(
        objective, p, q, _adam(p)
    )  # fmt: skip


def steps() -> dict[str, Step]:
    """Every objective that `lvmlab.objectives` offers for training."""
    both = say.weighted((say.elbo, 1.0), (say.joint_entropy, 1.0))
    return {
        PLAIN: vae(say.elbo),
        "annealed(elbo)": vae(say.annealed(say.elbo, over=1000)),
        "importance_weighted, 16 samples": vae(partial(say.importance_weighted, samples=16)),
        "weighted(elbo, joint_entropy)": vae(both),
        "amim": vae(say.amim),
        "mim": vae(say.mim),
        "mixture_cross_entropy": vae(say.mixture_cross_entropy),
        "symmetric_kl": vae(say.symmetric_kl, marginal=False),
        "wasserstein": vae(partial(say.wasserstein, over=None)),
        "criticised, self critic": vae(say.criticised(say.SelfCritic())),
        "criticised, neural critic": vae(
            say.criticised(say.NeuralCritic(MLP(COLUMNS, 64, 64, LATENTS)))
        ),
        "marginal_likelihood, 10 values": categories(say.marginal_likelihood),
        "complete_likelihood, pairs given": categories(say.complete_likelihood),
        "match, then complete_likelihood": categories(None),
        "entropic_likelihood": categories(say.entropic_likelihood),
    }


def ratios(turns: int = TURNS) -> list[Ratio]:
    rows = batch()

    def act(step: Step) -> Callable[[], object]:
        return lambda: step(rows)

    times = in_turn({name: act(step) for name, step in steps().items()}, turns, repeats=20)
    return [ratio(times, name, PLAIN) for name in times if name != PLAIN]


def _adam(*modules: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(nn.ModuleList(modules).parameters(), lr=1e-3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(ratios(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS))
