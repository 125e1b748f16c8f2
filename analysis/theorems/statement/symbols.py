"""Whether the symbols of a sympy side are what the domains say: sympy simplifies by what it is told of a symbol.

``sqrt(x**2)`` is ``x`` for a positive symbol as soon as it is written, and ``sin(pi * n)`` is 0 for an integer one. Such a
symbol over a domain with other points would state something else than what was meant, so it is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from attnlab.analysis.theorems.statement.domains import (
    Box,
    Distribution,
    Domain,
    Integer,
    Permutation,
    PositiveDefinite,
    Simplex,
    Sphere,
)


def false_declaration(
    variables: Mapping[str, Domain], side: Any, home: Callable[[str], tuple[str, int | None] | None]
) -> str:
    """Which free symbol of a side has an assumption that does not hold on its variable's domain, or an empty string."""
    for symbol in sorted(side.free_symbols, key=str):
        found = home(str(symbol).split("[", maxsplit=1)[0])
        if found is None or found[0] not in variables:
            continue
        fact = _false_fact(symbol, variables[found[0]])
        if fact:
            return (
                f"declares {symbol} {fact}, which {found[0]} in {variables[found[0]]} is not everywhere, and sympy "
                f"simplifies by it; declare Symbol({str(symbol)!r}, real=True), or narrow the domain"
            )
    return ""


def _false_fact(symbol: Any, domain: Domain) -> str:
    """What a symbol is declared to be and its domain is not, or an empty string."""
    low, high, whole = _ends(domain)
    holds = {
        "positive": low > 0,
        "nonnegative": low >= 0,
        "negative": high < 0,
        "nonpositive": high <= 0,
        "nonzero": low > 0 or high < 0,
        "zero": low == high == 0,
        "integer": whole,
        "rational": whole,
    }
    for fact, true in holds.items():
        if getattr(symbol, f"is_{fact}", None) and not true:
            return fact
    impossible = ("even", "odd", "prime", "composite", "irrational", "noninteger", "imaginary", "transcendental")
    return next((fact for fact in impossible if getattr(symbol, f"is_{fact}", None)), "")


def _ends(domain: Domain) -> tuple[float, float, bool]:
    """Ends of the entries of a domain, as far as they are known, and whether they are whole numbers."""
    if isinstance(domain, Distribution):
        return _ends(domain.support) if domain.support is not None else (-math.inf, math.inf, False)
    if isinstance(domain, (Box, Integer)):
        return float(domain.low), float(domain.high), isinstance(domain, Integer)
    if isinstance(domain, Permutation):
        return 0.0, math.inf, True
    if isinstance(domain, Simplex):
        return 0.0, 1.0, False
    if isinstance(domain, Sphere):
        return -float(domain.radius), float(domain.radius), False
    if isinstance(domain, PositiveDefinite):
        return (float(domain.low) if domain.n == 1 else -math.inf), float(domain.high), False
    return -math.inf, math.inf, False
