"""The numbers under which formulas run on the fast paths, and the code that each stands for.

A number lives as long as the process; builds are named by the code itself.
"""

from __future__ import annotations

import functools
import linecache
import types

from attnlab.kernels.attention.scores.formula.map import FormulaMap, made

#: The number of the first formula; built-in maps have smaller ones. In C all formulas are this one, with their own ``made.h``.
FIRST = 9
_known: list[tuple[str, str]] = []


def number_of(score: FormulaMap) -> int:
    """The number of a map's formula and divisor; its constant is the parameter of a call."""
    key = score.formula, score.divide
    if key not in _known:
        _known.append(key)
    return FIRST + _known.index(key)


@functools.lru_cache(maxsize=256)
def c_header(number: int) -> str:
    """``made.h`` of a formula; empty for built-in maps."""
    from attnlab.kernels.attention.scores.formula import emit

    if number < FIRST:
        return ""
    formula, divide = _known[number - FIRST]
    return emit.c_header(made(formula, divide).form, divide)


@functools.lru_cache(maxsize=256)
def triton_functions(number: int) -> dict[str, object]:
    """The functions of ``gpu/maps.py`` for a formula, by name."""
    from attnlab.kernels.attention.scores.formula import emit

    formula, divide = _known[number - FIRST]
    text, file = emit.triton_module(made(formula, divide).form, divide), f"<triton of {formula} by {divide}>"
    linecache.cache[file] = (
        len(text),
        None,
        text.splitlines(keepends=True),
        file,
    )  # triton reads the source of a function
    module = types.ModuleType(f"formula_{number}")
    exec(compile(text, file, "exec"), module.__dict__)  # our own text, made from the parsed formula
    return {name: x for name, x in vars(module).items() if not name.startswith("__")}
