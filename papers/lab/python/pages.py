"""Papers and claims as pages of a notebook: what is claimed, how it is judged, what is not testable."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from attnlab.analysis.verdicts.html import FONT
from attnlab.papers.lab.plain import fields_of, in_short
from attnlab.papers.lab.scales import SCALES

_ROW = "padding: 0.1rem 1rem 0.1rem 0; text-align: left; vertical-align: top; border: 0; background: none"


@dataclass(frozen=True)
class Shown:
    """What :func:`~attnlab.papers.lab.python.calls.show` returns; ``record`` is plain data."""

    record: dict[str, Any]
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap; background: none">{escape(self.text)}</pre>'


def claim_html(claim: Any) -> str:
    """A declared claim: statement, formula, assumptions, source, how it is judged, and the settings in which scales differ."""
    rows = {
        "formula": claim.formula,
        "assumes": "; ".join(claim.assumptions),
        "source": claim.source,
        "judged": claim.judged,
        "expected": claim.expected if claim.expected != "HOLDS" else "",
        "note": claim.note,
        **settings_rows(claim),
    }
    return f'<div style="{FONT}"><b>{escape(claim.id)}</b><br>{escape(claim.statement)}{_table(rows)}</div>'


def paper_html(paper: Any) -> str:
    """A declared paper: title, sources, and each numbered statement with its claims or the reason why it has none."""
    rows = {}
    for number, text in paper.statements.items():
        names = [claim.name for claim in paper.in_order() if number in claim.statements]
        covered = f"not testable here: {paper.untestable[number]}" if number in paper.untestable else ", ".join(names)
        rows[f"{number}"] = f"{text} → {covered}"
    sources = "<br>".join(escape(source.reference()) for source in paper.sources)
    return (
        f'<div style="{FONT}"><b>{escape(paper.key)}</b><br>{escape(paper.title)}<br>'
        f'<span style="opacity: 0.7">{sources}</span>{_table(rows)}</div>'
    )


def settings_rows(item: Any) -> dict[str, str]:
    """The settings once: the fields that all scales share, then what each scale has of its own."""
    fields = {scale: fields_of(item.setting.at(scale)) for scale in SCALES if scale in item.scales}
    if not fields:
        return {}
    first = next(iter(fields.values()))
    shared = {key for key in first if all(key in each and each[key] == first[key] for each in fields.values())}
    rows = {"settings": ", ".join(f"{key}={in_short(first[key])}" for key in first if key in shared)}
    for scale, each in fields.items():
        rows[scale] = ", ".join(f"{key}={in_short(value)}" for key, value in each.items() if key not in shared)
    return rows


def _table(rows: dict[str, str]) -> str:
    cells = [
        f'<tr><td style="{_ROW}; opacity: 0.65">{escape(name)}</td><td style="{_ROW}">{escape(text)}</td></tr>'
        for name, text in rows.items()
        if text
    ]
    return f'<table style="border-collapse: collapse; margin: 0.3rem 0">{"".join(cells)}</table>'
