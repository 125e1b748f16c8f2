"""What a search climbs on: the violation on one scale, the violation relative to the sides, and the distance to feasibility.

Sides that numpy or single points make slow are climbed on their exact form, if there is one; points are kept by what the
function itself says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from attnlab.analysis.exact.tape import NotTraceable
from attnlab.analysis.exact.values import torch_values
from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors
from attnlab.analysis.theorems.engines.exact_form import RecordedClaim, recorded_at
from attnlab.analysis.theorems.statement.claim import Claim

INSIDE = 1e-9  # how far inside the assumptions a repair aims, on their scale
PENALTY = 10.0
ROUNDING = 64 * 2.0**-52  # gaps this near zero, relative to the sides, are looked at in higher precision
Points = Mapping[str, np.ndarray]


class Objective:
    """Scores of batches of points; ``scale`` and ``margin_scale`` are fixed by the first pool."""

    def __init__(self, claim: Claim, evaluator: Evaluator) -> None:
        self.claim, self.evaluator = claim, evaluator
        self.scale = 1.0
        self.variation = 0.0
        self.margin_scale: torch.Tensor | None = None
        self.exact: RecordedClaim | None = None
        self.differentiable = True
        if not any(domain.whole for domain in claim.variables.values()):
            try:
                self.exact = recorded_at(claim, {})
            except NotTraceable:
                pass
        self.on_tape = evaluator.cost > 1 and self.exact is not None
        if evaluator.written_in == "numpy" and not self.on_tape:
            self.differentiable = False

    def climb_on_tape(self) -> bool:
        """Climb on the exact form from now on, because torch has no derivative of the function; False if it cannot be."""
        if self.on_tape or self.exact is None:
            return False
        self.on_tape = True
        return True

    def set_scale(self, points: Points) -> None:
        """Fix the scales from a pool of points."""
        with torch.no_grad():
            there = tensors(points)
            lower, upper = self.evaluator(there)
            gap = self.evaluator.gap_of(lower, upper).amax(dim=1)
            sizes = gap[torch.isfinite(gap)].abs()
            if len(sizes):
                self.scale = max(float(sizes.median()), 1e-3 * float(sizes.mean()), 1e-300)
            ranges = [t[torch.isfinite(t)] for t in (lower, upper)]
            self.variation = max((float(t.max() - t.min()) for t in ranges if len(t)), default=0.0)
            margins = self.evaluator.margins(there)
            if margins.shape[1]:
                size = margins.abs().nan_to_num(nan=1.0, posinf=1.0).median(dim=0).values
                self.margin_scale = size.clamp(min=1e-12)

    def sides(self, points: Mapping[str, torch.Tensor], written: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The sides, from the function itself or (unless ``written``) from its faster exact form."""
        if not self.on_tape or written or self.exact is None:
            return self.evaluator(points)
        n = len(next(iter(points.values())))
        self.evaluator.count += n
        flat = {name: t.reshape(n, -1) for name, t in points.items()}
        found = torch_values(self.exact.tape, [*self.exact.lower, *self.exact.upper], flat)
        half = len(self.exact.lower)
        return torch.stack(found[:half], dim=1), torch.stack(found[half:], dim=1)

    def gaps(self, points: Mapping[str, torch.Tensor], written: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """``(gap, size)`` per entry: lower - upper, and |lower| + |upper|."""
        lower, upper = self.sides(points, written)
        size = lower.abs() + upper.abs()
        if self.claim.sense == "equals" and (not self.on_tape or written):
            return (lower - upper).abs() - self.claim.within, size
        gap = lower - upper
        return torch.where((upper == math.inf) | (lower == -math.inf), torch.full_like(gap, -math.inf), gap), size

    def scores(
        self, points: Mapping[str, torch.Tensor], written: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Violation on the fixed scale, relative violation, nearness, and whether the assumptions are met, each (batch,).

        Nearness is the relative violation less the rounding of sides of the usual size: sides that are as small as the
        rounding of what they are computed from seem near by chance.
        """
        gap, size = self.gaps(points, written)
        relative = torch.where(torch.isinf(gap), gap, gap / (size + 1e-12 * self.scale))
        relative = torch.where(
            (size == 0) & (gap <= 0), -torch.inf, relative
        )  # 0 <= 0 tells nothing of how near sides come
        near = torch.where(size > 0, (gap - ROUNDING * (size + self.variation)) / size, -torch.inf)
        meets = self.evaluator.meets(points)
        return gap.amax(dim=1) / self.scale, relative.amax(dim=1), near.amax(dim=1), meets

    def climbing(
        self, points: Mapping[str, torch.Tensor], absolute: torch.Tensor, weight: float = PENALTY
    ) -> torch.Tensor:
        """The score of each climber (``absolute`` says of which kind), less a penalty outside the assumptions."""
        gap, size = self.gaps(points)
        kinds = absolute[:, None]
        score = torch.where(kinds, gap / self.scale, gap / (size + 1e-12 * self.scale)).amax(dim=1)
        return score - weight * self.missing(points) if self.margin_scale is not None else score

    def missing(self, points: Mapping[str, torch.Tensor], inside: float = 0.0) -> torch.Tensor:
        """How far the assumptions are from being met, on their own scales, (batch,)."""
        margins = self.evaluator.margins(points)
        scale = self.margin_scale if self.margin_scale is not None else torch.ones(margins.shape[1])
        return (inside - margins / scale).clamp(min=0).sum(dim=1)

    def gap_at(self, point: Points) -> float:
        """The largest gap at one point, as the function says."""
        with torch.no_grad():
            gap, _ = self.gaps(tensors({k: np.asarray(v)[None] for k, v in point.items()}), written=True)
        return float(gap.amax())

    def rounding_at(self, point: Points) -> float:
        """A gap that floats may hide at one point."""
        with torch.no_grad():
            _, size = self.gaps(tensors({k: np.asarray(v)[None] for k, v in point.items()}), written=True)
        return ROUNDING * float(size[torch.isfinite(size)].amax()) if torch.isfinite(size).any() else 0.0
