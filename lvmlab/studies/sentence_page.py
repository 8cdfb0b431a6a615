"""What notebook 10 asks of a pair of `sentence_runs`: texts in, codes, nats and texts out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lvmlab.datasets.words import separated
from lvmlab.joint import Joint
from lvmlab.studies.sentence_runs import ROWS_AT_ONCE, Corpus, written
from lvmlab.train import evaluating, quietly

Array = NDArray[Any]


class Speaker(NamedTuple):
    """A trained pair as `widgets.sentence_desk` and `widgets.latent_walk` want it: in arrays.

    Texts are cut by `separated` first; words that were never seen are read as `<unk>`, which is
    never written. An autoencoder has no posterior: its scale is 1.
    """

    p: Joint
    q: Joint
    data: Corpus

    def read(self, texts: Sequence[str]) -> Tensor:
        """Texts as rows of words; those longer than the longest of the corpus are cut."""
        limit = self.data.rows["train"].x.shape[1]
        return self.data.words.encode([separated(text) for text in texts], limit).x

    def encode(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Means and standard deviations of q(z|x), both (M, D)."""
        x = self.read(texts)
        encoder: Any = self.q.factors["z|x"]
        means, scales = [], []
        with torch.no_grad(), evaluating({"p": self.p, "q": self.q}):
            for rows in x.split(ROWS_AT_ONCE):
                posterior = encoder(rows)
                means.append(posterior.mean)
                sure = not hasattr(posterior, "base_dist")
                scales.append(torch.ones_like(means[-1]) if sure else posterior.stddev)
        return torch.cat(means).double().numpy(), torch.cat(scales).double().numpy()

    def decode(self, z: Array, temperature: float = 0.0, seed: int = 0) -> list[str]:
        """A text for each code (M, D); temperature 0 takes the likeliest word each time."""
        codes = torch.as_tensor(z, dtype=torch.float32)
        with quietly(seed):
            return written(self.p, codes, self.data.words, (self.data.words.unknown,), temperature)

    def nats(self, text: str, z: Array) -> tuple[list[str], Array]:
        """The words as they are read, END as `(end)`, and -log p of each given each code (M, T)."""
        x = self.read([text])
        words = self.data.words.decode(x)[0].split()
        words = [*words, "(end)"][: x.shape[1]]
        codes = torch.as_tensor(z, dtype=torch.float32)
        decoder: Any = self.p.factors["x|z"]
        with torch.no_grad(), evaluating({"p": self.p}):
            found = -decoder(codes).token_log_prob(x.expand(len(codes), -1))
        return words, found[:, : len(words)].double().numpy()


def nearest(codes: Array, queries: Array, count: int = 1) -> NDArray[np.int64]:
    """The rows (M, count) of codes (N, D) that lie nearest to each query (M, D), nearest first.

    Raises `ValueError` for more than there are.
    """
    if not 1 <= count <= len(codes):
        raise ValueError(f"count must be from 1 to the {len(codes)} codes there are, got {count}")
    apart = (codes**2).sum(1) - 2 * queries @ codes.T
    return apart.argsort(1, kind="stable")[:, :count]
