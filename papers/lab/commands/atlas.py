"""``attnlab atlas``: attention operators, what each one can do, where it is another one, what it costs.

Without a name it prints a table, one row per member; with a name one operator's page; ``--compare A B`` only what differs.
``--where`` filters on facts: ``causal and state <= d * d_v``.
"""

from __future__ import annotations

import argparse
from typing import Any

from attnlab.papers.lab.commands.options import show


def configure(parser: argparse.ArgumentParser) -> None:
    """``[NAME] [n=.. d=.. d_v=.. heads=..] --family F --where EXPRESSION --sort FACT --compare A B``."""
    parser.add_argument(
        "tokens",
        nargs="*",
        metavar="NAME|KEY=VALUE",
        help="an operator; n=, d=, d_v=, heads= say where costs are taken",
    )
    parser.add_argument("--family", metavar="F", help="only the operators of this family")
    parser.add_argument("--where", metavar="EXPRESSION", help='only where it holds, e.g. "causal and state <= d * d_v"')
    parser.add_argument("--sort", metavar="FACT", help="order by a fact, smallest first (unknown ones last)")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two operators: only what differs")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, a page or a comparison."""
    from attnlab.papers.lab.commands import atlas_text as text
    from attnlab.papers.lab.errors import UsageError
    from attnlab.papers.lab.overrides import split_tokens

    names, given = split_tokens(arguments.tokens)
    sizes = text.sizes_of(given)
    if len(names) + bool(arguments.compare) > 1:
        raise UsageError(f"{len(names)} names; give one operator, or --compare A B")
    if arguments.compare:
        records = [text.record_of(text.member(name), sizes) for name in arguments.compare]
        answer: Any = text.comparison(*records)
        show(arguments, answer, text.comparison_text(answer, *(record["name"] for record in records)))
        return 0
    if names:
        found = text.member(names[0])
        record = text.record_of(found, sizes)
        show(arguments, record, text.page(found, record))
        return 0
    rows = text.selected(sizes, arguments.family, arguments.where, arguments.sort)
    show(arguments, {"sizes": text.plain(sizes), "operators": rows}, text.table(rows, sizes))
    return 0
