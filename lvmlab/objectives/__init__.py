"""Objectives: sentences about two joints, one idea a file; the docstring is the theorem.

To add one: write `objectives/yours.py` and export it here.
"""

from lvmlab.objectives.combine import annealed as annealed
from lvmlab.objectives.combine import weighted as weighted
from lvmlab.objectives.complete import complete_likelihood as complete_likelihood
from lvmlab.objectives.complete import entropic_likelihood as entropic_likelihood
from lvmlab.objectives.complete import extend_pairing as extend_pairing
from lvmlab.objectives.complete import pair_scores as pair_scores
from lvmlab.objectives.complete import quota_posterior as quota_posterior
from lvmlab.objectives.critics import DensityRatio as DensityRatio
from lvmlab.objectives.critics import HybridCritic as HybridCritic
from lvmlab.objectives.critics import InfoNCE as InfoNCE
from lvmlab.objectives.critics import NeuralCritic as NeuralCritic
from lvmlab.objectives.critics import PairwiseCritic as PairwiseCritic
from lvmlab.objectives.critics import SelfCritic as SelfCritic
from lvmlab.objectives.critics import criticised as criticised
from lvmlab.objectives.critics import infonce as infonce
from lvmlab.objectives.elbo import elbo as elbo
from lvmlab.objectives.elbo import importance_weighted as importance_weighted
from lvmlab.objectives.knowledge import per_knowledge as per_knowledge
from lvmlab.objectives.marginal import exact_posterior as exact_posterior
from lvmlab.objectives.marginal import marginal_likelihood as marginal_likelihood
from lvmlab.objectives.mim import amim as amim
from lvmlab.objectives.mim import joint_entropy as joint_entropy
from lvmlab.objectives.mim import mim as mim
from lvmlab.objectives.mim import mixture_cross_entropy as mixture_cross_entropy
from lvmlab.objectives.mim import symmetric_kl as symmetric_kl
from lvmlab.objectives.pairing import best_pairing as best_pairing
from lvmlab.objectives.pairing import soft_pairing as soft_pairing
from lvmlab.objectives.sentences import sentence_mim as sentence_mim
from lvmlab.objectives.summed import summed_elbo as summed_elbo
from lvmlab.objectives.summed import summed_out as summed_out
from lvmlab.objectives.transport import mmd as mmd
from lvmlab.objectives.transport import sinkhorn_divergence as sinkhorn_divergence
from lvmlab.objectives.transport import wasserstein as wasserstein
