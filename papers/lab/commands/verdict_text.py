"""Verdicts as text, at most 100 columns wide: the verdict first, then claim, numbers, and below them what a reader must know."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.analysis.verdicts.verdict import percent

WIDTH = 100
_INDENT = " " * 11  # the verdict's column
_WANTS = {"replicas": "more replicas would decide it", "training": "longer training would decide it"}


def verdict_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of all claims: numbers beside the names where they fit for all, else below them."""
    width = max((len(_name(record)) for record in records), default=0)
    fit = all(len(_INDENT) + width + 2 + len(_numbers(record)) <= WIDTH for record in records)
    return [line for record in records for line in verdict_lines(record, width if fit else None)]


def verdict_lines(record: Mapping[str, Any], width: int | None = 0) -> list[str]:
    """The lines of one claim's record; ``width`` is that of the names, None puts the numbers on a line of their own.

    The numbers: measured with its interval, predicted with its margin, n, and the smallest change of the prediction that
    the data refute. A twin is named only where it is not refuted and the verdict does not say so.
    """
    first, numbers = f"{record['verdict']:<10} {_name(record)}", _numbers(record)
    joined = f"{first:<{len(_INDENT) + (width or 0)}}  {numbers}"
    if not numbers or (width is not None and len(joined) <= WIDTH):
        lines = [joined.rstrip()]
    else:
        lines = [first, *_below(numbers)]
    for note in _notes(record):
        lines += _below(note)
    if record["verdict"] != "HOLDS" and not record["excuse"]:
        for part in record["parts"]:
            lines += _below(f"{part['verdict']:<9} {part['name']}  {_numbers(part)}", " " * 21)
    return lines


def _name(record: Mapping[str, Any]) -> str:
    kind = record.get("kind", "published")
    return record["id"] if kind == "published" else f"{record['id']} ({kind})"


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
        words.append(f"resolves {percent(record['resolves'])}")
    if record["parts"]:
        words.append(f"({len(record['parts'])} parts)")
    return "  ".join(words)


def _notes(record: Mapping[str, Any]) -> list[str]:
    outcome, diverged = record["verdict"], [f"diverged: {each}" for each in record["diverged"]]
    if record.get("overrides"):
        diverged.append(f"not the declared setting: {' '.join(f'{k}={v}' for k, v in record['overrides'].items())}")
    if record["excuse"]:
        return [f"as expected at smoke: {record['excuse']}", *diverged]
    notes = []
    if outcome != "HOLDS":
        said = ["as expected"] * record["as_expected"] + [record["reason"]] * bool(record["reason"])
        notes += [": ".join(said)] if said else []
    if outcome == "REFUTED" and record["twin_verdict"] not in (None, "REFUTED"):
        notes.append(f"its twin {record['twin_verdict'].lower()}: {record['twin']}")
    if outcome in ("HOLDS", "REFUTED") and record.get("unseen") is not None:
        notes.append(f"a second mode of up to {percent(record['unseen'])} of {record['unit']}s would go unseen")
    if record.get("null") and record["null"] != "REFUTED":
        notes.append(f"{record['null_label']}: {record['null'].lower()}")
    if record.get("wants"):
        notes.append(_WANTS.get(record["wants"], f"wants {record['wants']}"))
    return notes + diverged


def _below(text: str, hanging: str = _INDENT) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=hanging, break_long_words=False)
