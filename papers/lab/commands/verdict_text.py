"""Verdicts as text, at most 100 columns wide: the verdict first, then claim, numbers, and below them what a reader must know."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100
_INDENT = " " * 11  # the verdict's column

_WANTS = {"replicas": "more replicas would decide it", "training": "longer training would decide it"}


def verdict_lines(record: Mapping[str, Any], width: int = 0) -> list[str]:
    """The lines of one claim's record; ``width`` aligns the numbers of several claims.

    Measured, interval, predicted and margin, n, and the smallest change of the prediction that the data refute stand on the
    first line. The twin is named where it is not refuted.
    """
    first = f"{record['verdict']:<10} {record['id']:<{width}}"
    numbers = _numbers(record)
    joined = f"{first}  {numbers}" if numbers else first.rstrip()
    lines = [joined] if len(joined) <= WIDTH else [first.rstrip(), *_below(numbers)]
    for note in _notes(record):
        lines += _below(note)
    if record["parts"] and record["verdict"] != "HOLDS":
        for part in record["parts"]:
            lines += _below(f"{part['verdict']:<9} {part['name']}  {_numbers(part)}", " " * 21)
    return lines


def verdict_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of all claims, numbers aligned."""
    width = max((len(record["id"]) for record in records), default=0)
    return [line for record in records for line in verdict_lines(record, min(width, 46))]


def _numbers(record: Mapping[str, Any]) -> str:
    words = []
    if record["measured"] is not None:
        words.append(f"{record['measured']:.4g}")
    if record["interval"] and None not in record["interval"]:
        words.append("[{:.4g}, {:.4g}]".format(*record["interval"]))
    if record["predicted"] is not None:
        margin = f" ± {record['margin']:.2g}" if record["margin"] else ""
        words.append(f"for {record['predicted']:.4g}{margin}")
    if record["level"]:
        words.append(record["level"])
    if record["n"]:
        words.append(f"n={record['n']}")
    if record.get("resolves") is not None:
        words.append(f"resolves {share(record['resolves'])}")
    if record["parts"]:
        words.append(f"({len(record['parts'])} parts)")
    return "  ".join(words)


def _notes(record: Mapping[str, Any]) -> list[str]:
    kind, outcome = record.get("kind", "published"), record["verdict"]
    notes = [] if kind == "published" else [f"{kind}: not a statement of the paper"]
    if outcome != "HOLDS":
        expected = "as expected: " if record["as_expected"] else ""
        notes += [f"{expected}{record['reason'] or record.get('note', '')}"] if expected or record["reason"] else []
    if record["twin_verdict"] and record["twin_verdict"] != "REFUTED":
        notes.append(f"twin {record['twin_verdict'].lower()}: {record['twin']}")
    if record.get("null"):
        notes.append(f"{record['null_label']}: {record['null'].lower()}")
    if record.get("wants"):
        notes.append(_WANTS.get(record["wants"], f"wants {record['wants']}"))
    if record["excuse"]:
        notes.append(f"expected at smoke: {record['excuse']}")
    return notes + [f"diverged: {each}" for each in record["diverged"]]


def share(x: float) -> str:
    """``0.4 %``; two digits."""
    return f"{100 * x:.2g} %" if abs(100 * x) < 99.5 else f"{100 * x:.0f} %"


def _below(text: str, hanging: str = _INDENT) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=hanging, break_long_words=False)
