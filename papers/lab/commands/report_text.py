"""The verdict table that ends a run, and the record of the run itself."""

from __future__ import annotations

import textwrap
from typing import Any

from attnlab.papers.lab.commands.verdict_text import WIDTH, verdict_table


def run_record(run: int, plan: dict[str, Any], store: Any, bench: Any, status: int) -> dict[str, Any]:
    """Which run this was, with what, and how it ended."""
    from importlib.metadata import version

    from attnlab.papers.lab.run.machine import platform
    from attnlab.papers.lab.run.reproduce import BUDGET

    return {
        "id": run,
        **plan,
        "device": bench.device,
        "out": str(store.folder),
        "error_budget": BUDGET,
        "core_seconds": round(bench.seconds, 2),
        "attnlab": version("attnlab"),
        "platform": platform(bench.device),
        "status": status,
    }


def summary(result: dict[str, Any]) -> str:
    """One line per verdict, most important word first; then the figures' paths and what other scales decide."""
    claims = result["claims"]
    width = max((len(c["id"]) for c in (*claims, *result["figures"])), default=0)
    lines = verdict_table(claims)
    if result["elsewhere"]:
        lines.append("")
        for row in result["elsewhere"]:
            text = f"at --scale {row['scales']}: {row['id']} ({row['reason']})"
            lines += textwrap.wrap(text, WIDTH, subsequent_indent="           ")
    if result["figures"]:
        lines.append("")
        for figure in result["figures"]:
            word, where = ("figure", figure["files"][0]) if figure["files"] else ("FAILED", figure["failed"])
            line = f"{word:<10} {figure['id']:<{width}}  {where}"
            lines += [line] if figure["files"] else textwrap.wrap(line, WIDTH, subsequent_indent="           ")
    total = count_by_kind(claims)
    run = result["run"]
    lines += [
        "",
        total,
        f"run {run['id']} in {run['out']}: {run['core_seconds']:.0f} core-seconds of simulation, error budget "
        f"{run['error_budget']:g}",
    ]
    return "\n".join(lines)


def count_by_kind(claims: list[dict[str, Any]]) -> str:
    """``12 HOLDS, 1 published and REFUTED; identities: 3 HOLDS``: what the paper states first, other kinds apart."""
    counts: dict[str, dict[str, int]] = {}
    for claim in claims:
        kind = claim.get("kind", "published")
        refuted = kind == "published" and claim["verdict"] == "REFUTED"
        word = "published and REFUTED" if refuted and claim["expected"] == "REFUTED" else claim["verdict"]
        row = counts.setdefault(kind, {})
        row[word] = row.get(word, 0) + 1
    shown = {kind: ", ".join(f"{n} {word}" for word, n in row.items()) for kind, row in counts.items()}
    first = shown.pop("published", "") or ("no published statement" if shown else "no claims")
    return "; ".join([first, *(f"{plural(kind)}: {text}" for kind, text in shown.items())])


def plural(kind: str) -> str:
    """``identities``, ``anchors``, ..."""
    return kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
