"""Dense networks: the workhorse of the toys."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """A dense network over its flattened and concatenated inputs.

    `MLP(2, 64, 64, 4)` maps (B, 2) to (B, 4) through two hidden layers of 64. Inputs: one or more
    tensors with first axis B (whole numbers are cast); output: (B, sizes[-1]). `activation` is a
    module class such as `nn.Tanh`, applied between layers, never after the last.
    Raises `ValueError` for fewer than two sizes or sizes below 1.
    """

    def __init__(self, *sizes: int, activation: type[nn.Module] = nn.Tanh):
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be two or more whole numbers from 1 up, got {sizes}")
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
        self.layers = nn.Sequential(*layers[:-1])
        self.inputs, self.outputs = sizes[0], sizes[-1]

    def forward(self, *given: Tensor) -> Tensor:
        flat = flatten(given)
        if flat.shape[1] != self.inputs:
            shapes = [tuple(g.shape) for g in given]
            raise ValueError(
                f"this MLP takes {self.inputs} numbers for each example, but inputs of shape "
                f"{shapes} give {flat.shape[1]}: change its first size or the data"
            )
        return self.layers(flat)


def flatten(given: Sequence[Tensor]) -> Tensor:
    """The given tensors side by side, (B, total), as floating point numbers."""
    rows = [g if g.ndim == 2 else g.reshape(len(g), -1) for g in given]
    dtype = torch.get_default_dtype()
    rows = [r if r.is_floating_point() else r.to(dtype) for r in rows]
    return rows[0] if len(rows) == 1 else torch.cat(rows, 1)
