"""What ``attnlab list``, ``show`` and ``cite`` say about papers, claims and figures."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

from attnlab.papers.lab.declare import SCALES, Claim, Paper, PaperFigure
from attnlab.papers.lab.plain import fields_of, in_short
from attnlab.papers.lab.registry import Selection
from attnlab.papers.lab.run.latest import words

_ATTNLAB = (
    "@software{attnlab,\n  title = {attnlab: a laboratory for the theory of attention},\n"
    "  author = {{The attnlab developers}},\n  version = {%s},\n  license = {MIT}\n}"
)


def verdict_words(record: dict[str, Any] | None) -> str:
    """``HOLDS (desk)``, ``HOLDS (desk, dim=7 seed=3)`` where there is none at the declared setting, or ``not run yet``."""
    if not record:
        return "not run yet"
    return f"{record['verdict']} ({', '.join(filter(None, [record['scale'], words(record.get('differs') or {})]))})"


def listing(papers: Sequence[Paper], latest: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """All papers with their items and latest verdicts, as a record and as text."""
    record: dict[str, Any] = {"papers": []}
    lines: list[str] = []
    for paper in papers:
        claims: list[dict[str, Any]] = [
            {
                "id": c.id,
                "statement": c.statement,
                "source": c.source,
                "kind": c.kind,
                "expected": c.expected,
                "scales": list(c.scales),
                "latest": _latest(latest.get(c.id)),
            }
            for c in paper.in_order()
        ]
        figures: list[dict[str, Any]] = [
            {"id": f.id, "caption": f.caption, "scales": list(f.scales)} for f in paper.figures.values()
        ]
        record["papers"].append({"key": paper.key, "title": paper.title, "claims": claims, "figures": figures})
        lines += [f"{paper.key}  {paper.title}"]
        width = max((len(c["id"]) for c in claims + figures), default=0)
        for claim in claims:
            shown = claim["latest"]
            verdict = verdict_words(shown)
            if shown and shown["others"]:
                verdict += f" +{shown['others']} at other settings"
            kind = "" if claim["kind"] == "published" else f"({claim['kind']}) "
            lines.append(f"  {claim['id']:<{width}}  {verdict:<19} {kind}{_short(claim['statement'])}")
        for figure in figures:
            lines.append(f"  {figure['id']:<{width}}  {'figure':<19} {_short(figure['caption'])}")
        lines.append("")
    return record, "\n".join(lines).rstrip() or "no papers yet"


def description(targets: Sequence[str], selection: Selection, latest: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What each target says, assumes and is judged by; for a whole paper also its statements."""
    record: dict[str, Any] = {"papers": [], "claims": [], "figures": []}
    lines: list[str] = []
    for paper in selection.papers:
        whole = not any(name.startswith(f"{paper.key}.") for name in selection.explicit) or "all" in targets
        if whole:
            statements: list[dict[str, Any]] = [
                {
                    "number": n,
                    "statement": text,
                    "claims": [c.id for c in paper.in_order() if n in c.statements],
                    "not_testable": paper.untestable.get(n),
                }
                for n, text in paper.statements.items()
            ]
            record["papers"].append(
                {
                    "key": paper.key,
                    "title": paper.title,
                    "statements": statements,
                    "sources": [dataclasses.asdict(s) for s in paper.sources],
                }
            )
            lines += [
                f"{paper.key}",
                f"  {paper.title}",
                *(f"  {s.reference()}" for s in paper.sources),
                "",
                "  Statements",
            ]
            for row in statements:
                covered = (
                    f"not testable here: {row['not_testable']}"
                    if row["not_testable"]
                    else "→ " + ", ".join(name.split(".", 1)[1] for name in row["claims"])
                )
                lines += _wrap(f"{row['number']:>3}. {row['statement']}", "  ", "       ")
                lines += _wrap(covered, "       ", "       ")
            lines.append("")
    for claim in selection.claims:
        record["claims"].append(_claim_record(claim, latest))
        lines += _claim_lines(claim, latest)
    for figure in selection.figures:
        record["figures"].append(
            {
                "id": figure.id,
                "caption": figure.caption,
                "source": figure.source,
                "scales": list(figure.scales),
                "settings": _settings(figure),
            }
        )
        lines += [figure.id, *_wrap(figure.caption), *_scale_note(figure), ""]
    return record, "\n".join(lines).rstrip()


def citations(papers: Sequence[Paper]) -> tuple[dict[str, Any], str]:
    """BibTeX entries of the papers' sources and of attnlab itself."""
    from importlib.metadata import version

    entries = {}
    for paper in papers:
        for i, source in enumerate(paper.sources):
            key = paper.key if i == 0 else f"{paper.key}_{i + 1}"
            entries[key] = source.bibtex(key)
    entries["attnlab"] = _ATTNLAB % version("attnlab")
    return {"entries": entries}, "\n\n".join(entries.values())


def _claim_record(claim: Claim, latest: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": claim.id,
        "statement": claim.statement,
        "statements": list(claim.statements),
        "formula": claim.formula,
        "assumptions": list(claim.assumptions),
        "source": claim.source,
        "judged": claim.judged,
        "parts": claim.parts,
        "kind": claim.kind,
        "expected": claim.expected,
        "reads": list(claim.reads),
        "covers": covers(claim),
        "undecided_at_smoke": claim.undecided_at_smoke or None,
        "scales": list(claim.scales),
        "why_these_scales": claim.why_these_scales or None,
        "note": claim.note or None,
        "forms": forms(claim),
        "settings": _settings(claim),
        "latest": _latest(latest.get(claim.id)),
    }


def _claim_lines(claim: Claim, latest: dict[str, Any]) -> list[str]:
    lines = [claim.id, *_wrap(claim.statement)]
    rows = [
        ("formula", claim.formula),
        ("assumes", "; ".join(claim.assumptions)),
        ("source", claim.source),
        ("covers", "statement " + ", ".join(map(str, claim.statements))),
        ("judged", claim.judged),
        ("note", claim.note),
        ("caveat", claim.undecided_at_smoke and f"may stay undecided at smoke: {claim.undecided_at_smoke}"),
        ("kind", claim.kind if claim.kind != "published" else ""),
        ("reads", ", ".join(claim.reads)),
        ("covered", "; ".join(f"{name} {words}" for name, words in covers(claim).items())),
        ("expected", claim.expected if claim.expected != "HOLDS" else ""),
    ]
    for name, value in rows:
        if value:
            lines += _wrap(value, f"  {name + ':':<10}", " " * 12)
    for level, statement in forms(claim).items():
        lines += _wrap(statement, f"  {level + ':':<10}".ljust(13), " " * 13)
    lines += _scale_note(claim)
    for scale, setting in _settings(claim).items():
        fields = ", ".join(f"{key}={in_short(value)}" for key, value in setting.items())
        lines += _wrap(fields, f"  {scale + ':':<10}", " " * 12)
    shown = _latest(latest.get(claim.id))
    if shown:
        lines += _wrap(
            f"{verdict_words(shown)}{': ' + shown['reason'] if shown['reason'] else ''}", "  latest:   ", " " * 12
        )
        for scale, verdict in shown["scales"].items():
            lines.append(f"            {verdict} ({scale})")
        if shown["others"]:
            lines.append(
                f"            {shown['others']} more at other settings (`attnlab store export FILE.csv` has them all)"
            )
    return [*lines, ""]


def covers(claim: Claim) -> dict[str, str]:
    """The values of fields that the prediction covers, in words."""
    return {
        name: c if isinstance(c, str) else " ".join(filter(None, [c.words, c.why and f"({c.why})"]))
        for name, c in claim.covers.items()
    }


def forms(claim: Claim) -> dict[str, str]:
    """What is judged at each level, of a claim about all inputs, at its desk setting."""
    if claim.forms is None or isinstance(claim.forms, dict):  # of the index: in words already
        return claim.forms or {}
    from attnlab.papers.lab.run.quantified import forms_of

    return {
        level: form.statement + (f" ({form.source})" if form.source != claim.source else "")
        for level, form in forms_of(claim, claim.setting.desk).items()
    }


def _settings(item: Claim | PaperFigure) -> dict[str, dict[str, Any]]:
    return {scale: fields_of(item.setting.at(scale)) for scale in SCALES if scale in item.scales}


def _scale_note(item: Claim | PaperFigure) -> list[str]:
    if not item.why_these_scales:
        return []
    return _wrap(f"only {' and '.join(item.scales)}: {item.why_these_scales}", "  scales:   ", " " * 12)


def _latest(record: dict[str, Any] | None) -> dict[str, Any] | None:
    if not record:
        return None
    told = {key: record[key] for key in ("verdict", "scale", "seed", "measured", "interval", "reason")}
    told |= {"replicas": record.get("replicas"), "differs": record.get("differs") or {}}
    return told | {"others": record.get("others", 0), "scales": record.get("scales") or {}}


def _short(text: str) -> str:
    return textwrap.shorten(text, 90, placeholder=" …")


def _wrap(text: str, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=first, subsequent_indent=rest) or [first.rstrip()]
