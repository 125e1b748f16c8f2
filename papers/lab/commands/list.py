"""``attnlab list``: papers, claims and figures, with the latest verdicts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attnlab.papers.lab.commands.options import add_out, folder, show

if TYPE_CHECKING:
    from attnlab.papers.lab.declare import Paper


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET... --markdown --out DIR``."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="papers to list (default: all)")
    parser.add_argument("--markdown", action="store_true", help="one row per paper, as the table of the README")
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print all papers."""
    from attnlab.papers.lab.commands.describe import latest_verdicts, listing
    from attnlab.papers.lab.registry import load, paper_keys, select

    chosen = select(arguments.targets).papers if arguments.targets else [load(key) for key in paper_keys()]
    record, text = listing(chosen, latest_verdicts(folder(arguments)))
    show(arguments, record, markdown(chosen) if arguments.markdown else text)
    return 0


def markdown(papers: Sequence[Paper]) -> str:
    """A table with one row per paper: key, title, claims, those of them that are published and expected REFUTED, figures."""
    lines = ["| key | paper | claims | false as published | figures |", "|---|---|---|---|---|"]
    for paper in papers:
        false = sum(
            claim.expected == "REFUTED" and getattr(claim, "kind", "published") == "published"
            for claim in paper.claims.values()
        )
        lines.append(
            f"| `{paper.key}` | {paper.title} | {len(paper.claims)} | {false or ''} | {len(paper.figures) or ''} |"
        )
    return "\n".join(lines)
