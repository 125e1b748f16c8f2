"""Verdict records as HTML, for notebooks and pages: one row per verdict, in the type and colours of the figures.

Text keeps the page's own colour, so that it reads on light and dark ground; outcomes differ by mark as well as by colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

MARKS = {
    "HOLDS": ("✓", "#0B8A63"),
    "REFUTED": ("✗", "#E46315"),
    "UNDECIDED": ("?", "#808080"),
    "VACUOUS": ("∅", "#9C4F90"),
    "INVALID": ("!", "#C2342B"),
    "FAILED": ("‼", "#C2342B"),
}
"""Mark and colour of each outcome."""

FONT = "font-family: STIXGeneral, 'STIX Two Text', 'Times New Roman', serif; font-size: 0.95rem; line-height: 1.35"
_CELL = "padding: 0.15rem 0.9rem 0.15rem 0; text-align: left; vertical-align: top; border: 0; background: none"
_HEAD = f"{_CELL}; font-weight: normal; opacity: 0.65; border-bottom: 1px solid currentColor"


def verdict_html(record: Mapping[str, Any]) -> str:
    """One verdict record with its parts and its reason."""
    rows = [record, *record.get("parts", ())]
    return verdict_table(rows, indent=len(rows) > 1)


def verdict_table(records: Sequence[Mapping[str, Any]], *, indent: bool = False) -> str:
    """A table of verdict records: outcome, name, measured against predicted, interval, n, twin, resolution, reason.

    ``indent`` sets all rows but the first off as parts of it.
    """
    names = ("verdict", "claim", "measured", "predicted", "interval", "n", "twin", "resolves")
    lines = [
        f'<table style="{FONT}; border-collapse: collapse; margin: 0.4rem 0">',
        "<thead><tr>" + "".join(f'<th style="{_HEAD}">{name}</th>' for name in names) + "</tr></thead><tbody>",
    ]
    for k, record in enumerate(records):
        pad = "; padding-left: 1.2rem" if indent and k else ""
        lines.append(f"<tr>{_outcome(record, pad)}{''.join(_cell(text) for text in _numbers(record))}</tr>")
        note = _note(record)
        if note:
            lines.append(
                f'<tr><td style="{_CELL}"></td><td colspan="7" style="{_CELL}; opacity: 0.75">{escape(note)}</td></tr>'
            )
    return "".join([*lines, "</tbody></table>"])


def outcome_mark(outcome: str) -> str:
    """The outcome with its mark, in its colour."""
    mark, colour = MARKS.get(outcome, ("·", "inherit"))
    return f'<span style="color: {colour}; white-space: nowrap"><b>{mark}</b> {escape(outcome)}</span>'


def _outcome(record: Mapping[str, Any], pad: str) -> str:
    said = outcome_mark(str(record["verdict"]))
    if record.get("as_expected") and record["verdict"] != "HOLDS":
        said += ' <span style="opacity: 0.65">as expected</span>'
    return f'<td style="{_CELL}{pad}">{said}</td>'


def _numbers(record: Mapping[str, Any]) -> list[str]:
    """The cells after the outcome, as text."""
    name = str(record.get("id") or record.get("name") or record.get("judged_by") or "")
    kind = record.get("kind", "published")
    predicted = _number(record.get("predicted"))
    if predicted and record.get("margin"):
        predicted += f" ± {record['margin']:.2g}"
    interval = record.get("interval")
    shown = f"[{interval[0]:.5g}, {interval[1]:.5g}]" if interval and None not in interval else ""
    resolves = record.get("resolves")
    return [
        name if kind in ("published", None) else f"{name} ({kind})",
        _number(record.get("measured")),
        predicted,
        shown,
        str(record.get("n") or ""),
        str(record.get("twin_verdict") or "").lower(),
        "" if resolves is None else f"{100 * resolves:.2g} %",
    ]


def _note(record: Mapping[str, Any]) -> str:
    if record["verdict"] == "HOLDS":
        return ""
    return "; ".join(filter(None, [record.get("reason"), record.get("excuse") and f"expected: {record['excuse']}"]))


def _number(x: float | None) -> str:
    return "" if x is None else f"{x:.5g}".replace("-", "−")


def _cell(text: str) -> str:
    return f'<td style="{_CELL}">{escape(text)}</td>'
