"""A paper's own file as a program: the options of ``attnlab reproduce``, the paper as target."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from attnlab.papers.lab.commands import cli
from attnlab.papers.lab.declare import Paper
from attnlab.papers.lab.registry import target_of


def main(paper: Paper, argv: Sequence[str] | None = None) -> int:
    """The command line of a paper, ``attnlab reproduce`` with the paper as target; returns the exit status.

    At the end of the paper's own file: ``if __name__ == "__main__": raise SystemExit(main(paper))``. While the file is
    imported, by a worker for example, the call does nothing and returns 0.
    """
    caller = sys._getframe(1)
    if caller.f_code.co_name == "<module>" and caller.f_globals.get("__name__") != "__main__":
        return 0
    target = target_of(paper, caller.f_globals.get("__file__"))
    return cli.main(["reproduce", target, *(sys.argv[1:] if argv is None else argv)])
