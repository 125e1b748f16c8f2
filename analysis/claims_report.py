"""A page of verdicts: one row per claim, size or twin, with its statement, numbers and witness."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import write_atomically

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Theorems</title> <style> body { font: 16px/1.45 system-ui,
sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1a1a1a; background: #fff } table {
border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .45rem .6rem;
border-bottom: 1px solid #ddd } td.word { font-weight: 700; white-space: nowrap } tr.bad td.word { color: #a30000 }
tr.good td.word { color: #00584a } pre { white-space: pre-wrap; margin: .3rem 0; font-size: .85rem } .grey { color:
#555 } </style></head><body> <h1>Theorems</h1> <p>{{ good }} of {{ records|length }} verdicts as expected. All
statistical errors of the suite together: at most {{ "%.2g"|format(share) }} for each test.</p>
<table><thead><tr><th>verdict</th><th>claim</th><th>level</th><th>evidence</th></tr></thead><tbody> {% for r in
records %}<tr class="{{ 'good' if r.passed else 'bad' }}"> <td class="word">{{ r.verdict }}{% if r.verdict !=
r.expected %}<br><span class="grey">expected {{ r.expected }}</span>{% endif %}</td> <td><b>{{ r.name or r.test
}}</b><br>{{ r.statement }}{% if r.source %}<br><span class="grey">{{ r.source }}</span>{% endif %}</td> <td>{{
r.level or "" }}</td> <td>{{ r.reason }}{% if r.tightness is not none %}<br>tightness {{ "%.6g"|format(r.tightness)
}}{% endif %} {% if r.twin %}<br>twin {{ r.twin }}: {{ r.twin_verdict }}{% endif %} {% if r.witness
%}<details><summary>witness</summary><pre>{{ r.witness_text }}</pre></details>{% endif %}</td></tr> {% endfor
%}</tbody></table></body></html>
"""


def write_report(file: str | Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page; the same records give the same bytes."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    rows = [{**r, "witness_text": json.dumps(r["witness"], indent=1)} for r in records]
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = page.render(
        records=rows,
        good=sum(bool(r["passed"]) for r in records),
        share=max((r["share"] for r in records), default=0.0),
    )
    write_atomically(file, text.encode())
    return file
