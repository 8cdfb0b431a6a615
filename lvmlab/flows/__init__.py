"""Flows: invertible maps and the distributions they make."""

from lvmlab.flows.autoregressive import Autoregressive as Autoregressive
from lvmlab.flows.bijections import ActNorm as ActNorm
from lvmlab.flows.bijections import AffineCoupling as AffineCoupling
from lvmlab.flows.bijections import Bijection as Bijection
from lvmlab.flows.bijections import Chain as Chain
from lvmlab.flows.bijections import Flatten as Flatten
from lvmlab.flows.bijections import Invertible1x1 as Invertible1x1
from lvmlab.flows.bijections import Shuffle as Shuffle
from lvmlab.flows.bijections import Split as Split
from lvmlab.flows.bijections import Squeeze as Squeeze
from lvmlab.flows.bijections import bounded as bounded
from lvmlab.flows.distribution import Flow as Flow
from lvmlab.flows.distribution import FlowDistribution as FlowDistribution
from lvmlab.flows.distribution import Logit as Logit
from lvmlab.flows.distribution import dequantise as dequantise
from lvmlab.flows.distribution import quantise as quantise
from lvmlab.flows.glow import glow as glow
