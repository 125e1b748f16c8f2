"""Moves of a search: Adam from all climbers at once, L-BFGS polishing, moves into thin assumptions and along them, discrete ones.

Climbers may be tied: some keep equal coordinates equal, or coordinates at zero or at an end of their box, so that a claim
that fails only there is climbed there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize

from attnlab.analysis.theorems.engines.coordinates import Latent
from attnlab.analysis.theorems.engines.evaluate import arrays, tensors
from attnlab.analysis.theorems.engines.lbfgs import gradient_of, minimise
from attnlab.analysis.theorems.engines.objective import INSIDE, Objective
from attnlab.analysis.theorems.statement.domains import Integer, Permutation

STEPS = 60  # gradient steps per climber
CONDITIONS = 16  # with more margins than this no quadratic programs are solved
BORDER_BOXES = 1e-3, 1e-2, 1e-1, 1.0  # sizes of their boxes, in widths of the domain
Point = dict[str, np.ndarray]
Function = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ties:
    """Per climber: coordinate i is a copy of coordinate ``source[i]``, or fixed at ``value[i]`` where ``fixed[i]``."""

    source: torch.Tensor
    fixed: torch.Tensor
    value: torch.Tensor

    @classmethod
    def random(cls, latent: Latent, n: int, generator: np.random.Generator, share: float) -> Ties:
        """Ties for a share of the climbers, inside the boxes of the claim; the others are free."""
        source = np.tile(np.arange(latent.size), (n, 1))
        fixed, value = np.zeros((n, latent.size), dtype=bool), np.zeros((n, latent.size))
        groups = [g for g in latent.groups()]
        for row in range(n):
            if not groups or generator.random() >= share:
                continue
            start, stop, box = groups[generator.integers(len(groups))]
            kind, size = generator.integers(4), stop - start
            twin = next((g for g in groups if g[2] == box and g[0] != start), None)
            if kind == 0 and size > 1:
                source[row, start:stop] = start
            elif kind == 1 and size > 1:
                i, j = start + generator.choice(size, 2, replace=False)
                source[row, i] = j
            elif kind == 2 and twin is not None:
                source[row, twin[0] : twin[1]] = np.arange(start, stop)
            else:
                chosen = start + np.flatnonzero(generator.random(size) < 0.5)
                low, high = float(box.low), float(box.high)
                zero = min(max(0.0, low), high)
                fixed[row, chosen] = True
                value[row, chosen] = generator.choice([low, high, zero], len(chosen))
        return cls(torch.as_tensor(source), torch.as_tensor(fixed), torch.as_tensor(value))

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        return torch.where(self.fixed, self.value, z.gather(1, self.source))


def ascend(
    latent: Latent,
    objective: Objective,
    points: Point,
    kinds: np.ndarray,
    ties: Ties | None,
    generator: np.random.Generator,
    late: Callable[[], bool],
) -> Point:
    """Adam on the coordinates of all climbers at once, with discrete moves between; the best of each climber."""
    fixed = tensors(points)
    absolute = torch.as_tensor(kinds)
    z = torch.as_tensor(latent.pack(points)).requires_grad_(True)
    low, high = torch.as_tensor(latent.low), torch.as_tensor(latent.high)
    scale = torch.where(high - low < 1e5, high - low, torch.ones_like(low)).clamp(min=1e-12)
    rate = torch.logspace(-3, -0.5, len(z), dtype=torch.float64)[torch.as_tensor(generator.permutation(len(z)))]
    rate = rate[:, None] * scale
    m, v = torch.zeros_like(z), torch.zeros_like(z)
    best = torch.full((len(z),), -np.inf, dtype=torch.float64)
    kept = {k: t.clone() for k, t in fixed.items()}
    discrete = any(d.whole for d in objective.claim.variables.values())
    for step in range(STEPS):
        here = latent.unpack(ties(z) if ties is not None and latent.size else z, fixed)
        score = objective.climbing(here, absolute)
        if objective.margin_scale is not None:
            reached = torch.where(objective.evaluator.meets(here), score.detach(), score.detach() - 1e6)
        else:
            reached = score.detach()
        better = reached > best
        best = torch.where(better, reached, best)
        for name, t in here.items():
            kept[name][better] = t.detach()[better]
        if step % 10 == 0 and late():
            break
        with torch.no_grad():
            gradient = gradient_of(score, z) if latent.size and objective.differentiable else None
            if gradient is not None:
                m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
                move = (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.99 ** (step + 1))).sqrt() + 1e-30)
                z += rate * (1 - step / STEPS) * move
            elif latent.size and objective.differentiable and objective.climb_on_tape():
                pass
            elif latent.size:
                objective.differentiable = False
                z.copy_(torch.as_tensor(latent.pack(arrays(kept))))
                noise = torch.as_tensor(generator.standard_normal(tuple(z.shape)))
                lonely = torch.as_tensor(generator.random(tuple(z.shape)) < 0.5)  # half of the moves along few axes
                z += rate * (1 - step / STEPS) * torch.where(lonely, torch.zeros_like(noise), noise)
            z.copy_(torch.maximum(torch.minimum(z, high), low))
            if discrete and (step % 5 == 0 or latent.size == 0):
                fixed = discrete_moves(objective, here, fixed, score.detach(), absolute, generator)
    return arrays(kept)


def discrete_moves(
    objective: Objective,
    here: Mapping[str, torch.Tensor],
    fixed: dict[str, torch.Tensor],
    score: torch.Tensor,
    absolute: torch.Tensor,
    generator: np.random.Generator,
) -> dict[str, torch.Tensor]:
    """Propose one change to every whole-number variable of each climber and keep those that do not lower the score."""
    proposed = {k: t.detach().clone() for k, t in here.items()}
    for name, domain in objective.claim.variables.items():
        n = len(proposed[name])
        if isinstance(domain, Integer):
            reach = 10.0 ** generator.uniform(0, np.log10(max(10, domain.high - domain.low)), n)
            step = torch.as_tensor(np.maximum(1, reach).astype(np.int64) * generator.choice([-1, 1], n))
            proposed[name] = (proposed[name] + step).clamp(domain.low, domain.high)
        elif isinstance(domain, Permutation):
            rows = torch.arange(n)
            i, j = torch.as_tensor(generator.integers(0, domain.n, (2, n)))
            swapped = proposed[name].clone()
            swapped[rows, i], swapped[rows, j] = proposed[name][rows, j], proposed[name][rows, i]
            proposed[name] = swapped
    with torch.no_grad():
        take = objective.climbing(proposed, absolute) >= score
    out = dict(fixed)
    for name, domain in objective.claim.variables.items():
        if domain.whole:
            out[name] = torch.where(take.reshape(-1, *(1,) * (fixed[name].ndim - 1)), proposed[name], fixed[name])
    return out


def polish(
    latent: Latent, objective: Objective, points: Point, absolute: bool, late: Callable[[], bool], steps: int = 80
) -> Point:
    """L-BFGS from the given points, in the free coordinates and within their bounds; then back into the assumptions."""
    fixed = tensors(points)
    kind = torch.full((len(next(iter(fixed.values()))),), absolute)

    def minus(z: torch.Tensor) -> torch.Tensor:
        return -objective.climbing(latent.unpack(z, fixed), kind[: len(z)])

    low, high = torch.as_tensor(latent.low), torch.as_tensor(latent.high)
    z = minimise(minus, torch.as_tensor(latent.pack(points)), low, high, steps=steps, late=late)
    out = arrays(latent.unpack(z, fixed))
    return feasible_first(latent, objective, out, late, steps=30) if objective.margin_scale is not None else out


def along_border(
    latent: Latent, objective: Objective, points: Point, absolute: bool, late: Callable[[], bool]
) -> Point:
    """Sequential quadratic programs (scipy's SLSQP) from each point, with the assumptions as constraints: a violation that
    lives where they are just met is climbed along their border, which a penalty blurs. Programs in boxes of four sizes
    around the best point so far, since how thin the assumptions are is not known."""
    if objective.margin_scale is None or len(objective.margin_scale) > CONDITIONS:
        return points
    kind, scale = torch.tensor([absolute]), objective.margin_scale
    ends = []
    for row, z in enumerate(latent.pack(points)):
        fixed = {name: torch.as_tensor(v[row : row + 1]) for name, v in points.items()}

        def height(t: torch.Tensor, fixed: dict[str, torch.Tensor] = fixed) -> torch.Tensor:
            return objective.climbing(latent.unpack(t, fixed), kind, weight=0.0)

        def room(t: torch.Tensor, fixed: dict[str, torch.Tensor] = fixed) -> torch.Tensor:
            return (objective.evaluator.margins(latent.unpack(t, fixed)) / scale)[0]

        for size in BORDER_BOXES if _has_slope(height, z) and _has_slope(room, z) else ():
            if not late():
                z = _programmed(height, room, z, latent, size)
        ends.append(z)
    return arrays(latent.unpack(torch.as_tensor(np.stack(ends)), tensors(points)))


def _programmed(height: Function, room: Function, z: np.ndarray, latent: Latent, size: float) -> np.ndarray:
    """The end of one program in a box of ``size`` times the domain around z, if it is higher and as feasible, else z."""
    radius = size * np.clip(latent.high - latent.low, 1e-12, 1e2)
    low, high = np.maximum(latent.low - z, -radius) / radius, np.minimum(latent.high - z, radius) / radius

    def scaled(function: Function) -> tuple[Callable, Callable]:
        unit = float(np.abs(_slopes(function, z) * radius).sum(axis=1).max()) or 1.0
        return (
            lambda u: _value(function, z + radius * u) / unit,
            lambda u: _slopes(function, z + radius * u) * radius / unit,
        )

    (up, up_slope), (inside, inside_slope) = scaled(height), scaled(room)
    found = optimize.minimize(
        lambda u: -up(u)[0],
        np.zeros(len(z)),
        jac=lambda u: -up_slope(u)[0],
        method="SLSQP",
        bounds=list(zip(low, high, strict=True)),
        constraints={"type": "ineq", "fun": lambda u: inside(u) - INSIDE, "jac": inside_slope},
        options={"maxiter": 20, "ftol": 1e-12},
    ).x
    end = np.clip(z + radius * found, latent.low, latent.high)
    if not np.isfinite(end).all() or _value(room, end).min() < min(0.0, _value(room, z).min()):
        return z
    return end if _value(height, end)[0] > _value(height, z)[0] else z


def inward(latent: Latent, objective: Objective, point: Point, depth: float) -> Point:
    """The point moved until every margin is ``depth`` on its scale, by Newton steps along the margin that lacks most."""
    fixed, scale = {name: torch.as_tensor(np.asarray(v))[None] for name, v in point.items()}, objective.margin_scale
    z = latent.pack({name: np.asarray(v)[None] for name, v in point.items()})[0]

    def room(t: torch.Tensor) -> torch.Tensor:
        return (objective.evaluator.margins(latent.unpack(t, fixed)) / scale)[0]

    for _ in range(8 if _has_slope(room, z) else 0):
        lacking = depth - _value(room, z)
        worst = int(lacking.argmax())
        slope = _slopes(room, z)[worst]
        if not lacking[worst] > 0 or not slope.any():
            break
        z = np.clip(z + 1.01 * lacking[worst] * slope / (slope @ slope), latent.low, latent.high)
    return {name: v[0] for name, v in arrays(latent.unpack(torch.as_tensor(z)[None], fixed)).items()}


def _has_slope(function: Function, z: np.ndarray) -> bool:
    return function(torch.as_tensor(z)[None].requires_grad_(True)).requires_grad


def _value(function: Function, z: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return function(torch.as_tensor(z)[None]).nan_to_num(nan=-1e300).numpy()


def _slopes(function: Function, z: np.ndarray) -> np.ndarray:
    """One row of derivatives per value, zero where there is none."""
    t = torch.as_tensor(z)[None].requires_grad_(True)
    rows = [torch.autograd.grad(v, t, retain_graph=True, allow_unused=True)[0] for v in function(t)]
    return np.stack([np.zeros(len(z)) if r is None else np.nan_to_num(r[0].numpy()) for r in rows])


def feasible_first(
    latent: Latent, objective: Objective, points: Point, late: Callable[[], bool], steps: int = 60
) -> Point:
    """Move points that miss the assumptions into them, by descending on what is missing."""
    if not latent.size:
        return points
    fixed = tensors(points)
    misses = ~objective.evaluator.meets(fixed)
    outside = torch.nonzero(misses).ravel()
    if not len(outside):
        return points
    rows = {name: t[outside] for name, t in fixed.items()}

    def missing(z: torch.Tensor) -> torch.Tensor:
        return objective.missing(latent.unpack(z, rows), INSIDE)

    start = torch.as_tensor(latent.pack({name: t.numpy() for name, t in rows.items()}))
    probe = start.clone().requires_grad_(True)
    if not missing(probe).requires_grad:
        return points
    z = minimise(missing, start, torch.as_tensor(latent.low), torch.as_tensor(latent.high), steps=steps, late=late)
    moved = arrays(latent.unpack(z, rows))
    out = {name: np.array(v) for name, v in points.items()}
    for name, v in moved.items():
        out[name][outside.numpy()] = v
    return out
