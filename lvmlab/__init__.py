"""lvmlab: latent variable models as sentences about two joint distributions."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lvmlab.joint import Draw as Draw
from lvmlab.joint import Evaluation as Evaluation
from lvmlab.joint import Joint as Joint
from lvmlab.joint import Objective as Objective
from lvmlab.lagging import lag as lag
from lvmlab.objectives import amim as amim
from lvmlab.objectives import annealed as annealed
from lvmlab.objectives import complete_likelihood as complete_likelihood
from lvmlab.objectives import criticised as criticised
from lvmlab.objectives import elbo as elbo
from lvmlab.objectives import exact_posterior as exact_posterior
from lvmlab.objectives import importance_weighted as importance_weighted
from lvmlab.objectives import joint_entropy as joint_entropy
from lvmlab.objectives import marginal_likelihood as marginal_likelihood
from lvmlab.objectives import mim as mim
from lvmlab.objectives import mixture_cross_entropy as mixture_cross_entropy
from lvmlab.objectives import sentence_mim as sentence_mim
from lvmlab.objectives import summed_elbo as summed_elbo
from lvmlab.objectives import symmetric_kl as symmetric_kl
from lvmlab.objectives import wasserstein as wasserstein
from lvmlab.objectives import weighted as weighted
from lvmlab.presets import choose as choose
from lvmlab.steps import alternate as alternate
from lvmlab.steps import descend as descend
from lvmlab.steps import expect_then_maximise as expect_then_maximise
from lvmlab.steps import match_then_descend as match_then_descend
from lvmlab.train import Batches as Batches
from lvmlab.train import Binarised as Binarised
from lvmlab.train import Fresh as Fresh
from lvmlab.train import History as History
from lvmlab.train import evaluate as evaluate
from lvmlab.train import fit as fit

try:
    __version__ = version("lvmlab")
except PackageNotFoundError:  # imported from a source tree that is not installed
    __version__ = "0.0.0+source"

_LATER = {  # imported when asked for, so that lvmlab is quick
    "compare": "lvmlab.comparison",
    "report": "lvmlab.diagnostics.report",
}


def __getattr__(name: str) -> Any:
    """Import the few names that most programs never use."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, those imported later included."""
    return sorted({*globals(), *_LATER})
