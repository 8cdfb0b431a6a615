"""Named assemblies: functions that return a decoding joint p and an encoding joint q."""

from lvmlab.models.dense import dense_gaussian as dense_gaussian
from lvmlab.models.mixtures import MixtureOfNormals as MixtureOfNormals
from lvmlab.models.mixtures import mixtures_1d as mixtures_1d
