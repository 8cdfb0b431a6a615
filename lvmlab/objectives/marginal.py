"""Marginal likelihood, exact, for finite latents.

KL( q(x) p(z|x) || p(z) p(x|z) ) = -H(q(x)) - E_q(x) log p(x): when the target takes the model's
own posterior, the divergence between the joints is the negative log-likelihood up to the entropy
of the data (CoLLike, Table 1; `mal-joint-kl`). The sum over z runs over every z of the support.
"""

from torch import Tensor

from lvmlab.joint import Batch, Evaluation, Joint


def marginal_likelihood(p: Joint, q: Joint, batch: Batch) -> Evaluation:
    """The exact negative log-likelihood -log p(x), its mean over the batch (CoLLike, eq. 1).

    q lends only its data: its encoder, if it has one, is not asked. Terms: `nll` (B,) nats.
    Raises `ValueError` when a latent of p has no finite support.
    """
    nll = -p.enumerate(batch).log_joint.logsumexp(1)
    return Evaluation(nll.mean(), {"nll": nll})


def exact_posterior(p: Joint, batch: Batch) -> Tensor:
    """p(z|x) by Bayes' rule for finite latents: (B, K) probabilities, rows summing to 1.

    K runs over all combinations of the latents that the batch leaves open.
    """
    return p.enumerate(batch).log_joint.softmax(1)
