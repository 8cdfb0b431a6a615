"""Networks: tensor to tensor, no probability inside."""

from lvmlab.networks.autoregressive import PixelCNN as PixelCNN
from lvmlab.networks.autoregressive import ResidualPixelCNN as ResidualPixelCNN
from lvmlab.networks.convolutional import ResNet as ResNet
from lvmlab.networks.dcgan import Grow as Grow
from lvmlab.networks.dcgan import Shrink as Shrink
from lvmlab.networks.mlp import MLP as MLP
from lvmlab.networks.transformer import Transformer as Transformer

__all__ = ["MLP", "Grow", "PixelCNN", "ResNet", "ResidualPixelCNN", "Shrink", "Transformer"]
