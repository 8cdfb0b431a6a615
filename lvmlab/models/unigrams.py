"""Mixture of unigrams: a category fixes the probabilities of words, and words follow one by one."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from lvmlab.conditionals import Assignment, Proportions
from lvmlab.joint import Joint

NO_WORD = -1  # fills the rest of a row


class Words(Distribution):
    """Up to `length` words, each drawn independently with the same probabilities.

    log_probabilities: (B, V) nats; events are (length,) long: word numbers 0 ... V - 1 in any
    order, -1 in places without a word. `log_prob` is that of the words one by one, given how many
    there are; the bag of them has the logarithm of a multinomial coefficient more, whatever the
    probabilities. `sample` fills every place.
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, log_probabilities: Tensor, length: int, rows: Tensor | None = None):
        # rows (B,): which row of log_probabilities (K, V) each example reads, so that B x V
        # numbers are never written
        self.log_probabilities = log_probabilities
        self.rows = torch.arange(len(log_probabilities)) if rows is None else rows
        super().__init__(self.rows.shape, torch.Size([length]), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        last = self.log_probabilities.shape[-1] - 1
        return constraints.independent(constraints.integer_interval(NO_WORD, last), 1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            words = torch.distributions.Categorical(logits=self.log_probabilities[self.rows])
            drawn = words.sample((*self.event_shape, *sample_shape))
            return drawn.movedim(0, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        # the rows end to end, each with a zero in front for places without a word: one fused sum
        table = F.pad(self.log_probabilities, (1, 0))
        first = self.rows * table.shape[1] + 1
        return F.embedding_bag(value + first[:, None], table.reshape(-1, 1), mode="sum")[:, 0]


class Unigrams(nn.Module):
    """p(x|k): the words of a text, drawn one by one with the word probabilities of category k.

    x: (length,) word numbers as in `Words`; k: (B,) long. All categories start even over the
    `vocabulary`; the M step of EM has a closed form, `maximise`, which adds `smoothing` to each
    count, so that no word is impossible; gradients reach the logits as well.
    Raises `ValueError` for sizes below 1 and for a smoothing that is not positive.

    Source: Nigam et al. (2000), section 3.
    """

    def __init__(self, categories: int, vocabulary: int, length: int, smoothing: float = 0.1):
        super().__init__()
        for name, size in (
            ("categories", categories),
            ("vocabulary", vocabulary),
            ("length", length),
        ):
            if size < 1:
                raise ValueError(f"{name} must be a whole number from 1 up, got {size}")
        if not 0 < smoothing < math.inf:
            raise ValueError(
                f"smoothing must be positive, got {smoothing}: with none, one unseen word makes a "
                "text impossible; try 0.1"
            )
        self.length, self.smoothing = length, smoothing
        self.logits = nn.Parameter(torch.zeros(categories, vocabulary))

    def forward(self, k: Tensor) -> Words:
        return Words(self.logits.log_softmax(-1), self.length, k)

    def maximise(self, x: Tensor, weights: Tensor) -> None:
        """Smoothed weighted counts: x (N, length) words, responsibilities `weights` (N, K)."""
        row, place = (x != NO_WORD).nonzero(as_tuple=True)
        counts = torch.zeros_like(self.logits).T.contiguous()
        counts.index_add_(0, x[row, place], weights.to(counts)[row])
        with torch.no_grad():
            self.logits.copy_((counts.T + self.smoothing).log())


def unigram_mixture(
    categories: int,
    vocabulary: int,
    length: int,
    stored: Tensor | None = None,
    smoothing: float = 0.1,
) -> tuple[Joint, Joint]:
    """p(k) p(x|k), k uniform, x the words of a text (length,); q(x), or CoLLike's stored pairs.

    stored: (N,) long, a latent for each row of the data, which makes q its `Assignment`. All
    categories start equal, where EM cannot move: begin with an M step, `p.factors["x|k"].maximise(
    x, weights)`, on random weights. Raises `ValueError` as `Unigrams` does.
    """
    words = Unigrams(categories, vocabulary, length, smoothing)
    p = Joint("p", {"k": Proportions(categories), "x|k": words})
    pairs = {} if stored is None else {"k|index": Assignment(stored)}
    return p, Joint("q", {"x": None, **pairs})


def padded(counts: Any, length: int | None = None) -> Tensor:
    """Word numbers (N, length) from counts (N, V), dense or sparse: each as often as it counts.

    length: the number of words in the fullest row when None; -1 fills the rest, and a row without
    any word is all -1. Raises `ValueError` for counts that are no whole numbers from 0 up, and for
    a length that is too short.
    """
    from scipy.sparse import coo_array

    table = coo_array(counts)
    times = torch.as_tensor(table.data)
    if len(times) and (times.min() < 0 or not torch.equal(times, times.round())):
        raise ValueError(
            f"counts must be whole numbers from 0 up, got {times.min():.4g} to {times.max():.4g}"
        )
    row = torch.as_tensor(table.row).long().repeat_interleave(times.long())
    word = torch.as_tensor(table.col).long().repeat_interleave(times.long())
    order = row.argsort(stable=True)
    row, word = row[order], word[order]
    size = torch.bincount(row, minlength=table.shape[0])
    place = torch.arange(len(row)) - (size.cumsum(0) - size)[row]
    fullest = max(1, int(size.max()))
    if length is not None and length < fullest:
        raise ValueError(f"length must be {fullest} or more, the fullest row's words: {length}")
    bags = torch.full((table.shape[0], length or fullest), NO_WORD)
    bags[row, place] = word
    return bags
