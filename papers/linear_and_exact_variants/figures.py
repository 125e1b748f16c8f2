"""Figures: delta correction against the gap of anchors, leading directions of Loki, growth of cosine outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_and_exact_variants.claims_of_caches import correlations
from attnlab.papers.linear_and_exact_variants.claims_of_corrections import lags
from attnlab.papers.linear_and_exact_variants.paper import ANCHORS, DIRECTIONS, GROWTH, paper
from attnlab.simulators.linear_variants.exact_forms import GrowthSetting, cosine_growth
from attnlab.simulators.sparse_selection.corrections import AnchorSetting, DirectionSetting, anchors, directions
from attnlab.theory.linear_variants import cosine_linear
from attnlab.theory.sparse_selection import delta, loki, retained_mass

GAPS, MEMORIES = (4, 16, 64), (0.9, 0.99, 0.999)


@paper.figure(
    "fig1",
    caption="Delta correction on rows of a fixed quarter of the keys, scores of spread 1, queries of autocorrelation rho per "
    "step. (a) "
    "Squared error over the uncorrected one against the gap of anchors: law (lines) and measured (points); above 1 the "
    "correction hurts, "
    "which is where the mean autocorrelation of the error is below 1/2. (b) Mean cosine of outputs with full attention's, "
    "corrected and "
    "not. Means and 95 % intervals over replicas",
    source="first figure of the sheet",
    setting=ANCHORS,
    claims=("when_the_correction_helps", "anchors_alone_help_less"),
)
def correction(setting: AnchorSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    panel, beside = plate[0, 0], plate[0, 1]
    for rho in MEMORIES:
        cells = [replace(setting, score_std=1.0, correlation=rho, gap=g, n_blocks=8, n_replicas=4) for g in GAPS]
        law = [
            delta.error_ratio(delta.subset_autocorrelation_limit(lags(cell), cell.dim, cell.score_std))
            for cell in cells
        ]
        every = lab.simulate(anchors, *cells)
        figures.prediction(panel, GAPS, np.array(law), f"ρ = {rho:g}")
        figures.measurement(panel, GAPS, np.stack([runs["corrected"] for runs in every], 1), f"ρ = {rho:g}")
        figures.measurement(
            beside, GAPS, np.stack([runs["cosine_corrected"] for runs in every], 1), f"ρ = {rho:g}, corrected"
        )
    figures.measurement(beside, GAPS, np.stack([runs["cosine_sparse"] for runs in every], 1), "sparse alone")
    figures.reference(panel, "no gain", y=1.0)
    for each, label in ((panel, "squared error over uncorrected"), (beside, "cosine with full attention")):
        each.scale(x="log")
        each.ticks(x=GAPS)
        each.labels(x="gap g of anchors [tokens]", y=label)
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig2",
    caption="Loki with keys of variances c^-2: (a) overlap (Jaccard) of the quarter of the keys chosen by r leading "
    "directions with the "
    "best quarter, (b) softmax mass kept. Lines: Gaussian laws, means over the queries drawn; dashed: the law with the explained "
    "variance for every query. Points: means and 95 % intervals over replicas",
    source="second figure of the sheet",
    setting=DIRECTIONS,
    claims=("leading_directions_rank", "a_quarter_loses_little"),
)
def leading_directions(setting: DirectionSetting, lab: Lab) -> figures.Plate:
    numbers = (1, 2, 4, 8, 16, 32)
    cell = replace(setting, directions=numbers, n_draws=4, n_replicas=12)
    runs = lab.simulate(directions, cell)
    rho, s, f = correlations(runs, cell), cell.score_std, cell.share
    plate = figures.Plate(columns=2, width="double")
    spectrum = np.arange(1, cell.dim + 1.0) ** -cell.exponent
    explained = [loki.explained_variance(spectrum, r) ** 0.5 for r in numbers]
    for panel, name, law in (
        (plate[0, 0], "jaccard", lambda x: loki.jaccard_limit(float(x), f)),
        (plate[0, 1], "kept", lambda x: retained_mass.proxy_mass_limit(s, f, float(x))),
    ):
        figures.prediction(panel, numbers, np.vectorize(law)(rho).mean((0, 1)), "law of each query")
        figures.prediction(panel, numbers, np.array([law(x) for x in explained]), "explained variance")
        figures.measurement(panel, numbers, runs[name].mean(1), "measured", series="law of each query")
        panel.scale(x="log")
        panel.ticks(x=numbers)
    plate[0, 0].labels(x="leading directions r", y="Jaccard with the best quarter")
    figures.reference(plate[0, 1], "best quarter", y=retained_mass.oracle_mass_limit(s, f))
    plate[0, 1].labels(x="leading directions r", y="softmax mass kept")
    plate.legend("below", columns=2)
    return plate


@paper.figure(
    "fig3",
    caption="Cosine attention: root mean square of an output channel over that of a value against the number of keys, without "
    "a mask and "
    "in the last causal row, and without the power of the count (lines: laws; points: means and 95 % intervals over replicas)",
    source="section B of the sheet",
    setting=GROWTH,
    claims=("growth_of_cosine_outputs",),
)
def growth(setting: GrowthSetting, lab: Lab) -> figures.Plate:
    plate, lengths = figures.Plate(), (4, 16, 64, 256)
    runs = lab.simulate(cosine_growth, replace(setting, lengths=lengths, n_draws=50, n_replicas=8))
    mu, d, fine = setting.power, setting.dim, np.unique(np.geomspace(4, 256, 30).astype(int))
    cells = {
        "without a mask": ("whole", [cosine_linear.output_size(int(n), d, mu) for n in fine]),
        "causal": ("causal", [cosine_linear.causal_output_size(int(n), d, mu) for n in fine]),
    }
    for label, (name, law) in cells.items():
        figures.prediction(plate[0, 0], fine, np.array(law), label)
        figures.measurement(plate[0, 0], lengths, np.sqrt(runs[name]), label)
    figures.prediction(
        plate[0, 0], fine, np.array([cosine_linear.output_size(int(n), d) for n in fine]), "no power of the count"
    )
    plate[0, 0].scale(x="log", y="log")
    plate[0, 0].labels(x="number of keys n", y="root mean square of an output")
    plate.legend("below")
    return plate
