"""Make a counterexample readable: fewer non-zeros, rounder numbers, smaller integers, and a smaller size if there
is one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from attnlab.analysis.theorems.engines.confirmation import Confirmation, confirm
from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors
from attnlab.analysis.theorems.engines.search import search
from attnlab.analysis.theorems.statement.claim import Claim, ClaimError
from attnlab.analysis.theorems.statement.domains import Box

MAX_TRIES = 3000  # candidates evaluated before the shrinking stops
KEPT = 0.5  # share of the violation that the shrunk point must keep

Point = dict[str, np.ndarray]


def shrink(claim: Claim, point: Mapping[str, np.ndarray], evaluator: Evaluator) -> tuple[Point, Confirmation]:
    """The simplest point found that keeps half of the violation, or of the relative violation, with its confirmation.

    Candidates are tried one variable at a time, the simplest first, until none is accepted any more. If the result
    cannot be confirmed in higher precision, the original point is returned.
    """
    best = {k: np.array(v) for k, v in point.items()}
    original = {k: v.copy() for k, v in best.items()}
    gap, relative = _violation(evaluator, best)
    goal = KEPT * gap, KEPT * relative
    tries = 0
    changed = True
    while changed and tries < MAX_TRIES:
        changed = False
        for change in _changes(claim, best):
            trial = {**best, **change}
            fits = all(claim.variables[name].contains(value) for name, value in change.items())
            if not fits or _cost(trial) >= _cost(best):
                continue
            tries += 1
            if tries > MAX_TRIES:
                break
            found = _violation(evaluator, trial)
            if found[0] > 0 and (found[0] >= goal[0] or found[1] >= goal[1]):
                best, changed = trial, True
    for candidate in (best, original):
        confirmation = confirm(claim, candidate)
        if confirmation.violated:
            return candidate, confirmation
    return original, confirmation


def smallest_size(claim: Claim, seed: int, budget: int) -> dict[str, object] | None:
    """The smallest sizes at which the claim fails too, with a point: a search at sizes 1, 2, 3, 4, 8, ... below the
    given ones."""
    if claim.family is None:
        return None
    for n in (1, 2, 3, 4, 8, 16, 32):
        sizes = {name: min(n, value) for name, value in claim.chosen.items()}
        if sizes == claim.chosen:
            return None
        small = claim.family.at(**sizes)
        try:
            evaluator = Evaluator(small, seed)
        except ClaimError:  # a side that only exists at the given sizes
            return None
        found = search(small, budget, seed, evaluator)
        if found.confirmed is not None:
            point, _ = shrink(small, found.confirmed[0], evaluator)
            return {"sizes": sizes, "point": {k: v.tolist() for k, v in point.items()}}
    return None


def _changes(claim: Claim, best: Point) -> Iterator[Point]:
    """Changes that may make the point simpler: of all variables with one box together, then of one variable at a
    time."""
    names = list(claim.variables)
    for a, b in itertools.pairwise(names):
        domain = claim.variables[a]
        if domain == claim.variables[b] and isinstance(domain, Box):
            rest = float(min(max(0, domain.low), domain.high))
            for keep in _kept_entries(best[a].size):
                yield {name: np.where(keep.reshape(best[name].shape), best[name], rest) for name in (a, b)}
            same = np.isclose(best[a], best[b], rtol=1e-3, atol=0)
            yield {b: np.where(same, best[a], best[b])}
    for name, domain in claim.variables.items():
        yield from ({name: value} for value in domain.simpler(best[name]))


def _kept_entries(size: int) -> Iterator[np.ndarray]:
    """Masks of the entries that stay: all but a block, from halves down to single entries."""
    width = max(1, size // 2)
    while True:
        for start in range(0, size, width):
            keep = np.ones(size, dtype=bool)
            keep[start : start + width] = False
            yield keep
        if width == 1:
            return
        width //= 2


def _violation(evaluator: Evaluator, point: Point) -> tuple[float, float]:
    """The violation and the relative violation; minus infinity where an assumption fails or a side has no value."""
    there = tensors({k: np.asarray(v)[None] for k, v in point.items()})
    with torch.no_grad():
        if not bool(evaluator.meets(there).all()):
            return -np.inf, -np.inf
        lower, upper = evaluator(there)
        gaps = evaluator.gap_of(lower, upper)[0]
        k = int(torch.argmax(torch.nan_to_num(gaps, nan=-np.inf)))
        gap, size = float(gaps[k]), float(lower[0, k].abs() + upper[0, k].abs())
    return (gap, gap / size if size > 0 else gap) if np.isfinite(gap) else (-np.inf, -np.inf)


def _cost(point: Point) -> float:
    """How much there is to read: digits written down, non-zeros counted four times."""
    return sum(_reading(np.ravel(value)) for value in point.values())


def _reading(flat: np.ndarray) -> float:
    if np.issubdtype(flat.dtype, np.integer):
        return float(np.abs(flat).sum() + (flat != np.arange(flat.size)).sum())
    return float(sum(4 + len(f"{x:.15g}".replace("-", "").replace(".", "").strip("0")) for x in flat if x != 0))
