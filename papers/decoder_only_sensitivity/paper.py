"""The paper, its statements, and the settings that its claims and figures share."""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.source_attention.depth import DepthSetting
from attnlab.simulators.source_attention.layers import FlowSetting, GateSetting, MassSetting, SensitivitySetting
from attnlab.simulators.source_attention.stacks import StackSetting
from attnlab.simulators.source_attention.trained import LookupSetting

TITLE = "Decoder-Only or Encoder-Decoder? Interpreting Language Model as a Regularized Encoder-Decoder"
paper = Paper(
    key="decoder_only_sensitivity",
    title=TITLE,
    sources=[
        Source(
            authors="Zihao Fu, Wai Lam, Qian Yu, Anthony Man-Cho So, Shengding Hu, Zhiyuan Liu, Nigel Collier",
            year=2023,
            arxiv="2304.04052",
            title=TITLE,
        )
    ],
    statements={
        1: "A decoder-only model is an encoder-decoder with shared parameters that attends to source and target in one softmax.",
        2: "As the target grows less attention goes to the source, and the output's sensitivity to the source falls.",
        3: "Partial attention, a separate attention over the source, restores it.",
        4: "It does better in translation, summarisation and data-to-text.",
    },
)
paper.not_testable(4, "it is a result on published benchmarks of trained models")

GATES = paper.scales(
    smoke=GateSetting(n_replicas=4), desk=GateSetting(), paper=GateSetting(32, 64, 512, 64, n_replicas=64)
)
MASSES = Scales(MassSetting(n_rows=200, n_replicas=16), MassSetting(), MassSetting(n_rows=5000, n_replicas=64))
SENSITIVITIES = Scales(
    SensitivitySetting(n_draws=60, n_replicas=16),
    SensitivitySetting(),
    SensitivitySetting(dim=64, n_draws=400, n_replicas=64),
)
FLOWS = Scales(
    FlowSetting(target_lengths=(5, 20, 100)),
    FlowSetting(),
    FlowSetting(n_source=100, target_lengths=(20, 100, 500, 2000)),
)
LOOKUPS = Scales(
    LookupSetting(rate=0.02, n_steps=180, n_test=256),
    LookupSetting(n_test=256),
    LookupSetting(n_source=16, n_target=32, target_lengths=(32, 128, 512, 2048), dim=32, n_steps=2_000, n_replicas=32),
)
FLAT_STACKS = Scales(
    StackSetting(target_lengths=(32, 128), n_draws=6),
    StackSetting(n_draws=48, n_replicas=32),
    StackSetting(dim=32, n_draws=100, n_replicas=64),
)
STACKS = Scales(
    StackSetting(n_source=16, target_lengths=(1, 256), dim=8, n_draws=4),
    StackSetting(),
    StackSetting(dim=32, n_draws=8),
)
DEPTHS = Scales(
    DepthSetting(rate=0.02, n_steps=180, target_lengths=(16, 1024), n_test=16),
    DepthSetting(),
    DepthSetting(n_source=16, n_target=32, target_lengths=(32, 128, 512, 2048), dim=32, n_steps=2_000, n_replicas=32),
)
