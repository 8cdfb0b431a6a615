"""Exercises of notebook 10: the SentenceMIM loss, MELBO, BLEU-1, the shell, a fair table."""

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lvmlab.exercises import Exercise, expect, number

# Three sentences and three codes: P(x), q(z|x), p(x|z), P(z).
P_X = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
ENCODER = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
DECODER = torch.tensor([[0.7, 0.2, 0.1], [0.15, 0.75, 0.1], [0.2, 0.1, 0.7]], dtype=torch.float64)
ANCHOR = torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64)


def _tensor(name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    found = torch.as_tensor(value)
    expect(tuple(found.shape) == shape, f"{name} must be {shape}, yours is {tuple(found.shape)}")
    expect(bool(found.isfinite().all()), f"{name} must be finite: use a stable log of a mean")
    return found.double()


def _near(a: float, b: float, tolerance: float = 1e-5) -> bool:
    return abs(a - b) < tolerance * max(1.0, abs(b))


def _check_loss(smim_loss: Callable[..., Any]) -> None:
    x, z = (v.flatten() for v in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"))
    logs = DECODER[z, x].log(), ENCODER[x, z].log(), ANCHOR[z].log()
    weight = P_X[x] * ENCODER[x, z]
    cells = _tensor("the loss of 9 pairs", smim_loss(*(v.clone() for v in logs)), (9,))
    found = float((weight * cells).sum())
    decoded, encoded, prior = (float((weight * v).sum()) for v in logs)
    expect(
        not _near(found, -decoded - encoded - prior),
        "both marginals are halves of an average: the encoder and the prior count half each",
    )
    expect(
        not _near(found, -decoded - encoded / 2 - prior),
        f"the table gives 1.570400, you have {found:.6f}, which is more: log P(z) counts half",
    )
    expect(
        not _near(found, -decoded + encoded / 2 - prior / 2),
        "this is half the ELBO's rate; here log q(z|x) and log P(z) have the same sign: the "
        "entropy of the encoder is a cost",
    )
    expect(
        not _near(found, -decoded / 2 - encoded / 2 - prior / 2),
        "log p(x|z) comes twice, once from each bound of line 2: it keeps its whole weight",
    )
    entropy = -float((P_X * P_X.log()).sum())
    expect(not _near(found, 1.5704 + entropy / 2), "leave the constant H(P(x)) / 2 out")
    expect(not _near(found, -1.5704), "descend moves downhill: a loss is minus the logarithms")
    expect(_near(found, 1.570400), f"the table gives 1.570400, you have {found:.6f}")


def _ten_draws(x: int) -> Tensor:
    """Log p(x|z) at z in the proportions of q(z|x), which are tenths."""
    return DECODER[:, x].log().repeat_interleave((10 * ENCODER[x]).round().long())


def _check_melbo(melbo: Callable[..., Any]) -> None:
    scores = torch.stack([_ten_draws(x) for x in range(3)])
    tight, jensen = (_tensor("each bound", v, (3,)) for v in _two(melbo(scores.clone(), 3)))
    cost = math.log(3)
    right = scores.exp().mean(1).log() - cost, scores.mean(1) - cost
    expect(
        not torch.allclose(tight, right[0] + 2 * cost),
        "a larger set is a wider prior: harder to hit, not easier; log N is taken away",
    )
    expect(not torch.allclose(tight, right[0] + cost), "log N is missing")
    expect(not torch.allclose(tight, right[1]), "tight first: the logarithm of a mean, not a mean")
    expect(
        not torch.allclose(jensen, right[0]),
        "the mean of probabilities is the tight one: once only",
    )
    expect(
        torch.allclose(tight, right[0]) and torch.allclose(jensen, right[1]),
        f"for the first sentence we find {right[0][0]:.6f} and {right[1][0]:.6f}, you "
        f"{tight[0]:.6f} and {jensen[0]:.6f}",
    )
    low = torch.full((2, 4), -2000.0, dtype=torch.float64)  # a sentence of 400 words
    tight, _ = (_tensor("each bound", v, (2,)) for v in _two(melbo(low, 2)))
    expect(_near(float(tight[0]), -2000 - math.log(2)), "long sentences underflow: use logsumexp")
    one, two = (_two(melbo(scores.clone(), n))[1] for n in (50, 100))
    expect(
        _near(float((one - two).mean()), math.log(2)),
        "N is how many sentences the prior is made of, not how many are scored: from 50 to 100 "
        "the bound falls by log 2",
    )


def _two(found: Any) -> Any:
    expect(isinstance(found, tuple | list) and len(found) == 2, "return tight, jensen")
    return found


def _check_bleu(bleu: Callable[..., Any]) -> None:
    the = number("BLEU-1", bleu("the the the the the the the", "the cat is on the mat"))
    expect(
        not _near(the, 1.0), "'the' seven times scores 1: a word counts at most as often as there"
    )
    expect(not _near(the, 1 / 7), "the reference has 'the' twice: sets forget how often")
    expect(_near(the, 2 / 7), f"'the' seven times should score 2 / 7 = 0.285714, yours {the:.6f}")
    short = number("BLEU-1", bleu("the the cat sat", "the cat sat on the mat"))
    expect(not _near(short, 1.0), "four words for six: the penalty exp(1 - r / c) is missing")
    expect(not _near(short, math.exp(1 - 4 / 6)), "in the penalty r is the reference: 1 - r / c")
    expect(_near(short, math.exp(-0.5)), f"this should score 0.606531, yours {short:.6f}")
    long = number("BLEU-1", bleu("a cat sat on a mat today", "a cat sat"))
    expect(
        _near(long, 3 / 7),
        f"'a cat sat on a mat today' for 'a cat sat' should score 3 / 7, yours {long:.6f}: the "
        "penalty acts only when c < r",
    )
    expect(_near(number("BLEU-1", bleu("", "a cat")), 0.0), "an empty candidate scores 0")


def _check_radius(radius: Callable[..., Any]) -> None:
    found = number("the radius", radius(1.0, 512))
    expect(not _near(found, 1.0), "in 512 dimensions nothing lives within one sigma")
    expect(not _near(found, 512.0), "add squares, then take the root")
    for scale, size in ((1.0, 512), (0.007, 512), (2.0, 32)):
        found, right = number("the radius", radius(scale, size)), scale * math.sqrt(size)
        expect(
            abs(found - right) < 0.01 * right,
            f"sigma = {scale:g}, d = {size}: about {right:.4g} (within 1 %), yours {found:.4g}",
        )


def _check_fair(fair: Callable[..., Any]) -> None:
    systems = {"sMIM": (8e15, 213.0), "sVAE": (187.0, 285.0), "older": (240.0, 301.0)}
    rows = [
        (system, bound, value)
        for system, two in systems.items()
        for bound, value in zip(("ELBO", "MELBO"), two, strict=True)
    ]
    for seed in range(5):
        given = random.Random(seed).sample(rows, len(rows))
        found = [tuple(row) for row in fair(list(given))]
        expect(all(len(row) == 3 for row in found), "each row is (system, ELBO, MELBO)")
        names = [row[0] for row in found]
        expect(
            set(names) == set(systems),
            f"both bounds exist for all of {', '.join(sorted(systems))}: leave none out",
        )
        expect(len(names) == len(systems), "one row a system")
        for name, elbo, melbo in found:
            expect((melbo, elbo) != systems[name], "ELBO first, then MELBO")
            expect(
                (elbo, melbo) == systems[name],
                f"the numbers of {name} have changed: no number makes one bound of the other, the "
                "priors differ and not only a constant",
            )
        expect(
            names == sorted(names),
            "order the rows by name: any order by a number is the ranking of one bound only, and "
            "one by the smaller of the two ranks what cannot be compared",
        )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def smim_loss(x_given_z, z_given_x, prior):
        """Line 3 without its constant: the decoder whole, encoder and prior half each."""
        return -x_given_z - (z_given_x + prior) / 2

    def melbo(scores, N):
        """The logarithm of the mean, and the mean of the logarithms; N sentences cost log N."""
        tight = scores.logsumexp(1) - math.log(scores.shape[1]) - math.log(N)
        return tight, scores.mean(1) - math.log(N)

    def bleu1(candidate, reference):
        """Words in common, each as often as in both, over the candidate's; short ones pay."""
        ours, theirs = candidate.split(), reference.split()
        if not ours:
            return 0.0
        same = (Counter(ours) & Counter(theirs)).total()
        return same / len(ours) * math.exp(min(0, 1 - len(theirs) / len(ours)))

    def expected_radius(sigma, d):
        """Squares add up: the mean of r^2 is d sigma^2."""
        return sigma * math.sqrt(d)

    def fair(rows):
        """A column for each bound, rows by name; nothing is converted, nothing ranked."""
        value = {(system, bound): number for system, bound, number in rows}
        return [(s, value[s, "ELBO"], value[s, "MELBO"]) for s in sorted({r[0] for r in rows})]

    return smim_loss, melbo, bleu1, expected_radius, fair


_smim_loss, _melbo, _bleu1, _expected_radius, _fair = _solutions()

loss_in_one_line = Exercise("The loss in one line", _check_loss, (_smim_loss,))
melbo_by_hand = Exercise("MELBO by hand", _check_melbo, (_melbo,))
clipped_bleu = Exercise("Clipped BLEU-1", _check_bleu, (_bleu1,))
the_shell = Exercise("Is it the shell?", _check_radius, (_expected_radius,))
fair_table = Exercise("A fair table", _check_fair, (_fair,))
