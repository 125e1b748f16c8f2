"""Fan, Huang and He 2025: the rank of linear attention, and what weighting the buffer and gating the output do to it.

Letters of the paper: N tokens, key width d_k, value width d_v, buffer B = sum_j alpha_j kappa(k_j)^T v_j, gate phi(X). Exact
ranks are computed on integer matrices; "effective rank" is the exponential of the entropy of the normalised singular values.
"""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.low_rank.augmentation import Setting
from attnlab.simulators.low_rank.counts import CountSetting
from attnlab.simulators.low_rank.exact_ranks import ExactSetting
from attnlab.simulators.low_rank.recall import RecallSetting

TITLE = "Breaking the Low-Rank Dilemma of Linear Attention"
paper = Paper(
    key="rala_low_rank",
    title=TITLE,
    sources=[
        Source(
            authors="Qihang Fan, Huaibo Huang, Ran He",
            year=2025,
            arxiv="2411.07635",
            title=TITLE,
            venue="Conference on Computer Vision and Pattern Recognition",
        )
    ],
    statements={
        1: "Linear attention is less accurate because its buffer and its output have lower numerical rank than softmax "
        "attention's.",
        2: "Weighting every key-value product by a coefficient of the context (positive, with sum N) augments the buffer's "
        "rank.",
        3: "Multiplying the output entrywise by a linear map of the token augments the output's rank.",
        4: "Both together match softmax attention, at a cost linear in the number of tokens.",
        5: "Ranks of attention matrix, buffer and output obey exact bounds; ranks of Hadamard products multiply.",
    },
)
DESK = Setting(n_replicas=32)
paper.scales(smoke=replace(DESK, n_replicas=16), desk=DESK, paper=replace(DESK, n_tokens=784, dim=64, n_replicas=64))
EXACT = Scales(smoke=ExactSetting(), desk=ExactSetting(), paper=ExactSetting(n_replicas=64))
COUNTS = Scales(smoke=CountSetting(), desk=CountSetting(), paper=CountSetting())
RECALL = RecallSetting(n_tokens=16, learning_rate=0.01, n_steps=2_000, n_replicas=32)
RECALLS = Scales(
    smoke=replace(RECALL, n_steps=1_000, n_replicas=16),
    desk=RECALL,
    paper=replace(RECALL, n_tokens=64, key_dim=16, value_dim=16, value_size=16, key_size=16, n_steps=20_000),
)
