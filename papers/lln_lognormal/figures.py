"""Figures: entropy, variance and spectral gap against temperature; the log-variance of sums of log-normal numbers."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lln_lognormal.paper import LOG_NORMAL_ROWS, MAPS, paper
from attnlab.simulators.score_statistics.attention_maps import MapSetting, spectra
from attnlab.simulators.score_statistics.attention_rows import LogNormalRowSetting, log_normal_rows
from attnlab.theory.linear_variants import log_normal as operator
from attnlab.theory.score_statistics import attention_rows as rows
from attnlab.theory.score_statistics import log_normal_sums as sums
from attnlab.theory.score_statistics import spectra as eigenvalues


@paper.figure(
    "fig1",
    caption="Softmax maps of independent Gaussian queries and keys against the temperature 1 / sigma: mean entropy of the rows, "
    "relative variance of the weights, and second eigenvalue, with the log-normal laws and the laws at these sizes",
    source="figure on entropy, variance and spectral gap",
    setting=MAPS,
    claims=("temperature_orders_maps", "second_eigenvalue"),
)
def temperature(setting: MapSetting, lab: Lab) -> figures.Plate:
    runs, n, d = lab.simulate(spectra, setting), setting.n, setting.dim
    plate = figures.Plate(columns=3, width="double")
    spreads = np.geomspace(0.9 * min(setting.spreads), 1.1 * max(setting.spreads), 30)
    taus, places = 1 / spreads, 1 / np.array(setting.spreads)
    exact = [rows.relative_variance_exact(n, d, s) for s in spreads]
    laws = (
        ("entropy", [rows.entropy_limit(n, s) for s in spreads], [rows.entropy_exact(n, d, s) for s in spreads]),
        ("relative_variance", [rows.relative_variance_limit(s) for s in spreads], exact),
        (
            "second",
            [eigenvalues.second_eigenvalue_limit(n, s) for s in spreads],
            [eigenvalues.second_eigenvalue_approx(n, d, s)[0] for s in spreads],
        ),
    )
    labels = "mean entropy (nats)", r"$n^2 \mathrm{Var}(P)$", r"$|\lambda_2|$"
    for panel, (name, limit, finite), label in zip(plate, laws, labels, strict=True):
        figures.prediction(panel, taus, limit, "log-normal law")
        figures.prediction(panel, taus, finite, "law at n and d")
        figures.measurement(panel, places, runs[name], "maps drawn")
        panel.scale(x="log", y="linear" if name == "entropy" else "log")
        panel.labels(x=r"temperature $1 / \sigma$", y=label)
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Variance of ln P within rows of linear log-normal attention against s, the variance of its exponents: exact law, "
    "Fenton's law for one log-normal number, and the line through s = 2 and 6",
    source="figure on moment matching",
    setting=LOG_NORMAL_ROWS,
    claims=("log_variance_of_sums", "moment_matching"),
)
def log_variances(setting: LogNormalRowSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(log_normal_rows, setting)
    plate = figures.Plate()
    panel, fine = plate[0], np.linspace(0.2, 6.0, 30)
    exact = [sums.mean_log_variance_exact(setting.dim, float(s)) for s in fine]
    fenton = [
        operator.log_variance_of_one_log_normal(sums.mean_relative_variance_exact(setting.dim, float(s))) for s in fine
    ]
    low, high = (sums.mean_log_variance_exact(setting.dim, s) for s in (2.0, 6.0))
    figures.prediction(panel, fine, exact, "exact")
    figures.prediction(panel, fine, fenton, "Fenton")
    figures.prediction(panel, fine, low + (fine - 2) * (high - low) / 4, "a line")
    figures.measurement(panel, setting.scales, runs["log_variance"].mean(2), "rows drawn")
    panel.labels(x="variance s of the exponents", y=r"variance of $\ln P$ within rows")
    plate.legend("below")
    return plate
