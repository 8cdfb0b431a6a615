"""A Glow-like flow for images: scales of squeeze, then steps of ActNorm, 1 x 1 and coupling."""

from collections.abc import Callable, Sequence

from torch import nn

from lvmlab.flows.bijections import (
    ActNorm,
    AffineCoupling,
    Bijection,
    Chain,
    Flatten,
    Invertible1x1,
    Split,
    Squeeze,
)
from lvmlab.networks import ResNet


def glow(
    shape: Sequence[int],
    scales: int = 2,
    steps: int = 3,
    width: int = 32,
    blocks: int = 3,
    embed: Callable[[int], nn.Module] | None = None,
) -> Bijection:
    """Images of `shape` (C, H, W) to vectors (D,): `scales` times a squeeze and so many steps.

    A step is ActNorm, invertible 1 x 1 convolution and affine coupling with a `ResNet` of `width`
    channels; after all scales but the last, half of the channels is split off. embed: as for
    `ResNet`, makes every coupling depend on a context. Height and width are halved once a scale:
    28 x 28 allows two scales, 32 x 32 five (Kingma and Dhariwal 2018, Figure 2; CoLLike has 7
    steps, 3 blocks of 96 channels, 2 scales for MNIST and 3 for CIFAR-10).
    Raises `ValueError` for sizes below 1 and for a height or width that cannot be halved so often.
    """
    if len(shape) != 3 or min(*shape, scales, steps) < 1:
        raise ValueError(
            "shape must be (C, H, W), and it, scales and steps whole numbers from 1 up, got "
            f"shape={tuple(shape)}, scales={scales}, steps={steps}"
        )
    channels, height, width_ = shape
    if height % 2**scales or width_ % 2**scales:
        raise ValueError(
            f"{height} x {width_} pixels cannot be halved {scales} times: use fewer scales, or pad "
            f"height and width to multiples of {2**scales}"
        )
    return _scale((channels, height, width_), scales, steps, width, blocks, embed)


def _scale(
    shape: tuple[int, int, int],
    scales: int,
    steps: int,
    width: int,
    blocks: int,
    embed: Callable[[int], nn.Module] | None,
) -> Bijection:
    channels, half = 4 * shape[0], 2 * shape[0]
    squeezed = (channels, shape[1] // 2, shape[2] // 2)
    parts: list[Bijection] = [Squeeze()]
    for _ in range(steps):
        network = ResNet(half, channels, width, blocks, embed)
        parts += [ActNorm(channels), Invertible1x1(channels), AffineCoupling(network)]
    if scales == 1:
        return Chain(*parts, Flatten(squeezed))
    rest = _scale((half, *squeezed[1:]), scales - 1, steps, width, blocks, embed)
    return Chain(*parts, Split(squeezed, rest))
