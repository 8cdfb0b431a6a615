"""Images by a flow that a category steers: the model of CoLLike's image experiments."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from lvmlab.conditionals import Assignment, Proportions
from lvmlab.flows import Chain, Flow, Logit, glow
from lvmlab.joint import Joint


def flow_categories(
    shape: Sequence[int],
    rows: int,
    categories: int = 10,
    scales: int = 2,
    steps: int = 3,
    width: int = 32,
    blocks: int = 3,
    margin: float | None = None,
) -> tuple[Joint, Joint]:
    """p(z) p(x|z) and q(x) q(z|index) over dequantised images x (B, C, H, W) and categories z (B,).

    p(z) is uniform over `categories`; p(x|z) is a `glow` whose couplings all see z; q stores one z
    for each of `rows` training rows, drawn once from p(z) (CoLLike, Figure 2 left and Algorithm 1).
    x are real numbers: make them with `flows.dequantise`. margin: that of a `Logit` before
    all else, which saves the flow thousands of steps on images with much black; none when None.
    Exact likelihood needs p alone.
    Raises `ValueError` as `glow` does, and for fewer than one row or category.
    """
    if rows < 1:
        raise ValueError(f"rows must be the number of training rows, 1 or more, got {rows}")
    prior = Proportions(categories)
    bijection = glow(shape, scales, steps, width, blocks, partial(nn.Embedding, categories))
    if margin is not None:
        bijection = Chain(Logit(margin), bijection)
    p = Joint("p", {"z": prior, "x|z": Flow(bijection, shape)})
    q = Joint("q", {"x": None, "z|index": Assignment(prior().sample((rows,)))})
    return p, q
