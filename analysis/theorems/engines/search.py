"""The level ``searched``: maximise the violation from many starts, by gradients in torch and by discrete moves.

A round draws a pool of varied points, climbs from the best and some random ones (Adam on the score, learning rates
spread over the starts), moves integers and permutations where that helps, and polishes the best with L-BFGS in the
free coordinates. Rounds end when the budget of rounds is spent, or early once a violation stops growing; the clock
only cuts a search short, so with enough time the result depends on the seed alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from attnlab.analysis.theorems.engines.coordinates import Latent, starts
from attnlab.analysis.theorems.engines.evaluate import FLOOR, Evaluator, arrays, tensors
from attnlab.analysis.theorems.engines.lbfgs import minimise
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import Box, Integer, Permutation

Point = dict[str, np.ndarray]
STARTS = 64  # climbers a round
ROUNDS = 8
SHARP_ROUNDS = 4  # rounds for a bound that was seen to be attained
STEPS = 100  # gradient steps a climber
POLISHED = 16  # best points refined by L-BFGS a round


@dataclass
class Found:
    """What a search saw: the best points by score, best first, and how much was tried."""

    candidates: list[tuple[float, Point]] = field(default_factory=list)
    n_starts: int = 0
    rounds: int = 0
    feasible: int = 0
    n_nan: int = 0
    out_of_time: bool = False
    gradients: bool = True

    @property
    def best(self) -> float:
        """The largest score seen at a point that meets the assumptions."""
        return self.candidates[0][0] if self.candidates else -np.inf


def search(claim: Claim, budget: float, seed: int, rounds: int = ROUNDS, evaluator: Evaluator | None = None) -> Found:
    """Maximise the relative violation of a claim for at most ``rounds`` rounds or ``budget`` seconds."""
    deadline = time.monotonic() + budget
    evaluator = evaluator or Evaluator(claim, seed)
    latent, found = Latent(claim), Found()
    for k in range(rounds):
        generator = np.random.default_rng([seed, k])
        before = found.best
        _round(_Climb(claim, evaluator, latent, generator, deadline), found, first=k == 0)
        found.rounds += 1
        if found.best > 0 and k > 0 and found.best <= before + 0.01 * abs(before):
            break
        if abs(found.best) <= 2 * FLOOR and k + 1 >= SHARP_ROUNDS:  # the bound is attained; further rounds repeat it
            break
        if time.monotonic() > deadline and k + 1 < rounds:
            found.out_of_time = True
            break
    return found


@dataclass
class _Climb:
    """One round's tools."""

    claim: Claim
    evaluator: Evaluator
    latent: Latent
    generator: np.random.Generator
    deadline: float

    def late(self) -> bool:
        return time.monotonic() > self.deadline

    def objective(self, points: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Score with a penalty outside the assumptions, and whether the assumptions are met."""
        score, margins = self.evaluator.score(points), self.evaluator.margins(points)
        if margins.shape[1] == 0:
            return score, torch.ones_like(score, dtype=torch.bool)
        return score - (10 * (-margins).clamp(min=0)).sum(dim=1), (margins >= 0).all(dim=1)


def _round(climb: _Climb, found: Found, first: bool) -> None:
    points = _pool(climb, 16 * STARTS)
    if first:
        climb.evaluator.set_floor(points)
    with torch.no_grad():
        score, meets = climb.objective(tensors(points))
    found.n_nan += int((torch.isnan(score) & meets).sum())
    found.feasible += int(meets.sum())
    score = torch.nan_to_num(score, nan=-np.inf)
    order = torch.argsort(score, descending=True, stable=True).numpy()
    _keep(climb, found, {k: v[order[:STARTS]] for k, v in points.items()})
    half = STARTS // 2
    chosen = np.concatenate([order[:half], climb.generator.choice(order[half:], STARTS - half, replace=False)])
    points = {k: v[chosen] for k, v in points.items()}
    found.n_starts += STARTS
    points = _ascend(climb, found, points)
    _keep(climb, found, points)
    if found.gradients and climb.latent.size:
        _polish(climb, found)


def _pool(climb: _Climb, n: int) -> Point:
    """Varied points; in half of them, variables with equal domains start close together (as Lipschitz claims need)."""
    points = {name: starts(domain, n, climb.generator) for name, domain in climb.claim.variables.items()}
    names = list(points)
    for a, b in itertools.pairwise(names):
        domain = climb.claim.variables[b]
        if climb.claim.variables[a] == domain and isinstance(domain, Box):
            near = 10.0 ** climb.generator.uniform(-3, 0, n // 2).reshape(-1, *(1,) * len(domain.shape))
            moved = points[a][: n // 2] + near * climb.generator.standard_normal(points[b][: n // 2].shape)
            points[b][: n // 2] = np.clip(moved, float(domain.low), float(domain.high))
    return points


def _ascend(climb: _Climb, found: Found, points: Point) -> Point:
    """Adam on the coordinates of all climbers at once, with discrete moves every tenth step; the best of each
    climber."""
    latent, fixed = climb.latent, tensors(points)
    z = torch.as_tensor(latent.pack(points)).requires_grad_(True)
    low, high = torch.as_tensor(latent.low), torch.as_tensor(latent.high)
    scale = torch.where(high - low < 1e5, high - low, torch.ones_like(low)).clamp(min=1e-12)
    rate = torch.logspace(-3, -0.5, len(z), dtype=torch.float64)[:, None] * scale
    m, v = torch.zeros_like(z), torch.zeros_like(z)
    best = torch.full((len(z),), -np.inf, dtype=torch.float64)
    kept = {k: t.clone() for k, t in fixed.items()}
    discrete = any(d.whole for d in climb.claim.variables.values())
    for step in range(STEPS):
        here = latent.unpack(z, fixed)
        score, meets = climb.objective(here)
        better = meets & (score.detach() > best)
        best = torch.where(better, score.detach(), best)
        for name, t in here.items():
            kept[name][better] = t.detach()[better]
        if step % 20 == 0 and climb.late():
            break
        found.gradients = score.requires_grad
        with torch.no_grad():
            if found.gradients and latent.size:
                gradient = torch.nan_to_num(
                    torch.autograd.grad(score, z, torch.ones_like(score))[0], nan=0.0, posinf=0.0, neginf=0.0
                )
                m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
                move = (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.99 ** (step + 1))).sqrt() + 1e-30)
                z += rate * (1 - step / STEPS) * move
            elif latent.size:
                z.copy_(torch.as_tensor(latent.pack(arrays(kept))))
                noise = torch.as_tensor(climb.generator.standard_normal(tuple(z.shape)))
                z += rate * (1 - step / STEPS) * noise
            z.copy_(torch.maximum(torch.minimum(z, high), low))
            if discrete and (step % 10 == 0 or latent.size == 0):
                fixed = _discrete_moves(climb, here, fixed, score)
    return arrays(kept)


def _discrete_moves(
    climb: _Climb, here: Mapping[str, torch.Tensor], fixed: dict[str, torch.Tensor], score: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Propose one change to every whole-number variable of each climber and keep those that do not lower the score."""
    proposed = {k: t.detach().clone() for k, t in here.items()}
    for name, domain in climb.claim.variables.items():
        n = len(proposed[name])
        if isinstance(domain, Integer):
            reach = np.maximum(
                1, (10.0 ** climb.generator.uniform(0, np.log10(max(10, domain.high - domain.low)), n)).astype(np.int64)
            )
            step = torch.as_tensor(reach * climb.generator.choice([-1, 1], n))
            proposed[name] = (proposed[name] + step).clamp(domain.low, domain.high)
        elif isinstance(domain, Permutation):
            rows = torch.arange(n)
            i, j = torch.as_tensor(climb.generator.integers(0, domain.n, (2, n)))
            swapped = proposed[name].clone()
            swapped[rows, i], swapped[rows, j] = proposed[name][rows, j], proposed[name][rows, i]
            proposed[name] = swapped
    after, _ = climb.objective(proposed)
    take = after >= score.detach()
    out = dict(fixed)
    for name, domain in climb.claim.variables.items():
        if domain.whole:
            out[name] = torch.where(take.reshape(-1, *(1,) * (fixed[name].ndim - 1)), proposed[name], fixed[name])
    return out


def _polish(climb: _Climb, found: Found) -> None:
    """L-BFGS from the best points so far, in the free coordinates and within their bounds."""
    best = [point for _, point in found.candidates[:POLISHED]]
    if not best:
        return
    points = {k: np.stack([p[k] for p in best]) for k in best[0]}
    fixed, latent = tensors(points), climb.latent

    def minus(z: torch.Tensor) -> torch.Tensor:
        return -climb.objective(latent.unpack(z, fixed))[0]

    z = minimise(
        minus,
        torch.as_tensor(latent.pack(points)),
        torch.as_tensor(latent.low),
        torch.as_tensor(latent.high),
        late=climb.late,
    )
    _keep(climb, found, arrays(latent.unpack(z, fixed)))


def _keep(climb: _Climb, found: Found, points: Point) -> None:
    """Add points that meet the assumptions to the candidates, and keep the best few."""
    there = tensors(points)
    with torch.no_grad():
        score = torch.nan_to_num(climb.evaluator.score(there), nan=-np.inf)
        meets = (climb.evaluator.margins(there) >= 0).all(dim=1)
    for k in torch.nonzero(meets & torch.isfinite(score)).ravel().tolist():
        found.candidates.append((float(score[k]), {name: v[k] for name, v in points.items()}))
    found.candidates.sort(key=lambda c: -c[0])
    del found.candidates[2 * POLISHED :]
