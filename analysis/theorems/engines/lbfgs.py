"""L-BFGS within bounds, on a batch of starting points at once.

Every row is its own minimisation: its own curvature pairs, its own step length by backtracking. Coordinates at a
bound with the gradient pointing outwards are held fixed for the step (projected gradient). Reference: J. Nocedal, S.
Wright, Numerical Optimization, 2nd edition, Algorithm 7.4 (two-loop recursion).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from attnlab.analysis.theorems.engines.exact_form import FAILURES

MEMORY = 12
HALVINGS = 25
ARMIJO = 1e-4


def minimise(
    function: Callable[[torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    steps: int = 120,
    late: Callable[[], bool] = lambda: False,
) -> torch.Tensor:
    """Rows that locally minimise ``function`` (batch, n) -> (batch,), with ``low <= z <= high``; never worse than the
    start.

    A row whose value is not finite stays where it is. ``late()`` is asked every tenth step and stops the descent.
    """
    z = torch.clamp(start.detach(), low, high)
    value, gradient = _with_gradient(function, z)
    pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    active = torch.isfinite(value)
    for step in range(steps):
        free = ~(((z <= low) & (gradient > 0)) | ((z >= high) & (gradient < 0)))
        projected = torch.where(free, gradient, 0.0)
        active = active & (projected.abs().amax(dim=1) > 1e-14)
        if not active.any() or (step % 10 == 9 and late()):
            break
        direction = -_two_loops(projected, pairs) * free
        uphill = (direction * projected).sum(dim=1) >= 0
        direction = torch.where(uphill[:, None], -projected, direction)
        if not pairs:
            direction = direction / (1 + direction.norm(dim=1, keepdim=True))
        new, moved = _backtrack(function, z, value, projected, direction, active, low, high)
        new_value, new_gradient = _with_gradient(function, new)
        _remember(pairs, new - z, new_gradient - gradient)
        active = active & moved
        z, value, gradient = new, new_value, new_gradient
    return z


def _with_gradient(
    function: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    point = z.clone().requires_grad_(True)
    value = function(point)
    gradient = gradient_of(value, point)
    return value.detach(), torch.zeros_like(z) if gradient is None else gradient


def gradient_of(values: torch.Tensor, point: torch.Tensor) -> torch.Tensor | None:
    """The gradient of every row's value, infinite and undefined entries as 0; None where torch has no derivative."""
    if not values.requires_grad:
        return None
    try:
        (gradient,) = torch.autograd.grad(values, point, torch.ones_like(values), allow_unused=True)
    except FAILURES:
        return None
    return torch.zeros_like(point) if gradient is None else torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def _two_loops(gradient: torch.Tensor, pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Inverse Hessian estimate times gradient; rows without curvature in a pair (weight 0) skip it."""
    q, alphas = gradient.clone(), []
    for s, y, weight in reversed(pairs):
        alpha = weight * (s * q).sum(dim=1)
        q = q - alpha[:, None] * y
        alphas.append(alpha)
    if pairs:
        s, y, weight = pairs[-1]
        scale = torch.where(
            weight > 0, (s * y).sum(dim=1) / (y * y).sum(dim=1).clamp(min=1e-300), torch.ones_like(weight)
        )
        q = q * scale[:, None]
    for (s, y, weight), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = weight * (y * q).sum(dim=1)
        q = q + (alpha - beta)[:, None] * s
    return q


def _backtrack(
    function: Callable[[torch.Tensor], torch.Tensor],
    z: torch.Tensor,
    value: torch.Tensor,
    gradient: torch.Tensor,
    direction: torch.Tensor,
    active: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first of steps 1, 1/2, 1/4, ... with a sufficient decrease, row by row; rows without one stay."""
    length, out = torch.ones_like(value), z.clone()
    open_rows = active.clone()
    for _ in range(HALVINGS):
        trial = torch.clamp(z + length[:, None] * direction, low, high)
        with torch.no_grad():
            after = function(trial)
        decrease = ARMIJO * (gradient * (trial - z)).sum(dim=1)
        good = open_rows & torch.isfinite(after) & (after <= value + decrease) & (after < value)
        out[good] = trial[good]
        open_rows = open_rows & ~good
        if not open_rows.any():
            break
        length = torch.where(open_rows, length / 2, length)
    return out, active & ~open_rows


def _remember(pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], s: torch.Tensor, y: torch.Tensor) -> None:
    curvature = (s * y).sum(dim=1)
    enough = curvature > 1e-12 * s.norm(dim=1) * y.norm(dim=1)
    weight = torch.where(enough & (curvature > 0), 1 / curvature.clamp(min=1e-300), torch.zeros_like(curvature))
    pairs.append((s, y, weight))
    del pairs[:-MEMORY]
