"""The committed table of how the judges are calibrated: run it, write it as Markdown and CSV."""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import astuple, fields
from pathlib import Path

from attnlab.analysis.calibration.trials import REPLICAS, Row, measure, normal_power, trials

COMMAND = "python -m attnlab.analysis.calibration.table --out docs/measured"

_HEAD = """# How the judges are calibrated

Written by `{command} --runs {runs} --seed {seed}`.
Every number is a fraction of {runs} synthetic claims ({power_runs} for the power) judged at confidence {confidence:g}.

*Wrongly refuted*: the claim lies on the edge of its margin, just true; *wrongly holds*: a hair beyond, just false.
There a judge is worst. Each may happen to at most half of the error, {half:.2%}, the other half belonging to the other
end of the interval; the worse of the two edges is shown. **Bold** is beyond what chance allows (binomial tail below
0.001). *Sees 1, 2, 3 sd*: share refuted of claims whose truth lies 1, 2, 3 standard deviations of a replica outside the
margin (of its slope, rate, distance or angle where the judge is about these).

What to read off it:

- Means of normal, uniform or heavy-tailed symmetric replicas, shares, medians, slopes and rates err as stated or less,
  as far as {runs} claims can tell.
- A mean over *skewed* replicas errs more often than stated, up to ten times for 8 exponential ones: no interval for a
  mean is right for every distribution (Bahadur and Savage 1956). Judge the median, or logarithms, or let each replica be
  an average itself. A verdict on a mean says so in its reason when the replicas at hand look skewed, but 8 of them often
  do not. This is at the edge of the margin; a margin that is wide against the scatter makes up for much of it.
- Mean angles and mean largest distances are a little skewed, too; "every replica" and medians are not concerned.
- Medians make no assumption; at confidence 0.99 they need 8 replicas, and 12 at 0.9995.
- Rare events are no matter for a mean: judge their share. Replicas that are all equal decide nothing about a mean (a
  coin with 20 % heads shows 8 tails in 17 % of runs), but at n = 32 its mean errs six times too often, its share never.
- Looking four times on growing data, with the ledger's looks, costs no more error than looking once.
- `settles` errs and sees like a mean where the curves have come to rest. Curves still on their way are left undecided.
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure all trials and write ``judges_calibration.md`` and ``judges_calibration.csv``."""
    parser = argparse.ArgumentParser(prog="python -m attnlab.analysis.calibration.table", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/measured"), help="folder of the two files")
    parser.add_argument("--runs", type=int, default=5000, help="synthetic claims for each number")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs must be at least 1, got {options.runs}")
    rows = [
        measure(trial, n, runs=options.runs, seed=options.seed, power_runs=power_runs(options.runs))
        for trial in trials()
        for n in REPLICAS
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "judges_calibration.csv").write_text(as_csv(rows), encoding="utf-8")
    (options.out / "judges_calibration.md").write_text(as_markdown(rows, options.runs, options.seed), encoding="utf-8")


def power_runs(runs: int) -> int:
    """Claims spent on the power: shares near one half need fewer than errors near zero."""
    return max(1, runs // 5)


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
    lines = [
        _HEAD.format(
            command=COMMAND, runs=runs, power_runs=power_runs(runs), seed=seed, confidence=1 - error, half=error / 2
        ),
        "| judge | data | n | wrongly refuted | wrongly holds | sees 1 sd | 2 sd | 3 sd |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        errors = " | ".join(
            f"**{fraction:.2%}**" if row.too_often and fraction > row.stated else f"{fraction:.2%}"
            for fraction in (row.wrongly_refuted, row.wrongly_holds)
        )
        lines.append(
            f"| {row.judge} | {row.data} | {row.n} | {errors} | {row.sees_1:.3f} | {row.sees_2:.3f} | "
            f"{row.sees_3:.3f} |"
        )
    return "\n".join([*lines, "", *_planning()]) + "\n"


def _planning() -> list[str]:
    """How many replicas: the exact power for normal replicas, in per cent of the prediction and for a shared budget."""
    lines = [
        "## How many replicas",
        "",
        "Exact probability (non-central t) that a mean of normal replicas is refuted when its truth lies outside",
        "the margin by the stated part of the prediction, for replicas that scatter by 5 % of it; at confidence",
        "0.99, and at 0.9995, the part of one of 20 verdicts in a budget of 1 % a run.",
        "",
        "| n | confidence | 2 % | 5 % | 10 % | 20 % |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for n in REPLICAS:
        for confidence in (0.99, 0.9995):
            powers = (normal_power(n, off / 5, confidence) for off in (2, 5, 10, 20))
            lines.append(f"| {n} | {confidence:g} | " + " | ".join(f"{power:.3f}" for power in powers) + " |")
    return lines


if __name__ == "__main__":
    main()
