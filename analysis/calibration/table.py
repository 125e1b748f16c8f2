"""The committed table of how the judges are calibrated: run it, write it as Markdown and CSV."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from attnlab.analysis.calibration import ledger_rates
from attnlab.analysis.calibration.trials import REPLICAS, Row, measure, normal_power, trials
from attnlab.analysis.judges.resolution import unresolved

COMMAND = "python -m attnlab.analysis.calibration.table --out docs/measured"

_HEAD = """# How the judges are calibrated

Written by `{command} --runs {runs} --seed {seed}`.

## At the confidences of the ledger

A run's budget of 1 % is shared by its verdicts, so a judge may err with a probability of 1e-3 to 1e-5, where intervals are
hardest. {sets} data sets per cell, all judged at once; each number is how often a judge errs towards the worse side at the
edge of its margin, *in units of what is stated*: 1 is as stated, **bold** is more than twice as often, beyond chance
(binomial tail below 0.001). Two looks: n replicas at half the error, and 2 n at the other half where n did not decide.

What to read off it:

- Student's interval ("plain t") errs 26 to 600 times more often than stated on exponential and lognormal replicas.
  Judges decide by the guarded interval, wider by the factor that lognormal replicas of log-sd 1 need (2.9 at n = 8,
  2.2 at n = 32): it errs at most twice as often as stated on all four laws. The price is power: a median is narrower
  from n = 16 on and assumes nothing; it needs 13 replicas.
- With 10 % of replicas stuck far away no method sees at n = 8 what it did not draw: 43 % of samples hold none. There a
  verdict on a mean is about the modes that were seen, and says how large a second one may be (1 - alpha^(1/n), 61 % at
  n = 8 and error 5e-4).
  If one to four are drawn, the interval reaches over both groups and decides nothing that is not true of both.
- Values with known bounds are judged by betting, right for every law.

{ledger}

## Every judge, at confidence {confidence:g}

Every number is a fraction of {runs} synthetic claims ({power_runs} for the power).

*Wrongly refuted*: the claim lies on the edge of its margin, just true; *wrongly holds*: a hair beyond, just false.
There a judge is worst. Each may happen to at most half of the error, {half:.2%}, the other half belonging to the other
end of the interval; the worse of the two edges is shown. **Bold** is beyond what chance allows (binomial tail below
0.001). *Sees 1, 2, 3 sd*: share refuted of claims whose truth lies 1, 2, 3 standard deviations of a replica outside the
margin (of its slope, rate, distance or angle where the judge is about these).

- Medians make no assumption; at confidence 0.99 they need 8 replicas, and 12 at 0.9995.
- Rare events are no matter for a mean: judge their share, or give the bounds. Replicas that are all equal decide nothing
  about a mean (a coin with 20 % heads shows 8 tails in 17 % of runs).
- Looking four times on growing data, with the ledger's looks, costs no more error than looking once.
- `settles` errs and sees like a mean where the curves have come to rest. Curves still on their way are left undecided.
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure all trials and write ``judges_calibration.md`` and ``judges_calibration.csv``."""
    parser = argparse.ArgumentParser(prog="python -m attnlab.analysis.calibration.table", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/measured"), help="folder of the two files")
    parser.add_argument("--runs", type=int, default=1000, help="synthetic claims for each number")
    parser.add_argument("--sets", type=int, default=100_000, help="data sets for each cell at the ledger's confidences")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs must be at least 1, got {options.runs}")
    cells = ledger_rates.measure(options.sets, options.seed)
    with unresolved():
        rows = [
            measure(trial, n, runs=options.runs, seed=options.seed, power_runs=power_runs(options.runs))
            for trial in trials()
            for n in REPLICAS
        ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "judges_calibration.csv").write_text(as_csv(rows), encoding="utf-8")
    (options.out / "judges_calibration_ledger.csv").write_text(as_csv(cells), encoding="utf-8")
    page = as_markdown(rows, cells, options.seed)
    (options.out / "judges_calibration.md").write_text(page, encoding="utf-8")


def power_runs(runs: int) -> int:
    """Claims spent on the power: shares near one half need fewer than errors near zero."""
    return max(1, runs // 5)


def as_csv(rows: Sequence[Row] | Sequence[ledger_rates.Cell]) -> str:
    """One line per row, with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(rows[0]))
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def as_markdown(rows: list[Row], cells: list[ledger_rates.Cell], seed: int) -> str:
    """The page: what it shows, the errors and powers, and the exact power of a mean of normal replicas."""
    error, runs = 2 * rows[0].stated, rows[0].runs
    lines = [
        _HEAD.format(
            command=COMMAND,
            runs=runs,
            power_runs=power_runs(runs),
            seed=seed,
            confidence=1 - error,
            half=error / 2,
            ledger="\n".join(ledger_rates.table(cells)),
            sets=f"{cells[0].runs:,}",
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
