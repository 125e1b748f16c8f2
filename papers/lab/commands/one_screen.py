"""A whole paper on one screen: sources, statements with their claims, settings once, figures."""

from __future__ import annotations

import textwrap
from typing import Any

from attnlab.papers.lab.commands.describe import verdict_words
from attnlab.papers.lab.declare import Paper, Scales
from attnlab.papers.lab.python.pages import settings_rows

WIDTH = 100


def one_screen(paper: Paper, latest: dict[str, Any], address: str = "") -> str:
    """One line per statement, one per claim (its latest verdict first), the settings that most claims share, the figures.

    ``address`` is what the user types before the name of a claim; by default the paper's key and a dot.
    """
    lines = [paper.key, *_wrap(paper.title)]
    for source in paper.sources:
        lines += _wrap(source.reference())
    lines.append("")
    shown: set[str] = set()
    for number, text in paper.statements.items():
        lines += [_cut(f"{number:>4}. {text}")]
        if number in paper.untestable:
            lines.append(_cut(f"      not testable here: {paper.untestable[number]}"))
        covering = [claim.name for claim in paper.in_order() if number in claim.statements]
        if covering and shown.issuperset(covering):
            lines.append(_cut(f"      see {', '.join(covering)}"))
        for claim in paper.in_order():
            if number in claim.statements and claim.name not in shown:
                shown.add(claim.name)
                record = latest.get(claim.id)
                verdict = verdict_words(record)
                expected = "  expected REFUTED" if claim.expected == "REFUTED" else ""
                lines.append(_cut(f"      {verdict:<18} {claim.name}{expected}: {claim.source}"))
    lines.append("")
    settings = most_used(paper)
    if settings is not None:
        for name, text in settings_rows(_Named(settings)).items():
            lines += _wrap(text, f"  {name + ':':<10}", " " * 12) if text else []
        others = sum(claim.setting is not settings for claim in paper.claims.values())
        if others:
            lines += _wrap(
                "1 claim has settings of its own" if others == 1 else f"{others} claims have settings of their own",
                " " * 12,
                " " * 12,
            )
    if paper.figures:
        lines += _wrap(", ".join(paper.figures), "  figures:  ", " " * 12)
    lines += [
        "",
        f"  attnlab show {address or paper.key + '.'}CLAIM tells how one is judged; --full prints all of them",
    ]
    return "\n".join(lines)


def most_used(paper: Paper) -> Scales | None:
    """The settings that most claims use."""
    used = [claim.setting for claim in paper.claims.values()] or ([paper.default] if paper.default else [])
    return max(used, key=lambda each: sum(each is other for other in used), default=None)


class _Named:
    """Settings with all scales, as :func:`settings_rows` reads them."""

    def __init__(self, setting: Scales) -> None:
        self.setting, self.scales = setting, ("smoke", "desk", "paper")


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 2].rstrip() + " …"


def _wrap(text: str, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest) or [first.rstrip()]
