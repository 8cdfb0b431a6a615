"""Networks: tensor to tensor, no probability inside."""

from lvmlab.networks.mlp import MLP as MLP

__all__ = ["MLP"]
