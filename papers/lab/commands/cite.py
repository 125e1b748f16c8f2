"""``attnlab cite``: BibTeX of what was used."""

from __future__ import annotations

import argparse

from attnlab.papers.lab.commands.options import show


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET...``."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="paper or claim, or all")


def run(arguments: argparse.Namespace) -> int:
    """Print the entries of the targets' sources and of attnlab."""
    from attnlab.papers.lab.commands.describe import citations
    from attnlab.papers.lab.registry import select

    show(arguments, *citations(select(arguments.targets).papers))
    return 0
