"""Sentences with one code for the whole: recurrent encoders and decoders.

x (B, T) is read as `language.TokenSequences` says: words, then END to the end of the row.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lvmlab.conditionals import StandardNormal
from lvmlab.distributions import Delta
from lvmlab.joint import Conditional, Joint
from lvmlab.language import LanguageModel, Lengths, Softmax
from lvmlab.models.hierarchical import ClippedGaussian
from lvmlab.models.refined import Refined
from lvmlab.networks.recurrent import Embedded, Reader, Writer

LOG_VARIANCES = (-10.0, 10.0)  # the lower limit is published; the upper one is never met


def sentence_gru(
    vocabulary: int = 10_000,
    latent: int = 128,
    embedding: int = 300,
    hidden: int = 512,
    length: int = 101,
    dropout: float = 0.5,
    skip: bool = False,
    blanks: float = 0.0,
    unknown: int | None = None,
) -> tuple[Joint, Joint]:
    """p(z) p(x|z) and q(x) q(z|x) of SentenceMIM and its VAE, p(z) = N(0, I).

    A GRU reads the words from the last to the first; its last state gives means and log-variances,
    these not below -10. A GRU writes, from a linear map of z on and told z at every word; both
    share the embeddings, and those that the decoder reads have dropout (MIM thesis, section 7.2).
    10.58, 10.92 and 12.11 million parameters for 9,877 words and 16, 128 and 512 latents. length:
    the most tokens of a row; skip: as of `Writer`; blanks, unknown: as of `Embedded`.
    """
    tokens = nn.Embedding(vocabulary, embedding)
    read = Embedded(tokens, True, blanks, unknown)
    encoder = nn.Sequential(read, Reader(embedding, hidden), nn.Linear(hidden, 2 * latent))
    writer = Writer(tokens, latent, hidden, length, "gru", dropout, skip)
    return _pair(encoder, writer, latent, Softmax(writer.width, vocabulary, bias=True))


def sentence_lstm(
    vocabulary: int = 20_001,
    latent: int = 32,
    embedding: int = 512,
    hidden: int = 1024,
    length: int = 201,
    dropout: float = 0.5,
    skip: bool = False,
) -> tuple[Joint, Joint]:
    """p(z) p(x|z) and q(x) q(z|x) of the critics' texts, p(z) = N(0, I).

    An LSTM reads, in order; another writes, with embeddings of its own. Dropout on what it reads
    and gives; no biases before z, before its start and before the words. All weights start even in
    (-0.01, 0.01), embeddings in (-0.1, 0.1) (critics paper, appendix F; He et al. 2019). 16.6 and
    37.2 million parameters. `q.factors["z|x"].network[0]` is what a hybrid critic shares.
    """
    read = Embedded(nn.Embedding(vocabulary, embedding))
    last = nn.Linear(hidden, 2 * latent, bias=False)
    encoder = nn.Sequential(read, Reader(embedding, hidden, "lstm"), last)
    own = nn.Embedding(vocabulary, embedding)
    writer = Writer(own, latent, hidden, length, "lstm", dropout, skip)
    p, q = _pair(encoder, writer, latent, Softmax(writer.width, vocabulary))
    for weights in [*p.parameters(), *q.parameters()]:
        nn.init.uniform_(weights, -0.01, 0.01)
    for tokens in (read.tokens, own):
        nn.init.uniform_(tokens.weight, -0.1, 0.1)
    return p, q


def with_lengths(p: Joint, lengths: Tensor, added: float = 1.0) -> Joint:
    """p(z) p(T) p(x|z,T): the same decoder, told how many words to write (MIM thesis, eq. 6.2).

    lengths: (N,) of training texts, END not counted; added: as of `language.Lengths`.
    """
    decoder: Any = p.factors["x|z"]
    length = Lengths(lengths, decoder.network.length, added)
    return Joint("p", {"z": p.factors["z"], "T": length, "x|z,T": decoder})


def at_the_mean(q: Joint) -> Joint:
    """q(z|x) with all mass at the encoder's mean: with `elbo(beta=0)` a plain autoencoder."""
    return Joint("q", {"x": None, "z|x": AtTheMean(_encoder(q))})


def refined_sentences(p: Joint, q: Joint, steps: int = 20, rate: float = 1 / 32) -> Joint:
    """q(z|x) refined by steps on the bound, SA-VAE: `Refined`, for recurrent networks.

    rate: the published 1 on a mean over a batch is one over the batch here.
    """
    return Joint("q", {"x": None, "z|x": _RefinedRecurrent(_encoder(q), p, steps, rate)})


class AtTheMean(nn.Module):
    """q(z|x) with all mass at the mean of another conditional."""

    def __init__(self, encoder: Any):
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Distribution:
        return Delta(self.encoder(x).mean)


class _RefinedRecurrent(Refined):
    """The recurrent networks of cuDNN cannot be differentiated twice, torch's own can."""

    def forward(self, *parents: Tensor) -> Distribution:
        with torch.backends.cudnn.flags(enabled=False):
            return super().forward(*parents)


def _pair(encoder: nn.Module, writer: Writer, latent: int, head: nn.Module) -> tuple[Joint, Joint]:
    decoder = LanguageModel(writer, nn.Identity(), head)
    p = Joint("p", {"z": StandardNormal(latent), "x|z": decoder})
    return p, Joint("q", {"x": None, "z|x": ClippedGaussian(encoder, LOG_VARIANCES)})


def _encoder(q: Joint) -> Conditional:
    encoder = q.factors.get("z|x")
    if encoder is None:
        raise ValueError(f'{q} has no factor "z|x" to begin from')
    return encoder
