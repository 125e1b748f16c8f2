"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.score_statistics.denoising import DenoisingSetting
from attnlab.simulators.score_statistics.rows import RivalSetting, RowSetting
from attnlab.simulators.score_statistics.selectivity import DilutionSetting, SelectivitySetting
from attnlab.theory.score_statistics.selectivity import temperature_for_weight

TITLE = "Selective Attention: Enhancing Transformer through Principled Context Control"
paper = Paper(
    key="ssa_temperature",
    title=TITLE,
    sources=[
        Source(
            authors="Xuechen Zhang, Xiangyu Chang, Mingchen Li, Amit Roy-Chowdhury, Jiasi Chen, Samet Oymak",
            year=2024,
            arxiv="2411.12892",
            title=TITLE,
            venue="Advances in Neural Information Processing Systems",
        )
    ],
    statements={
        1: "Queries and values are multiplied by temperatures tanh f(x) + 1 + sigma(a) log n before standard attention.",
        2: "A temperature on queries separates what is similar from how sparse the map is: without it W must be much larger to "
        "be sharp for one query and flat for a similar one.",
        3: "At fixed logits the weight of the relevant token decays with the length; an inverse temperature that grows like "
        "log L keeps it constant.",
        4: "A gate on values suppresses uninformative tokens, which convex weights cannot, and approaches the Bayes "
        "estimator.",
        5: "The spikiness |p|_1 / (L |p|_2^2) of a row lies in [1/L, 1]; lower is spikier.",
        6: "Without nonlinearities early heads sit near the largest entropy and deep ones near 0; a penalty on entropy "
        "moves them.",
        7: "For Gaussian scores the entropy is kept by a spread that grows like the square root of log L, for bounded gaps by "
        "log L.",
    },
)
paper.not_testable(1, "it defines the operator; what it does is stated by the others")
paper.not_testable(6, "it is about language models trained without nonlinearities, which are not part of this project")

LENGTHS = (16, 64, 256, 1024, 4096, 65536)
KEPT = 0.9  # the weight that position temperatures keep
GAP = 4.0
ROWS = Scales(
    smoke=RowSetting(n_keys=2048, spreads=(0.25, 0.5), n_rows=64, n_replicas=16),
    desk=RowSetting(),
    paper=RowSetting(65536),
)
RIVALS = Scales(
    smoke=RivalSetting(n_rows=64, n_replicas=16), desk=RivalSetting(), paper=RivalSetting(65536, n_replicas=64)
)
NORMS = Scales(SelectivitySetting(n_replicas=2), SelectivitySetting(), SelectivitySetting(dim=64))
FIXED = DilutionSetting(LENGTHS, GAP, (1.0,) * len(LENGTHS))
DILUTION = Scales(*[FIXED] * 3)
DENOISING = Scales(
    smoke=DenoisingSetting(n_tasks=500, n_replicas=16), desk=DenoisingSetting(), paper=DenoisingSetting(n_tokens=1024)
)
paper.scales(smoke=ROWS.smoke, desk=ROWS.desk, paper=ROWS.paper)


def kept(setting: DilutionSetting, slope: float = 1.0) -> DilutionSetting:
    """The setting with the temperatures that keep the weight, or another multiple of their growth with log L."""
    first = temperature_for_weight(KEPT, setting.gap, setting.lengths[0])
    laws = [temperature_for_weight(KEPT, setting.gap, length) for length in setting.lengths]
    return replace(setting, inverse_temperatures=tuple(first + slope * (law - first) for law in laws))
