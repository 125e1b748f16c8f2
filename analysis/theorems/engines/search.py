"""The level ``searched``: maximise the violation from many starts, by gradients, along structure and by discrete moves.

The objective is the violation itself on one scale for the whole claim, in half of the climbers relative to the sides at
the point, as bounds on ratios need. A round looks at points of structure and at draws of many scales, climbs from the best
and from random ones (Adam, then L-BFGS in the free coordinates, some of them with tied or fixed coordinates), and
follows the inner parts of the recorded statement that hide slopes: the argument of an exponential, the two sides of a
maximum, the margin of a case. Where assumptions hold on a thin set, points are first moved into it, and the best ones
are followed along its border. Rounds end when the
budget of evaluations is spent, or when a violation is confirmed; the result depends on the seed and the budget alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from attnlab.analysis.theorems.engines.climbing import Ties, along_border, ascend, feasible_first, inward, polish
from attnlab.analysis.theorems.engines.confirmation import Confirmation, confirm
from attnlab.analysis.theorems.engines.coordinates import FARTHEST, Latent
from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors
from attnlab.analysis.theorems.engines.guidance import Guide
from attnlab.analysis.theorems.engines.objective import Objective
from attnlab.analysis.theorems.engines.starting_points import all_values, joined, structured, varied
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import Box

Point = dict[str, np.ndarray]
BUDGET = 100_000  # evaluations of a claim
SECONDS_PER_EVALUATION = 2e-4  # of processor time, of a stack of layers; the cap is ten times the expected
LEAST_SECONDS = 20.0
STARTS = 64  # climbers per round
POLISHED = 16  # best points refined by L-BFGS per round and objective
BORDERED = 3  # and of these, points followed along the border of the assumptions
EXHAUSTED = 12  # times the budget: claims about so few whole numbers are tried at all of them, in large batches
KEPT = 40  # candidates kept per ranking
DEPTHS = (
    1e-14,
    1e-12,
    1e-10,
    1e-8,
    1e-6,
    1e-4,
)  # how far inside its assumptions a violation at their border is looked for
CONFIRMED = 12  # candidates looked at in higher precision per round


@dataclass
class Found:
    """What a search saw: the best points by each ranking, and how much was tried."""

    absolute: list[tuple[float, Point]] = field(default_factory=list)
    relative: list[tuple[float, Point]] = field(default_factory=list)
    near: list[tuple[float, Point]] = field(default_factory=list)  # where the sides come nearest, beyond rounding
    n_starts: int = 0
    n_evaluations: int = 0
    rounds: int = 0
    feasible: int = 0
    undefined: list[Point] = field(default_factory=list)
    out_of_time: bool = False
    exhausted: bool = False
    gradients: bool = True
    reach: float = 0.0  # how far unbounded variables were followed
    confirmed: tuple[Point, Confirmation] | None = None
    doubts: list[tuple[Point, Confirmation]] = field(default_factory=list)
    variation: float = 0.0  # range of the two sides over the first pool
    scale: float = 1.0  # of the violation in ``absolute``

    def candidates(self, n: int) -> list[Point]:
        """The best points, of both rankings in turn, without repeats."""
        out: list[Point] = []
        seen: set[bytes] = set()
        for pair in itertools.zip_longest(self.absolute[:n], self.relative[:n]):
            for _, point in filter(None, pair):
                key = b"".join(np.ascontiguousarray(v).tobytes() for v in point.values())
                if key not in seen:
                    seen.add(key)
                    out.append(point)
        return out

    @property
    def best_gap(self) -> float:
        """The largest violation seen (negative: the smallest slack)."""
        return self.best * self.scale

    @property
    def best(self) -> float:
        """The largest scaled violation seen at a point that meets the assumptions."""
        return self.absolute[0][0] if self.absolute else -math.inf


def search(
    claim: Claim,
    budget: int = BUDGET,
    seed: int = 0,
    evaluator: Evaluator | None = None,
    confirming: bool = True,
    also: Sequence[Point] = (),
) -> Found:
    """Maximise the violation of a claim with about ``budget`` evaluations.

    With ``confirming`` the best points are evaluated in higher precision after each round, and a certain violation ends
    the search; points seen to violate before come in as ``also``. Processor time is capped at ten times what is
    expected; ``out_of_time`` says if that cut it short.
    """
    run = _Run(claim, budget, seed, evaluator or Evaluator(claim, seed), confirming, also)
    return run.search()


class _Run:
    def __init__(
        self, claim: Claim, budget: int, seed: int, evaluator: Evaluator, confirming: bool, also: Sequence[Point]
    ) -> None:
        self.claim, self.budget, self.seed = claim, budget, seed
        self.evaluator, self.confirming = evaluator, confirming
        self.latent, self.found = Latent(claim), Found()
        self.start, self.also = evaluator.count, also
        self.deadline = time.thread_time() + max(LEAST_SECONDS, 10 * SECONDS_PER_EVALUATION * budget)
        self.checked: set[bytes] = set()

    def spent(self) -> int:
        return self.evaluator.count - self.start

    def late(self) -> bool:
        if time.thread_time() > self.deadline:
            self.found.out_of_time = True
        return self.found.out_of_time or self.spent() >= self.budget

    def search(self) -> Found:
        found = self.found
        limit = EXHAUSTED * self.budget if self.evaluator.cost == 1 else self.budget // (2 * self.evaluator.cost)
        everything = all_values(self.claim, max(limit, 1))
        if everything is not None:
            self._exhaust(everything)
            return found
        self.objective = Objective(self.claim, self.evaluator)
        self.guide = Guide(self.claim, self.objective)
        k = 0
        reach = 1e2
        while not self.late() and k < 1000:
            if self.latent.unbounded:
                self.latent.reach(reach)
                found.reach = max(found.reach, reach)
            before = found.best, found.relative[0][0] if found.relative else -math.inf
            self._round(np.random.default_rng([self.seed, k]), k, reach)
            found.rounds += 1
            if self.confirming and found.confirmed is not None:
                now = found.best, found.relative[0][0] if found.relative else -math.inf
                if k > 3 or all(b <= a + 0.01 * abs(a) for a, b in zip(before, now, strict=True)):
                    break
            reach = FARTHEST if reach > 1e40 else reach**3
            k += 1
        found.n_evaluations = self.spent()
        return found

    def _exhaust(self, points: Point) -> None:
        n = len(next(iter(points.values())))
        self.objective = Objective(self.claim, self.evaluator)
        self.objective.set_scale({name: v[:4096] for name, v in points.items()})
        self.found.variation, self.found.scale = self.objective.variation, self.objective.scale
        for start in range(0, n, 4096):
            self._keep({name: v[start : start + 4096] for name, v in points.items()})
        self.found.n_starts = self.found.n_evaluations = n
        self.found.exhausted = True
        if self.confirming:
            self._confirm()

    def _round(self, generator: np.random.Generator, k: int, reach: float) -> None:
        found, objective = self.found, self.objective
        size = max(64, min(1024, self.budget // (16 * self.evaluator.cost)))
        points = joined(
            [structured(self.claim, size if k == 0 else size // 4, generator), self._pool(size, generator, reach)]
        )
        if k == 0:
            objective.set_scale(points)
            found.variation, found.scale = objective.variation, objective.scale
            if self.also:
                self._keep({name: np.stack([p[name] for p in self.also]) for name in points})
        self._keep(points)
        with torch.no_grad():
            absolute, relative, _, meets = objective.scores(tensors(points))
        found.feasible += int(meets.sum())
        if not objective.differentiable:
            found.gradients = False
        chosen = self._chosen(absolute.numpy(), relative.numpy(), generator)
        points = {name: v[chosen] for name, v in points.items()}
        found.n_starts += len(chosen)
        if objective.margin_scale is not None:
            points = feasible_first(self.latent, objective, points, self.late)
            self._keep(points)
        kinds = np.arange(len(chosen)) % 2 == 0  # absolute and relative climbers
        guided = self.guide.points(self.latent, points, generator, self.late) if self.latent.size else None
        if guided is not None:
            self._keep(guided)
            points, kinds = self._with_guided(points, kinds, guided, generator)
        ties = Ties.random(self.latent, len(kinds), generator, share=0.25) if self.latent.size else None
        points = ascend(self.latent, objective, points, kinds, ties, generator, self.late)
        self._keep(points)
        if self.latent.size and objective.differentiable:
            for absolute_kind in (True, False):
                best = [p for _, p in (found.absolute if absolute_kind else found.relative)[:POLISHED]]
                if best:
                    start = {name: np.stack([p[name] for p in best]) for name in best[0]}
                    self._keep(polish(self.latent, objective, start, absolute_kind, self.late))
                if best and objective.margin_scale is not None:
                    best = [p for _, p in (found.absolute if absolute_kind else found.relative)[:BORDERED]]
                    start = {name: np.stack([p[name] for p in best]) for name in best[0]}
                    self._keep(along_border(self.latent, objective, start, absolute_kind, self.late))
        self._snap(generator)
        if self.confirming:
            self._confirm()

    def _pool(self, n: int, generator: np.random.Generator, reach: float) -> Point:
        """Varied points; in a part of them, variables with equal domains start close together or equal."""
        points = {name: varied(domain, n, generator, reach) for name, domain in self.claim.variables.items()}
        names = list(points)
        for a, b in itertools.pairwise(names):
            domain = self.claim.variables[b]
            if self.claim.variables[a] == domain and isinstance(domain, Box):
                m = n // 2
                near = 10.0 ** generator.uniform(-4, 0, m).reshape(-1, *(1,) * len(domain.shape))
                near[: m // 8] = 0
                moved = points[a][:m] + near * generator.standard_normal(points[b][:m].shape)
                points[b][:m] = np.clip(moved, float(domain.low), float(domain.high))
        return points

    def _chosen(self, absolute: np.ndarray, relative: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Rows to climb from: the best of each ranking, and random ones."""
        n = len(absolute)
        count = min(STARTS, max(8, self.budget // (128 * self.evaluator.cost)), n)
        best = [np.argsort(-np.nan_to_num(s, nan=-np.inf), kind="stable")[: count // 4] for s in (absolute, relative)]
        rest = generator.choice(n, count - 2 * (count // 4), replace=False)
        return np.concatenate([np.stack(best, axis=1).ravel(), rest])

    def _with_guided(
        self, points: Point, kinds: np.ndarray, guided: Point, generator: np.random.Generator
    ) -> tuple[Point, np.ndarray]:
        """Replace the random climbers by the best of the guided points."""
        with torch.no_grad():
            absolute, relative, *_ = self.objective.scores(tensors(guided))
        n = len(kinds) // 4
        order = np.argsort(-np.nan_to_num(absolute.numpy(), nan=-np.inf), kind="stable")[:n]
        other = np.argsort(-np.nan_to_num(relative.numpy(), nan=-np.inf), kind="stable")[:n]
        rows = np.concatenate([order, other])
        m = len(kinds) - len(rows)
        out = {name: np.concatenate([v[:m], guided[name][rows]]) for name, v in points.items()}
        return out, np.concatenate([kinds[:m], np.arange(len(rows)) < len(order)])

    def _snap(self, generator: np.random.Generator) -> None:
        """Round the best points onto structure nearby: equal coordinates, ends, simple numbers."""
        best = self.found.candidates(6)
        trials = []
        for point in best:
            for name, domain in self.claim.variables.items():
                if not isinstance(domain, Box) or point[name].size == 0:
                    continue
                flat = point[name].ravel()
                width = float(domain.high) - float(domain.low) if domain.bounded else max(1.0, np.abs(flat).max())
                for digits in (1, 2, 3, 6):
                    trials.append({**point, name: np.round(point[name], digits)})
                order = np.argsort(flat)
                for i, j in itertools.pairwise(order):
                    if 0 < flat[j] - flat[i] < 0.05 * width:
                        tied = flat.copy()
                        tied[i] = tied[j]
                        trials.append({**point, name: tied.reshape(point[name].shape)})
                    if len(trials) > 256:
                        break
        if trials:
            batch = {name: np.stack([t[name] for t in trials]) for name in trials[0]}
            for name, domain in self.claim.variables.items():
                if isinstance(domain, Box):
                    batch[name] = np.clip(batch[name], float(domain.low), float(domain.high))
            self._keep(batch)

    def _keep(self, points: Point) -> None:
        """Add points that meet the assumptions to the candidates of all rankings, and keep the best few."""
        there = tensors(points)
        with torch.no_grad():
            absolute, relative, near, meets = self.objective.scores(there, written=True)
        for k in torch.nonzero(meets & torch.isnan(absolute)).ravel().tolist()[:4]:
            if len(self.found.undefined) < 8:
                self.found.undefined.append({name: np.array(v[k]) for name, v in points.items()})
        rankings = (absolute, self.found.absolute), (relative, self.found.relative), (near, self.found.near)
        for scores, kept in rankings:
            scores = torch.where(meets, torch.nan_to_num(scores, nan=-math.inf, posinf=1e300), -math.inf)
            for k in torch.argsort(scores, descending=True, stable=True)[:KEPT].tolist():
                if scores[k] == -math.inf:
                    break
                kept.append((float(scores[k]), {name: np.array(v[k]) for name, v in points.items()}))
            kept.sort(key=lambda c: -c[0])
            del kept[KEPT:]

    def _confirm(self) -> None:
        """Evaluate new candidates with a violation in floats, or nearly one, in higher precision."""
        looked = 0
        for point in self.found.candidates(KEPT):
            key = b"".join(np.ascontiguousarray(v).tobytes() for v in point.values())
            if key in self.checked or looked >= CONFIRMED:
                continue
            gap = self.objective.gap_at(point)
            if not gap > -self.objective.rounding_at(point):
                continue
            self.checked.add(key)
            looked += 1
            seen = confirm(self.claim, point)
            if not seen.violated and gap > 0 and self.claim.assumptions:
                point, seen = self._from_inside(point, seen)
            if seen.violated:
                if self.found.confirmed is None or _stronger(seen, self.found.confirmed[1]):
                    self.found.confirmed = (point, seen)
                if looked >= 2:
                    return
            elif gap > 0 and not seen.disproved:
                self.found.doubts.append((point, seen))

    def _from_inside(self, point: Point, seen: Confirmation) -> tuple[Point, Confirmation]:
        """A violation at the border of the assumptions, looked at a little further inside, where they are certain."""
        if not self.latent.size or self.objective.margin_scale is None:
            return point, seen
        for depth in DEPTHS:
            inner = inward(self.latent, self.objective, point, depth)
            if self.objective.gap_at(inner) > 0:
                again = confirm(self.claim, inner)
                if again.violated:
                    return inner, again
        return point, seen


def _stronger(a: Confirmation, b: Confirmation) -> bool:
    """Whether a violation is the clearer one: by ratio where the sides are positive, else by size."""
    if min(a.lower, a.upper, b.lower, b.upper) > 0:
        return a.ratio > b.ratio
    return a.lower - a.upper > b.lower - b.upper
