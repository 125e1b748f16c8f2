"""Counterexamples: confirmed in higher precision, saved as JSON, replayed from the file.

A violation seen in float64 may be rounding. Before REFUTED is said, the point is evaluated in balls at 256 bits; its
floats are read exactly, and a float vector on a sphere or simplex stands for the exact point of the domain in its
direction. The violation must be certain in ball arithmetic. A side that cannot be recorded exactly is evaluated in
float64 and float32; the violation must then exceed the rounding error that the two runs show, many times over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.domains import Domain, Simplex, Sphere
from attnlab.analysis.forall import Claim
from attnlab.analysis.tape import NotTraceable
from attnlab.analysis.verdict import Outcome, Verdict

FORMAT = "attnlab-witness-1"
BITS = 256
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
    """Evaluate a claim at one point in balls of 256 bits, or, where that is impossible, in float64 against float32."""
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

    from attnlab.analysis.tape_values import exact_ball

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

    from attnlab.analysis.record import record_claim
    from attnlab.analysis.tape_values import ball_values

    recorded = record_claim(claim, whole_at(claim, point))
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

    from attnlab.analysis.evaluate import Evaluator, tensors

    evaluator = Evaluator(claim)
    there = tensors({k: np.asarray(v)[None] for k, v in point.items()})
    rough = {k: t.to(torch.float32).to(t.dtype) for k, t in there.items()}
    with torch.no_grad():
        lower, upper = evaluator(there)
        lower2, upper2 = evaluator(rough)
        if not bool((evaluator.margins(there) >= 0).all()):
            return Confirmation("unclear", float(lower[0, 0]), float(upper[0, 0]), "", "an assumption is not met there")
    if claim.sense == "equals":
        lower, upper = (lower - upper).abs(), torch.full_like(upper, claim.within)
        lower2, upper2 = (lower2 - upper2).abs(), upper
    # rounding the inputs to 24 bits moves the sides by their condition times 2^-24; 53 bits, by 2^-29 of that
    seen = (lower - lower2).abs() + (upper - upper2).abs()
    budget = 64 * (seen * 2.0**-29 + 2.0**-52 * (lower.abs() + upper.abs()) * math.sqrt(max(1, lower.numel())))
    gap = (lower - upper)[0]
    k = int(torch.argmax(gap))
    status = "violated" if float(gap[k]) > float(budget[0, k]) else "unclear"
    return Confirmation(
        status,
        float(lower[0, k]),
        float(upper[0, k]),
        f"float64, {float(gap[k]) / max(float(budget[0, k]), 1e-300):.1g} times the rounding seen against float32 "
        f"(no exact form: {why})",
        "" if status == "violated" else "the gap is within rounding",
    )


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
