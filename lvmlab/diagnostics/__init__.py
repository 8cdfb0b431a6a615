"""Numbers from models and samples: information, likelihood, latents, clusters.

Everything here takes NumPy arrays or torch tensors, computes in float64 and gives back a plain
float, an array or a small named tuple. SciPy, scikit-learn and UMAP are imported on first use.
"""

from lvmlab.diagnostics import ensembles
from lvmlab.diagnostics.clusters import (
    ClusterAccuracy,
    greedy_accuracy,
    greedy_assignment,
    hungarian_accuracy,
)
from lvmlab.diagnostics.estimators import (
    Estimate,
    Estimates,
    GaussianPairs,
    estimator_curves,
    gaussian_pairs,
    infonce_readings,
    information_estimates,
)
from lvmlab.diagnostics.identifiability import MCC, mcc, rdc
from lvmlab.diagnostics.information import (
    CategoricalInformation,
    MinibatchInformation,
    categorical_information,
    gaussian_information,
    minibatch_information,
)
from lvmlab.diagnostics.knowledge import (
    Composed,
    ConditionalLikelihood,
    block_gibbs,
    compose,
    conditional_likelihood,
    existence_nll,
    four_corners,
)
from lvmlab.diagnostics.latents import (
    ActiveUnits,
    active_units,
    knn_accuracy,
    log_prior,
    planar_map,
)
from lvmlab.diagnostics.likelihood import (
    bits_per_dim,
    importance_weighted_nll,
    log_mean_exp,
    perplexity,
)
from lvmlab.diagnostics.neighbours import knn_entropy, ksg, ksg_ceiling
from lvmlab.diagnostics.report import Report, report
from lvmlab.diagnostics.report import from_json as report_from_json
from lvmlab.diagnostics.sentences import (
    Bounds,
    Melbo,
    Ranking,
    answer_scores,
    bleu1,
    bounds_table,
    melbo,
    ranking,
    ranks,
    sentences_needed,
    shell_radius,
)
from lvmlab.diagnostics.tables import (
    entropy,
    kl_divergence,
    mutual_information,
    plug_in_information,
)
from lvmlab.diagnostics.verdicts import THRESHOLDS, Verdict, judge

__all__ = [
    "MCC",
    "THRESHOLDS",
    "ActiveUnits",
    "Bounds",
    "CategoricalInformation",
    "ClusterAccuracy",
    "Composed",
    "ConditionalLikelihood",
    "Estimate",
    "Estimates",
    "GaussianPairs",
    "Melbo",
    "MinibatchInformation",
    "Ranking",
    "Report",
    "Verdict",
    "active_units",
    "answer_scores",
    "bits_per_dim",
    "bleu1",
    "block_gibbs",
    "bounds_table",
    "categorical_information",
    "compose",
    "conditional_likelihood",
    "ensembles",
    "entropy",
    "estimator_curves",
    "existence_nll",
    "four_corners",
    "gaussian_information",
    "gaussian_pairs",
    "greedy_accuracy",
    "greedy_assignment",
    "hungarian_accuracy",
    "importance_weighted_nll",
    "infonce_readings",
    "information_estimates",
    "judge",
    "kl_divergence",
    "knn_accuracy",
    "knn_entropy",
    "ksg",
    "ksg_ceiling",
    "log_mean_exp",
    "log_prior",
    "mcc",
    "melbo",
    "minibatch_information",
    "mutual_information",
    "perplexity",
    "planar_map",
    "plug_in_information",
    "ranking",
    "ranks",
    "rdc",
    "report",
    "report_from_json",
    "sentences_needed",
    "shell_radius",
]
