"""Is the claim violated at this point? Judged beyond rounding before REFUTED is said.

The function runs at the point itself and what it does there is recorded, branches included, then evaluated in balls of 256
bits (2048 where that is not enough). The point's floats are read exactly, except at an end of a box, which is read
as the end is, and, where that shows no violation, once more as the simple fractions they are nearest to (0.7 as 7/10);
a float vector on a sphere or simplex stands for the exact point of the domain in its direction. The violation must be
certain in ball arithmetic, as must the assumptions (strictly, where they are strict) and the branches.

What cannot be recorded is judged in floats against its own rounding. A torch side runs again with every operation's
result moved by its last digit, at random; a numpy side runs again in extended precision; and the sides are sampled along
short lines, where rounding is what a parabola leaves. The violation must exceed all of this several times. Where the side
hides its arithmetic in Python numbers, it must also persist around the point. References: J. Vignes, A stochastic
arithmetic for reliable scientific computation, Math. Comput. Simul. 35 (1993); J. Moré, S. Wild, Estimating computational
noise, SIAM J. Sci. Comput. 33 (2011).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from attnlab.analysis.exact.reading import highest, lowest
from attnlab.analysis.exact.tape import NotTraceable, Tape
from attnlab.analysis.theorems.engines.coordinates import support
from attnlab.analysis.theorems.engines.definite import entries
from attnlab.analysis.theorems.engines.exact_form import (
    FAILURES,
    RecordedClaim,
    as_tensor,
    at_one_point,
    entry_inputs,
    quietly,
    record_claim,
    sides_in_float64,
    tensors_of,
    whole_at,
    written_in,
)
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import (
    Box,
    Distribution,
    Domain,
    Integer,
    PositiveDefinite,
    Simplex,
    Sphere,
)
from attnlab.analysis.theorems.statement.sides import is_sympy

BITS = (256, 2048)
SAME_DIGITS = 0.75  # sides that agree to this share of the bits are equal
SCALES = 2.0**-48, 2.0**-36, 2.0**-24  # relative moves that show the rounding of a side without an exact form
WIDE_SCALES = 2.0**-16, 2.0**-11, 2.0**-8, 2.0**-5  # moves that show steps of rounding, where arithmetic is hidden
STENCIL = 9
SHAKES = 12
SIMPLE = 100_000  # largest denominator of a simple fraction: the float nearest to it stands for it as well
PERSISTS = 2.0**-20  # a violation of a side that hides its arithmetic holds this far around the point, of the box
Point = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Confirmation:
    """A point evaluated in higher precision.

    ``status`` is ``"violated"``, ``"met"``, ``"equal"`` (the sides agree as far as numbers are known), ``"undefined"``
    (a side has no value there), ``"outside"`` (of the domain or the assumptions) or ``"unclear"``.
    """

    status: str
    lower: float
    upper: float
    how: str
    reason: str = ""

    @property
    def violated(self) -> bool:
        """Whether the claim certainly fails at the point."""
        return self.status == "violated"

    @property
    def disproved(self) -> bool:
        """Whether the claim certainly does not fail at the point, so that a violation seen there was rounding."""
        return self.status in ("met", "equal", "outside")

    @property
    def ratio(self) -> float:
        """lower / upper, where both are meaningful (upper > 0), else NaN."""
        return self.lower / self.upper if self.upper > 0 else math.nan


def confirm(claim: Claim, point: Point, wanted: str = "violated") -> Confirmation:
    """Evaluate a claim at one point, in balls, or, where that is impossible, in floats against their own noise.

    Where the point's floats do not give the ``wanted`` status, the simple fractions that they stand for may.
    """
    for name, domain in claim.variables.items():
        value, base = np.asarray(point[name]), support(domain)
        inside = bool(entries(base, value)) if isinstance(base, PositiveDefinite) else domain.contains(value)
        if not inside:
            return Confirmation("outside", math.nan, math.nan, "", f"{name} lies outside {domain}")
    found = _confirm(claim, point, wanted)
    if found.violated and _overflows(claim, point, found):
        return replace(found, status="unclear", reason="whole numbers leave the range of 64 bits in the statement")
    return found


def _confirm(claim: Claim, point: Point, wanted: str) -> Confirmation:
    try:
        recorded = record_claim(claim, point=point, whole=whole_at(claim, point))
        found = _in_balls(claim, recorded, point, BITS[0])
        found = _in_balls(claim, recorded, point, BITS[1]) if found.status == "unclear" else found
        return found if found.status == wanted else _as_meant(claim, point, wanted) or found
    except NotTraceable as reason:
        return _in_floats(claim, point, str(reason))


def _overflows(claim: Claim, point: Point, found: Confirmation) -> bool:
    """Whether a violation is that of whole numbers that wrap around: with floats in their place it is none."""
    if not any(isinstance(domain, Integer) for domain in claim.variables.values()):
        return False
    floats = {
        name: np.asarray(v, dtype=np.float64) if isinstance(claim.variables[name], Integer) else np.asarray(v)
        for name, v in point.items()
    }
    try:
        left, right = (_value(claim, side, floats) for side in (claim.left, claim.right))
        gap = float(np.max(abs(left - right) - claim.within if claim.sense == "equals" else left - right))
        gap = -float(np.min(left - right)) if claim.sense == "at_least" else gap
    except FAILURES:
        return False
    size = max(float(np.max(abs(left))), float(np.max(abs(right))))
    return gap <= 1e-9 * size and abs(gap - (found.lower - found.upper)) > 1e-6 * size


def _value(claim: Claim, side: Any, point: Point) -> np.ndarray:
    """A side at one point in float64; numbers as they are."""
    if is_sympy(side) or not callable(side):
        return np.asarray(side.detach() if hasattr(side, "detach") else side, dtype=np.float64)
    one = at_one_point(claim, side)
    with sides_in_float64(), quietly():
        if written_in(claim, side) == "torch":
            return as_tensor(one(tensors_of(point))).detach().double().numpy()
        return np.asarray(one({name: v.copy()[()] for name, v in point.items()}), dtype=np.float64)


def _as_meant(claim: Claim, point: Point, wanted: str) -> Confirmation | None:
    """The claim at the simple fractions that the point's floats stand for, if its status there is the wanted one."""
    meant = _meant(claim, point)
    if not meant:
        return None

    def inputs(tape: Tape, name: str, domain: Domain) -> np.ndarray:
        entries = entry_inputs(tape, name, domain)
        if isinstance(support(domain), Box):
            for k, x in enumerate(np.asarray(point[name], dtype=np.float64).ravel().tolist()):
                entries.reshape(-1)[k] = tape.constant(meant.get((name, k), Fraction(x)))
        return entries

    try:
        recorded = record_claim(claim, point=point, whole=whole_at(claim, point), inputs=inputs)
    except NotTraceable:
        return None
    found = _in_balls(claim, recorded, point, BITS[0])
    return found if found.status == wanted else None


def _meant(claim: Claim, point: Point) -> dict[tuple[str, int], Fraction]:
    """Entries of boxes that are floats of simple fractions, as these: 0.7 stands for 7/10 too, if that is in the box."""
    out = {}
    for name, domain in claim.variables.items():
        if isinstance(domain := support(domain), Box):
            for k, x in enumerate(np.asarray(point[name], dtype=np.float64).ravel().tolist()):
                simple = Fraction(x).limit_denominator(SIMPLE)
                if simple != x and float(simple) == x and _inside(domain, simple):
                    out[name, k] = simple
    return out


def _inside(domain: Box, value: Fraction) -> bool:
    """Whether a number lies between the ends, whatever the ends may stand for."""
    over_low = not math.isfinite(domain.low) or highest(domain.low) <= value
    return over_low and (not math.isfinite(domain.high) or value <= lowest(domain.high))


def balls_at(claim: Claim, point: Point) -> dict[tuple[str, int], Any]:
    """Every coordinate of a point as a ball at the current precision; curved domains are normalised exactly."""
    return {
        (name, k): ball
        for name, domain in claim.variables.items()
        if not domain.whole
        for k, ball in enumerate(_coordinates(domain, np.asarray(point[name], dtype=np.float64)))
    }


def _coordinates(domain: Domain, value: np.ndarray) -> list[Any]:
    from flint import arb

    from attnlab.analysis.exact.values import read_ball

    domain = support(domain)
    if isinstance(domain, Distribution):  # what a law draws was computed: every real near it is meant
        return [read_ball(float(x)) for x in value.ravel()]
    if isinstance(domain, Box):
        ends = {float(end): end for end in (domain.low, domain.high) if math.isfinite(end)}
        return [read_ball(ends[x]) if x in ends else arb(x) for x in map(float, value.ravel())]
    if isinstance(domain, PositiveDefinite):
        return entries(domain, value) or []
    z = [arb(float(x)) for x in value.ravel()]
    if isinstance(domain, Sphere):
        length = sum((x * x for x in z), arb(0)).sqrt()
        return [read_ball(domain.radius) * x / length for x in z]
    if isinstance(domain, Simplex):
        total = sum(z, arb(0))
        return [x / total for x in z]
    return z


def _in_balls(claim: Claim, recorded: RecordedClaim, point: Point, bits: int) -> Confirmation:
    from flint import arb, ctx

    from attnlab.analysis.exact.values import ball_values

    with ctx.workprec(bits):
        values = ball_values(recorded.tape, balls_at(claim, point))
        gaps = [values[a] - values[b] for a, b in zip(recorded.lower, recorded.upper, strict=True)]
        sizes = [abs(values[a]) + abs(values[b]) for a, b in zip(recorded.lower, recorded.upper, strict=True)]
        worst = max(range(len(gaps)), key=lambda k: _rank(gaps[k], sizes[k]))
        lower, upper = float(values[recorded.lower[worst]].mid()), float(values[recorded.upper[worst]].mid())

        def said(status: str, reason: str = "") -> Confirmation:
            smaller = upper if status == "equal" else lower  # digits that differ are not known
            return Confirmation(status, smaller, upper, f"ball arithmetic, {bits} bits", reason)

        for k, strict in recorded.path:
            if not ((values[k] > 0) if strict else (values[k] >= 0)):
                return said(*_borderline("a branch of the statement"))
        if all(g <= 0 for g in gaps):
            return said("met")
        for k, strict in recorded.margins:
            if not ((values[k] > 0) if strict else (values[k] >= 0)):
                at_border = values[k].contains(0) and all(g <= s * 2.0**-44 for g, s in zip(gaps, sizes, strict=True))
                if at_border and bits == BITS[-1]:
                    return said("equal", "the sides agree to 13 digits at the border of an assumption")
                certain = (values[k] <= 0) if strict else (values[k] < 0)
                return said(
                    *(("outside", "an assumption is not met there") if certain else _borderline("an assumption"))
                )
        if any(g > 0 for g in gaps):
            return said("violated")
        if not all(g.is_finite() for g in gaps):
            return said("undefined", "a side has no value there")
        open_gaps = [(g, s) for g, s in zip(gaps, sizes, strict=True) if not g <= 0]
        rounded = any(op == "rounded" for op, _ in recorded.tape.entries) or _rounded_ends(claim)
        share = arb(2) ** int(-SAME_DIGITS * bits)
        largest = max((v.abs_upper() for v in values if v.is_finite()), default=arb(1))
        small = all(abs(g) <= largest * share for g, _ in open_gaps)
        if small:
            return said("equal", f"the sides agree to {int(SAME_DIGITS * bits * 0.301)} digits")
        if rounded and bits == BITS[-1]:
            return said("equal", "the sides agree as far as the computed constants of the statement are known")
        return said("unclear", f"left and right differ by {_rank(gaps[worst], 1.0):.3g}")


def _borderline(what: str) -> tuple[str, str]:
    return "unclear", f"{what} is not certain there"


def _rounded_ends(claim: Claim) -> bool:
    from attnlab.analysis.exact.reading import read

    domains = [support(domain) for domain in claim.variables.values()]
    ends = [e for d in domains if isinstance(d, Box) for e in (d.low, d.high) if math.isfinite(e)]
    ends += [d.radius for d in domains if isinstance(d, Sphere)]
    ends += [e for d in domains if isinstance(d, PositiveDefinite) for e in (d.low, d.high)]
    return any(read(end)[1] for end in ends) or any(isinstance(d, Distribution) for d in domains)


def _rank(gap: Any, size: Any) -> float:
    value = float((gap / size).mid()) if gap.is_finite() and size > 0 else -math.inf
    return value if math.isfinite(value) else -math.inf


def _in_floats(claim: Claim, point: Point, why: str) -> Confirmation:
    import torch

    from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors

    evaluator = Evaluator(claim)
    there = tensors({k: np.asarray(v)[None] for k, v in point.items()})
    with torch.no_grad():
        lower, upper = (float(t[0, k]) for t, k in zip(evaluator(there), [0, 0], strict=True))
        if not bool(evaluator.meets(there).all()):
            return Confirmation("outside", lower, upper, "", "an assumption is not met there")
        lower_all, upper_all = evaluator(there)
        gaps_here = evaluator.gap(there)[0]
        if bool(torch.isnan(gaps_here).any()):
            return Confirmation("undefined", lower, upper, "float64", "a side has no value there")
        k = int(torch.argmax(gaps_here))
        gaps = evaluator.gap(tensors({n: _nudged(np.asarray(v), SCALES) for n, v in point.items()}))[:, k].numpy()
        wide = evaluator.gap(tensors({n: _nudged(np.asarray(v), WIDE_SCALES) for n, v in point.items()}))[:, k].numpy()
    gap = float(gaps[0])
    lower, upper = float(lower_all[0, k]), float(upper_all[0, k])
    if claim.sense == "equals":
        lower, upper = abs(lower - upper), claim.within
    hidden = "Python number" in why or "out of torch" in why
    noise = _noise(gaps[1:], 2) + 8 * 2.0**-52 * (abs(lower) + abs(upper))
    noise = max(noise, _shaken(evaluator, point, k, gap), _extended(evaluator, point, k, gap))
    noise = max(noise, _noise(wide[1:], 5)) if hidden else noise
    budget = 8 * noise
    status = "violated" if gap > budget else "met" if gap < -budget and not hidden else "unclear"  # NaN compares false
    reason = "the gap is within rounding" if status == "unclear" else ""
    if status == "violated" and hidden and not _persists(evaluator, point, k, gap):
        status, reason = "unclear", "the side hides its arithmetic, and the violation does not persist around the point"
    how = f"float64, {gap / max(budget, 1e-300):.1g} times the allowance for its rounding (no exact form: {why})"
    return Confirmation(status, lower, upper, how, reason)


def _nudged(value: np.ndarray, scales: tuple[float, ...]) -> np.ndarray:
    """The value itself, and copies along a random direction at some scales, ``STENCIL`` equidistant points each."""
    if np.issubdtype(value.dtype, np.integer):
        return np.repeat(value[None], 1 + len(scales) * STENCIL, axis=0)
    direction = np.random.default_rng(0).uniform(-1, 1, value.shape)
    steps = np.concatenate([[0.0], *(scale * np.arange(-(STENCIL // 2), STENCIL // 2 + 1) for scale in scales)])
    return value[None] * (1 + steps.reshape(-1, *(1,) * value.ndim) * direction)


def _noise(gaps: np.ndarray, degree: int) -> float:
    """What a polynomial through the points of each scale leaves: a smooth side leaves nothing, rounding does."""
    if not np.all(np.isfinite(gaps)):
        return math.inf
    t = np.arange(-(STENCIL // 2), STENCIL // 2 + 1)
    basis, _ = np.linalg.qr(np.stack([(t / t[-1]) ** d for d in range(degree + 1)], axis=1))
    rows = gaps.reshape(-1, STENCIL) - gaps.mean()
    return float(np.abs(rows - rows @ basis @ basis.T).max())


def _shaken(evaluator: Any, point: Point, k: int, gap: float) -> float:
    """How far the gap moves when every torch operation's result moves by its last digit."""
    import torch

    from attnlab.analysis.theorems.engines.evaluate import tensors

    if evaluator.written_in != "torch":
        return 0.0
    there = tensors({n: np.asarray(v)[None] for n, v in point.items()})
    worst = 0.0
    for seed in range(SHAKES):
        with torch.no_grad(), _shaking(seed):
            moved = float(evaluator.gap(there)[0, k])
        worst = max(worst, abs(moved - gap)) if math.isfinite(moved) else math.inf
    return worst


def _shaking(seed: int) -> Any:
    import torch

    from attnlab.analysis.exact.torch_internals import DispatchMode, schema
    from attnlab.analysis.exact.torch_recording import materialised

    generator = np.random.default_rng(seed)

    class Shaking(DispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = materialised(func(*materialised(args), **{k: materialised(v) for k, v in (kwargs or {}).items()}))
            fresh = isinstance(out, torch.Tensor) and out.dtype == torch.float64 and not schema(func).is_mutable
            if not fresh or any(r.alias_info is not None for r in schema(func).returns):
                return out
            signs = torch.as_tensor(generator.choice([-1.0, 0.0, 1.0], tuple(out.shape)))
            return out * (1 + 2.0**-52 * signs)

    return Shaking()


def _extended(evaluator: Any, point: Point, k: int, gap: float) -> float:
    """The error of the gap of a numpy side, against the same side on extended-precision arrays."""
    if evaluator.written_in == "torch" or np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        return 0.0
    moved = evaluator.gap_in_extended_precision(point)
    return 0.0 if moved is None else abs(float(moved[k]) - gap)


def _persists(evaluator: Any, point: Point, k: int, gap: float) -> bool:
    """Whether most points within a small box around the point violate too, by a fair part of the gap."""
    import torch

    from attnlab.analysis.theorems.engines.evaluate import tensors

    generator, n, moved = np.random.default_rng(0), 32, {}
    for name, domain in evaluator.claim.variables.items():
        value = np.repeat(np.asarray(point[name])[None], n, axis=0)
        if not (domain := support(domain)).whole:
            width = float(domain.high) - float(domain.low) if isinstance(domain, Box) else 1.0
            width = width if math.isfinite(width) else 1.0
            value = value + PERSISTS * width * generator.uniform(-1, 1, value.shape)
            if isinstance(domain, Box):
                value = np.clip(value, float(domain.low), float(domain.high))
        moved[name] = value
    with torch.no_grad():
        there = tensors(moved)
        gaps = evaluator.gap(there)[:, k]
        return bool(((gaps > 0.2 * gap) & evaluator.meets(there)).sum() >= 0.75 * n)
