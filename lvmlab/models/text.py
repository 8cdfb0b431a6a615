"""Texts with a category behind each: a Transformer that is told z at every token."""

from collections.abc import Sequence

from torch import Tensor, nn

from lvmlab.conditionals import Assignment, Proportions
from lvmlab.joint import Joint
from lvmlab.language import AdaptiveSoftmax, LanguageModel
from lvmlab.networks import Transformer


def text_categories(
    latents: Tensor,
    categories: int = 4,
    vocabulary: int = 4000,
    width: int = 128,
    hidden: int = 128,
    layers: int = 2,
    heads: int = 4,
    length: int = 192,
    cutoffs: Sequence[int] = (),
) -> tuple[Joint, Joint]:
    """p(z) p(x|z) and q(x) q(z|index): texts x (B, T) with one of K even categories each.

    latents: (N,) whole numbers below `categories`, one for each training text, drawn once from
    the uniform p(z). x is as `LanguageModel` reads it; the embedding of z starts as N(0, 1).
    cutoffs: groups of rare tokens for an `AdaptiveSoftmax`; none is the full softmax.
    The model of CoLLike, F.2. Raises `ValueError` for latents that are no such numbers.
    """
    if latents.ndim != 1 or latents.is_floating_point() or not _below(latents, categories):
        raise ValueError(
            f"latents must be (N,) whole numbers from 0 to {categories - 1}, got shape "
            f"{tuple(latents.shape)} of {latents.dtype}: try torch.randint({categories}, (N,))"
        )
    network = Transformer(vocabulary, width, hidden, layers, heads, length)
    head = AdaptiveSoftmax(width, vocabulary, cutoffs) if len(cutoffs) else None
    decoder = LanguageModel(network, nn.Embedding(categories, width), head)
    p = Joint("p", {"z": Proportions(categories), "x|z": decoder})
    q = Joint("q", {"x": None, "z|index": Assignment(latents)})
    return p, q


def _below(latents: Tensor, categories: int) -> bool:
    return bool(((latents >= 0) & (latents < categories)).all())
