"""``attnlab list``: papers, claims and figures, with the latest verdicts."""

from __future__ import annotations

import argparse

from attnlab.papers.lab.commands.options import add_out, folder, show


def configure(parser: argparse.ArgumentParser) -> None:
    """``--out DIR``."""
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print all papers."""
    from attnlab.papers.lab.commands.describe import latest_verdicts, listing
    from attnlab.papers.lab.registry import load, paper_keys

    show(arguments, *listing([load(key) for key in paper_keys()], latest_verdicts(folder(arguments))))
    return 0
