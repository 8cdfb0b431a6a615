"""Named assemblies: functions that return a decoding joint p and an encoding joint q."""

from lvmlab.models.dense import dense_gaussian as dense_gaussian
from lvmlab.models.flows import flow_categories as flow_categories
from lvmlab.models.mixtures import MixtureOfNormals as MixtureOfNormals
from lvmlab.models.mixtures import mixtures_1d as mixtures_1d
from lvmlab.models.text import text_categories as text_categories
from lvmlab.models.unigrams import Unigrams as Unigrams
from lvmlab.models.unigrams import padded as padded
from lvmlab.models.unigrams import unigram_mixture as unigram_mixture
