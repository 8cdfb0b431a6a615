"""Plot functions with controls over them; each picture is also there without a kernel."""

from lvmlab.widgets.collapse_dial import collapse_dial, collapse_states
from lvmlab.widgets.dial_films import DialRecording
from lvmlab.widgets.estimator_panel import estimator_panel, estimator_states
from lvmlab.widgets.joint_lens import joint_lens
from lvmlab.widgets.linear import linear_axis
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.recording import Recording
from lvmlab.widgets.table_bench import table_bench, table_states
from lvmlab.widgets.table_films import TableRecording
from lvmlab.widgets.table_machine import table_machine, table_machine_states
from lvmlab.widgets.trained_dial import trained_dial, trained_states
from lvmlab.widgets.two_humps import encoder_lens, encoder_states

__all__ = [
    "DialRecording",
    "Panel",
    "Recording",
    "TableRecording",
    "collapse_dial",
    "collapse_states",
    "encoder_lens",
    "encoder_states",
    "estimator_panel",
    "estimator_states",
    "joint_lens",
    "linear_axis",
    "table_bench",
    "table_machine",
    "table_machine_states",
    "table_states",
    "trained_dial",
    "trained_states",
]
