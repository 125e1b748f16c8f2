"""Claims: compiled encoders recognise their languages; what one layer cannot read; how sharp softmax must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, bounded, identical
from attnlab.papers.hard_attention_logic.paper import (
    COUNTING,
    COUNTING_SCALES,
    RANDOM_SCALES,
    SOFTMAX,
    TEMPORAL,
    THREE,
    THREE_SCALES,
    encoder,
    paper,
    random_formulas,
    without_until,
)
from attnlab.papers.lab.conditions import that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.hard_attention.freezing import FreezingSetting, freeze
from attnlab.simulators.hard_attention.recognition import RecognitionSetting, SoftmaxSetting, recognise, sharpness
from attnlab.theory.hard_attention import limits
from attnlab.theory.hard_attention.semantics import truth_table, words

DECLARED_ENCODERS = {
    "encoders": that(bool, "encoders that were compiled from the formulas", "without encoders nothing is recognised")
}


def member(language, alphabet: str, longest: int) -> np.ndarray:
    """Membership of every word, in the simulator's order."""
    return np.array([int(language(word)) for word in words(alphabet, longest)], dtype=np.int8)


def recognised(said: np.ndarray, languages: dict, alphabet: str, longest: int, rivals: list) -> list[Verdict]:
    """Each language: the encoder's answer at the first letter against membership, and a rival language."""
    parts = []
    for k, (name, each) in enumerate(languages.items()):
        truth = member(each[1], alphabet, longest)
        label, rival = rivals[k]
        parts.append(identical(said[k, : truth.size, 0], truth, twin=Twin.of(label, b=rival)).named(name))
    return parts


@paper.claim(
    "temporal_languages",
    source="Theorem on FO(Mon) = LTL(Mon)",
    statements=[3],
    kind="construction",
    parts=len(TEMPORAL),
    formula="phi U psi: argmax over j of 2 p_i p_j - p_j^2 - 4^N (1 - g_j), p_j = 2^(N-1-j), g = not phi or psi",
    judged="the answer at the first letter equals membership, told without logic, for every word of {a, b} up to the longest",
    covers=DECLARED_ENCODERS,
)
def temporal_languages(setting: RecognitionSetting, lab: Lab) -> Verdict:
    """Compiled unique-hard-attention encoders recognise six star-free languages on every word up to the longest.

    Numbers are whole and exact. Twins: the same languages without their longest words that start with a.
    """
    said = lab.simulate(recognise, setting)["said"][0]
    rivals = []
    for each in TEMPORAL.values():
        truth = member(each[1], "ab", setting.longest)
        other = truth.copy()
        other[-(2**setting.longest) :][: 2 ** (setting.longest - 1)] = 0
        rivals.append(("no longest words that start with a", other if np.any(other != truth) else 1 - truth))
    return all_of(*recognised(said, TEMPORAL, "ab", setting.longest, rivals))


@paper.claim(
    "temporal_logic",
    source="Theorem on FO(Mon) = LTL(Mon)",
    statements=[3],
    kind="construction",
    setting=RANDOM_SCALES,
    formula="one coordinate in {0, 1} for each subformula, one attention layer for each temporal operator",
    judged="the output at every position of every word equals the truth of the formula there",
    covers=DECLARED_ENCODERS,
)
def temporal_logic(setting: RecognitionSetting, lab: Lab) -> Verdict:
    """Compiled encoders of random formulas say the truth at every position of every word.

    Twin: the formulas with strict untils, psi at some j > i and phi at every k with i < k < j.
    """
    said = lab.simulate(recognise, setting)["said"][0]
    formulas = random_formulas(len(setting.encoders))
    truth, strict = (
        np.stack([_everywhere(change(each), setting.longest) for each in formulas])
        for change in (lambda each: each, without_until)
    )
    seen = truth >= 0
    return identical(said[seen], truth[seen], twin=Twin.of("strict until", b=strict[seen]))


@paper.claim(
    "ties_do_not_matter",
    source="Section 3, UHAT and AHAT",
    statements=[1, 3],
    kind="construction",
    setting=RANDOM_SCALES,
    parts=2,
    formula="no two scores of a compiled temporal operator are equal",
    judged="leftmost and averaging attention give the same outputs; on a score without order they do not",
    covers=DECLARED_ENCODERS,
)
def ties_do_not_matter(setting: RecognitionSetting, lab: Lab) -> Verdict:
    """Compiled temporal logic means the same under unique and averaging hard attention.

    The second part shows that the two differ elsewhere: the mean of letters over equal scores is a count, the leftmost letter is
    not. Twins: the outputs inverted; the outputs equal.
    """
    averaging = replace(
        setting, encoders=tuple(text.replace('"kind":"unique"', '"kind":"average"') for text in setting.encoders)
    )
    parity = encoder("#(a) % 2 == 0", "ab", setting.longest)
    counts = replace(setting, encoders=(parity, parity.replace('"kind":"average"', '"kind":"unique"')))
    unique, average, counted = (run["said"][0] for run in lab.simulate(recognise, setting, averaging, counts))
    seen = unique >= 0
    same = identical(average[seen], unique[seen], twin=Twin.of("inverted", b=1 - unique[seen]))
    truth = member(COUNTING["PARITY"][1], "ab", setting.longest)
    differs = identical(counted[0, :, 0], truth, twin=Twin.of("leftmost attention counts as well", a=counted[1, :, 0]))
    return all_of(same.named("temporal operators"), differs.named("counting"))


@paper.claim(
    "counting",
    source="Theorem on LTL(C, +)",
    statements=[4, 5],
    kind="construction",
    setting=COUNTING_SCALES,
    parts=len(COUNTING),
    formula="mean of phi over equal scores = #phi / N; then argmax over j of 2 (#phi / N) j - j^2 / N",
    judged="the answer at the first letter equals membership, told without logic, for every word of {a, b} up to the longest",
    note="Counts up to a position (Dyck-1) use a mask: one unmasked averaging layer of fixed width cannot take prefix means "
    "(theory.hard_attention.limits.width_for_prefix_means). The published proof's way is not known here.",
    covers=DECLARED_ENCODERS,
)
def counting(setting: RecognitionSetting, lab: Lab) -> Verdict:
    """Compiled averaging encoders recognise PARITY, MAJORITY, Dyck-1 and a semilinear language on every word up to the longest.

    Numbers are exact fractions. Twins: languages that differ in few words (>= for >, a path that may dip to -1, ...).
    """
    said = lab.simulate(recognise, setting)["said"][0]
    rivals = [
        ("a language of nearly the same words", member(each[2], "ab", setting.longest)) for each in COUNTING.values()
    ]
    return all_of(*recognised(said, COUNTING, "ab", setting.longest, rivals))


@paper.claim(
    "three_counts",
    source="Theorem on LTL(C, +)",
    statements=[4],
    kind="construction",
    setting=THREE_SCALES,
    formula="#a = #b = #c and no a after b, no a or b after c",
    judged="the answer at the first letter equals membership for every word of {a, b, c} up to the longest",
    covers=DECLARED_ENCODERS,
)
def three_counts(setting: RecognitionSetting, lab: Lab) -> Verdict:
    """A compiled averaging encoder recognises a^n b^n c^n, which is not context-free. Twin: without its shortest word, abc."""
    said = lab.simulate(recognise, setting)["said"][0]
    rival = member(THREE["a^n b^n c^n"][2], "abc", setting.longest)
    return recognised(said, THREE, "abc", setting.longest, [("without abc", rival)])[0]


@paper.claim(
    "permutation_closed",
    source="Corollary on Parikh images",
    statements=[5],
    kind="construction",
    setting=COUNTING_SCALES,
    formula="membership depends on the numbers of letters only",
    judged="the encoders of PARITY, MAJORITY and the semilinear language say the same of all words with equal counts",
    covers=DECLARED_ENCODERS,
)
def permutation_closed(setting: RecognitionSetting, lab: Lab) -> Verdict:
    """Encoders compiled from conditions on whole counts cannot tell permutations apart. Twin: Dyck-1 reads the order."""
    said = lab.simulate(recognise, setting)["said"][0][:, :, 0]
    every = words("ab", setting.longest)
    first = {(len(word), word.count("a")): k for k, word in reversed(list(enumerate(every)))}
    sample = np.array([first[len(word), word.count("a")] for word in every])
    names = list(COUNTING)
    closed = said[[names.index(name) for name in ("PARITY", "MAJORITY", "semilinear")]]
    dyck = said[names.index("Dyck-1")]
    return identical(
        closed, closed[:, sample], twin=Twin.of("Dyck-1", a=np.stack([dyck] * 3), b=np.stack([dyck[sample]] * 3))
    )


FREEZING = Scales(FreezingSetting(n_letters=8, n_replicas=32), FreezingSetting(), FreezingSetting(n_replicas=512))


@paper.claim(
    "two_letters_freeze_a_layer",
    source="restrictions, after Hao, Angluin and Frank 2022",
    statements=[2, 5],
    kind="extrapolation",
    setting=FREEZING,
    parts=2,
    formula="fix letter 0, then the letter with the largest score for its query: 2 letters leave the output constant",
    judged="every replica: the least number of fixed letters over all choices, each checked on all words; parity needs all n",
    note="The published statement is about encoders of any depth and large n; for one layer the constant is exact.",
    covers={"n_layers": that(lambda x: x == 1, "one layer", "the count 2 is that of one layer")},
)
def two_letters_freeze_a_layer(setting: FreezingSetting, lab: Lab) -> Verdict:
    """Two letters, fixed well, make the output of a one-layer unique-hard-attention encoder constant; parity needs all n.

    So no such encoder computes parity of three letters or more. Twins: one letter; n - 1 letters.
    """
    runs = lab.simulate(freeze, setting)
    few = bounded(
        runs["fixed"].astype(float),
        float(limits.letters_that_freeze_one_layer()),
        of="every replica",
        twin=Twin.of("one letter", bound=1.0),
    )
    n = setting.n_letters
    all_letters = np.full(runs.n, n)
    parity = identical(runs["parity"].astype(int), all_letters, twin=Twin.of("n - 1 letters", b=all_letters - 1))
    return all_of(few.named("random encoders"), parity.named("parity"))


@paper.claim(
    "softmax_sharpness",
    source="softmax in place of hard attention; not in the paper",
    statements=[1],
    kind="extrapolation",
    setting=SOFTMAX,
    formula="beta* = max_k {sum over rivals j of exp(-beta (s_k - s_j)) = 1} -> 2 log(rho) 2^(n-3) / 4^(n-1), rho^3 = rho + 1",
    judged="the inverse temperature found by bisection over all words of each length, to 2e-9 relative",
    reads=("encoder", "lengths"),
    covers={
        "encoder": that(
            lambda text: text in (SOFTMAX.desk.encoder, ""), "the encoder of a U b", "the law is that of a U b"
        ),
        "lengths": that(lambda n: min(n) >= 3, "at least 3 letters", "two letters need no sharpness"),
    },
)
def softmax_sharpness(setting: SoftmaxSetting, lab: Lab) -> Verdict:
    """Softmax accepts the words of ``a U b`` from the predicted inverse temperature on.

    In units of the largest score it doubles. The bisection and float64 are right to 2e-9. Twin: the limit of long words.
    """
    runs = lab.simulate(sharpness, setting)
    exact = np.array([limits.least_inverse_temperature_exact(n) for n in setting.lengths])
    limit = np.array([limits.least_inverse_temperature_limit(n) for n in setting.lengths])
    return identical(
        runs["least"][0],
        exact,
        rounding=2 * setting.tolerance / np.finfo(float).eps,
        scale=exact,
        twin=Twin.of("the limit of long words", b=limit),
    )


def _everywhere(formula, longest: int) -> np.ndarray:
    """Truth at every position of every word, -1 where the word has ended, in the simulator's order."""
    rows = []
    for length in range(1, longest + 1):
        table = truth_table(formula, "ab", length).astype(np.int8)
        rows.append(np.pad(table, ((0, 0), (0, longest - length)), constant_values=-1))
    return np.concatenate(rows)
