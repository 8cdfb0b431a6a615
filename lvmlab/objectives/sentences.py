"""SentenceMIM: A-MIM when neither the marginal of the data nor that of the codes has a density.

With q(x) = E_p(z) p(x|z), p(z) = E_q(x) q(z|x) and E = P(x) q(z|x), each marginal is bounded by one
term of its sum, log q(x) >= E_q(z|x)[log p(x|z) + log P(z) - log q(z|x)] and log p(z) >= log P(x) +
log q(z|x), so that

    L_A-MIM <= -E_E[ log p(x|z) + (log q(z|x) + log P(z)) / 2 ] + H(P(x)) / 2

(MIM thesis, eqs 6.10 to 6.14; `smim-bound-6.14`, `log-mean-lower-bound-6.12`).
"""

from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.objectives.reinforce import discrete_nats, reinforced


def sentence_mim(p: Joint, q: Joint, batch: Batch) -> Evaluation:
    """The SentenceMIM loss, from one draw of q for each example (MIM thesis, Algorithm 4).

    loss: mean of distortion + (encoder_nll + latent_nll) / 2, the bound above without the constant
    H(P(x)) / 2. Terms (B,) nats, all costs: `distortion` -log p(x|z), `encoder_nll` -log q(z|x) and
    `latent_nll` -log P(z), P(z) being p's own prior. For discrete x it has no lower bound in the
    encoder's scale (`amim-unbounded-below`): give that a floor.
    """
    encoded = q.draw(batch)
    decoded = p.score(encoded.values)
    latents = [v for v in encoded.values if v not in batch]
    distortion = -decoded.nats(batch)
    encoder_nll, latent_nll = -encoded.nats(latents), -decoded.nats(latents)
    cost = reinforced(distortion + (encoder_nll + latent_nll) / 2, discrete_nats(encoded, batch))
    terms = {"distortion": distortion, "encoder_nll": encoder_nll, "latent_nll": latent_nll}
    return Evaluation(cost.mean(), terms)
