"""A claim at given sizes as batched float64 functions: both sides, the margins of its assumptions, and the gap.

Sides are written for one point. They are batched by ``torch.func.vmap``; where that fails (a side that branches) point by
point in torch, and where torch fails in numpy, without gradients. The gap of a point is the smaller side of the claim minus
the larger: positive where the claim fails. Evaluations are counted: budgets are numbers of points, not seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from attnlab.analysis.exact.tape import NotTraceable
from attnlab.analysis.exact.values import torch_values
from attnlab.analysis.theorems.engines.exact_form import (
    FAILURES,
    Drawn,
    Recorded,
    as_tensor,
    at_one_point,
    quietly,
    record,
    record_claim,
    recorded_at,
    sides_in_float64,
    tensors_of,
    whole_at,
    without_draws,
    written_in,
)
from attnlab.analysis.theorems.statement.claim import Claim, ClaimError
from attnlab.analysis.theorems.statement.sides import is_sympy, parameters

ONE_BY_ONE = 20  # an evaluation outside a batch counts as this many
AGREES = 1e-7  # relative difference between the exact form and the function that rounding may explain
Points = Mapping[str, np.ndarray]


class Evaluator:
    """Both sides and the assumptions of a claim, on batches of points ``{name: (batch, *shape)}``."""

    def __init__(self, claim: Claim, seed: int = 0) -> None:
        if claim.open_sizes:
            raise ClaimError(f"sizes {sorted(claim.open_sizes)} have no number; use claim.at(n=...)")
        self.claim = claim
        self.count = 0
        generator = np.random.default_rng(seed)
        probe = {name: domain.draw(2, generator) for name, domain in claim.variables.items()}
        self.left = _Side(claim, "left side", claim.left, probe)
        self.right = _Side(claim, "right side", claim.right, probe)
        self.conditions = [_Condition(claim, f"assumption {a.name!r}", a.condition, probe) for a in claim.assumptions]
        self._check_shapes()

    @property
    def written_in(self) -> str:
        """``"torch"`` if all sides run on tensors, else ``"numpy"``."""
        return "numpy" if "numpy" in (self.left.mode, self.right.mode) else "torch"

    @property
    def cost(self) -> int:
        """What one evaluation counts: more where points cannot be batched."""
        return 1 if {self.left.mode, self.right.mode, *(c.mode for c in self.conditions)} <= {"vmap"} else ONE_BY_ONE

    def __call__(self, points: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """``(lower, upper)``, each (batch, entries): the claim says lower <= upper. For an identity: both sides."""
        self.count += self.cost * len(next(iter(points.values())))
        left, right = self.left(points), self.right(points)
        left, right = torch.broadcast_tensors(left, right) if left.shape != right.shape else (left, right)
        return (right, left) if self.claim.sense == "at_least" else (left, right)

    def gap(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """``lower - upper``, or ``|left - right| - within``, (batch, entries): positive where the claim fails."""
        return self.gap_of(*self(points))

    def gap_of(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        """The gap of given sides; an infinite upper side is met."""
        gap = (lower - upper).abs() - self.claim.within if self.claim.sense == "equals" else lower - upper
        if self.claim.sense == "equals":
            return gap
        met = (upper == math.inf) | (lower == -math.inf)
        return torch.where(met, torch.full_like(gap, -math.inf), gap)

    def margins(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Margins of the assumptions, (batch, margins): >= 0 where they are met, for the search to climb on."""
        n = len(next(iter(points.values())))
        columns = [side.margins(points) for side in self.conditions]
        return torch.cat(columns, dim=1) if columns else torch.zeros(n, 0, dtype=torch.float64)

    def meets(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Whether each point meets all assumptions, as they are written, (batch,)."""
        out = torch.ones(len(next(iter(points.values()))), dtype=torch.bool)
        with torch.no_grad():
            for side in self.conditions:
                out = out & side.meets(points)
        return out

    def check_numbers(self, points: Points) -> None:
        """Raise :class:`ClaimError` if a side is NaN at a point that meets the assumptions."""
        with torch.no_grad():
            there = tensors(points)
            meets = self.meets(there)
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

    def disagreement(self, points: Points) -> str:
        """Why the exact form cannot stand for the functions: there is none, or it differs at one of the points."""
        claim, n = self.claim, len(next(iter(points.values())))
        names = [name for name, domain in claim.variables.items() if domain.whole]
        groups: dict[tuple[bytes, ...], list[int]] = {}
        for k in range(n):
            groups.setdefault(tuple(np.asarray(points[name][k]).tobytes() for name in names), []).append(k)
        for rows in list(groups.values())[:8]:
            some = {name: np.asarray(v)[rows] for name, v in points.items()}
            try:
                exact = recorded_at(claim, {name: np.asarray(some[name][0]) for name in names})
            except NotTraceable as reason:
                return f"no exact form: {reason}"
            there = tensors(some)
            flat = {name: t.reshape(len(rows), -1) for name, t in there.items()}
            with torch.no_grad():
                found = torch.stack(torch_values(exact.tape, [*exact.lower, *exact.upper], flat), dim=1)
                lower, upper = self(there)
                if claim.sense == "equals":
                    lower, upper = (lower - upper).abs(), torch.full_like(upper, claim.within)
                wanted = torch.cat([lower, upper], dim=1).to(torch.float64)
            sizes = wanted.abs().nan_to_num(posinf=0.0).amax(dim=1, keepdim=True) + found.abs().nan_to_num(posinf=0.0)
            same = (found - wanted).abs() <= AGREES * sizes
            same |= (
                (found == wanted) | torch.isnan(found) | torch.isnan(wanted) | torch.isinf(found) | torch.isinf(wanted)
            )
            for k in torch.nonzero(~same.all(dim=1)).ravel().tolist():
                if not self._same_operations(exact, {name: np.asarray(v[k]) for name, v in some.items()}):
                    at = ", ".join(f"{name}={_brief(v[k])}" for name, v in some.items())
                    return (
                        f"the exact form differs from the function at {at}: {_brief(found[k].numpy())} against "
                        f"{_brief(wanted[k].numpy())}"
                    )
        return ""

    def recorded_alike(self, point: Points) -> bool:
        """Whether the function does at this very point what its exact form says."""
        try:
            exact = recorded_at(
                self.claim, {n: np.asarray(point[n]) for n, d in self.claim.variables.items() if d.whole}
            )
        except NotTraceable:
            return False
        return self._same_operations(exact, point)

    def _same_operations(self, exact: Any, point: Points) -> bool:
        try:
            here = record_claim(self.claim, whole_at(self.claim, point), point=point)
        except NotTraceable:
            return False
        return here.tape.entries == exact.tape.entries and here.lower == exact.lower and here.upper == exact.upper

    def gap_in_extended_precision(self, point: Points) -> np.ndarray | None:
        """The gap at one point with extended-precision arrays, for sides in numpy; None where that cannot be had."""
        wide = {
            name: np.asarray(v).astype(np.longdouble)[()] if np.asarray(v).dtype == np.float64 else np.asarray(v)[()]
            for name, v in point.items()
        }
        values = []
        for side in (self.left, self.right):
            value = side.in_extended_precision(wide)
            if value is None:
                return None
            values.append(value)
        left, right = np.broadcast_arrays(*values)
        gap = abs(left - right) - self.claim.within if self.claim.sense == "equals" else left - right
        return np.ravel(-gap if self.claim.sense == "at_least" else gap)

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
        self.claim, self.label, self.side, self.condition = claim, label, side, condition
        self.uses = [name for name, _ in parameters(side)] if callable(side) and not is_sympy(side) else []
        self._fixed: torch.Tensor | None = None
        self._recorded: Recorded | None = None
        self.mode, self.gradients = "vmap", True
        if not callable(side) and not is_sympy(side):
            raw = side.detach().cpu().numpy() if hasattr(side, "detach") else side
            value = np.asarray(raw, dtype=np.float64)
            self.shape, self._fixed = value.shape, torch.as_tensor(value.reshape(-1))
            return
        if is_sympy(side):
            self._recorded = self._try_record(side)
            if self._recorded is not None:
                self.shape = self._recorded.shape
                return
        self._one = _of_sympy(claim, side) if is_sympy(side) else at_one_point(claim, side)
        self.shape = self._settle(probe)

    def __call__(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        n = len(next(iter(points.values())))
        if self._fixed is not None:
            return self._fixed.expand(n, -1)
        if self._recorded is not None:
            flat = {name: t.reshape(n, -1) for name, t in points.items()}
            return torch.stack(torch_values(self._recorded.tape, self._recorded.outputs, flat), dim=1)
        with sides_in_float64():
            try:
                out = self._batched(points, n).reshape(n, -1)
            except FAILURES:  # at some of the points: numpy's inverse of a singular matrix, math.sqrt(-1)
                out = torch.stack([self._or_undefined(points, i) for i in range(n)])
        return self._numbers(out)

    def in_extended_precision(self, point: Mapping[str, Any]) -> np.ndarray | None:
        """The value at one point of longdouble arrays, or None where it falls back to float64 or fails."""
        if self._fixed is not None:
            return self._fixed.numpy().reshape(self.shape).astype(np.longdouble)
        if self.mode != "numpy":
            return None
        try:
            value = np.asarray(self._one(point))
        except FAILURES:
            return None
        return value if value.dtype == np.longdouble else None

    def _batched(self, points: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        names = list(points)
        if self.mode != "numpy" and not self.gradients:
            points = {k: t.detach() for k, t in points.items()}
        if self.mode == "vmap":  # a side gets copies: it may write into its arguments
            return torch.func.vmap(
                lambda *xs: as_tensor(self._one({k: x.clone() for k, x in zip(names, xs, strict=True)}))
            )(*points.values())
        if self.mode == "loop":
            return torch.stack([as_tensor(self._one({k: t[i].clone() for k, t in points.items()})) for i in range(n)])
        arrays = {k: t.detach().numpy() for k, t in points.items()}
        with np.errstate(all="ignore"):
            return torch.stack(
                [torch.as_tensor(np.asarray(self._one({k: a[i].copy() for k, a in arrays.items()}))) for i in range(n)]
            )

    def _or_undefined(self, points: Mapping[str, torch.Tensor], i: int) -> torch.Tensor:
        """The entries at one point; NaN where the side raises an error."""
        try:
            out = self._batched({k: t[i : i + 1] for k, t in points.items()}, 1).reshape(-1)
        except FAILURES:
            return torch.full((math.prod(self.shape),), math.nan, dtype=torch.float64)
        return self._numbers(out)

    def _numbers(self, out: torch.Tensor) -> torch.Tensor:
        """In float64; what is true counts 1 and what is not 0 in a side, and -1 as the margin of a condition."""
        margin = out.dtype == torch.bool and self.condition
        return out.to(torch.float64) * 2 - 1 if margin else out.to(torch.float64)

    def _settle(self, probe: Points) -> tuple[int, ...]:
        """Choose the first way of evaluation that works on two points, and return the shape at one point."""
        torch_runs = is_sympy(self.side) or written_in(self.claim, self.side) == "torch"
        error: Exception | None = None
        ways = list(itertools.product(("vmap", "loop"), (True, False))) if torch_runs else [("numpy", True)]
        for mode, gradients in ways:
            self.mode, self.gradients = mode, gradients
            there = tensors(probe)
            for t in there.values():
                t.requires_grad_(t.is_floating_point())
            swallowed = Swallowed()
            try:
                with sides_in_float64(), quietly(), swallowed:
                    out = without_draws(partial(self._batched, there, 2))
                if swallowed.seen and (mode, gradients) != ways[-1]:
                    continue  # what the side does about an error of batching is not the side
                if not out.numel():
                    raise ClaimError(f"the {self.label} returns no entries, an array of shape {tuple(out.shape[1:])}")
                if out.is_complex():
                    raise ClaimError(
                        f"the {self.label} returns complex numbers, which have no order; compare .real or .abs()"
                    )
                return tuple(out.shape[1:])
            except ClaimError:
                raise
            except Drawn:
                raise ClaimError(
                    f"the {self.label} draws random numbers of numpy or Python, so that it is no function of its variables; make "
                    "the generator inside from a fixed seed, or claim a mean with .on_average(...)"
                ) from None
            except NotTraceable as reason:  # sympy with whole numbers: recorded anew at each of their values
                raise ClaimError(
                    f"the {self.label}, {self.side}, has no numerical form ({reason}); write it as a function"
                ) from None
            except FAILURES as failure:
                error = failure
        names = ", ".join(f"{k} of shape {v.shape[1:]}" for k, v in probe.items())
        in_torch = self.claim.__dict__.get("_torch_errors", {}).get(id(self.side))
        raise ClaimError(
            f"the {self.label} cannot be evaluated with {names}: {type(error).__name__}: {error}"
            + (f"; on tensors of float64: {in_torch}" if in_torch else "")
        ) from error

    def _try_record(self, side: Any) -> Recorded | None:
        if any(domain.whole for domain in self.claim.variables.values()):
            return None
        try:
            return record(self.claim, side)
        except NotTraceable as reason:
            raise ClaimError(
                f"the {self.label}, {side}, has no numerical form ({reason}); write it as a function"
            ) from None


class _Condition:
    """One assumption: as it is written, and as margins that a search can climb on."""

    def __init__(self, claim: Claim, label: str, condition: Any, probe: Points) -> None:
        self.claim, self.condition = claim, condition
        self.written = None if is_sympy(condition) else _Side(claim, label, condition, probe, True)
        self.mode = self.written.mode if self.written is not None else "vmap"
        self.recorded: Recorded | None = None
        if not any(domain.whole for domain in claim.variables.values()):
            try:
                self.recorded = record(claim, condition, condition=True)
            except NotTraceable as reason:
                if self.written is None:
                    raise ClaimError(f"the {label} has no numerical form: {reason}; write it as a function") from None

    def margins(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.recorded is None:
            if self.written is None:
                return self._of_sympy(points)
            return self.written(points)
        n = len(next(iter(points.values())))
        if not self.recorded.outputs:
            return torch.zeros(n, 0, dtype=torch.float64)
        flat = {name: t.reshape(n, -1) for name, t in points.items()}
        return torch.stack(torch_values(self.recorded.tape, self.recorded.outputs, flat), dim=1)

    def meets(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.written is not None:
            return (self.written(points) >= 0).all(dim=1)
        found = self.margins(points)
        strict = torch.tensor(self.recorded.strict if self.recorded is not None else [False] * found.shape[1])
        return torch.where(strict, found > 0, found >= 0).all(dim=1)

    def _of_sympy(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """A sympy condition with whole-number variables, point by point."""
        rows = []
        for k in range(len(next(iter(points.values())))):
            whole = {n: points[n][k].numpy() for n, d in self.claim.variables.items() if d.whole}
            found = record(self.claim, self.condition, True, whole)
            flat = {n: t[k : k + 1].reshape(1, -1) for n, t in points.items()}
            values = torch.stack(torch_values(found.tape, found.outputs, flat), dim=1)[0]
            strict = torch.tensor(found.strict)
            rows.append(torch.where(strict & (values == 0), torch.full_like(values, -1e-300), values))
        return torch.stack(rows)


class Swallowed(TorchFunctionMode):
    """Whether any call of torch raised inside: where all went well in the end, the side has caught the error."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        try:
            return function(*arguments, **(named or {}))
        except Exception:
            self.seen = True
            raise


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
    return tensors_of(points)


def arrays(points: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The inverse of :func:`tensors`."""
    return {k: t.detach().numpy().copy() for k, t in points.items()}


def _of_sympy(claim: Claim, side: Any) -> Any:
    """A sympy side with whole-number variables: recorded anew for each value of these."""

    def one(point: Mapping[str, Any]) -> Any:
        whole = {k: np.asarray(v) for k, v in point.items() if claim.variables[k].whole}
        recorded = record(claim, side, False, whole)
        flat = {k: torch.as_tensor(v).reshape(1, -1) for k, v in point.items()}
        return torch.stack(torch_values(recorded.tape, recorded.outputs, flat))[:, 0].reshape(recorded.shape)

    return one


def _brief(value: np.ndarray) -> str:
    return np.array2string(np.asarray(value), precision=4, threshold=8, separator=", ").replace("\n", "")
