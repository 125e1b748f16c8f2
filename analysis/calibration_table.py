"""The committed table of how the judges are calibrated: run it, write it as Markdown and CSV."""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import astuple, fields
from pathlib import Path

from attnlab.analysis.calibration import REPLICAS, Row, measure, normal_power, trials

COMMAND = "python -m attnlab.analysis.calibration --out docs/measured"

_HEAD = """# How the judges are calibrated

Written by `{command} --runs {runs} --seed {seed}`; every number is a fraction of {runs} synthetic claims at confidence
{confidence:g} (error {error:.3g}).

*Wrongly refuted*: the claim lies on the edge of its margin, just true; *wrongly holds*: a hair beyond, just false.
There a judge is worst. Each may happen to at most half of the error, {half:.2%}, the other half belonging to the other
end of the interval; the worse of the two edges is shown. **Bold** is beyond what chance allows (binomial tail below
0.001). *Sees 1, 2, 3 sd*: share refuted of claims whose truth lies 1, 2, 3 standard deviations of a replica outside the
margin (of its slope, rate, distance or angle where the judge is about these).

What to read off it:

- Means of normal, uniform or heavy-tailed symmetric replicas, shares, medians and slopes err as stated or less often.
- A mean over *skewed* replicas errs more often than stated: no interval for a mean is right for every distribution
  (Bahadur and Savage 1956). Judge the median, or logarithms, or let each replica be an average itself. A verdict on a
  mean says so in its reason when the replicas at hand look skewed, but 8 of them often do not.
- Medians make no assumption; at confidence 0.99 they need 8 replicas, and 12 at 0.9995.
- Replicas that are all equal decide nothing about a mean (a coin with 20 % heads shows 8 tails in 17 % of runs).
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure all trials and write ``judges_calibration.md`` and ``judges_calibration.csv``."""
    parser = argparse.ArgumentParser(prog="python -m attnlab.analysis.calibration", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/measured"), help="folder of the two files")
    parser.add_argument("--runs", type=int, default=5000, help="synthetic claims for each number")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs must be at least 1, got {options.runs}")
    rows = [measure(trial, n, runs=options.runs, seed=options.seed, power_runs=max(1, options.runs // 5))
            for trial in trials() for n in REPLICAS]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "judges_calibration.csv").write_text(as_csv(rows), encoding="utf-8")
    (options.out / "judges_calibration.md").write_text(as_markdown(rows, options.runs, options.seed), encoding="utf-8")


def as_csv(rows: list[Row]) -> str:
    """One line a row, with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def as_markdown(rows: list[Row], runs: int, seed: int) -> str:
    """The page: what it shows, the errors and powers, and the exact power of a mean of normal replicas."""
    error = 2 * rows[0].stated
    lines = [_HEAD.format(command=COMMAND, runs=runs, seed=seed, confidence=1 - error, error=error, half=error / 2),
             "| judge | data | n | wrongly refuted | wrongly holds | sees 1 sd | 2 sd | 3 sd |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        mark = "**" if row.too_often else ""
        errors = f"{mark}{row.wrongly_refuted:.2%}{mark} | {mark}{row.wrongly_holds:.2%}{mark}"
        lines.append(f"| {row.judge} | {row.data} | {row.n} | {errors} | {row.sees_1:.3f} | {row.sees_2:.3f} | "
                     f"{row.sees_3:.3f} |")
    return "\n".join([*lines, "", *_planning()]) + "\n"


def _planning() -> list[str]:
    """How many replicas: the exact power for normal replicas, in per cent of the prediction and for a shared budget."""
    lines = ["## How many replicas", "",
             "Exact probability (non-central t) that a mean of normal replicas is refuted when its truth lies outside",
             "the margin by the stated part of the prediction, for replicas that scatter by 5 % of it; at confidence",
             "0.99, and at 0.9995, the part of one of 20 verdicts in a budget of 1 % a run.", "",
             "| n | confidence | 2 % | 5 % | 10 % | 20 % |", "|--:|--:|--:|--:|--:|--:|"]
    for n in REPLICAS:
        for confidence in (0.99, 0.9995):
            powers = (normal_power(n, off / 5, confidence) for off in (2, 5, 10, 20))
            lines.append(f"| {n} | {confidence:g} | " + " | ".join(f"{power:.3f}" for power in powers) + " |")
    return lines
