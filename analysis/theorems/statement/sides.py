"""A side of a claim, or another part that is written as one: number, sympy expression or function, and the names it uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from attnlab.analysis.suggestions import did_you_mean
from attnlab.analysis.theorems.statement.domains import Domain
from attnlab.analysis.theorems.statement.symbols import false_declaration


class ClaimError(ValueError):
    """The claim is malformed; the message names the variable or side, and what to do."""


def parameters(side: Callable[..., Any]) -> list[tuple[str, bool]]:
    """Names of a side's parameters, and whether each must be given."""
    try:
        signature = inspect.signature(side)
    except ValueError as error:
        raise ClaimError(f"{side!r} does not tell its parameters; wrap it: lambda x: f(x)") from error
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    if any(p.kind in kinds for p in signature.parameters.values()):
        raise ClaimError(f"{side!r} takes positional-only or starred parameters; wrap it: lambda x: f(x)")
    return [(p.name, p.default is inspect.Parameter.empty) for p in signature.parameters.values()]


def is_sympy(side: Any) -> bool:
    """Whether a side is a sympy object (sympy is not imported for the question)."""
    return any(kind.__module__.split(".")[0] == "sympy" for kind in type(side).__mro__)


def symbol_home(symbol: str, names: Sequence[str]) -> tuple[str, int | None] | None:
    """``x`` and ``x_3`` (or ``x3``) as (variable, position); None if no variable has the name."""
    if symbol in names:
        return symbol, None
    for name in sorted(names, key=len, reverse=True):
        rest = symbol[len(name) :].removeprefix("_")
        if symbol.startswith(name) and rest.isdigit():
            return name, int(rest)
    return None


def check_side(label: str, side: Any, variables: Mapping[str, Domain], known: Sequence[str]) -> None:
    """Every name that a part of a claim uses must be known: a variable, a definition or a size."""
    if is_sympy(side):
        used = [str(s) for s in sorted(side.free_symbols, key=str) if "[" not in str(s)]
        loose = [s for s in used if symbol_home(s, known) is None]
        declared = "" if loose else false_declaration(variables, side, lambda s: symbol_home(s, known))
        if declared:
            raise ClaimError(f"the {label} {declared}")
    elif callable(side):
        loose = [p for p, needed in parameters(side) if needed and p not in known]
    elif isinstance(side, (str, bytes)) or side is None or np.iscomplexobj(side):
        raise ClaimError(f"the {label} must be a number, a sympy expression or a function, got {side!r}")
    else:
        try:
            values = np.asarray(side, dtype=np.float64)
        except OverflowError:
            raise ClaimError(f"the {label} is beyond the range of float64; divide both sides by its size") from None
        if np.isnan(values).any():
            raise ClaimError(f"the {label} is NaN; give a number")
        loose = []
    if loose:
        what = "symbol" if is_sympy(side) else "parameter"
        raise ClaimError(
            f"the {label} has the free {what} {loose[0]!r} without a domain; add {loose[0]}=... to "
            f"for_all({', '.join(variables)}){did_you_mean(loose[0], known)}"
        )


def distance(left: Any, right: Any) -> Any:
    """``|left - right|`` as one side."""
    if is_sympy(left) or is_sympy(right):
        return abs(left - right)
    names = [[p for p, _ in parameters(side)] if callable(side) else [] for side in (left, right)]

    def between(**given: Any) -> Any:
        values = [
            side(**{p: given[p] for p in used}) if callable(side) else side
            for side, used in zip((left, right), names, strict=True)
        ]
        return abs(values[0] - values[1])

    kind = inspect.Parameter.KEYWORD_ONLY
    between.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(p, kind) for p in dict.fromkeys(names[0] + names[1])]
    )
    return between
