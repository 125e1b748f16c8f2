"""``attnlab show``: statement, formula, assumptions, source, settings, how it is judged, what is not testable."""

from __future__ import annotations

import argparse

from attnlab.papers.lab.commands.options import add_out, folder_to_read, show


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET... --out DIR``."""
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="paper, paper.claim or paper.figN (a prefix will do)"
    )
    parser.add_argument("--full", action="store_true", help="of a whole paper: every claim in full, not one screen")
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what each target says and how it is judged."""
    from attnlab.papers.lab import index
    from attnlab.papers.lab.commands.describe import description
    from attnlab.papers.lab.commands.one_screen import one_screen
    from attnlab.papers.lab.registry import address, select
    from attnlab.papers.lab.run.latest import latest_verdicts, settings_of

    homes = index.homes()
    selection = select(arguments.targets, homes)
    verdicts = latest_verdicts(folder_to_read(arguments), settings_of(selection.papers))
    record, text = description(arguments.targets, selection, verdicts)
    if not selection.explicit and not arguments.full:
        text = "\n\n".join(
            one_screen(paper, verdicts, address(paper.key, arguments.targets, homes)) for paper in selection.papers
        )
    show(arguments, record, text)
    return 0
