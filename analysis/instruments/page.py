"""The record of an inspection as one HTML file: no script, no request to a network, readable on light and dark ground."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Reading
from attnlab.analysis.instruments.maps import head_grid
from attnlab.analysis.instruments.readings import Readings

STYLE = """
:root { color-scheme: light dark }
body { font-family: STIXGeneral, "STIX Two Text", "Times New Roman", serif; font-size: 1rem; line-height: 1.4;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 1.6rem 0 .3rem }
.wide { overflow-x: auto } table { border-collapse: collapse } .about { opacity: .75; margin-top: 0 }
th { font-weight: normal; opacity: .65; border-bottom: 1px solid currentColor } th, td { padding: .12rem .8rem .12rem 0;
  text-align: left; vertical-align: top; white-space: nowrap } td small { opacity: .65 }
.found { font-weight: bold } .failed { color: #C2342B; font-weight: bold } figure img { max-width: 100% }
"""

MOST_PANELS = 96  # of the grid: beyond it a panel is too small to be read


def page(
    record: Mapping[str, Any],
    readings: Mapping[str, Reading],
    subject_readings: Readings,
    kinds: Mapping[str, str],
    shown: frozenset[str] | None = None,
) -> str:
    """The page: what ran, identities, grid, strips, heads (those of ``shown``, by default all), what was not shown."""
    parts = [f"<h1>{escape(record['name'])}</h1>", f'<p class="about">{escape(summary(record))}</p>']
    parts += ["<h2>What ran</h2>", _table((), [[name, text] for name, text in record["ran"].items()])]
    parts += ["<h2>Identities on these prompts</h2>", _identities(record["identities"])]
    if "stopped" in record:
        parts.append(f'<p class="failed">Stopped: {escape(record["stopped"])}.</p>')
        return _document(record["name"], parts)
    parts += ["<h2>All heads</h2>", _grid(subject_readings, readings)]
    for kind, about in kinds.items():
        if kind in readings:
            lines = {"called large": record["margin"], "found with 80 % (worst head)": record["would"][kind]}
            plate = figure_of_heads(readings[kind], kind, f"A head of this kind {about}", lines)
            parts.append(plate._repr_html_())
    parts += ["<h2>Head by head</h2>", _heads(record, kinds, shown)]
    parts.append("<h2>What these prompts could not have shown</h2>")
    items = "".join(f"<li>{escape(line)}</li>" for line in record["not_shown"])
    parts.append(f"<ul>{items}</ul>" if items else "<p>Every head was found to be of every kind asked for.</p>")
    return _document(record["name"], parts)


def summary(record: Mapping[str, Any]) -> str:
    """One sentence: which heads are what, at which error."""
    if "stopped" in record:
        return "stopped at an identity that does not hold"
    named = [f"{kind}: {', '.join(heads)}" for kind, heads in record["found"].items() if heads]
    error = f"family-wise error {record['alpha']:g}, strength surely above {record['margin']:g} nats"
    return f"{'; '.join(named) or 'no head is of a kind asked for'} ({error})"


def said(row: Mapping[str, Any]) -> str:
    """What a head is, and whether it has the pattern without acting on the output."""
    idle = " (nothing reads it)" if row["is"] and not row.get("acts", True) else ""
    return ", ".join(row["is"]) + idle


def number(x: float) -> str:
    """Three digits, with a real minus sign; zero is 0."""
    return "0" if x == 0 else f"{x:.3g}".replace("-", "−")


def _document(name: str, parts: list[str]) -> str:
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>attnlab inspect {escape(name)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _identities(found: list[dict[str, Any]]) -> str:
    rows = []
    for each in found:
        said = "holds" if each["holds"] else '<span class="failed">FAILS</span>'
        rows.append([escape(each["name"]), number(each["gap"]), number(each["budget"]), each["layer"], said])
    return _table(("identity", "largest gap", "budget", "at", ""), rows, escaped=True)


def _grid(subject: Readings, readings: Mapping[str, Reading]) -> str:
    if readings["evenness"].value.size > MOST_PANELS:
        return f"<p>{readings['evenness'].value.size} heads are too many for a grid of maps; the strips below show them all.</p>"
    wide = readings["evenness"].value.shape[1] <= 6  # badges need room
    badges = {"sink": readings["sink"], "previous": readings["previous"]} if wide else None
    return re.sub(
        "max-width: [0-9.]+rem", "max-width: 60rem", head_grid.figure(head_grid.measure(subject), badges)._repr_html_()
    )


def _heads(record: Mapping[str, Any], kinds: Mapping[str, str], shown: frozenset[str] | None) -> str:
    asked = [kind for kind in kinds if kind in record["found"]]
    caused = any("zeroed" in row for row in record["heads"])
    titles = (
        "head",
        "is",
        *(f"{kind} (nats)" for kind in asked),
        "evenness",
        *(["without it (nats)"] if caused else []),
    )
    rows = []
    for row in record["heads"]:
        if shown is not None and row["head"] not in shown:
            continue
        cells = [row["head"], f'<span class="found">{said(row)}</span>']
        for kind in asked:
            cell = row["kinds"][kind]
            p = f" <small>p {cell['holm_p']:.2g}</small>" if cell["found"] else ""
            mark = ' class="found"' if cell["found"] else ""
            cells.append(f"<span{mark}>{_value(cell)}</span>{p}")
        cells.append(_value(row["evenness"]))
        cells += [_value(row["zeroed"])] if caused else []
        rows.append(cells)
    note = "Value [95 % interval over prompts]; p is Holm's, over all heads and kinds. Evenness: entropy over a uniform row's."
    note += (
        " Without it: Kullback-Leibler divergence of the next-token law when the head's output is set to 0."
        if caused
        else ""
    )
    return f"{_table(titles, rows, escaped=True)}<p class='about'>{escape(note)}</p>"


def _value(cell: Mapping[str, float]) -> str:
    return f"{number(cell['value'])} <small>[{number(cell['low'])}, {number(cell['high'])}]</small>"


def _table(titles: tuple[str, ...], rows: list[list[str]], escaped: bool = False) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if escaped else escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table>{f"<thead><tr>{head}</tr></thead>" if titles else ""}<tbody>{body}</tbody></table></div>'
