r"""Formulas of linear temporal logic with unary predicates and counting, LTL(C, +), and their parser.

A formula speaks of a position i of a word ``w_0 ... w_{n-1}``. From loose to tight:

    phi -> psi        implies                      phi U psi    until: psi at some j >= i, phi at every k with i <= k < j
    phi | psi         or                           phi S psi    since, the mirror image
    phi & psi         and                          X phi        next
    !phi              not                          F phi, G phi, P phi, H phi: true U phi, !F !phi, true S phi, !P !phi

``U``, ``S`` and ``->`` group to the right; ``U`` and ``S`` bind looser than ``&`` and tighter than ``->``. Atoms: ``true``,
``false``, a letter of the alphabet, a unary predicate (``first``, ``last``, ``even``, ``odd``, your own), ``i % 3 == 1``,
residues ``#(phi) % 2 == 1``, and comparisons of linear terms ``2*#(phi) < 3*#(psi) + 1``. ``#(phi)`` is the number of positions
where phi is true, ``#<(phi)`` that of the positions up to i and ``#>(phi)`` of those from i on, i included.

Without counting this is LTL(Mon), as strong as first-order logic with order and unary numerical predicates [Kamp].
Reference: Barceló, Kozachinskiy, Lin and Podolskii 2024, "Logical languages accepted by transformer encoders with hard
attention", Section 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Predicate = Callable[[int, int], bool]  # of the position i and the length n

PREDICATES: dict[str, Predicate] = {
    "first": lambda i, n: i == 0,
    "last": lambda i, n: i == n - 1,
    "even": lambda i, n: i % 2 == 0,
    "odd": lambda i, n: i % 2 == 1,
}
_WORDS = {"true", "false", "U", "S", "X", "F", "G", "P", "H", "i"}
_TOKEN = re.compile(r"\s*(?:(->|<=|>=|==|#<|#>|[#!&|()<>+\-*%])|(\d+)|([A-Za-z_]\w*))")


class FormulaError(ValueError):
    """A formula that cannot be read; the message shows the place."""


@dataclass(frozen=True)
class Letter:
    """The letter at i is ``letter``."""

    letter: str


@dataclass(frozen=True)
class Unary:
    """A predicate of the position i and the length n alone."""

    name: str
    test: Predicate = field(compare=False)


@dataclass(frozen=True)
class Not:
    """phi is false at i."""

    of: Formula


@dataclass(frozen=True)
class And:
    """Both are true at i."""

    left: Formula
    right: Formula


@dataclass(frozen=True)
class Or:
    """One at least is true at i."""

    left: Formula
    right: Formula


@dataclass(frozen=True)
class Next:
    """There is a position i + 1, and phi is true there."""

    of: Formula


@dataclass(frozen=True)
class Until:
    """``right`` at some j >= i, ``left`` at every k with i <= k < j."""

    left: Formula
    right: Formula


@dataclass(frozen=True)
class Since:
    """``right`` at some j <= i, ``left`` at every k with j < k <= i."""

    left: Formula
    right: Formula


@dataclass(frozen=True)
class Count:
    """The number of positions where a formula is true: in all the word, up to i (``past``) or from i on (``future``)."""

    of: Formula
    where: str = "all"


@dataclass(frozen=True)
class AtLeast:
    """``sum_k weight_k count_k >= bound``, all whole numbers."""

    terms: tuple[tuple[int, Count], ...]
    bound: int


@dataclass(frozen=True)
class Residue:
    """``count`` leaves the remainder ``rest`` when divided by ``modulus``."""

    count: Count
    modulus: int
    rest: int


Formula = Letter | Unary | Not | And | Or | Next | Until | Since | AtLeast | Residue
TRUE, FALSE = Unary("true", lambda i, n: True), Unary("false", lambda i, n: False)


def checked_alphabet(alphabet: str) -> str:
    """The alphabet as a string of different letters; anything that is not finite or not letters is an error."""
    if not isinstance(alphabet, str) or not alphabet or len(set(alphabet)) != len(alphabet):
        raise ValueError(
            f"alphabet={alphabet!r} must be a finite string of different letters, such as 'ab': an encoder has one vector "
            "for each letter"
        )
    return alphabet


def parse(text: str, alphabet: str, predicates: Mapping[str, Predicate] | None = None) -> Formula:
    """Read a formula over the letters of ``alphabet``; ``predicates`` adds unary predicates ``name: test(i, n)``.

    Raises :class:`FormulaError` with the place marked: a syntax error, an unknown letter or predicate, a count compared with
    what is no number.

    >>> parse("a U (b & X last)", "ab")
    Until(left=Letter(letter='a'), right=And(left=Letter(letter='b'), right=Next(of=Unary(name='last'))))
    """
    return _Parser(text, checked_alphabet(alphabet), {**PREDICATES, **(predicates or {})}).whole()


def subformulas(formula: Formula) -> list[Formula]:
    """Every different subformula, parts before wholes, the formula last."""
    found: dict[Formula, None] = {}

    def visit(each: Formula) -> None:
        if each in found:
            return
        for part in parts(each):
            visit(part)
        found[each] = None

    visit(formula)
    return list(found)


def parts(formula: Formula) -> tuple[Formula, ...]:
    """The immediate subformulas."""
    if isinstance(formula, (Not, Next)):
        return (formula.of,)
    if isinstance(formula, (And, Or, Until, Since)):
        return formula.left, formula.right
    if isinstance(formula, AtLeast):
        return tuple(count.of for _, count in formula.terms)
    return (formula.count.of,) if isinstance(formula, Residue) else ()


def temporal_depth(formula: Formula) -> int:
    """Most temporal or counting operators around each other: the number of rounds of attention that a compiler needs."""
    below = max(map(temporal_depth, parts(formula)), default=0)
    return below + isinstance(formula, (Next, Until, Since, AtLeast, Residue))


def counts(formula: Formula) -> bool:
    """Whether the formula counts: whether it lies outside LTL(Mon)."""
    return any(isinstance(each, (AtLeast, Residue)) for each in subformulas(formula))


class _Parser:
    """Recursive descent; each method reads one level of precedence."""

    def __init__(self, text: str, alphabet: str, predicates: Mapping[str, Predicate]) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a formula is text, got {text!r}")
        self.text, self.alphabet, self.predicates = text, alphabet, predicates
        self.tokens: list[tuple[str, int]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                place += len(text[place:]) - len(text[place:].lstrip())
                raise self.error(f"{text[place]!r} belongs to no formula", place)
            word = found[1] or found[2] or found[3]
            self.tokens.append((word, found.end() - len(word)))
            place = found.end()
        self.at = 0

    def error(self, what: str, place: int | None = None) -> FormulaError:
        if place is None:
            place = self.tokens[self.at][1] if self.at < len(self.tokens) else len(self.text)
        return FormulaError(f"{what} (column {place + 1})\n  {self.text}\n  {' ' * place}^")

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead][0] if self.at + ahead < len(self.tokens) else ""

    def take(self, *words: str) -> str:
        if self.peek() in words and self.peek():
            self.at += 1
            return self.tokens[self.at - 1][0]
        return ""

    def need(self, word: str, why: str) -> None:
        if not self.take(word):
            found = f"{self.peek()!r}" if self.peek() else "the end"
            raise self.error(f"expected {word!r} {why}, found {found}")

    def number(self, why: str) -> int:
        if not self.peek().isdecimal():
            raise self.error(
                f"expected a whole number {why}, found {self.peek()!r}" if self.peek() else f"expected {why}"
            )
        self.at += 1
        return int(self.tokens[self.at - 1][0])

    def whole(self) -> Formula:
        if not self.tokens:
            raise self.error("the formula is empty")
        found = self.implies()
        if self.at < len(self.tokens):
            raise self.error(f"{self.peek()!r} is left over; is a parenthesis or an operator missing?")
        return found

    def implies(self) -> Formula:
        left = self.until()
        return Or(Not(left), self.implies()) if self.take("->") else left

    def until(self) -> Formula:
        left = self.either()
        word = self.take("U", "S")
        if not word:
            return left
        right = self.until()
        return Until(left, right) if word == "U" else Since(left, right)

    def either(self) -> Formula:
        left = self.both()
        while self.take("|"):
            left = Or(left, self.both())
        return left

    def both(self) -> Formula:
        left = self.single()
        while self.take("&"):
            left = And(left, self.single())
        return left

    def single(self) -> Formula:
        if self.take("!"):
            return Not(self.single())
        word = self.peek()
        if word in ("X", "F", "G", "P", "H") and word not in self.alphabet:
            self.at += 1
            of = self.single()
            if word == "X":
                return Next(of)
            if word in "FG":
                return Until(TRUE, of) if word == "F" else Not(Until(TRUE, Not(of)))
            return Since(TRUE, of) if word == "P" else Not(Since(TRUE, Not(of)))
        if word in ("#", "#<", "#>", "-") or word.isdecimal():
            return self.comparison()
        if self.take("("):
            inside = self.implies()
            self.need(")", "to close the parenthesis")
            return inside
        return self.atom()

    def atom(self) -> Formula:
        word = self.peek()
        if word == "i" and self.peek(1) == "%":
            self.at += 1
            modulus, rest = self.residue()
            return Unary(f"i % {modulus} == {rest}", lambda i, n: i % modulus == rest)
        if word in self.alphabet and word:
            self.at += 1
            return Letter(word)
        if word in ("true", "false"):
            self.at += 1
            return TRUE if word == "true" else FALSE
        if word in self.predicates:
            self.at += 1
            return Unary(word, self.predicates[word])
        if not word:
            raise self.error("the formula ends where a part is expected")
        if word[0].isalpha() or word[0] == "_":
            known = ", ".join([*self.alphabet, *self.predicates])
            raise self.error(f"{word!r} is neither a letter of {self.alphabet!r} nor a unary predicate; known: {known}")
        raise self.error(f"expected a part of a formula, found {word!r}")

    def residue(self) -> tuple[int, int]:
        self.need("%", "for a remainder")
        modulus = self.number("after %")
        if modulus < 1:
            raise self.error("a modulus is at least 1", self.tokens[self.at - 1][1])
        self.need("==", "after a modulus")
        return modulus, self.number("after ==") % modulus

    def comparison(self) -> Formula:
        """``sum < sum`` as ``sum >= bound``; or a count's residue."""
        begun = self.at
        if self.peek() in ("#", "#<", "#>"):
            count = self.count()
            if self.peek() == "%":
                return Residue(count, *self.residue())
            self.at = begun
        left = self.sum()
        sign = self.take("<=", ">=", "==", "<", ">")
        if not sign:
            raise self.error("expected a comparison of counts (<, <=, ==, >=, >)")
        right = self.sum()
        at_least = {">=": (1, 0), ">": (1, 1), "<=": (-1, 0), "<": (-1, 1)}
        if sign == "==":
            return And(self.inequality(left, right, 1, 0), self.inequality(left, right, -1, 0))
        return self.inequality(left, right, *at_least[sign])

    @staticmethod
    def inequality(left: tuple, right: tuple, sign: int, more: int) -> AtLeast:
        """sign (left - right) >= more, constants moved to the right."""
        weights: dict[Count, int] = {}
        for side, (terms, _) in ((1, left), (-1, right)):
            for weight, count in terms:
                weights[count] = weights.get(count, 0) + sign * side * weight
        terms = tuple((weight, count) for count, weight in weights.items() if weight)
        return AtLeast(terms, more - sign * (left[1] - right[1]))

    def sum(self) -> tuple[list[tuple[int, Count]], int]:
        terms: list[tuple[int, Count]] = []
        constant, sign = 0, -1 if self.take("-") else 1
        while True:
            if self.peek().isdecimal():
                factor = sign * self.number("in a sum")
                if self.take("*"):
                    terms.append((factor, self.count()))
                else:
                    constant += factor
            else:
                terms.append((sign, self.count()))
            if self.peek() not in ("+", "-"):
                return terms, constant
            sign = 1 if self.take("+", "-") == "+" else -1

    def count(self) -> Count:
        word = self.take("#", "#<", "#>")
        if not word:
            raise self.error(
                f"expected a count #(...), found {self.peek()!r}" if self.peek() else "expected a count #(...)"
            )
        self.need("(", "after #")
        of = self.implies()
        self.need(")", "to close the count")
        return Count(of, {"#": "all", "#<": "past", "#>": "future"}[word])
