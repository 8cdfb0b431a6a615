"""Networks: tensor to tensor, no probability inside."""

from lvmlab.networks.autoregressive import PixelCNN as PixelCNN
from lvmlab.networks.autoregressive import ResidualPixelCNN as ResidualPixelCNN
from lvmlab.networks.convolutional import ResNet as ResNet
from lvmlab.networks.dcgan import Grow as Grow
from lvmlab.networks.dcgan import Shrink as Shrink
from lvmlab.networks.mlp import MLP as MLP
from lvmlab.networks.recurrent import Embedded as Embedded
from lvmlab.networks.recurrent import Reader as Reader
from lvmlab.networks.recurrent import Writer as Writer
from lvmlab.networks.transformer import Transformer as Transformer

__all__ = [
    "MLP",
    "Embedded",
    "Grow",
    "PixelCNN",
    "Reader",
    "ResNet",
    "ResidualPixelCNN",
    "Shrink",
    "Transformer",
    "Writer",
]
