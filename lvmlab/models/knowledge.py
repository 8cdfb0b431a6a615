"""TzK: one density p(t) through a flow, and any number of kinds of knowledge attached to it.

Knowledge k = (e, c) of one kind says whether t belongs to it, e in {0, 1}, and which one of its
kind it is, a code c in R^C; or it is e alone. The kinds are independent given t, so that

    q(t, k) = p(t) prod_i p(k_i|t),    p(t, k) = prod_i p(t|k_i) p(k_i) / p(t)^(number - 1)

(MIM thesis, eqs 8.3 to 8.7; `tzk-factorisation-8.4`). Everything a kind knows about t it knows
about z, the flow's image of t: a kind is five conditionals about z, in which no other kind has a
part. Its variables are `e_name` and `c_name`.
"""

import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lvmlab.conditionals import Categorical, Gaussian, Proportions, StandardNormal
from lvmlab.flows import (
    ActNorm,
    AffineCoupling,
    Bijection,
    Chain,
    Flow,
    FlowDistribution,
    Shuffle,
)
from lvmlab.flows.autoregressive import gentle
from lvmlab.joint import Batch, Conditional, Joint
from lvmlab.networks import MLP


class Kind(nn.Module):
    """One kind of knowledge about z (D,): p(z|e,c), p(e|c), p(c) and p(e|z), p(c|e,z).

    Without `code` and `encoder` a kind is e alone: then `decoder` is p(z|e) and `existence` p(e).
    The scale of q(c|e,z) needs a floor, and p(c) must not be learned: with both free, the codes
    shrink and the bound rises without limit (MIM thesis, G.2.1, which has a learned p(c)).
    Raises `ValueError` for a code without an encoder or an encoder without a code.
    """

    def __init__(
        self,
        decoder: Conditional,
        existence: Conditional,
        discriminator: Conditional,
        code: Conditional | None = None,
        encoder: Conditional | None = None,
    ):
        super().__init__()
        if (code is None) != (encoder is None):
            raise ValueError("code p(c) and encoder q(c|e,z) belong together: give both or neither")
        self.decoder, self.existence, self.discriminator = decoder, existence, discriminator
        self.code, self.encoder = code, encoder

    def decoding(self, name: str, data: str, decoder: Conditional) -> dict[str, Conditional | None]:
        """The factors p(c) p(e|c) p(data|e,c), the last of them given."""
        e, c = f"e_{name}", f"c_{name}"
        if self.code is None:
            return {e: self.existence, f"{data}|{e}": decoder}
        return {c: self.code, f"{e}|{c}": self.existence, f"{data}|{e},{c}": decoder}

    def encoding(
        self, name: str, data: str, seen: Callable[[Conditional], Conditional]
    ) -> dict[str, Conditional | None]:
        """The factors p(e|data) p(c|e,data), each conditional as `seen` makes it."""
        e, c = f"e_{name}", f"c_{name}"
        factors: dict[str, Conditional | None] = {f"{e}|{data}": seen(self.discriminator)}
        if self.encoder is not None:
            factors[f"{c}|{e},{data}"] = seen(self.encoder)
        return factors


class Knowledge(nn.Module):
    """A density p(t) and the kinds attached to it by name; kinds share nothing but the flow.

    `pair(name)` are the two joints of one kind over t, or over z with latent=True: when the flow is
    frozen the Jacobian is a constant, and a kind can be trained on stored z without the flow.
    """

    def __init__(self, density: Flow):
        super().__init__()
        self.density = density
        self.kinds = nn.ModuleDict()

    def add(self, name: str, kind: Kind) -> Kind:
        """Attach a kind, at any time: nothing that is there already is touched.

        Raises `ValueError` for a name that is taken or not made of letters, digits and underscores.
        """
        if name in self.kinds:
            raise ValueError(
                f"name: a kind {name!r} is attached already, beside {sorted(self.kinds)}: take "
                "another name, or delete the old one from `kinds` first"
            )
        if not name.isidentifier():
            raise ValueError(f"name must be letters, digits and underscores, got {name!r}")
        self.kinds[name] = kind
        return kind

    def freeze(self) -> "Knowledge":
        """Keep the flow as it is from now on."""
        self.density.requires_grad_(False).eval()
        return self

    def train(self, mode: bool = True) -> "Knowledge":
        """Train mode, for the flow only when it is not frozen."""
        super().train(mode)
        if not any(v.requires_grad for v in self.density.parameters()):
            self.density.eval()
        return self

    def latent(self, t: Tensor) -> Tensor:
        """The image z (B, D) of t (B, ...) under the flow."""
        return self.density.bijection(t)[0]

    def pair(self, name: str, latent: bool = False) -> tuple[Joint, Joint]:
        """p(c) p(e|c) p(t|e,c) and q(t) q(e|t) q(c|e,t) of one kind.

        Raises `ValueError` for a kind that is not attached.
        """
        kind, q = self._kind(name), self.encoding([name], latent)
        data = "z" if latent else "t"
        decoder = kind.decoder if latent else Through(self.density, kind.decoder)
        return Joint("p", kind.decoding(name, data, decoder)), q

    def encoding(self, names: Collection[str] | None = None, latent: bool = False) -> Joint:
        """q(t) prod_i q(e_i|t) q(c_i|e_i,t) over these kinds, all of them when None (eq. 8.3)."""
        data = "z" if latent else "t"
        factors: dict[str, Conditional | None] = {
            data: self.density.base if latent else self.density
        }

        def seen(conditional: Conditional) -> Conditional:
            return conditional if latent else Seen(self.density, conditional)

        for name in self.kinds if names is None else names:
            factors |= self._kind(name).encoding(name, data, seen)
        return Joint("q", factors)

    def log_decoding(self, values: Batch, names: Collection[str] | None = None) -> Tensor:
        """Log of prod_i p(t|k_i) p(k_i) / p(t)^(number - 1), (B,) nats (eq. 8.4).

        values: t and all e and c of these kinds. It is a normalised density where the p(t|k_i) and
        p(k_i) agree with one p(t), and need not be one otherwise. Raises `ValueError` for missing
        values and without kinds.
        """
        names = list(self.kinds if names is None else names)
        if not names:
            raise ValueError("names: expected one kind or more to combine, got none: add one first")
        nats = sum(self.pair(name)[0].score(values).nats() for name in names)
        return nats - (len(names) - 1) * self.density().log_prob(values["t"])

    def _kind(self, name: str) -> Kind:
        if name not in self.kinds:
            raise ValueError(f"no kind {name!r} is attached, there are {sorted(self.kinds)}")
        kind = self.kinds[name]
        assert isinstance(kind, Kind)
        return kind


class Through(nn.Module):
    """p(t|k): a conditional over z, carried to t by a flow."""

    def __init__(self, density: Flow, conditional: Conditional):
        super().__init__()
        self.density, self.conditional = density, conditional

    def forward(self, *parents: Tensor) -> Distribution:
        over_z = self.conditional(*parents)
        return FlowDistribution(self.density.bijection, over_z, self.density.shape)


class Seen(nn.Module):
    """q(k|t): a conditional asked for the flow's image of its last parent, t."""

    def __init__(self, density: Flow, conditional: Conditional):
        super().__init__()
        self.density, self.conditional = density, conditional

    def forward(self, *parents: Tensor) -> Distribution:
        *others, t = parents
        return self.conditional(*others, self.density.bijection(t)[0])


class Pushed(nn.Module):
    """p(z|e,c) = N(loc(e,c), scale(e,c)^2) carried by a bijection of z that sees e."""

    def __init__(self, bijection: Bijection, base: Conditional, dim: int):
        super().__init__()
        self.bijection, self.base, self.dim = bijection, base, dim

    def forward(self, e: Tensor, *code: Tensor) -> Distribution:
        return FlowDistribution(self.bijection, self.base(e, *code), (self.dim,), context=e)


class EitherBijection(Bijection):
    """One bijection for the rows with e = 0 and another for those with e = 1, the context."""

    def __init__(self, absent: Bijection, present: Bijection):
        super().__init__()
        self.absent, self.present = absent, present

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = torch.empty_like(x), x.new_empty(len(x))
        for rows, part in self._parts(context):
            y[rows], log_det[rows] = part(x[rows])
        return y, log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        x = torch.empty_like(y)
        for rows, part in self._parts(context):
            x[rows] = part.inverse(y[rows])
        return x

    def _parts(self, e: Tensor | None) -> list[tuple[Tensor, Bijection]]:
        if e is None:
            raise ValueError("EitherBijection needs e (B,) as its context, got None")
        parts = [(e == 0, self.absent), (e == 1, self.present)]
        return [(rows, part) for rows, part in parts if rows.any()]  # ActNorm needs a row to start


class EitherNetwork(nn.Module):
    """One network for the rows with e = 0, another for those with e = 1: call it with e first."""

    def __init__(self, absent: nn.Module, present: nn.Module):
        super().__init__()
        self.absent, self.present = absent, present

    def forward(self, e: Tensor, *parents: Tensor) -> Tensor:
        rows = e.bool()[:, None]
        return torch.where(rows, self.present(*parents), self.absent(*parents))


class Table(nn.Module):
    """A row of numbers for each of `values` values of e, all like `start` (D,) at first."""

    def __init__(self, values: int, start: Tensor):
        super().__init__()
        self.rows = nn.Parameter(start.repeat(values, 1))

    def forward(self, e: Tensor) -> Tensor:
        return self.rows[e]


def dense_kind(
    dim: int, codes: int = 0, hidden: int = 32, steps: int = 4, width: int = 32, floor: float = 0.1
) -> Kind:
    """A kind over z (dim,) with dense networks, which at first says nothing: p(z|e,c) is N(0, I).

    codes: C, or 0 for e alone. hidden: units of the two hidden layers of every regressor and
    discriminator; steps, width: those of the `dense_flow` from p(z|e,c) to its Gaussian, one for
    each e. p(c) is N(0, I); q(c|e,z) is Gaussian with scales above `floor`. The thesis has
    convolutions, and flows on p(c) and q(c|e,t) as well (G.1).
    Raises `ValueError` for sizes below 1, and codes below 0.
    """
    if min(dim, hidden, steps, width) < 1 or codes < 0:
        raise ValueError(
            "dim, hidden, steps and width must be 1 or more and codes 0 or more, got "
            f"dim={dim}, hidden={hidden}, steps={steps}, width={width}, codes={codes}"
        )

    def network(inputs: int, outputs: int) -> MLP:
        return MLP(inputs, hidden, hidden, outputs, activation=nn.SiLU)

    bijection = EitherBijection(dense_flow(dim, steps, width), dense_flow(dim, steps, width))
    discriminator = Categorical(network(dim, 2))
    if not codes:
        decoder = Pushed(bijection, Gaussian(Table(2, _still(dim))), dim)
        return Kind(decoder, Proportions(2, learned=True), discriminator)
    regressors = [network(codes, 2 * dim), network(codes, 2 * dim)]
    for last in (regressor.layers[-1] for regressor in regressors):
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        last.bias.data.copy_(_still(dim))  # type: ignore[union-attr, operator]
    decoder = Pushed(bijection, Gaussian(EitherNetwork(*regressors)), dim)
    encoder = Gaussian(EitherNetwork(network(dim, 2 * codes), network(dim, 2 * codes)), floor=floor)
    existence = Categorical(network(codes, 2))
    return Kind(decoder, existence, discriminator, StandardNormal(codes), encoder)


def dense_flow(dim: int, steps: int = 4, width: int = 32) -> Bijection:
    """A flow of vectors (B, dim): ActNorm, then so many times a fixed shuffle and a coupling.

    The couplings have two hidden layers of `width` swish units and scales between exp(-3) and
    exp(3), 1 at the start. Shuffles as in the thesis (section 8.4.1); of two dimensions they change
    places. Raises `ValueError` for fewer than 2 dimensions.
    """
    if dim < 2 or min(steps, width) < 1:
        raise ValueError(
            "dim must be 2 or more, steps and width 1 or more, got "
            f"dim={dim}, steps={steps}, width={width}: a coupling changes one half given the other"
        )
    parts: list[Bijection] = [ActNorm(dim)]
    for _ in range(steps):
        network = MLP(dim - dim // 2, width, width, 2 * (dim // 2), activation=nn.SiLU)
        shuffle = Shuffle(dim)
        if dim == 2:  # a random one would leave both where they are half of the time
            shuffle.order = torch.tensor([1, 0])
        parts += [shuffle, AffineCoupling(network, log_scale=gentle)]
    return Chain(*parts)


def _still(dim: int) -> Tensor:
    """Parameters of `Gaussian` for location 0 and scale 1, (2 dim,)."""
    return torch.tensor([0.0, math.log(math.expm1(1 - 1e-3))]).repeat_interleave(dim)
