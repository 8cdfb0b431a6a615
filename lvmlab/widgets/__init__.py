"""Plot functions with controls over them; each picture is also there without a kernel."""

from lvmlab.widgets.assignment_theatre import assignment_states, assignment_theatre
from lvmlab.widgets.collapse_dial import collapse_dial, collapse_states
from lvmlab.widgets.component_life import LifeRecording, component_life, component_states
from lvmlab.widgets.critic_panel import critic_panel
from lvmlab.widgets.dial_films import DialRecording
from lvmlab.widgets.estimator_panel import estimator_panel, estimator_states
from lvmlab.widgets.guess_the_pair import guess_the_pair
from lvmlab.widgets.joint_lens import joint_lens
from lvmlab.widgets.knowledge_switches import (
    KnowledgeRecording,
    knowledge_states,
    knowledge_switches,
)
from lvmlab.widgets.latent_walk import latent_walk
from lvmlab.widgets.ledger import ledger_panel
from lvmlab.widgets.linear import linear_axis
from lvmlab.widgets.live import Live
from lvmlab.widgets.live_dial import live_dial
from lvmlab.widgets.live_lens import live_lens
from lvmlab.widgets.mcc_bench import mcc_bench, mcc_states
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.pointer import Pointer, Touch
from lvmlab.widgets.recording import Recording
from lvmlab.widgets.second_opinion import second_opinion, second_opinions
from lvmlab.widgets.sentence_desk import sentence_desk
from lvmlab.widgets.table_bench import table_bench, table_states
from lvmlab.widgets.table_films import TableRecording
from lvmlab.widgets.table_machine import table_machine, table_machine_states
from lvmlab.widgets.topic_films import TopicRecording
from lvmlab.widgets.topic_table import topic_states, topic_table
from lvmlab.widgets.trained_dial import trained_dial, trained_states
from lvmlab.widgets.two_humps import encoder_lens, encoder_states

__all__ = [
    "DialRecording",
    "KnowledgeRecording",
    "LifeRecording",
    "Live",
    "Panel",
    "Pointer",
    "Recording",
    "TableRecording",
    "TopicRecording",
    "Touch",
    "assignment_states",
    "assignment_theatre",
    "collapse_dial",
    "collapse_states",
    "component_life",
    "component_states",
    "critic_panel",
    "encoder_lens",
    "encoder_states",
    "estimator_panel",
    "estimator_states",
    "guess_the_pair",
    "joint_lens",
    "knowledge_states",
    "knowledge_switches",
    "latent_walk",
    "ledger_panel",
    "linear_axis",
    "live_dial",
    "live_lens",
    "mcc_bench",
    "mcc_states",
    "second_opinion",
    "second_opinions",
    "sentence_desk",
    "table_bench",
    "table_machine",
    "table_machine_states",
    "table_states",
    "topic_states",
    "topic_table",
    "trained_dial",
    "trained_states",
]
