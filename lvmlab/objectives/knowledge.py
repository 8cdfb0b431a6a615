"""TzK's bound, one kind of knowledge at a time: each kind trains alone, the others unasked.

With the encoding q(t, k) = q(t) prod_i q(k_i|t) and the decoding p(t, k) = prod_i p(t, k_i) /
q(t)^(C-1) of C kinds, the MIM bound is a sum over the kinds,

    -(CE(M, q) + CE(M, p)) / 2
        = sum_i E_M [ log q(t, k_i) / 2 + log p(t, k_i) / 2 - (C-1)/C log q(t) ]

(MIM thesis, eq. G.2, where both factors are printed inside the logarithms;
`tzk-per-knowledge-bound-G.2`). The third term is a constant for every kind as long as the flow of
q(t) is frozen. When it is not, C = 1 and 2 are safe. From C = 3 on log q(t) is charged in all more
than it is paid for; then the flow may move t to where q(t) is small and the p(t|k_i) follow: the
loss has no lower bound.
"""

import torch
from torch import Tensor

from lvmlab.joint import Batch, Draw, Evaluation, Joint


def per_knowledge(
    p: Joint, q: Joint, batch: Batch, kinds: int = 1, drawn: bool = True
) -> Evaluation:
    """The summand of one kind of `kinds` in L_MIM, from its own two joints (corrected eq. G.2).

    p, q: p(c) p(e|c) p(t|e,c) and q(t) q(e|t) q(c|e,t), t being the variable that q begins with;
    batch: t and e, and c where it is known. What is missing is drawn from either side alike (eq.
    G.1): c from q for one half of the loss, and c, e and t from p for the other. The latter are
    samples without gradient: along one, -log p(t|e,c) of its own draws would fall without limit
    where q sends no code. With drawn=False the first half is all, and the scale of q(c|e,t) shrinks
    to its floor (G.2.1). A batch that misses nothing has no second half. Terms (B,) nats, costs:
    `distortion` -log p(t|e,c), `latent_nll` -log p(e,c), `encoder_nll` -log q(e,c|t), `data_nll`
    -log q(t), and the same with `drawn_`.
    Raises `ValueError` for kinds below 1, for joints of another form, and for a batch without t
    or without any e = 1, from which p(t|e=1,c) cannot learn.
    """
    if kinds < 1:
        raise ValueError(f"kinds must be the number of kinds, 1 or more, got {kinds}")
    data = _shared(p, q)
    if data not in batch:
        raise ValueError(f"the batch holds {sorted(batch)} and no {data!r}: it comes from the data")
    _check_positive(q, batch, data)
    encoded = q.draw(batch)
    terms = _costs(p.score(encoded.values), encoded, data)
    loss = _summand(terms, kinds).mean()
    if drawn and any(v not in batch for v in p.variables):
        with torch.no_grad():
            values = p.draw(size=len(batch[data])).values
        other = _costs(p.score(values), q.score(values), data)
        loss = (loss + _summand(other, kinds).mean()) / 2
        terms |= {f"drawn_{name}": nats for name, nats in other.items()}
    return Evaluation(loss, terms)


def _summand(costs: dict[str, Tensor], kinds: int) -> Tensor:
    encoder = costs["encoder_nll"] + costs["data_nll"]
    decoder = costs["distortion"] + costs["latent_nll"]
    return (encoder + decoder) / 2 - (kinds - 1) / kinds * costs["data_nll"]


def _costs(decoded: Draw, encoded: Draw, data: str) -> dict[str, Tensor]:
    known = [v for v in decoded.values if v != data]
    return {
        "distortion": -decoded.nats([data]),
        "latent_nll": -decoded.nats(known),
        "encoder_nll": -encoded.nats(known),
        "data_nll": -encoded.nats([data]),
    }


def _shared(p: Joint, q: Joint) -> str:
    """The variable of the density that q begins with, which p ends with."""
    text, factor = next(iter(q.factors.items()))
    if factor is None or p.variables[-1] != text:
        raise ValueError(
            f"per_knowledge needs a q that begins with the density q(t) and a p that ends with "
            f"p(t|e,c), got {p} and {q}: take both from `Knowledge.pair`"
        )
    return text


def _check_positive(q: Joint, batch: Batch, data: str) -> None:
    for name, e in batch.items():
        if name == data or name not in q.variables or e.is_floating_point():
            continue
        if e.device.type == "cpu" and not (e == 1).any():  # an accelerator would wait for it
            raise ValueError(
                f"the batch has no positive example: {name!r} is 0 in all {len(e)} rows, so that "
                f"p({data}|{name}=1) learns nothing. Take a larger batch, or draw rows by kind"
            )
