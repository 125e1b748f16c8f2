"""Whole-number index expressions of loop nests: sums of loop variables times whole numbers.

What cannot be said in that form asks for other loops: :class:`Split` (a loop becomes two nested ones) and :class:`Cut` (a
loop becomes two that follow each other) are raised, and the nest is made again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

_count = itertools.count()


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop variable that runs over ``range(size)``."""

    size: int
    serial: int = field(default_factory=lambda: next(_count))


class Split(Exception):
    """The loop should be two: variable = ``inner`` * outer + inner variable."""

    def __init__(self, loop: Loop, inner: int) -> None:
        self.loop, self.inner = loop, inner


class Cut(Exception):
    """The loop should be two, the second from ``at``."""

    def __init__(self, loop: Loop, at: int) -> None:
        self.loop, self.at = loop, at


class NotAffine(Exception):
    """No loops make the index a sum; the array has to be stored first."""


@dataclass(frozen=True)
class Index:
    """``constant`` plus the sum of ``factor * loop``, the terms sorted by loop, no factor zero."""

    constant: int = 0
    terms: tuple[tuple[Loop, int], ...] = ()

    @classmethod
    def of(cls, loop: Loop) -> Index:
        return cls(0, ((loop, 1),))

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.constant + other, self.terms)
        factors = dict(self.terms)
        for loop, factor in other.terms:
            factors[loop] = factors.get(loop, 0) + factor
        terms = tuple(sorted(((loop, f) for loop, f in factors.items() if f), key=lambda term: term[0].serial))
        return Index(self.constant + other.constant, terms)

    def __mul__(self, factor: int) -> Index:
        if factor == 0:
            return Index()
        return Index(self.constant * factor, tuple((loop, f * factor) for loop, f in self.terms))

    def bounds(self) -> tuple[int, int]:
        """Least and largest value."""
        low = high = self.constant
        for loop, factor in self.terms:
            reach = factor * (loop.size - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high

    def factor(self, loop: Loop) -> int:
        return dict(self.terms).get(loop, 0)

    def divided(self, divisor: int) -> tuple[Index, Index]:
        """Quotient and remainder for division by a positive number; raises ``Split`` or ``NotAffine``."""
        if divisor == 1:
            return self, Index()
        whole = [(loop, f // divisor) for loop, f in self.terms if f % divisor == 0]
        rest = [(loop, f) for loop, f in self.terms if f % divisor]
        remainder = Index(self.constant % divisor, tuple(rest))
        low, high = remainder.bounds()
        if 0 <= low and high < divisor:
            return Index(self.constant // divisor, tuple(whole)), remainder
        for loop, factor in rest:
            if 0 < factor < divisor and divisor % factor == 0 and loop.size * factor > divisor:
                inner = divisor // factor
                if loop.size % inner == 0:
                    raise Split(loop, inner)
        for loop, factor in rest:  # a merged axis whose inner part is no divisor of the other's
            if factor == 1:
                for inner in range(2, loop.size):
                    if loop.size % inner == 0 and divisor % inner == 0:
                        raise Split(loop, inner)
        raise NotAffine

    def at_least(self, boundary: int) -> bool:
        """Whether the index is at least ``boundary`` throughout, or below it throughout; raises ``Cut`` or ``NotAffine``."""
        low, high = self.bounds()
        if low >= boundary:
            return True
        if high < boundary:
            return False
        loop, factor = max(self.terms, key=lambda term: abs(term[1]))
        if factor > 0:
            at = -((low - boundary) // factor)
            if 0 < at < loop.size:
                raise Cut(loop, at)
        raise NotAffine

    def put(self, replaced: dict[Loop, Index]) -> Index:
        """The index with loop variables replaced by other indices."""
        if not any(loop in replaced for loop, _ in self.terms):
            return self
        total = Index(self.constant)
        for loop, factor in self.terms:
            total = total + (replaced[loop] * factor if loop in replaced else Index(0, ((loop, factor),)))
        return total

    def text(self, names: dict[Loop, str]) -> str:
        parts = [names[loop] if factor == 1 else f"{factor} * {names[loop]}" for loop, factor in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


def positions(index: tuple[Index, ...], shape: tuple[int, ...]) -> Index:
    """The row-major position of an element."""
    flat, stride = Index(), 1
    for each, size in zip(reversed(index), reversed(shape), strict=True):
        if size > 1:
            flat = flat + each * stride
        stride *= size
    return flat


def reshaped(index: tuple[Index, ...], shape: tuple[int, ...], into: tuple[int, ...]) -> tuple[Index, ...]:
    """The element of an array of shape ``into`` that stands where ``index`` is in one of ``shape``."""
    flat = positions(index, shape)
    found: list[Index] = []
    stride = 1
    for size in into:
        stride *= size
    for size in into:
        stride //= size
        if size == 1:
            found.append(Index())
            continue
        quotient, flat = flat.divided(stride)
        found.append(quotient)
    return tuple(found)
