"""The paper, its statements, and the settings that its claims and figures share."""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.recurrent_forms.forms import DecaySetting, FormSetting, RetentionSetting, TruncationSetting
from attnlab.simulators.recurrent_forms.mqar import MqarSetting
from attnlab.simulators.recurrent_forms.ranks import RankSetting
from attnlab.simulators.recurrent_forms.recall import RecallSetting

TITLE = (
    "Understanding the differences in Foundation Models: Attention, State Space Models, and Recurrent Neural Networks"
)
paper = Paper(
    key="dsf_ssm_equivalence",
    title=TITLE,
    sources=[
        Source(
            authors="Jerome Sieber, Carmen Amo Alonso, Alexandre Didier, Melanie N. Zeilinger, Antonio Orvieto",
            year=2024,
            arxiv="2405.15731",
            title=TITLE,
            venue="Advances in Neural Information Processing Systems",
        )
    ],
    statements={
        1: "Softmax, linear and normalised attention, S6, SSD and gated recurrences are one linear recurrence with other "
        "coefficients.",
        2: "Linear attention has A = eta_(i-1) / eta_i, B = psi(k_i) / eta_i, C = phi(q_i), and a state of n d numbers.",
        3: "S6 with a scalar decay is linear attention if and only if its decay is eta_(i-1) / eta_i and its input gain 1 / "
        "eta_i.",
        4: "Softmax attention needs an infinite state; finite features approximate it, and recall rises with their number.",
        5: "A normaliser of its own, exp(w.u), does better than the summed one of linear attention.",
        6: "A quasi-LSTM improves with the reversed sigmoid sigma(-x)^relu(a) of S6 as its forget gate.",
        7: "Benchmark numbers: MQAR with 8192 words at lengths to 512, Long Range Arena, WikiText.",
    },
)
paper.not_testable(7, "they need days of training, data sets and models that are not part of this project")

FORMS = paper.scales(
    smoke=FormSetting(n_tokens=12, n_replicas=4),
    desk=FormSetting(),
    paper=FormSetting(n_tokens=96, n_state=16, n_replicas=64),
)
COUPLED = Scales(
    FormSetting(same_query=True, n_tokens=12, n_replicas=4),
    FormSetting(same_query=True),
    FormSetting(same_query=True, n_tokens=96, n_state=16, n_replicas=64),
)
DECAYS = Scales(DecaySetting(n_rows=1000, n_replicas=16), DecaySetting(), DecaySetting(n_rows=40_000))
RANKS = Scales(
    RankSetting(n_future=14, n_replicas=2), RankSetting(n_future=16), RankSetting(n_future=24, n_state=5, n_replicas=32)
)
FEATURES = Scales(TruncationSetting(n_replicas=4), TruncationSetting(), TruncationSetting(64, 4, n_replicas=32))
GATES = Scales(RetentionSetting(n_replicas=16), RetentionSetting(), RetentionSetting(n_rows=200_000, n_replicas=64))
RECALL = Scales(
    RecallSetting(n_steps=60, n_replicas=4), RecallSetting(n_replicas=16), RecallSetting(n_steps=4000, n_replicas=32)
)
MQAR = Scales(
    MqarSetting(n_steps=100, n_test=100, n_replicas=8),
    MqarSetting(),
    MqarSetting(n_words=64, n_channels=64, n_steps=10_000, n_replicas=32),
)
