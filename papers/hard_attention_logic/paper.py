"""The paper, its formulas, and the settings that its claims and figures share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.hard_attention.recognition import RecognitionSetting, SoftmaxSetting
from attnlab.theory.hard_attention.compile import compiled
from attnlab.theory.hard_attention.syntax import And, Formula, Letter, Next, Not, Or, Since, Unary, Until, parse

TITLE = "Logical Languages Accepted by Transformer Encoders with Hard Attention"
paper = Paper(
    key="hard_attention_logic",
    title=TITLE,
    sources=[
        Source(
            authors="Pablo Barceló, Alexander Kozachinskiy, Anthony Widjaja Lin, Vladimir Podolskii",
            year=2024,
            arxiv="2310.03817",
            title=TITLE,
            venue="International Conference on Learning Representations",
        ),
        Source(
            authors="Yiding Hao, Dana Angluin, Robert Frank",
            year=2022,
            arxiv="2204.06618",
            title="Formal Language Recognition by Hard Attention Transformers: Perspectives from Circuit Complexity",
            venue="Transactions of the Association for Computational Linguistics",
        ),
    ],
    statements={
        1: "Unique hard attention copies from the leftmost position of the largest bilinear score, averaging hard attention the "
        "mean over all positions of it.",
        2: "Unique hard attention recognises languages of AC0 only, and not all: fixing few letters well makes the output "
        "constant on the rest.",
        3: "Unique hard attention recognises every language of LTL with unary numerical predicates.",
        4: "Averaging hard attention recognises every language of LTL with counting and linear inequalities: PARITY, "
        "MAJORITY, Dyck-1, a^n b^n c^n.",
        5: "Averaging hard attention recognises every permutation-closed language of a semilinear set; unique hard attention "
        "does not.",
        6: "Averaging hard attention recognises languages of TC0 only.",
    },
)
paper.not_testable(6, "containment in a circuit class is a statement about all lengths, which no run can show")

#: Languages of LTL over {a, b}: the formula, and the language told without logic.
TEMPORAL: dict[str, tuple[str, Callable[[str], bool]]] = {
    "(ab)*": ("a & G (a -> X b) & G (b & !last -> X a)", lambda w: w == "ab" * (len(w) // 2)),
    "a*b*": ("G (b -> G b)", lambda w: "ba" not in w),
    "has aa": ("F (a & X a)", lambda w: "aa" in w),
    "a at even places": ("G (even -> a)", lambda w: set(w[::2]) == {"a"}),
    "a until b": ("a U b", lambda w: "b" in w),
    "every b after some a": ("G (b -> P a)", lambda w: w[0] == "a" or "b" not in w),
}

#: Languages that count, in the same form; the third entry is a rival language of nearly the same words.
COUNTING: dict[str, tuple[str, Callable[[str], bool], Callable[[str], bool]]] = {
    "PARITY": ("#(a) % 2 == 0", lambda w: w.count("a") % 2 == 0, lambda w: w.count("a") % 2 == 0 or "a" not in w[1:]),
    "MAJORITY": ("#(a) > #(b)", lambda w: w.count("a") > w.count("b"), lambda w: w.count("a") >= w.count("b")),
    "Dyck-1": (
        "#(a) == #(b) & G (#<(a) >= #<(b))",
        lambda w: _lowest(w) >= 0 and w.count("a") == w.count("b"),
        lambda w: _lowest(w) >= -1 and w.count("a") == w.count("b"),
    ),
    "semilinear": (
        "#(a) % 3 == 2 & 2 * #(a) < 3 * #(b) + 1",
        lambda w: w.count("a") % 3 == 2 and 2 * w.count("a") < 3 * w.count("b") + 1,
        lambda w: w.count("a") % 3 == 2 and 2 * w.count("a") <= 3 * w.count("b") + 1,
    ),
}
THREE = {
    "a^n b^n c^n": (
        "#(a) == #(b) & #(b) == #(c) & G (b -> G !a) & G (c -> G (!a & !b))",
        lambda w: w == "a" * (len(w) // 3) + "b" * (len(w) // 3) + "c" * (len(w) // 3),
        lambda w: w in ("aabbcc", "aaabbbccc", "aabbccc"),
    )
}


def _lowest(word: str) -> int:
    """The least height of the path that steps up at a and down at b."""
    return min(np.cumsum([1 if letter == "a" else -1 for letter in word]))


@cache
def encoder(formula: str, alphabet: str, longest: int, kind: str | None = None) -> str:
    """The text of the compiled encoder, with encodings up to a length."""
    return compiled(parse(formula, alphabet), alphabet, kind).text(range(1, longest + 1))


def random_formula(rng: np.random.Generator, depth: int) -> Formula:
    """A formula over {a, b} of at most this many operators around each other; letters, residues of i, last; X, U, S, booleans."""
    if depth == 0:
        atoms = [Letter("a"), Letter("b"), parse("i % 2 == 1", "ab"), parse("i % 3 == 2", "ab"), parse("last", "ab")]
        return atoms[rng.integers(len(atoms))]
    kind = (Not, Next, And, Or, Until, Since)[rng.integers(6)]
    one = random_formula(rng, depth - 1)
    return kind(one) if kind in (Not, Next) else kind(one, random_formula(rng, int(rng.integers(depth))))


@cache
def random_formulas(n: int) -> tuple[Formula, ...]:
    """n formulas of depth 1 to 3, the same in every run."""
    rng = np.random.default_rng(231003817)
    return tuple(random_formula(rng, 1 + k % 3) for k in range(n))


def recognition(formulas: dict, alphabet: str, longest: int) -> RecognitionSetting:
    """The setting that runs compiled formulas on every word up to a length."""
    return RecognitionSetting(tuple(encoder(each[0], alphabet, longest) for each in formulas.values()), longest)


@cache
def randomly(n: int, longest: int) -> RecognitionSetting:
    """The setting of random formulas."""
    texts = tuple(compiled(each, "ab").text(range(1, longest + 1)) for each in random_formulas(n))
    return RecognitionSetting(texts, longest)


def without_until(formula: Formula) -> Formula:
    """The formula with its untils strict: psi at some j > i, phi at every k with i < k < j, which is X (phi U psi)."""
    if isinstance(formula, (Letter, Unary)):
        return formula
    if isinstance(formula, (Not, Next)):
        return type(formula)(without_until(formula.of))
    parts = without_until(formula.left), without_until(formula.right)
    return Next(Until(*parts)) if isinstance(formula, Until) else type(formula)(*parts)


TEMPORAL_SCALES = Scales(*[recognition(TEMPORAL, "ab", longest) for longest in (8, 12, 14)])
COUNTING_SCALES = Scales(*[recognition(COUNTING, "ab", longest) for longest in (8, 12, 14)])
THREE_SCALES = Scales(*[recognition(THREE, "abc", longest) for longest in (6, 9, 9)])
RANDOM_SCALES = Scales(randomly(24, 6), randomly(120, 7), randomly(480, 8))
UNTIL = encoder("a U b", "abc", 9)
SOFTMAX = Scales(
    SoftmaxSetting(UNTIL, lengths=(3, 4, 5, 6)),
    SoftmaxSetting(UNTIL, lengths=(3, 4, 5, 6, 7, 8)),
    SoftmaxSetting(UNTIL, lengths=(3, 4, 5, 6, 7, 8, 9)),
)
paper.scales(smoke=TEMPORAL_SCALES.smoke, desk=TEMPORAL_SCALES.desk, paper=TEMPORAL_SCALES.paper)
