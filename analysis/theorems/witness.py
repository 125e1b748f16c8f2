"""Counterexamples: saved as JSON, and replayed from the file by evaluating the claim again beyond rounding."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.theorems.engines.confirmation import Confirmation, Point, confirm
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.verdicts.verdict import Outcome, Verdict
from attnlab.analysis.writing import write_atomically

FORMAT = "attnlab-witness-1"
_KEYS = {"format", "claim", "statement", "sizes", "point", "left", "right", "violation", "precision", "level", "seed"}
LARGEST = 1.7976931348623157e308  # what a side beyond all floats is written as


class WitnessError(ValueError):
    """A witness file is damaged, or does not fit its claim; the message says which entry."""


def witness(claim: Claim, point: Point, confirmation: Confirmation, level: str, seed: int) -> dict[str, Any]:
    """The plain record from which the refutation replays."""
    lower, upper = (min(max(x, -LARGEST), LARGEST) for x in (confirmation.lower, confirmation.upper))
    left, right = (upper, lower) if claim.sense == "at_least" else (lower, upper)
    return {
        "format": FORMAT,
        "claim": claim.name,
        "statement": claim.statement,
        "sizes": dict(claim.chosen),
        "point": {name: np.asarray(value).tolist() for name, value in point.items()},
        "left": left,
        "right": right,
        "violation": min(max(lower - upper, -LARGEST), LARGEST),
        "precision": confirmation.how,
        "level": level,
        "seed": seed,
    }


def save_witness(verdict: Verdict, file: str | Path) -> Path:
    """Write the witness of a REFUTED verdict as JSON; numbers keep all their digits."""
    if verdict.outcome is not Outcome.REFUTED or not verdict.witness:
        raise WitnessError(f"only a REFUTED verdict has a witness to save, this one is {verdict.outcome}")
    file = Path(file)
    write_atomically(file, (json.dumps(verdict.witness, indent=1, allow_nan=False) + "\n").encode())
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
