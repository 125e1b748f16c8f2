"""A claim at given sizes as batched float64 functions: both sides, the margins of its assumptions, and one score.

Sides are written for one point. They are batched by ``torch.func.vmap``; where that fails (a side that calls
``.item()``) point by point in torch, and where torch fails in numpy, without gradients. The score of a point is the
signed relative violation (smaller side of the claim minus larger side, over their sizes): positive where the claim
fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from attnlab.analysis.exact.tape import NotTraceable
from attnlab.analysis.exact.values import torch_values
from attnlab.analysis.theorems.engines.exact_form import Recorded, record, recorded_at
from attnlab.analysis.theorems.statement.claim import Claim, ClaimError, is_sympy, parameters

FLOOR = 1e-9  # violations are measured above this share of the sides' typical size
_FAILURES = (TypeError, RuntimeError, ValueError, AttributeError, NotImplementedError, IndexError, KeyError)
Points = Mapping[str, np.ndarray]


class Evaluator:
    """Both sides and the assumptions of a claim, on batches of points ``{name: (batch, *shape)}``."""

    def __init__(self, claim: Claim, seed: int = 0) -> None:
        if claim.open_sizes:
            raise ClaimError(f"sizes {sorted(claim.open_sizes)} have no number; use claim.at(n=...)")
        self.claim = claim
        generator = np.random.default_rng(seed)
        probe = {name: domain.draw(2, generator) for name, domain in claim.variables.items()}
        self.left = _Side(claim, "left side", claim.left, probe)
        self.right = _Side(claim, "right side", claim.right, probe)
        self.conditions = [
            _Side(claim, f"assumption {a.name!r}", a.condition, probe, condition=True) for a in claim.assumptions
        ]
        self._check_shapes()
        self.floor = 1e-300

    def __call__(self, points: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """``(lower, upper)``, each (batch, entries): the claim says lower <= upper. For an identity: both sides."""
        left, right = self.left(points), self.right(points)
        left, right = torch.broadcast_tensors(left, right) if left.shape != right.shape else (left, right)
        return (right, left) if self.claim.sense == "at_least" else (left, right)

    def margins(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Margins of the assumptions, (batch, conditions): all >= 0 where the claim is meant to hold."""
        n = len(next(iter(points.values())))
        columns = [side(points) for side in self.conditions]
        return torch.cat(columns, dim=1) if columns else torch.zeros(n, 0, dtype=torch.float64)

    def score(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Signed relative violation, (batch,); positive where the claim fails by more than the floor."""
        lower, upper = self(points)
        gap = (lower - upper).abs() - self.claim.within if self.claim.sense == "equals" else lower - upper
        size = lower.abs() + upper.abs()
        relative = (gap - self.floor) / (size + self.floor)
        relative = torch.where(torch.isinf(upper) & (upper > 0), torch.full_like(relative, -1.0), relative)
        return relative.amax(dim=1)

    def set_floor(self, points: Points) -> None:
        """Take the typical size of the sides from a sample of points."""
        with torch.no_grad():
            lower, upper = self(tensors(points))
            sizes = (lower.abs() + upper.abs()).amax(dim=1)
            sizes = sizes[torch.isfinite(sizes)]
        self.floor = max(FLOOR * float(sizes.median()), 1e-300) if len(sizes) else 1e-300

    def check_numbers(self, points: Points) -> None:
        """Raise :class:`ClaimError` if a side is NaN at a point that meets the assumptions."""
        with torch.no_grad():
            there = tensors(points)
            meets = (self.margins(there) >= 0).all(dim=1)
            for side in (self.left, self.right):
                bad = torch.isnan(side(there)).any(dim=1) & meets
                if bad.any():
                    k = int(torch.nonzero(bad)[0, 0])
                    used = [n for n in side.uses if n in points] or list(points)
                    at = ", ".join(f"{name}={_brief(points[name][k])}" for name in used)
                    raise ClaimError(
                        f"the {side.label} is NaN at {at}; narrow the domain of {used[0]!r} to where the side is "
                        "defined, or exclude the point by an assumption"
                    )

    def exact_form_agrees(self, seed: int = 0, n: int = 4) -> str:
        """Why the exact form cannot stand for the functions (it differs at a point, or there is none), or nothing."""
        claim, generator = self.claim, np.random.default_rng([seed, 0xE8AC7])
        points = {name: domain.draw(n, generator) for name, domain in claim.variables.items()}
        for k in range(n):
            there = tensors({name: v[k : k + 1] for name, v in points.items()})
            try:
                whole = {name: np.asarray(points[name][k]) for name, d in claim.variables.items() if d.whole}
                exact = recorded_at(claim, whole)
            except NotTraceable as reason:
                return f"no exact form: {reason}"
            flat = {name: t.reshape(1, -1) for name, t in there.items()}
            found = torch.stack(torch_values(exact.tape, [*exact.lower, *exact.upper], flat), dim=1)
            lower, upper = self(there)
            if claim.sense == "equals":
                lower, upper = (lower - upper).abs(), torch.full_like(upper, claim.within)
            wanted = torch.cat([lower, upper], dim=1).to(torch.float64)
            if not torch.allclose(found, wanted, rtol=1e-6, atol=1e-6 * float(1 + wanted.abs().max()), equal_nan=True):
                at = ", ".join(f"{name}={_brief(v[k])}" for name, v in points.items())
                return f"the exact form differs from the function at {at}: {found.tolist()} against {wanted.tolist()}"
        return ""

    def _check_shapes(self) -> None:
        a, b = self.left.shape, self.right.shape
        if a != b and a != () and b != ():
            names = ", ".join(f"{n} {d.shape}" for n, d in self.claim.variables.items())
            raise ClaimError(
                f"the left side returns shape {a} and the right side shape {b} (variables: {names}); return the same "
                "shape, or reduce one side to a number"
            )


class _Side:
    """One side or condition of a claim, batched: ``side(points)`` is (batch, entries) in float64."""

    def __init__(self, claim: Claim, label: str, side: Any, probe: Points, condition: bool = False) -> None:
        self.claim, self.label, self.condition = claim, label, condition
        self.uses = [name for name, _ in parameters(side)] if callable(side) and not is_sympy(side) else []
        self._fixed = self._recorded = None
        self.mode = "vmap"
        if not callable(side) and not is_sympy(side):
            value = np.asarray(side, dtype=np.float64)
            self.shape, self._fixed = value.shape, torch.as_tensor(value.reshape(-1))
            return
        if is_sympy(side) or condition:
            self._recorded = self._try_record(side)
            if self._recorded is not None:
                self.shape = self._recorded.shape
                return
        self._one = _single(claim, side)
        self.shape = self._settle(probe)

    def __call__(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        n = len(next(iter(points.values())))
        if self._fixed is not None:
            return self._fixed.expand(n, -1)
        if self._recorded is not None:
            flat = {name: t.reshape(n, -1) for name, t in points.items()}
            return torch.stack(torch_values(self._recorded.tape, self._recorded.outputs, flat), dim=1)
        out = self._batched(points, n).reshape(n, -1)
        return torch.where(out, 1.0, -1.0).to(torch.float64) if out.dtype == torch.bool else out.to(torch.float64)

    def _batched(self, points: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        names = list(points)
        if self.mode == "vmap":
            return torch.func.vmap(lambda *xs: _tensor(self._one(dict(zip(names, xs, strict=True)))))(*points.values())
        if self.mode == "loop":
            return torch.stack([_tensor(self._one({k: t[i] for k, t in points.items()})) for i in range(n)])
        arrays = {k: t.detach().numpy() for k, t in points.items()}
        return torch.stack(
            [torch.as_tensor(np.asarray(self._one({k: a[i] for k, a in arrays.items()}))) for i in range(n)]
        )

    def _settle(self, probe: Points) -> tuple[int, ...]:
        """Choose the first way of evaluation that works on two points, and return the shape at one point."""
        errors = []
        for mode in ("vmap", "loop", "numpy"):
            self.mode = mode
            there = tensors(probe)
            for t in there.values():
                t.requires_grad_(t.is_floating_point())
            try:
                return tuple(self._batched(there, 2).shape[1:])
            except _FAILURES as error:
                errors.append(error)
        names = ", ".join(f"{k} of shape {v.shape[1:]}" for k, v in probe.items())
        raise ClaimError(
            f"the {self.label} cannot be evaluated with {names}: {type(errors[-1]).__name__}: {errors[-1]}"
        ) from errors[-1]

    def _try_record(self, side: Any) -> Recorded | None:
        if any(domain.whole for domain in self.claim.variables.values()):
            return None
        try:
            return record(self.claim, side, self.condition)
        except NotTraceable:
            if is_sympy(side):
                raise ClaimError(f"the {self.label}, {side}, has no numerical form; write it as a function") from None
            return None


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside: small batches run faster, and sums keep their order. The old number comes back after."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def tensors(points: Points) -> dict[str, torch.Tensor]:
    """Points as tensors: float64, whole numbers as int64."""
    return {
        k: torch.as_tensor(
            np.asarray(v), dtype=torch.int64 if np.issubdtype(np.asarray(v).dtype, np.integer) else torch.float64
        ).clone()
        for k, v in points.items()
    }


def arrays(points: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The inverse of :func:`tensors`."""
    return {k: t.detach().numpy().copy() for k, t in points.items()}


def _single(claim: Claim, side: Any) -> Callable[[Mapping[str, Any]], Any]:
    """The side as a function of one point, with definitions and sizes filled in."""
    if is_sympy(side):
        return _of_sympy(claim, side)
    plan = [(name, definition, [p for p, _ in parameters(definition)]) for name, definition in claim.where.items()]
    wanted = [p for p, _ in parameters(side)]

    def one(point: Mapping[str, Any]) -> Any:
        known = {**claim.chosen, **point}
        for name, definition, needs in plan:
            known[name] = definition(**{p: known[p] for p in needs if p in known})
        return side(**{p: known[p] for p in wanted if p in known})

    return one


def _of_sympy(claim: Claim, side: Any) -> Callable[[Mapping[str, Any]], Any]:
    """A sympy side with whole-number variables: recorded anew for each value of these."""

    def one(point: Mapping[str, Any]) -> Any:
        whole = {k: np.asarray(v) for k, v in point.items() if claim.variables[k].whole}
        recorded = record(claim, side, False, whole)
        flat = {k: torch.as_tensor(v).reshape(1, -1) for k, v in point.items()}
        return torch.stack(torch_values(recorded.tape, recorded.outputs, flat))[:, 0].reshape(recorded.shape)

    return one


def _tensor(x: Any) -> torch.Tensor:
    if isinstance(x, (list, tuple)):
        return torch.stack([_tensor(part) for part in x])
    return (
        x
        if isinstance(x, torch.Tensor)
        else torch.as_tensor(x, dtype=None if isinstance(x, (bool, np.bool_)) else torch.float64)
    )


def _brief(value: np.ndarray) -> str:
    return np.array2string(np.asarray(value), precision=4, threshold=8, separator=", ").replace("\n", "")
