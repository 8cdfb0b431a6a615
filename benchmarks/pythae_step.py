"""Our VAE, VampPrior and WAE steps beside pythae's: equal networks, batch, data and optimiser.

    pip install pydantic imageio && pip install --no-deps pythae==0.1.2
    python benchmarks/pythae_step.py [turns]

pythae's epoch is its `BaseTrainer.train_step`, without model files and progress bars; ours is
`fit`, with the history and the checks on every batch that it makes. The WAE's divergence is MMD
with pythae's own seven kernels.
"""

import contextlib
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab import Batches, Joint, descend, elbo, fit
from lvmlab.conditionals import Bernoulli, Gaussian, StandardNormal, VampPrior
from lvmlab.datasets import load
from lvmlab.distributions import Delta
from lvmlab.networks import MLP
from lvmlab.objectives import mmd, wasserstein

LATENTS, BATCH, COMPONENTS = 8, 64, 50
SCALES, WEIGHT = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0), 0.03
EPOCHS = 3  # a turn: one call of fit, three of train_step
WIDTHS = {"64 to 32 wide": 32, "64 to 256 wide": 256, "64 to 1024 wide": 1024}


def images() -> Tensor:
    """Binary digits, whole batches of them."""
    x = (load("digits", "train")["x"].flatten(1) > 0.5).float()
    return x[: len(x) // BATCH * BATCH]


def networks(columns: int, hidden: int, kind: str) -> tuple[MLP, MLP]:
    """The encoder's and the decoder's network, with the same first weights for both packages."""
    torch.manual_seed(0)
    relu: dict[str, Any] = {"activation": nn.ReLU}
    codes = LATENTS if kind == "WAE" else 2 * LATENTS
    return MLP(columns, hidden, codes, **relu), MLP(LATENTS, hidden, columns, **relu)


class Point(nn.Module):
    """An encoder without noise."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Delta:
        return Delta(self.network(x))


def ours(x: Tensor, hidden: int, kind: str) -> Callable[[], object]:
    encode, decode = networks(x.shape[1], hidden, kind)
    encoder = Point(encode) if kind == "WAE" else Gaussian(encode, floor=1e-4)
    vamp = kind == "VampPrior"
    prior = VampPrior(encoder, x[:COMPONENTS], (0, 1)) if vamp else StandardNormal(LATENTS)
    picture = Gaussian(nn.Sequential(decode, nn.Sigmoid()), 1.0)
    p = Joint("p", {"z": prior, "x|z": picture if kind == "WAE" else Bernoulli(decode)})
    q = Joint("q", {"x": None, "z|x": encoder})
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=1e-3)
    kernels = partial(mmd, bandwidths=[2 * LATENTS * scale for scale in SCALES])
    transport = partial(wasserstein, weight=WEIGHT, divergence=kernels, over=None)
    step = descend(transport if kind == "WAE" else elbo, p, q, adam)
    stream = Batches({"x": x}, BATCH)
    return lambda: fit(step, stream, epochs=EPOCHS, progress=False, device="cpu")


def theirs(x: Tensor, hidden: int, kind: str) -> Callable[[], object]:
    from pythae import models
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    encode, decode = networks(x.shape[1], hidden, kind)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = encode

        def forward(self, data: Tensor) -> ModelOutput:
            if kind == "WAE":
                return ModelOutput(embedding=self.network(data))
            mean, log_variance = self.network(data).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = decode

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    sizes = {"input_dim": (x.shape[1],), "latent_dim": LATENTS}
    if kind == "VampPrior":
        given = {"reconstruction_loss": "bce", "number_components": COMPONENTS}
        model = models.VAMP(models.VAMPConfig(**sizes, **given), Encoder(), Decoder())
    elif kind == "WAE":
        config = models.WAE_MMD_Config(**sizes, reg_weight=WEIGHT, scales=list(SCALES))
        model = models.WAE_MMD(config, Encoder(), Decoder())
    else:
        config = models.VAEConfig(**sizes, reconstruction_loss="bce")
        model = models.VAE(config, Encoder(), Decoder())
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, num_epochs=1, per_device_train_batch_size=BATCH,
            learning_rate=1e-3, no_cuda=True, optimizer_cls="Adam",
        )  # fmt: skip
        trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=settings)
        trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # bars and prints are not the step
    return lambda: [trainer.train_step(epoch) for epoch in range(EPOCHS)]


def ratios(turns: int = TURNS) -> list[Ratio]:
    """Ours over pythae's, by width; none where pythae is not installed, and a line says so."""
    logging.disable(logging.WARNING)
    try:
        import pythae  # noqa: F401
    except ImportError:
        print(f"pythae is not installed: see {__file__}", file=sys.stderr)
        return []
    x, found = images(), []
    for name, hidden in WIDTHS.items():
        for kind in ("VAE", "VampPrior", "WAE"):
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                rivals = {
                    f"{kind} step by fit, {name}": ours(x, hidden, kind),
                    "pythae's trainer step": theirs(x, hidden, kind),
                }
            times = in_turn(rivals, turns)
            found.append(ratio(times, *rivals))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(ratios(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS))
