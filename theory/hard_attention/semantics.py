"""What a formula means: its truth at every position of a word, by the definitions, without attention.

Reference: Barceló, Kozachinskiy, Lin and Podolskii 2024, Section 2. Cost: O(n) a subformula for booleans, O(n^2) for
temporal operators and counts.
"""

from __future__ import annotations

from itertools import product

import numpy as np

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
    subformulas,
)

Truth = dict[Formula, np.ndarray]  # (word, position)


def truth(formula: Formula, word: str) -> list[bool]:
    """Whether ``(w, i) |= formula``, for every position i of the word."""
    return _truth(formula, np.array([list(word)])).tolist()[0] if word else []


def accepts(formula: Formula, word: str) -> bool:
    """Whether the word lies in the formula's language: ``(w, 0) |= formula``."""
    if not word:
        raise ValueError("word='' has no position 0; languages here are of words of at least one letter")
    return truth(formula, word)[0]


def words(alphabet: str, longest: int, shortest: int = 1) -> list[str]:
    """Every word of these lengths, shorter ones first, each length in the order of the alphabet."""
    return ["".join(each) for n in range(shortest, longest + 1) for each in product(alphabet, repeat=n)]


def truth_table(formula: Formula, alphabet: str, length: int) -> np.ndarray:
    """The truth at every position of every word of one length, shape (word, position), in the order of :func:`words`."""
    return _truth(formula, np.array(list(product(alphabet, repeat=length))))


def _truth(formula: Formula, letters: np.ndarray) -> np.ndarray:
    """Letters of shape (word, position)."""
    found: Truth = {}
    for each in subformulas(formula):
        found[each] = _at_every_position(each, letters, found)
    return found[formula]


def _at_every_position(formula: Formula, letters: np.ndarray, known: Truth) -> np.ndarray:
    n = letters.shape[1]
    if isinstance(formula, Letter):
        return letters == formula.letter
    if isinstance(formula, Unary):
        return np.broadcast_to([bool(formula.test(i, n)) for i in range(n)], letters.shape)
    if isinstance(formula, Not):
        return ~known[formula.of]
    if isinstance(formula, And):
        return known[formula.left] & known[formula.right]
    if isinstance(formula, Or):
        return known[formula.left] | known[formula.right]
    if isinstance(formula, Next):
        return np.pad(known[formula.of][:, 1:], ((0, 0), (0, 1)))
    if isinstance(formula, (Until, Since)):
        left, right = known[formula.left], known[formula.right]
        if isinstance(formula, Since):
            return _until(left[:, ::-1], right[:, ::-1])[:, ::-1]
        return _until(left, right)
    if isinstance(formula, AtLeast):
        total = np.zeros(letters.shape, dtype=np.int64)
        for weight, count in formula.terms:
            total += weight * _count(count, known)
        return total >= formula.bound
    if isinstance(formula, Residue):
        return _count(formula.count, known) % formula.modulus == formula.rest
    raise TypeError(f"{formula!r} is no formula")


def _until(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    n = left.shape[1]
    there = [[right[:, j] & left[:, i:j].all(1) for j in range(i, n)] for i in range(n)]
    return np.stack([np.any(each, axis=0) for each in there], axis=1)


def _count(count: Count, known: Truth) -> np.ndarray:
    values = known[count.of].astype(np.int64)
    if count.where == "past":
        return np.cumsum(values, axis=1)
    if count.where == "future":
        return np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
    return np.broadcast_to(values.sum(1, keepdims=True), values.shape)
