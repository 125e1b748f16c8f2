"""The papers, and the settings that claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.attention_ablation.grid import GridSetting
from attnlab.simulators.attention_ablation.maps import BalanceSetting, FormSetting, NewestSetting, OrderSetting

TITLE = "Deconstructing Attention: Investigating Design Principles for Effective Language Modeling"
paper = Paper(
    key="deconstructing_attention",
    title=TITLE,
    sources=[
        Source(
            authors="Huiyin Xue, Nafise Sadat Moosavi, Nikolaos Aletras", year=2025, arxiv="2510.11602", title=TITLE
        ),
        Source(
            authors="Peng Jin, Bo Zhu, Li Yuan, Shuicheng Yan",
            year=2024,
            arxiv="2410.11842",
            title="MoH: Multi-Head Attention as Mixture-of-Head Attention",
        ),
    ],
    statements={
        1: "Token mixing is indispensable: a gated MLP per token in the place of attention is near chance.",
        2: "The exact form and maps that depend on the input are not needed in every layer: hybrids with standard layers match "
        "standard models, even with variants that fail alone.",
        3: "Uniform models rank standard, approximate, maps without the input, then MLP and one score per key (non-approximate).",
        4: "Skipping the variant layers of a trained hybrid collapses it.",
        5: "Hybrids have smaller logits than uniform models with one score per key.",
        6: "Multi-head attention is a sum over heads, which a router may weigh and choose among, balanced by a loss.",
        7: "With 50 to 90 % of the heads active such mixtures beat multi-head attention of the same size.",
    },
)
paper.not_testable(
    7, "it is about trained image and language models of full size, which are not part of the laboratory"
)

GRID = GridSetting(n_replicas=32)
COPY = GridSetting(
    task="copy",
    layers=("standard",),
    size=2,
    n_keys=10,
    width=16,
    batch=16,
    learning_rate=0.01,
    n_steps=500,
    n_replicas=32,
)
REGRESSION = GridSetting(
    task="regression", layers=("standard",), size=3, n_keys=12, width=16, learning_rate=0.01, n_steps=800, n_replicas=32
)


def scaled(desk: GridSetting) -> Scales:
    """Half of the replicas and tests at smoke, more steps and wider models at paper."""
    return Scales(
        smoke=replace(desk, n_replicas=16),
        desk=desk,
        paper=replace(desk, n_replicas=64, n_steps=5 * desk.n_steps, width=2 * desk.width, n_test=8_000),
    )


GRIDS = scaled(GRID)
COPIES = scaled(COPY)
REGRESSIONS = scaled(REGRESSION)
NEWEST = Scales(NewestSetting(n_replicas=8), NewestSetting(), NewestSetting(n_draws=200_000, n_replicas=32))
FORMS = Scales(FormSetting(n_replicas=4), FormSetting(), FormSetting(n_tokens=400, n_replicas=32))
ORDERS = Scales(OrderSetting(n_tokens=6), OrderSetting(), OrderSetting(n_tokens=8))
BALANCES = Scales(BalanceSetting(), BalanceSetting(), BalanceSetting(n_heads=12))
paper.scales(smoke=GRIDS.smoke, desk=GRIDS.desk, paper=GRIDS.paper)
