"""``attnlab list``: papers, claims and figures, with the latest verdicts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attnlab.papers.lab.commands.options import add_out, folder_to_read, show

if TYPE_CHECKING:
    from attnlab.papers.lab.declare import Paper


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET... --markdown --out DIR``."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="papers to list (default: all)")
    parser.add_argument("--markdown", action="store_true", help="one row per paper, as the table of the README")
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print all papers."""
    from attnlab.papers.lab import index
    from attnlab.papers.lab.commands.describe import listing
    from attnlab.papers.lab.registry import select
    from attnlab.papers.lab.run.latest import latest_verdicts, settings_of

    known = index.homes()
    papers = select(arguments.targets, known).papers if arguments.targets else [known[key]() for key in sorted(known)]
    record, text = listing(papers, latest_verdicts(folder_to_read(arguments), settings_of(papers)))
    show(arguments, record, markdown(papers) if arguments.markdown else text)
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
