"""Counterexamples: confirmed in higher precision, saved as JSON, replayed from the file.

A violation seen in float64 may be rounding. Before REFUTED is said, the point is evaluated in balls at 256 bits; its
floats are read exactly, and a float vector on a sphere or simplex stands for the exact point of the domain in its
direction. The violation must be certain in ball arithmetic. A side that cannot be recorded exactly (an eigenvalue
routine, a branch) is evaluated in float64 along short lines through the point; what a parabola leaves of the values is
rounding noise, and the violation must exceed eight times as much. Reference for the noise: J. Moré, S. Wild, Estimating
computational noise, SIAM J. Sci. Comput. 33 (2011).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.exact.tape import NotTraceable
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import Domain, Simplex, Sphere
from attnlab.analysis.verdicts.verdict import Outcome, Verdict

FORMAT = "attnlab-witness-1"
BITS = 256
SCALES = 2.0**-48, 2.0**-36, 2.0**-24  # relative moves that show the rounding of a side without an exact form
STENCIL = 9
_KEYS = {"format", "claim", "statement", "sizes", "point", "left", "right", "violation", "precision", "level", "seed"}
Point = Mapping[str, np.ndarray]


class WitnessError(ValueError):
    """A witness file is damaged, or does not fit its claim; the message says which entry."""


@dataclass(frozen=True)
class Confirmation:
    """A point evaluated in higher precision: ``lower <= upper`` is ``"violated"``, ``"met"`` or ``"unclear"`` there."""

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
    def ratio(self) -> float:
        """lower / upper, where both are meaningful (upper > 0), else NaN."""
        return self.lower / self.upper if self.upper > 0 else math.nan


def confirm(claim: Claim, point: Point) -> Confirmation:
    """Evaluate a claim at one point in balls of 256 bits, or, where that is impossible, in float64 against its own noise."""
    for name, domain in claim.variables.items():
        if not domain.contains(np.asarray(point[name])):
            return Confirmation("unclear", math.nan, math.nan, "", f"{name} lies outside {domain}")
    try:
        return _in_balls(claim, point)
    except NotTraceable as reason:
        return _in_floats(claim, point, str(reason))


def witness(claim: Claim, point: Point, confirmation: Confirmation, level: str, seed: int) -> dict[str, Any]:
    """The plain record from which the refutation replays."""
    lower, upper = confirmation.lower, confirmation.upper
    left, right = (upper, lower) if claim.sense == "at_least" else (lower, upper)
    return {
        "format": FORMAT,
        "claim": claim.name,
        "statement": claim.statement,
        "sizes": dict(claim.chosen),
        "point": {name: np.asarray(value).tolist() for name, value in point.items()},
        "left": left,
        "right": right,
        "violation": lower - upper,
        "precision": confirmation.how,
        "level": level,
        "seed": seed,
    }


def save_witness(verdict: Verdict, file: str | Path) -> Path:
    """Write the witness of a REFUTED verdict as JSON; numbers keep all their digits."""
    if verdict.outcome is not Outcome.REFUTED or not verdict.witness:
        raise WitnessError(f"only a REFUTED verdict has a witness to save, this one is {verdict.outcome}")
    file = Path(file)
    file.write_text(json.dumps(verdict.witness, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return file


def replay(file: str | Path | Mapping[str, Any], lookup: Mapping[str, Claim] | Callable[[str], Claim]) -> Verdict:
    """Evaluate a saved witness again. REFUTED if it still refutes its claim, UNDECIDED with the reason if not.

    ``lookup`` gives the claim for the name in the file. Raises :class:`WitnessError` if the file is damaged, names no
    known claim, or its point does not have the shapes of the claim's variables.
    """
    record = dict(file) if isinstance(file, Mapping) else _read(Path(file))
    _check_record(record)
    try:
        claim = lookup(record["claim"]) if callable(lookup) else lookup[record["claim"]]
    except KeyError as error:
        raise WitnessError(f"no claim named {record['claim']!r}") from error
    if record["sizes"]:
        claim = claim.at(**record["sizes"])
    point = _point(claim, record["point"])
    confirmation = confirm(claim, point)
    outcome = Outcome.REFUTED if confirmation.violated else Outcome.UNDECIDED
    found = f"left {record['left']:.6g}, right {record['right']:.6g} in the file"
    reason = (
        f"replayed in {confirmation.how}; {found}"
        if confirmation.violated
        else (
            f"the witness does not refute the claim as it stands: {confirmation.reason or confirmation.status}; {found}"
        )
    )
    return Verdict(
        outcome,
        claim.kind,
        of="replayed witness",
        measured=confirmation.lower,
        predicted=confirmation.upper,
        n=1,
        unit="point",
        level=record["level"],
        reason=reason,
        name=claim.name,
        witness=witness(claim, point, confirmation, record["level"], record["seed"]) if confirmation.violated else None,
    )


def balls_at(claim: Claim, point: Point) -> dict[tuple[str, int], Any]:
    """Every coordinate of a point as a ball at the current precision; curved domains are normalised exactly."""
    return {
        (name, k): ball
        for name, domain in claim.variables.items()
        if not domain.whole
        for k, ball in enumerate(_coordinates(domain, np.asarray(point[name], dtype=np.float64)))
    }


def whole_at(claim: Claim, point: Point) -> dict[str, np.ndarray]:
    """The integers and permutations of a point."""
    return {name: np.asarray(point[name]) for name, domain in claim.variables.items() if domain.whole}


def _coordinates(domain: Domain, value: np.ndarray) -> list[Any]:
    from flint import arb

    from attnlab.analysis.exact.values import exact_ball

    z = [arb(float(x)) for x in value.ravel()]
    if isinstance(domain, Sphere):
        length = sum((x * x for x in z), arb(0)).sqrt()
        return [exact_ball(domain.radius) * x / length for x in z]
    if isinstance(domain, Simplex):
        total = sum(z, arb(0))
        return [x / total for x in z]
    return z


def _in_balls(claim: Claim, point: Point) -> Confirmation:
    from flint import ctx

    from attnlab.analysis.exact.values import ball_values
    from attnlab.analysis.theorems.engines.exact_form import recorded_at

    recorded = recorded_at(claim, whole_at(claim, point))
    with ctx.workprec(BITS):
        values = ball_values(recorded.tape, balls_at(claim, point))
        margins = [values[k] for k in recorded.margins]
        gaps = [values[a] - values[b] for a, b in zip(recorded.lower, recorded.upper, strict=True)]
        sizes = [abs(values[a]) + abs(values[b]) for a, b in zip(recorded.lower, recorded.upper, strict=True)]
        worst = max(range(len(gaps)), key=lambda k: _rank(gaps[k], sizes[k]))
        lower, upper = float(values[recorded.lower[worst]].mid()), float(values[recorded.upper[worst]].mid())
        if not all(m >= 0 for m in margins):
            return Confirmation(
                "unclear", lower, upper, f"balls, {BITS} bits", "an assumption is not certainly met there"
            )
        if any(g > 0 for g in gaps):
            status = "violated"
        else:
            status = "met" if all(g <= 0 for g in gaps) else "unclear"
    return Confirmation(
        status,
        lower,
        upper,
        f"ball arithmetic, {BITS} bits",
        "" if status == "violated" else f"left and right differ by {_rank(gaps[worst], 1.0):.3g}",
    )


def _rank(gap: Any, size: Any) -> float:
    value = float((gap / size).mid()) if gap.is_finite() and size > 0 else -math.inf
    return value if math.isfinite(value) else -math.inf


def _in_floats(claim: Claim, point: Point, why: str) -> Confirmation:
    import torch

    from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors

    evaluator = Evaluator(claim)
    there = tensors({k: np.asarray(v)[None] for k, v in point.items()})
    with torch.no_grad():
        if not bool((evaluator.margins(there) >= 0).all()):
            lower, upper = evaluator(there)
            return Confirmation("unclear", float(lower[0, 0]), float(upper[0, 0]), "", "an assumption is not met there")
        lower, upper = evaluator(tensors({k: _nudged(np.asarray(v)) for k, v in point.items()}))
    if claim.sense == "equals":
        lower, upper = (lower - upper).abs(), torch.full_like(upper, claim.within)
    gaps = lower - upper  # (runs, entries); the first run is the point itself
    k = int(torch.argmax(gaps[0]))
    noise = _noise(gaps[1:, k].numpy())
    budget = 8 * noise + 64 * 2.0**-52 * float(lower[0, k].abs() + upper[0, k].abs())
    status = "violated" if float(gaps[0, k]) > budget else "unclear"  # NaN compares false
    return Confirmation(
        status,
        float(lower[0, k]),
        float(upper[0, k]),
        f"float64, {float(gaps[0, k]) / max(budget, 1e-300):.1g} times the allowance for its rounding (no exact form: {why})",
        "" if status == "violated" else "the gap is within rounding",
    )


def _nudged(value: np.ndarray) -> np.ndarray:
    """The value itself, and copies along a random direction at three scales, ``STENCIL`` equidistant points each."""
    if np.issubdtype(value.dtype, np.integer):
        return np.repeat(value[None], 1 + len(SCALES) * STENCIL, axis=0)
    direction = np.random.default_rng(0).uniform(-1, 1, value.shape)
    steps = np.concatenate([[0.0], *(scale * np.arange(-(STENCIL // 2), STENCIL // 2 + 1) for scale in SCALES)])
    return value[None] * (1 + steps.reshape(-1, *(1,) * value.ndim) * direction)


def _noise(gaps: np.ndarray) -> float:
    """What a parabola through the points of each scale leaves: a smooth side leaves nothing, rounding does."""
    if not np.all(np.isfinite(gaps)):
        return math.inf
    t = np.arange(-(STENCIL // 2), STENCIL // 2 + 1)
    basis, _ = np.linalg.qr(np.stack([np.ones(STENCIL), t, t**2], axis=1))
    rows = gaps.reshape(len(SCALES), STENCIL) - gaps.mean()
    return float(np.abs(rows - rows @ basis @ basis.T).max())


def _read(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WitnessError(f"cannot read the witness {file}: {error}") from error
    if not isinstance(record, dict):
        raise WitnessError(f"{file} holds no witness: expected an object, got {type(record).__name__}")
    return record


def _check_record(record: Mapping[str, Any]) -> None:
    missing = sorted(_KEYS - record.keys())
    if missing:
        raise WitnessError(f"the witness has no entry {missing[0]!r}")
    if record["format"] != FORMAT:
        raise WitnessError(f"format={record['format']!r} is not {FORMAT!r}")
    if (
        not isinstance(record["point"], dict)
        or not isinstance(record["sizes"], dict)
        or not isinstance(record["claim"], str)
    ):
        raise WitnessError("the entries claim, sizes and point must be a name and two objects")
    for key in ("left", "right"):
        if isinstance(record[key], bool) or not isinstance(record[key], (int, float)):
            raise WitnessError(f"the entry {key!r} must be a number, got {record[key]!r}")


def _point(claim: Claim, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if values.keys() != claim.variables.keys():
        raise WitnessError(
            f"the witness has values for {sorted(values)}, the claim variables {sorted(claim.variables)}"
        )
    point = {}
    for name, domain in claim.variables.items():
        try:
            value = np.asarray(values[name], dtype=np.int64 if domain.whole else np.float64)
        except (TypeError, ValueError) as error:
            raise WitnessError(f"the value of {name!r} is no array of numbers: {error}") from error
        if value.shape != domain.shape or not np.all(np.isfinite(value)):
            raise WitnessError(
                f"the value of {name!r} has shape {value.shape} (finite entries needed), expected {domain.shape}"
            )
        point[name] = value
    return point
