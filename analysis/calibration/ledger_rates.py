"""How often means and medians err at the confidences that a run's ledger gives its judges, in one look and in two.

100,000 data sets per cell, all judged at once in arrays (a test holds the arrays to the judges). At the edge of its margin a
true claim is wrongly refuted, and a hair beyond it a false one wrongly holds, exactly when the interval misses the edge
towards that side: that share is counted, for the worse side, in units of what is stated (half of the error).

``python -m attnlab.analysis.calibration.ledger_rates`` prints the tables.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.statistics.intervals import FEW, quantile_interval, skew_guard
from attnlab.analysis.statistics.sequences import BET, _bets

REPLICAS = (8, 16, 32)
ERRORS = (5e-4, 5e-5)  # of one judged part: 1 % over 20 parts of a paper, and over ten such papers
CHUNK = 20_000


@dataclass(frozen=True)
class Kind:
    """A law of replicas: how to draw an array of them, its mean, its median, and its bounds if it has any."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
    mean: float
    median: float
    bounds: tuple[float, float] | None = None


def _stuck(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return np.where(rng.random(shape) < 0.1, 5.0, 0.0) + 0.1 * rng.standard_normal(shape)


KINDS = (
    Kind("normal", lambda rng, shape: rng.standard_normal(shape), 0.0, 0.0),
    Kind("Student t3", lambda rng, shape: rng.standard_t(3, shape), 0.0, 0.0),
    Kind("exponential", lambda rng, shape: rng.standard_exponential(shape), 1.0, math.log(2)),
    Kind("lognormal 1", lambda rng, shape: np.exp(rng.standard_normal(shape)), math.exp(0.5), 1.0),
    Kind("10 % stuck", _stuck, 0.5, 0.1 * float(special.ndtri(0.5 / 0.9))),
    Kind("coin, 90 % ones", lambda rng, shape: (rng.random(shape) < 0.9).astype(float), 0.9, 1.0, (0.0, 1.0)),
    Kind("beta(4, 1)", lambda rng, shape: rng.beta(4, 1, shape), 0.8, 0.5**0.25, (0.0, 1.0)),
)


@dataclass(frozen=True)
class Cell:
    """One cell: the share of wrong verdicts towards the worse side, in units of the stated one."""

    judge: str
    law: str
    n: int
    looks: int
    error: float
    wrong: int
    runs: int

    @property
    def ratio(self) -> float:
        """Measured over stated."""
        return self.wrong / self.runs / (self.error / 2)

    @property
    def beyond(self) -> bool:
        """Whether it errs more than twice as often as stated, by more than chance (binomial tail below 1e-3)."""
        stated = min(1.0, self.error)  # twice the half
        return self.wrong > 0 and float(special.bdtrc(self.wrong - 1, self.runs, stated)) < 1e-3


def mean_ends(x: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray]:
    """The guarded t interval of every row, reaching over all values where they lie in two groups."""
    n = x.shape[1]
    centre, spread = x.mean(axis=1), x.std(axis=1, ddof=1)
    half = -special.stdtrit(n - 1, error / 2) * spread / math.sqrt(n) * skew_guard(n, 1 - error)
    low, high = centre - half, centre + half
    ordered = np.sort(x, axis=1)
    gaps = np.diff(ordered, axis=1)
    widest = gaps.argmax(axis=1)
    grouped = gaps.max(axis=1) > 0.9 * (ordered[:, -1] - ordered[:, 0])
    grouped &= np.minimum(widest + 1, n - widest - 1) < FEW
    return np.where(grouped, np.minimum(low, ordered[:, 0]), low), np.where(
        grouped, np.maximum(high, ordered[:, -1]), high
    )


def plain_ends(x: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Student's interval of every row, as it was judged by before."""
    n = x.shape[1]
    half = -special.stdtrit(n - 1, error / 2) * x.std(axis=1, ddof=1) / math.sqrt(n)
    return x.mean(axis=1) - half, x.mean(axis=1) + half


def median_ends(x: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray]:
    """The order statistics that enclose the median of every row; infinite where n is too small."""
    n = x.shape[1]
    low, high = quantile_interval(np.arange(n, dtype=float), 0.5, 1 - error)
    ordered = np.sort(x, axis=1)
    blank = np.full(len(x), np.inf)
    return (
        ordered[:, int(low)] if math.isfinite(low) else -blank,
        ordered[:, int(high)] if math.isfinite(high) else blank,
    )


def betting_misses(x: np.ndarray, mean: float, error: float) -> np.ndarray:
    """Whether betting rejects the true mean of every row in [0, 1] at some of its values (the grid only widens)."""
    bets = np.array([_bets(row, error) for row in x])
    up, down = np.minimum(bets, BET / max(mean, 1e-12)), np.minimum(bets, BET / max(1 - mean, 1e-12))
    gain = np.cumsum(np.log1p(up * (x - mean)), axis=1)
    loss = np.cumsum(np.log1p(-down * (x - mean)), axis=1)
    return (np.maximum(gain, loss) + math.log(0.5) >= math.log(1 / error)).any(axis=1)


def wrong_sides(
    ends: Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    n: int,
    truth: float,
    error: float,
    looks: int,
) -> np.ndarray:
    """Counts of data sets whose interval misses the truth from above and from below, in one look or two.

    Two looks: n values at half the error; where the interval holds the edge nothing is decided, and 2 n values are judged
    at the other half.
    """
    low, high = ends(x[:, :n], error / looks)
    above, below = low > truth, high < truth
    if looks == 2:
        low, high = ends(x[:, : 2 * n], error / 2)
        undecided = ~(above | below)
        above, below = above | (undecided & (low > truth)), below | (undecided & (high < truth))
    return np.array([above.sum(), below.sum()])


def measure(runs: int, seed: int) -> list[Cell]:
    """All cells: the guarded mean, the plain t interval beside it, the median, and betting where there are bounds."""
    cells = []
    for kind in KINDS:
        judges = {
            "mean": (mean_ends, kind.mean),
            "mean, plain t": (plain_ends, kind.mean),
            "median": (median_ends, kind.median),
        }
        for n in REPLICAS:
            counts: dict[tuple[str, int, float], np.ndarray] = {}
            for start in range(0, runs, CHUNK):
                rng = np.random.default_rng([seed, n, start, *kind.name.encode()])
                x = kind.draw(rng, (min(CHUNK, runs - start), 2 * n))
                for error in ERRORS:
                    for looks in (1, 2):
                        for name, (ends, truth) in judges.items() if kind.bounds is None else ():
                            found = wrong_sides(ends, x, n, truth, error, looks)
                            counts[name, looks, error] = counts.get((name, looks, error), 0) + found
                    if kind.bounds is not None:
                        missed = betting_misses(x[:, :n], kind.mean, error).sum()
                        key = ("mean in known bounds", 1, error)
                        counts[key] = counts.get(key, 0) + np.array([missed / 2, missed / 2])
            cells += [
                Cell(name, kind.name, n, looks, error, int(np.ceil(found.max())), runs)
                for (name, looks, error), found in counts.items()
            ]
    return cells


def table(cells: list[Cell]) -> list[str]:
    """Markdown: one row for each judge, law and n; a column for each error and number of looks."""
    columns = [(error, looks) for error in ERRORS for looks in (1, 2)]
    lines = [
        "| judge | law | n | "
        + " | ".join(f"{error:g}, {looks} look{'s' * (looks > 1)}" for error, looks in columns)
        + " |",
        "|---|---|--:|" + "--:|" * len(columns),
    ]
    found = {(c.judge, c.law, c.n, c.error, c.looks): c for c in cells}
    for judge, law, n in dict.fromkeys((c.judge, c.law, c.n) for c in cells):
        shown = []
        for error, looks in columns:
            cell = found.get((judge, law, n, error, looks))
            text = "" if cell is None else f"{cell.ratio:.2g}"
            shown.append(f"**{text}**" if cell is not None and cell.beyond else text)
        lines.append(f"| {judge} | {law} | {n} | " + " | ".join(shown) + " |")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m attnlab.analysis.calibration.ledger_rates", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="data sets per cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print("\n".join(table(measure(options.runs, options.seed))))


if __name__ == "__main__":
    main()
