"""A claim's sides on a tape: from the functions by recording what they do, from sympy by walking the expression tree.

A side is written in torch if torch can run it on tensors that need a gradient, and in numpy otherwise; the same choice
holds wherever the side is evaluated. Sides run with float64 as torch's default, so ``torch.tensor(0.1)`` inside a side is
a float64 number.
"""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.analysis.exact.arrays import as_objects, infinite, lift
from attnlab.analysis.exact.reading import lowest
from attnlab.analysis.exact.tape import Condition, NotTraceable, Number, Tape
from attnlab.analysis.theorems.engines.sympy_form import from_sympy
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import Box, Domain, Simplex
from attnlab.analysis.theorems.statement.sides import is_sympy, parameters

FAILURES = (
    TypeError, RuntimeError, ValueError, AttributeError, NotImplementedError, IndexError, KeyError, ArithmeticError,
    AssertionError,
)  # fmt: skip
_KEPT_TAPES = 32

Inputs = Callable[[Tape, str, Domain], np.ndarray]
Margin = tuple[int, bool]  # an entry that is >= 0, or > 0 if strict


@dataclass(frozen=True)
class Recorded:
    """One part of a claim on its tape: the entries it returns (row-major) and their shape; margins of a condition."""

    tape: Tape
    outputs: list[int]
    shape: tuple[int, ...]
    strict: tuple[bool, ...] = ()


@dataclass(frozen=True)
class RecordedClaim:
    """Both sides and all margins on one tape; ``lower[k] <= upper[k]`` is claimed where every margin is met.

    ``path`` holds the conditions of the branches that were taken, if it was recorded at one point.
    """

    tape: Tape
    lower: list[int]
    upper: list[int]
    margins: list[Margin]
    path: list[Margin]


def record(claim: Claim, side: Any, condition: bool = False, whole: Mapping[str, np.ndarray] | None = None) -> Recorded:
    """One side or condition on a tape of its own. ``whole`` gives the values of integers and permutations.

    Raises :class:`NotTraceable` with the reason if the side cannot be recorded.
    """
    tape = Tape()
    found = _Recording(claim, tape, whole or {}, entry_inputs, None, False)
    if condition:
        margins = found.margins(side)
        return Recorded(tape, [x.index for x, _ in margins], (len(margins),), tuple(s for _, s in margins))
    numbers, shape = found.side(side)
    return Recorded(tape, [x.index for x in numbers], shape)


def record_claim(
    claim: Claim,
    whole: Mapping[str, np.ndarray] | None = None,
    inputs: Inputs | None = None,
    point: Mapping[str, np.ndarray] | None = None,
) -> RecordedClaim:
    """The whole claim on one tape. An identity becomes ``|left - right| <= within``.

    ``inputs(tape, name, domain)`` builds the entries of a variable from other coordinates than its own. At a ``point``
    branches are allowed, and the tape is that of the branches taken there.
    """
    tape = Tape()
    found = _Recording(claim, tape, whole or {}, inputs or entry_inputs, point, point is not None)
    left, a = found.side(claim.left)
    right, b = found.side(claim.right)
    if a != b and a != () and b != ():
        raise NotTraceable(f"the sides have shapes {a} and {b}")
    n = max(len(left), len(right))
    left, right = (left * n if len(left) < n else left), (right * n if len(right) < n else right)
    if claim.sense == "equals":
        left = [abs(x - y) for x, y in zip(left, right, strict=True)]
        right = [tape.constant(claim.within)] * n
    elif claim.sense == "at_least":
        left, right = right, left
    margins = [(x.index, strict) for a in claim.assumptions for x, strict in found.margins(a.condition)]
    path = [(x.index, strict) for x, strict in found.path]
    return RecordedClaim(tape, [x.index for x in left], [x.index for x in right], margins, path)


def recorded_at(claim: Claim, whole: Mapping[str, np.ndarray]) -> RecordedClaim:
    """:func:`record_claim` with the last few tapes kept on the claim: a search evaluates one claim at many points."""
    tapes = claim.__dict__.setdefault("_tapes", {})
    key = tuple((name, value.tobytes()) for name, value in whole.items())
    if key not in tapes:
        if len(tapes) >= _KEPT_TAPES:
            tapes.clear()
        try:
            tapes[key] = record_claim(claim, whole)
        except NotTraceable as reason:
            tapes[key] = reason
    if isinstance(tapes[key], NotTraceable):
        raise tapes[key]
    return tapes[key]


def entry_inputs(tape: Tape, name: str, domain: Domain) -> np.ndarray:
    """A variable whose coordinates are its own entries."""
    low = lowest(domain.low) if isinstance(domain, Box) and np.isfinite(float(domain.low)) else None
    nonnegative = isinstance(domain, Simplex) or (low is not None and low >= 0)
    entries = np.empty(domain.shape, dtype=object)
    for position, index in enumerate(np.ndindex(domain.shape)):
        entries[index] = tape.input(name, position, nonnegative, low is not None and low > 0)
    return entries


def at_one_point(claim: Claim, side: Any) -> Callable[[Mapping[str, Any]], Any]:
    """A side written as a function, on one point, with definitions and sizes filled in."""
    plan = [(name, definition, [p for p, _ in parameters(definition)]) for name, definition in claim.where.items()]
    wanted = [p for p, _ in parameters(side)]

    def one(point: Mapping[str, Any]) -> Any:
        known = {**claim.chosen, **point}
        for name, definition, needs in plan:
            known[name] = definition(**{p: known[p] for p in needs if p in known})
        return side(**{p: known[p] for p in wanted if p in known})

    return one


def written_in(claim: Claim, side: Any) -> str:
    """``"torch"`` if torch runs the side on tensors that need a gradient, ``"numpy"`` otherwise."""
    known = claim.__dict__.setdefault("_written_in", {})
    if id(side) not in known:
        one = at_one_point(claim, side)
        try:
            with sides_in_float64(), quietly():
                as_tensor(one(needing_gradients(_some_point(claim))))
            known[id(side)] = ("torch", side)
        except FAILURES as error:
            known[id(side)] = ("torch" if _runs_in_torch(one, claim) else "numpy", side)
            claim.__dict__.setdefault("_torch_errors", {})[id(side)] = f"{type(error).__name__}: {error}"
    return known[id(side)][0]


def _runs_in_torch(one: Callable[[Mapping[str, Any]], Any], claim: Claim) -> bool:
    """Whether a side that cannot be differentiated runs on tensors without leaving torch: it may fill given tensors."""
    from attnlab.analysis.exact.torch_recording import Unconverted

    try:
        with sides_in_float64(), quietly(), Unconverted():
            return hasattr(one(tensors_of(_some_point(claim))), "untyped_storage")
    except FAILURES:
        return False


def needing_gradients(point: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """One point as tensors; float ones need a gradient, so that numpy cannot take them unseen."""
    return {k: t.requires_grad_(t.is_floating_point()).clone() for k, t in tensors_of(point).items()}


def tensors_of(points: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as tensors of their own: float64, whole numbers as int64."""
    import torch

    return {
        k: torch.as_tensor(
            np.asarray(v), dtype=torch.int64 if np.issubdtype(np.asarray(v).dtype, np.integer) else torch.float64
        ).clone()
        for k, v in points.items()
    }


def as_tensor(x: Any) -> Any:
    """What a side returns as one tensor."""
    import torch

    if isinstance(x, (list, tuple)):
        return torch.stack([as_tensor(part) for part in x])
    if isinstance(x, torch.Tensor):
        return x
    return torch.as_tensor(x, dtype=torch.bool if isinstance(x, (bool, np.bool_)) else torch.float64)


@contextmanager
def quietly() -> Iterator[None]:
    """Without warnings of gradients lost and numbers divided: a trial run is not the reader's."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


class Drawn(Exception):
    """A side draws random numbers of numpy or Python."""


_DRAWING = threading.RLock()  # numpy's generator is looked at for one side at a time


def without_draws(run: Callable[[], Any]) -> Any:
    """What ``run`` returns; raises :class:`Drawn` if it draws numpy's or Python's random numbers, which are no constants.

    Their state belongs to the process, so that another thread may have moved it: a side draws every time.
    """
    for left in (2, 1, 0):
        with _DRAWING:
            before, fresh = _random_state(), np.random.default_rng
            unseeded: list[bool] = []

            def default_rng(
                seed: Any = None, fresh: Any = fresh, unseeded: list[bool] = unseeded
            ) -> np.random.Generator:
                if seed is None:
                    unseeded.append(True)
                return fresh(seed)

            np.random.default_rng = default_rng
            try:
                found = run()
            finally:
                np.random.default_rng = fresh
            if not unseeded and before == _random_state():
                return found
            if not left:
                raise Drawn
    raise AssertionError("the last round returns or raises")


def _random_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return state["state"]["key"].tobytes(), state["state"]["pos"], random.getstate()


_INSIDE = threading.Lock()
_DEFAULTS: list[Any] = []  # the default type before the first of those who are inside now, once per entry


@contextmanager
def sides_in_float64() -> Iterator[None]:
    """Torch's default type is float64 inside, and what it was after; several threads may be inside at once."""
    import torch

    with _INSIDE:
        _DEFAULTS.append(_DEFAULTS[-1] if _DEFAULTS else torch.get_default_dtype())
        torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        with _INSIDE:
            before = _DEFAULTS.pop()
            if not _DEFAULTS:
                torch.set_default_dtype(before)


def _some_point(claim: Claim) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {name: np.asarray(domain.draw(1, generator)[0]) for name, domain in claim.variables.items()}


class _Recording:
    """Records the parts of one claim on one tape."""

    def __init__(
        self,
        claim: Claim,
        tape: Tape,
        whole: Mapping[str, np.ndarray],
        inputs: Inputs,
        point: Mapping[str, np.ndarray] | None,
        path: bool,
    ) -> None:
        self.claim, self.tape, self.may_branch = claim, tape, path
        self.path: list[tuple[Number, bool]] = []
        self.entries: dict[str, np.ndarray] = {}
        missing = [name for name, domain in claim.variables.items() if domain.whole and name not in whole]
        if missing and point is None:
            raise NotTraceable(f"{missing[0]} is a whole number or permutation without a value")
        self.point = {**_some_point(claim), **whole, **(point or {})}
        for name, domain in claim.variables.items():
            if not domain.whole:
                self.entries[name] = np.asarray(inputs(tape, name, domain), dtype=object).reshape(domain.shape)

    def side(self, side: Any) -> tuple[list[Number], tuple[int, ...]]:
        """Numbers of a side, and its shape."""
        entries = self._run(side)
        if any(infinite(x) for x in entries.flat):
            raise NotTraceable("a side is infinite")
        return [lift(self.tape, x) for x in entries.flat], entries.shape

    def margins(self, condition: Any) -> list[tuple[Number, bool]]:
        """Margins of a condition with their strictness; a number counts as a margin >= 0."""
        out: list[tuple[Number, bool]] = []
        for x in self._run(condition).flat:
            if isinstance(x, Condition):
                out.extend(x.clauses)
            elif isinstance(x, (bool, np.bool_)):
                out.append((self.tape.constant(1 if x else -1), False))
            elif not infinite(x):
                out.append((self.tape.constant(x), False))
            elif x < 0:
                out.append((self.tape.constant(-1), False))
        return out

    def _run(self, side: Any) -> np.ndarray:
        if is_sympy(side):
            known = {**self.claim.chosen, **self.point, **self.entries}
            found = from_sympy(self.tape, known, side)
            return np.array(found, dtype=object) if isinstance(found, list) else as_objects(found)
        if not callable(side):
            return as_objects(np.asarray(side, dtype=object) if not hasattr(side, "shape") else _detached(side))
        one = at_one_point(self.claim, side)
        with sides_in_float64():
            if written_in(self.claim, side) == "torch":
                from attnlab.analysis.exact.torch_recording import record_torch

                run: Any = record_torch
                function: Any = lambda point: as_tensor(one(point))  # noqa: E731
                point: Any = tensors_of(self.point)
            else:
                from attnlab.analysis.exact.numpy_recording import record_numpy

                run, function, point = record_numpy, one, {k: v[()] for k, v in self.point.items()}
            entries, conditions = run(function, point, self.entries, self.tape, self.may_branch)
        self.path.extend(conditions)
        return entries


def _detached(x: Any) -> np.ndarray:
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def whole_at(claim: Claim, point: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The integers and permutations of a point."""
    return {name: np.asarray(point[name]) for name, domain in claim.variables.items() if domain.whole}
