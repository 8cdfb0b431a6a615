"""Gradients through draws that have none of their own, such as categories and binary pixels.

grad E_q[f] = E_q[ grad f + f grad log q ]  (MIM thesis, eq. 3.26; `reinforce-3.26`)
"""

from collections.abc import Collection

from torch import Tensor

from lvmlab.joint import Draw, variable_of


def discrete_nats(draw: Draw, known: Collection[str]) -> Tensor | None:
    """Log-probability, (B,) nats, of what was drawn and can be learned only by REINFORCE.

    known: the variables that were given. None where every draw carries its own gradient.
    """
    drawn = {variable_of(text) for text, d in draw.distributions.items() if not d.has_rsample}
    drawn -= set(known)
    return draw.nats(drawn) if drawn else None


def reinforced(cost: Tensor, nats: Tensor | None) -> Tensor:
    """The cost (B,), plus a term of value zero with the gradient that `nats` owes it.

    Each row's cost counts from the mean cost of the other rows. They were drawn without it, so the
    expectation stays that of eq. 3.26; hundreds of nats that all rows have in common no longer
    shake what is learned.
    """
    if nats is None:
        return cost
    own, others = cost.detach(), max(len(cost) - 1, 1)
    return cost + (own - (own.sum() - own) / others) * (nats - nats.detach())
