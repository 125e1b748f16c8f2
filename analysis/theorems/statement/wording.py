"""A side as the reader wrote it: the source of a lambda, the name of a function with its arguments, a formula of sympy."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from functools import lru_cache
from typing import Any

LONGEST = 160  # characters of a side that are shown


def written(side: Any) -> str:
    """The side in one line, at most ``LONGEST`` characters."""
    text = _of_function(side) if callable(side) and not hasattr(side, "free_symbols") else str(side)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _of_function(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    if code is None:
        return f"{name}(...)"
    names = ", ".join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    if name != "<lambda>":
        return f"{name}({names})"
    return _body(code) or f"lambda {names}: ..."


def _body(code: Any) -> str:
    """The source of a lambda's body, found by its place in the file; empty where there is no file."""
    lines = linecache.getlines(code.co_filename)
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    if not lines or not places:
        return ""
    start = min((line, column) for line, _, column, _ in places)
    end = max((line, column) for _, line, _, column in places)
    best: tuple[tuple[int, int, int, int], str] | None = None
    for node, text in _lambdas(code.co_filename, len(lines)):
        body = node.body
        inside = (body.lineno, body.col_offset) <= start and end <= (body.end_lineno or 0, body.end_col_offset or 0)
        size = ((body.end_lineno or 0) - body.lineno, (body.end_col_offset or 0) - body.col_offset, 0, 0)
        if inside and node.lineno == code.co_firstlineno and (best is None or size < best[0]):
            best = size, text
    return best[1] if best is not None else ""


@lru_cache(maxsize=64)
def _lambdas(file: str, n_lines: int) -> list[tuple[ast.Lambda, str]]:
    text = "".join(linecache.getlines(file))
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    return [
        (node, ast.get_source_segment(text, node.body) or ast.unparse(node.body))
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda)
    ]
