"""Claims on the scalar model of scanning and snapping: growth, and when faster decoders attend less (statements 6, 7)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, relative, rounding
from attnlab.papers.lab.conditions import at_least, outside, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import paper, scales
from attnlab.simulators.token_selection.scan import ScanSetting, scan_flow
from attnlab.theory.token_selection import attention

RANDOM = scales(ScanSetting(n_replicas=32), published={"n_steps": 20_000})


def exposures(runs, times, law):
    """B ``(replica, time)`` by a law of Gamma and C_0, at ``times (replica, time)``."""
    names = ("classes", "vocabulary", "decoder_rate", "attention_rate", "scale")
    return np.stack(
        [
            law(attention.speed_integral_exact(t, K, int(M), y, z), C0)
            for t, K, M, y, z, C0 in zip(times, *(runs[n] for n in names), strict=True)
        ]
    )


COARSE = 1e-3  # relative error from which the integration says nothing


def integrator(setting, runs):
    """Relative error of the fourth-order steps: the largest change of 4 B in a step, the step times its rate, to the fourth."""
    roots = np.linspace(0, 1, setting.n_steps + 1)
    fine = exposures(runs, runs["time"][:, -1:] * roots**2, attention.exposure_exact)
    return (4 * np.diff(fine, axis=1).max()) ** 4


def judged_exposure(setting, lab, law, label, other):
    """The integrated exposure against a law and its rival, early, in the middle of sqrt(t) and at the end."""
    runs = lab.simulate(scan_flow, setting)
    predicted, rival = (exposures(runs, runs["time"], each) for each in (law, other))
    if (error := integrator(setting, runs)) > COARSE:
        return outside(
            f"n_steps={setting.n_steps}: a step times the rate of the flow reaches {error**0.25:.2g}, too coarse"
        )
    return all_of(
        *(
            agrees(
                runs["exposure"][:, k],
                predicted[:, k],
                within=budget(
                    relative(error, np.abs(predicted[:, k]).max(), "Runge-Kutta steps"),
                    rounding(4 * setting.n_steps, np.abs(predicted[:, k]).max()),
                ),
                of="every replica",
                twin=Twin.of(label, predicted=rival[:, k]),
                null=runs["exposure"][:, 0],
            ).named(name)
            for name, k in (("early", 1), ("middle", setting.n_records // 2), ("end", -1))
        )
    )


@paper.claim(
    "scan_growth",
    source="corrects the theorem on scanning and snapping, Section 5",
    statements=[6],
    kind="extrapolation",
    parts=3,
    setting=RANDOM,
    formula="B(t) = ln(1 + 4 Gamma(t) / C_0) / 4, Gamma = (eta_Z / eta_Y) K (M - 1)^2 h^2 / 2",
    assumptions=["one common token, frozen normalisers", "random C_0, M, K and rates, up to 20 K ln M / eta_Y"],
    judged="integrated exposure of every replica at three times, within the fourth power of the integrator's steps times the "
    "rate of the flow, and rounding",
)
def scan_growth(setting: ScanSetting, lab: Lab) -> Verdict:
    """The exposure of distinct tokens is a quarter of ln(1 + 4 Gamma / C_0).

    Twin: the printed form, ln(C_0 + 4 Gamma) / 4. Null control: the exposure at the start.
    """
    return judged_exposure(setting, lab, attention.exposure_exact, "printed form", attention.exposure_published)


@paper.claim(
    "scan_growth_printed",
    source="Theorem on scanning and snapping, Section 5",
    statements=[6],
    expected="REFUTED",
    parts=3,
    setting=RANDOM,
    formula="B(t) = ln(C_0 + 4 Gamma(t)) / 4",
    assumptions=["one common token, frozen normalisers", "random C_0, M, K and rates"],
    judged="as scan_growth",
    note="The printed form is off by -ln(C_0) / 4 at all times, at the start as well, where B = 0; see scan_growth.",
)
def scan_growth_printed(setting: ScanSetting, lab: Lab) -> Verdict:
    """The exposure of distinct tokens is a quarter of ln(C_0 + 4 Gamma). False unless C_0 = 1."""
    return judged_exposure(setting, lab, attention.exposure_published, "corrected form", attention.exposure_exact)


FASTER = 1.05
FLIP = ScanSetting(decoder_rates=(1.0, 1.0), end=6.0, n_records=600, n_steps=2_400, faster=FASTER, n_replicas=32)


@paper.claim(
    "denser_after",
    source="corrects Section 5: larger eta_Y gives denser attention",
    statements=[7],
    kind="extrapolation",
    setting=scales(FLIP),
    reads=("faster", "n_records"),
    covers={
        "faster": that(lambda x: 1 < x <= 1.2, "in (1, 1.2]", "the sign of a derivative shows in close rates"),
        "end": at_least(3, "the change of sign has to come before the end"),
        "n_records": at_least(100, "the change of sign is read between two records"),
    },
    formula="dB/d eta_Y changes sign at t = (K / eta_Y)(e^u + (M - 1) u - 1) / M, (u - 2) e^u = (M - 1) u - 2",
    assumptions=["one common token, frozen normalisers", "fixed eta_Z, random C_0, M, K"],
    judged="every replica: the time, in units of K ln M / eta_Y, at which B of a decoder 1.05 times as fast falls below that of "
    "the slower one, within (ln 1.05)^2, the next order of their difference, and the spacing of the records",
)
def denser_after(setting: ScanSetting, lab: Lab) -> Verdict:
    """At fixed eta_Z a larger decoder rate first strengthens the growth of attention and weakens it only after a later time.

    Twin: K ln M / eta_Y, half of the paper's t_0, as that time.
    """
    runs = lab.simulate(scan_flow, setting)
    ahead = runs["exposure_faster"] - runs["exposure"]
    last, rows = np.array([np.flatnonzero(row > 0)[-1] for row in ahead]), np.arange(runs.n)
    share = ahead[rows, last] / (ahead[rows, last] - ahead[rows, last + 1])
    time = runs["time"][rows, last] + share * (runs["time"][rows, last + 1] - runs["time"][rows, last])
    names, between = ("classes", "vocabulary", "decoder_rate"), setting.faster**0.5
    expected = np.array(
        [
            attention.denser_after_exact(K, int(M), eta * between)
            for K, M, eta in zip(*(runs[n] for n in names), strict=True)
        ]
    )
    unit = runs["classes"] * np.log(runs["vocabulary"]) / runs["decoder_rate"]
    largest = float((expected / unit).max())
    return agrees(
        time / unit,
        expected / unit,
        within=budget(
            relative(np.log(setting.faster) ** 2, largest, "next order of close rates"),
            relative((2 / setting.n_records) ** 2, largest * setting.end, "records"),
        ),
        of="every replica",
        twin=Twin.of("K ln M / eta_Y", predicted=1.0),
    )
