"""The verdict table that ends a run, and the record of the run itself."""

from __future__ import annotations

from typing import Any

from attnlab.analysis.verdicts.verdict import percent


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
    """One line a verdict, most important word first; then the figures' paths and what other scales decide."""
    claims, lines = result["claims"], []
    width = max((len(c["id"]) for c in claims), default=0)
    for claim in claims:
        kind = "" if claim.get("kind", "published") == "published" else f"({claim['kind']})  "
        lines.append(f"{claim['verdict']:<10} {claim['id']:<{width}}  {kind}{_numbers(claim)}")
        if claim["parts"] and claim["verdict"] not in ("HOLDS",):
            lines += [f"{'':<11}  {part['verdict']:<10} {part['name']}: {_numbers(part)}" for part in claim["parts"]]
        if claim["reason"] and claim["verdict"] != "HOLDS":
            lines.append(f"{'':<11}  {claim['reason']}")
        if claim.get("wants"):
            lines.append(f"{'':<11}  wants {'more replicas' if claim['wants'] == 'replicas' else 'longer training'}")
        if claim["excuse"]:
            lines.append(f"{'':<11}  expected at smoke: {claim['excuse']}")
        for diverged in claim["diverged"]:
            lines.append(f"{'':<11}  diverged: {diverged}")
    if result["elsewhere"]:
        lines.append("")
        lines += [f"at --scale {row['scales']}: {row['id']} ({row['reason']})" for row in result["elsewhere"]]
    if result["figures"]:
        lines.append("")
        lines += [f"figure     {figure['id']:<{width}}  {figure['files'][0]}" for figure in result["figures"]]
    total = count_by_kind(claims)
    run = result["run"]
    lines += [
        "",
        f"{total}; run {run['id']} in {run['out']}, {run['core_seconds']:.0f} core-seconds of simulation, "
        f"error budget {run['error_budget']:g}",
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


def _numbers(record: dict[str, Any]) -> str:
    """Measured against predicted, with margin, interval, n and twin, as far as the judge has them."""
    words = [record["of"]] if record["of"] else []
    if record["measured"] is not None:
        words.append(f"{record['measured']:.5g}")
    if record["predicted"] is not None:
        words.append(f"for {record['predicted']:.5g}" + (f" ± {record['margin']:.2g}" if record["margin"] else ""))
    if record["interval"] and None not in record["interval"]:
        words.append("[{:.5g}, {:.5g}]".format(*record["interval"]))
    if record["level"]:
        words.append(record["level"])
    if record["n"]:
        words.append(f"n={record['n']}")
    if record.get("resolves") is not None:
        words.append(f"resolves {percent(record['resolves'])}")
    if record["twin_verdict"]:
        words.append(f"twin {record['twin_verdict'].lower()}")
    if record.get("null"):
        words.append(f"{record['null_label']} {record['null'].lower()}")
    if record["parts"]:
        words.append(f"({len(record['parts'])} parts)")
    return "  ".join(words)
