"""Formulas are read as they are written, errors point at the place, and truth is that of the definitions."""

import numpy as np
import pytest

from attnlab.theory.hard_attention.semantics import accepts, truth, truth_table, words
from attnlab.theory.hard_attention.syntax import (
    AtLeast,
    Count,
    FormulaError,
    Letter,
    Not,
    Or,
    Residue,
    Until,
    parse,
    subformulas,
    temporal_depth,
)

A, B = Letter("a"), Letter("b")


def test_precedence_and_grouping():
    assert parse("a | b & !a", "ab") == Or(A, parse("b & (!a)", "ab"))
    assert parse("a U b U a", "ab") == Until(A, Until(B, A))
    assert parse("a -> b", "ab") == Or(Not(A), B)
    assert parse("2*#(a) < 3*#(b) + 1", "ab") == AtLeast(((-2, Count(A)), (3, Count(B))), 0)
    assert parse("#(a) - #(a) >= 0", "ab") == AtLeast((), 0)
    assert parse("#<(a) % 3 == 5", "ab") == Residue(Count(A, "past"), 3, 2)


@pytest.mark.parametrize(
    ("text", "column", "words_"),
    [
        ("a U", 4, "ends where"),
        ("a & c", 5, "neither a letter of 'ab' nor a unary predicate"),
        ("#(a) <", 7, "expected a count"),
        ("(a", 3, "close the parenthesis"),
        ("a $ b", 3, "belongs to no formula"),
        ("a b", 3, "left over"),
        ("i % 0 == 1", 5, "at least 1"),
        ("", 1, "empty"),
    ],
)
def test_errors_point_at_the_place(text, column, words_):
    with pytest.raises(FormulaError, match=words_) as error:
        parse(text, "ab")
    message = str(error.value).splitlines()
    assert f"(column {column})" in message[0] and message[-1].index("^") == 2 + column - 1


@pytest.mark.parametrize("alphabet", ["", "aa", None, 3, iter("ab")])
def test_an_alphabet_is_finite_and_of_different_letters(alphabet):
    with pytest.raises(ValueError, match="finite string of different letters"):
        parse("a", alphabet)


def test_a_predicate_of_ones_own():
    square = parse("a & square", "ab", {"square": lambda i, n: round(i**0.5) ** 2 == i})
    assert truth(square, "aaaaaa") == [True, True, False, False, True, False]


def test_truth_by_hand_and_by_a_slow_oracle():
    assert truth(parse("a U b", "abc"), "aabca") == [True, True, True, False, False]
    assert truth(parse("a S b", "ab"), "baab") == [True, True, True, True]
    assert truth(parse("X a", "ab"), "ba") == [True, False]
    assert accepts(parse("#>(a) == 2", "ab"), "aba") and not accepts(parse("G a", "ab"), "ab")
    for word in words("ab", 6):
        until = truth(parse("(!b) U (a & X b)", "ab"), word)
        for i in range(len(word)):
            reached = any(
                word[j] == "a" and word[j + 1 : j + 2] == "b" and "b" not in word[i:j] for j in range(i, len(word))
            )
            assert until[i] == reached
    with pytest.raises(ValueError, match="no position 0"):
        accepts(A, "")


def test_duals():
    for left, right in ("G a", "!(true U !a)"), ("H (a | b)", "true"), ("F b", "true U b"):
        for n in range(1, 6):
            assert np.array_equal(*(truth_table(parse(text, "ab"), "ab", n) for text in (left, right)))


def test_depth_counts_operators_around_each_other():
    assert temporal_depth(parse("a U (b & X a)", "ab")) == 2 and temporal_depth(parse("X a & X b", "ab")) == 1
    assert subformulas(parse("a & a", "ab"))[0] == A and len(subformulas(parse("a & a", "ab"))) == 2
