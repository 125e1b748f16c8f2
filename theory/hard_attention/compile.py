r"""From a formula to an encoder that recognises it: one coordinate in {0, 1} for each subformula, by induction.

Until, at position i: let g_j = (not phi_j) or psi_j and j_i the first j >= i with g_j. Then phi U psi holds at i iff j_i exists
and psi holds there. Attention finds j_i by the score

.. math:: 2\, p_i p_j - p_j^2 - 4^N (1 - g_j), \qquad p_j = 2^{N-1-j},

which is :math:`-(p_i - p_j)^2` up to a term in i: among j >= i it falls with j, and every j >= i beats every j < i, since
:math:`p_i - p_j < p_i` for j > i and :math:`p_j - p_i \ge p_i` for j < i. What is selected is looked at: psi there, and
whether its index is at least i. No two scores are equal, so unique and averaging attention do the same. Since is the
mirror image; next attends to i + 1 by :math:`2 (i + 1) j - j^2`.

A count (averaging attention only): equal scores give the mean of phi over the N positions, #phi / N; a second layer attends to
the position of index #phi by the score :math:`2 (\#\varphi / N)\, j - j^2 / N` and reads there what is wanted, the index itself
or a unary predicate of it. Counts reach n, so a position of index 0 stands before the word. Counts up to or from i need a mask
(:func:`attnlab.theory.hard_attention.limits.width_for_prefix_means` says why).

Reference: Barceló, Kozachinskiy, Lin and Podolskii 2024, Theorems on LTL(Mon) and LTL(C, +). The paper encodes by angles,
:math:`\cos(\pi (2^{-i} - 2^{-j}) / 10)`; the order is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from attnlab.theory.hard_attention.encoder import AVERAGE, UNIQUE, Encoder, Sum
from attnlab.theory.hard_attention.syntax import (
    And,
    AtLeast,
    Count,
    Formula,
    Letter,
    Next,
    Not,
    Or,
    Residue,
    Since,
    Unary,
    Until,
    checked_alphabet,
    counts,
    subformulas,
)


def compiled(formula: Formula, alphabet: str, kind: str | None = None) -> Encoder:
    """The encoder of a formula. ``kind``: "unique" (the default without counting) or "average".

    Raises ValueError for a formula that counts if unique attention is asked for: such languages need not be in AC0, and
    unique attention recognises languages in AC0 only.
    """
    checked_alphabet(alphabet)
    kind = kind or (AVERAGE if counts(formula) else UNIQUE)
    if kind not in (UNIQUE, AVERAGE):
        raise ValueError(f"kind={kind!r} must be 'unique' or 'average'")
    if kind == UNIQUE and counts(formula):
        raise ValueError("kind='unique' cannot count: unique hard attention stays in AC0; use kind='average'")
    return _Compiler(Encoder(alphabet, kind, start=counts(formula)), formula).whole()


class _Compiler:
    def __init__(self, encoder: Encoder, formula: Formula) -> None:
        self.encoder, self.formula = encoder, formula
        self.each = subformulas(formula)
        self.at: dict[Formula, int] = {}
        self.counted: dict[Count, int] = {}
        self.before = int(encoder.start)  # positions before the first letter

    def whole(self) -> Encoder:
        self.encodings()
        for formula in self.each:
            self.at[formula] = self.one(formula)
        self.encoder.output = self.at[self.formula]
        return self.encoder

    def encodings(self) -> None:
        """Only what some subformula needs."""
        s, make = self.before, self.encoder.encoding
        has = {type(each) for each in self.each}
        if has & {Until, Since, Next, AtLeast, Residue}:
            make("i", lambda i, n: i)
        if has & {Next, AtLeast, Residue}:
            make("i^2", lambda i, n: i * i)
        if Next in has:
            make("not last", lambda i, n: int(i != n + s - 1))
        if s:
            make("start", lambda i, n: int(i == 0))
        if has & {Until, Since}:
            make("4^N", lambda i, n: 4 ** (n + s))
        if Until in has:
            make("p", lambda i, n: 2 ** (n + s - 1 - i))
            make("p^2", lambda i, n: 4 ** (n + s - 1 - i))
        if Since in has:
            make("r", lambda i, n: 2**i)
            make("r^2", lambda i, n: 4**i)
        for each in self.each:
            if isinstance(each, Unary):
                make(f"predicate {each.name}", _predicate(s, each.test))
            if isinstance(each, Residue):
                make(f"index {each.modulus} {each.rest}", _residue(each.modulus, each.rest))
            for count in self.counts_of(each):
                make(f"1/{count.where}", {"all": _whole, "past": _past, "future": _future}[count.where])

    @staticmethod
    def counts_of(formula: Formula) -> list[Count]:
        if isinstance(formula, AtLeast):
            return [count for _, count in formula.terms]
        return [formula.count] if isinstance(formula, Residue) else []

    def one(self, formula: Formula) -> int:
        """The coordinate of one subformula whose parts have theirs."""
        e, at = self.encoder, self.at
        if isinstance(formula, Letter):
            return e.alphabet.index(formula.letter)
        if isinstance(formula, Unary):
            return e.encoding(f"predicate {formula.name}", lambda i, n: 0)
        if isinstance(formula, Not):
            return e.invert(at[formula.of])
        if isinstance(formula, And):
            return e.both(at[formula.left], at[formula.right])
        if isinstance(formula, Or):
            return e.either(at[formula.left], at[formula.right])
        if isinstance(formula, Next):
            return self.next(at[formula.of])
        if isinstance(formula, Until):
            return self.until(at[formula.left], at[formula.right], "p", 1)
        if isinstance(formula, Since):
            return self.until(at[formula.left], at[formula.right], "r", -1)
        if isinstance(formula, AtLeast):
            terms = [(self.count(count, "i"), weight) for weight, count in formula.terms]
            return e.at_least(terms, formula.bound)
        assert isinstance(formula, Residue)
        return self.count(formula.count, f"index {formula.modulus} {formula.rest}")

    def place(self, name: str) -> int:
        return self.encoder.encoding(name, lambda i, n: 0)  # made before

    def next(self, x: int) -> int:
        i, square = self.place("i"), self.place("i^2")
        (copy,) = self.encoder.attend([_of(i, 2, 2), _one()], [_of(i), _of(square, -1)], [x])
        return self.encoder.both(copy, self.place("not last"))

    def until(self, left: int, right: int, power: str, direction: int) -> int:
        e = self.encoder
        i, big, p, square = (self.place(name) for name in ("i", "4^N", power, f"{power}^2"))
        stops = e.either(e.invert(left), right)
        penalty: tuple[tuple[int, int], ...] = ((stops, 1),)
        if e.start:
            penalty += ((self.place("start"), -1),)
        keys: list[Sum] = [_of(p), _of(square, -1), (penalty, -1)]
        there, index = e.attend([_of(p, 2), _one(), _of(big)], keys, [right, i])
        reached = e.at_least([(index, direction), (i, -direction)], 0)
        return e.both(there, reached)

    def count(self, count: Count, wanted: str) -> int:
        """The coordinate that holds encoding ``wanted`` of the position whose index is the count."""
        e, i, square = self.encoder, self.place("i"), self.place("i^2")
        if count not in self.counted:
            letters = e.affine((self.at[count.of], 1), (self.place("start"), -1), relu=True)
            mask = "" if count.where == "all" else count.where
            (self.counted[count],) = e.attend([((), 0)], [((), 0)], [letters], mask)
        mean, share = self.counted[count], self.place(f"1/{count.where}")
        (found,) = e.attend([_of(mean, 2), _of(share)], [_of(i), _of(square, -1)], [self.place(wanted)])
        return found


def _of(coordinate: int, weight: int = 1, constant: int = 0) -> Sum:
    return ((coordinate, weight),), constant


def _one() -> Sum:
    return (), 1


def _predicate(first: int, test: Callable[[int, int], Any]) -> Callable[[int, int], int]:
    """1 where the test of a position, counted from ``first`` on, and of the length holds."""
    return lambda i, n: int(i >= first and bool(test(i - first, n)))


def _residue(modulus: int, rest: int) -> Callable[[int, int], int]:
    """1 where the position leaves this rest."""
    return lambda i, n: int(i % modulus == rest)


def _whole(i: int, n: int) -> Fraction:
    return Fraction(1, n + 1)


def _past(i: int, n: int) -> Fraction:
    return Fraction(1, i + 1)


def _future(i: int, n: int) -> Fraction:
    return Fraction(1, n + 1 - i)
