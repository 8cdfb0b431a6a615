"""Dense Gaussian encoders and decoders: the models of the toys."""

from collections.abc import Sequence

from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.joint import Conditional, Joint
from lvmlab.networks import MLP


def dense_gaussian(
    data_dim: int,
    latent_dim: int,
    hidden: int | Sequence[int] = 20,
    floor: float = 1e-3,
    data_density: Conditional | None = None,
) -> tuple[Joint, Joint]:
    """p(z) p(x|z) and q(x) q(z|x) with dense tanh networks and diagonal Gaussian conditionals.

    x (B, data_dim), z (B, latent_dim), p(z) = N(0, I). hidden: the width of one hidden layer, or
    the widths of several, the same on both sides. Scales are floor + softplus(.). data_density: a
    q(x) that is known; None leaves the data unscored, which `mim` and `amim` read as the marginal
    of the decoder. The toys of the MIM thesis have one hidden layer (chapters 4 and 5).
    Raises `ValueError` for sizes below 1 and a floor that is not positive.
    """
    widths = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    decoder = Gaussian(MLP(latent_dim, *widths, 2 * data_dim), floor=floor)
    encoder = Gaussian(MLP(data_dim, *widths, 2 * latent_dim), floor=floor)
    p = Joint("p", {"z": StandardNormal(latent_dim), "x|z": decoder})
    q = Joint("q", {"x": data_density, "z|x": encoder})
    return p, q
