"""Claims without training: static rankings and what they can still look up, maps within reach, and weights by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch

from attnlab.analysis import Matrix, Real, Twin, Vector, Verdict, all_of, bounded, for_all, identical
from attnlab.papers.gatv2_dynamic_attention.paper import (
    ANSWERS,
    FOR_ALL,
    HATS,
    LOOKUP,
    MAPS,
    UNITS,
    ForAllSetting,
    paper,
)
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.graph_attention.answers import AnswersSetting, answers, far_rows
from attnlab.simulators.graph_attention.constructions import (
    HatsSetting,
    StaticLookupSetting,
    UnitsSetting,
    hats,
    static_lookup,
    two_units,
)
from attnlab.simulators.graph_attention.lookup import leaky
from attnlab.simulators.graph_attention.maps import MapsSetting, bilinear_maps, symmetric_maps
from attnlab.theory.graph_attention import dynamic, maps, static

SLACK = 1e-12  # rounding of a difference of scores of size up to 60, over a gap of at least 0.1


@paper.for_all(
    "static_ranking",
    source="theorem 1",
    statements=[1],
    setting=FOR_ALL,
    formula="(e_ij - e_ik) / (r_j - r_k) >= 0.2 for every query i, r_j = a_2 . W h_j",
)
def static_ranking(setting: ForAllSetting):
    """For all parameters and nodes every query of a GAT head ranks two keys in the same order: their scores are apart by at
    least 0.2 of the distance of r. Twin: by 0.204 of it.
    """
    d = setting.dim

    def ratio(x, W, a, b):  # x: a query and two keys
        left, right = (x[:1] @ W) @ a, (x[1:] @ W) @ b
        e = leaky(left + right, static.SLOPE)
        return (e[0] - e[1]) / (right[0] - right[1])

    variables = {"x": Matrix(3, d, -2, 2), "W": Matrix(d, d, -2, 2), "a": Vector(d, -2, 2), "b": Vector(d, -2, 2)}
    least = static.least_score_gap(1.0)
    return {
        "searched": for_all(**variables).bound(
            ratio,
            at_least=least - SLACK,
            assuming={"keys apart": lambda x, W, b: torch.abs(((x[1] - x[2]) @ W) @ b) - 0.1},
            twin=Twin.of("2 % more", at_least=1.02 * least),
        )
    }


@paper.for_all(
    "two_keys",
    source="derived from theorem 1",
    statements=[1],
    setting=FOR_ALL,
    kind="extrapolation",
    formula="mean weight <= 1/2 + max_x (sigma(x) - sigma(0.2 x)) / 2 = 0.6535",
)
def two_keys(setting: ForAllSetting):
    """Two queries of a GAT head that are assigned the two keys each give the assigned one a mean weight of at most 0.6535.

    Twin: 0.5 % less.
    """
    bound = static.right_weight_on_two_keys_bound()

    def weight(l, m, r):  # queries l and m, keys 0 and r; the first is assigned the second key
        def on_second(of):
            return torch.sigmoid(leaky(of + r, static.SLOPE) - leaky(of, static.SLOPE))

        return (on_second(l) + 1 - on_second(m)) / 2

    return {
        "searched": for_all(l=Real(-12, 12), m=Real(-12, 12), r=Real(-6, 6)).bound(
            weight, at_most=bound + SLACK, twin=Twin.of("0.5 % less", at_most=0.995 * bound)
        )
    }


@paper.claim(
    "rows_on_a_curve",
    source="derived from equation 1 of the paper",
    statements=[1],
    setting=ANSWERS,
    parts=2,
    kind="extrapolation",
    reads=("slope",),
    formula="softmax(r) for l >= -min r, softmax(0.2 r) for l <= -max r",
    judged="rows of random heads, within 16 roundings of the largest exponent",
)
def rows_on_a_curve(setting: AnswersSetting, lab: Lab) -> Verdict:
    """Beyond the kinks all queries of a GAT head share one of two rows, a sharp and a flat one of the same ranking.

    Twins: in the sharp row the average of both slopes; in the flat row a slope 5 % larger.
    """
    runs = lab.simulate(far_rows, setting)
    sharp = np.array([static.row_far_above_exact(r) for r in runs["right"]])
    flat = np.array([static.row_far_below_exact(r, setting.slope) for r in runs["right"]])
    middle = np.array([static.row_far_below_exact(r, (1 + setting.slope) / 2) for r in runs["right"]])
    flatter = np.array([static.row_far_below_exact(r, 1.05 * setting.slope) for r in runs["right"]])
    size = 1 + np.abs(runs["right"]).max()
    above = identical(runs["above"], sharp, rounding=16, scale=size, twin=Twin.of("average slope", b=middle))
    below = identical(runs["below"], flat, rounding=16, scale=size, twin=Twin.of("slope 5 % larger", b=flatter))
    return all_of(above.named("above"), below.named("below"))


@paper.claim(
    "two_answers",
    source="derived from theorem 1; it is why trained heads are often found at 2/k",
    statements=[4],
    setting=ANSWERS,
    kind="extrapolation",
    formula="|{argmax_b M_b alpha_b(l) : l}| <= 2",
    judged="random heads, all queries of each by the intervals between crossings: the largest number in every replica is 2",
)
def two_answers(setting: AnswersSetting, lab: Lab) -> Verdict:
    """If keys only speak for their own value, with gains of any size, a GAT head gives at most two different answers on a graph.

    Twin: keys that speak against their own value.
    """
    runs = lab.simulate(answers, setting)
    return identical(
        runs["speaking_for"],
        np.full(runs.n, static.largest_number_of_answers_for()),
        twin=Twin.of("speaking against", a=runs["speaking_against"]),
    )


@paper.claim(
    "gat_cannot_look_up",
    source="abstract and section 4.1, 'simple graph problems that GAT cannot express'; read as a statement on expressivity",
    statements=[4],
    setting=LOOKUP,
    expected="REFUTED",
    formula="accuracy <= 1 - 1 / (k k!) on all permutations",
    judged="the share of right answers of planted heads over all k! permutations, against the bound that leaves out one answer",
    note="The planted head has static attention, the protocol's embeddings and its linear decoder without bias. Accuracy 1 "
    "needs "
    "keys that speak against their own value; keys that speak for it give at most two answers (two_answers).",
)
def gat_cannot_look_up(setting: StaticLookupSetting, lab: Lab) -> Verdict:
    """No weights of a single GAT head answer every query of DictionaryLookup.

    Twin: no weights pass 2/k.
    """
    runs = lab.simulate(static_lookup, setting)
    k = setting.n_words
    return bounded(
        runs["right"],
        1 - 1 / (k * math.factorial(k)),
        of="every replica",
        twin=Twin.of("two answers at most", bound=static.largest_number_of_answers_for() / k),
    )


@paper.claim(
    "a_static_head_looks_up",
    source="derived",
    statements=[1, 4],
    setting=LOOKUP,
    parts=3,
    kind="construction",
    reads=("slope",),
    covers={"gain": that(lambda x: x == 0.6, "0.6", "the gain (1 + s)/2 of the slope 0.2 is the one judged")},
    formula="min over b of ln(M_b alpha_ab / M_a alpha_aa) = (1 - s)/2 min |r_b - r_a|",
    judged="planted heads on all k! permutations: one favourite key per graph, every answer right, ratios of logits within 64 "
    "roundings of the largest exponent",
)
def a_static_head_looks_up(setting: StaticLookupSetting, lab: Lab) -> Verdict:
    """One GAT head whose queries share their favourite key answers every query, by the stated ratio of logits.

    Twins: a key of its own for every query; 2/k of the answers; the ratio without the decoder's gain, (1 + s)/2 for (1 - s)/2.
    """
    runs = lab.simulate(static_lookup, setting)
    k = setting.n_words
    law = np.array([static.log_ratio_of_lookup_exact(r, setting.slope) for r in runs["ranks"]])
    rival = law * (1 + setting.slope) / (1 - setting.slope)
    ones = np.ones(runs.n)
    parts = [
        identical(runs["favourites"], ones.astype(int), twin=Twin.of("k favourites", b=k * ones.astype(int))),
        identical(runs["right"], ones, rounding=4, twin=Twin.of("two answers", b=2 / k * ones)),
        identical(
            runs["log_ratio"], law, rounding=64, scale=1 + runs["ranks"].max(), twin=Twin.of("(1 + s)/2", b=rival)
        ),
    ]
    return all_of(*(part.named(name) for part, name in zip(parts, ("favourites", "answers", "ratio"), strict=True)))


@paper.claim(
    "two_units",
    source="section 4.1; weights and law are derived",
    statements=[2, 4],
    setting=UNITS,
    parts=2,
    kind="construction",
    formula="[1 + (2 q - q^(i+1) - q^(k-i)) / (1 - q)]^-1 >= tanh(0.4 c), q = e^(-0.8 c)",
    judged="the weights of every query, within 4 k roundings of exponents up to 0.8 c k; least weight of the longest "
    "dictionary",
)
def two_units_weights(setting: UnitsSetting, lab: Lab) -> Verdict:
    """Two hidden units of GATv2 look up, with weights that stay above tanh(0.4 c) for dictionaries of any size.

    Twins: keys at the ends weighed like those inside; a bound 1 % larger.
    """
    runs = lab.simulate(two_units, setting)
    law, rival = np.ones_like(runs["weight"]), np.ones_like(runs["weight"])
    for a, k in enumerate(setting.n_words):
        for b, c in enumerate(setting.sharpnesses):
            law[:, a, b, :k] = [dynamic.lookup_weight_exact(k, i, c, setting.slope) for i in range(k)]
            rival[:, a, b, :k] = dynamic.lookup_weight_bound(c, setting.slope)
    size = 1 + max(setting.sharpnesses) * max(setting.n_words)
    weights = identical(
        runs["weight"], law, rounding=4 * max(setting.n_words), scale=size, twin=Twin.of("no ends", b=rival)
    )
    longest = int(np.argmax(setting.n_words))
    least = [runs["weight"][0, longest, b].min() for b in range(len(setting.sharpnesses))]
    bound = np.array([dynamic.lookup_weight_bound(c, setting.slope) for c in setting.sharpnesses])
    below = bounded(
        least,
        bound,
        side="below",
        of="every replica",
        unit="sharpness",
        within=1e-12,
        twin=Twin.of("1 % more", bound=1.01 * bound),
    )
    return all_of(weights.named("weights"), below.named("any size"))


@paper.claim(
    "every_map",
    source="theorem 2; the weights are derived",
    statements=[2],
    setting=HATS,
    parts=2,
    kind="construction",
    reads=("n_nodes", "height"),
    formula="3 n hidden units, weight of the assigned key 1 / (1 + (n - 1) e^-c) for all n^n maps",
    judged="all maps of random nodes: how many are reached, and every weight within 12 n roundings of the largest summand",
)
def every_map(setting: HatsSetting, lab: Lab) -> Verdict:
    """GATv2 reaches every map of n pairwise distinct nodes with 3 n hidden units, with equal weights on all assigned keys.

    Twins: the maps that symmetric scores reach; a weight among n keys beside the assigned one.
    """
    runs = lab.simulate(hats, setting)
    n, c = setting.n_nodes, setting.height
    every = np.full(runs.n, maps.dynamic_maps_exact(n))
    counted = identical(
        runs["reached"], every, twin=Twin.of("symmetric", b=np.full(runs.n, maps.symmetric_maps_exact(n)))
    )
    law = np.full_like(runs["weight"], dynamic.map_weight_exact(n, c))
    weighed = identical(
        runs["weight"],
        law,
        rounding=4 * dynamic.hidden_units_of_a_map(n),
        scale=runs["size"][:, None, None],
        twin=Twin.of("n other keys", b=np.full_like(law, dynamic.map_weight_exact(n + 1, c))),
    )
    return all_of(counted.named("maps"), weighed.named("weights"))


@paper.claim(
    "shared_weights",
    source="section 4, variant with W_l = W_r; the count is derived",
    statements=[2],
    setting=MAPS,
    kind="extrapolation",
    covers={"n_nodes": at_least(3, "fewer nodes have no cycle of three")},
    formula="reached iff no cycle of three or more: sum_m C(n, m) I(m) m n^(n-m-1) of n^n maps",
    judged="a linear programme for each of the n^n maps",
)
def shared_weights(setting: MapsSetting, lab: Lab) -> Verdict:
    """GATv2 with W_l = W_r, nodes being queries and keys, reaches the maps without cycles of three or more nodes, and no other.

    Twin: without cycles of two, either.
    """
    runs = lab.simulate(symmetric_maps, setting)
    n = setting.n_nodes
    law = np.array([maps.symmetric_reaches(each) for each in product(range(n), repeat=n)])
    if law.sum() != maps.symmetric_maps_exact(n):
        raise ArithmeticError(f"the count and the rule of symmetric maps differ at n_nodes={n}")
    rival = [all(each[each[i]] != i or each[i] == i for i in range(n)) for each in product(range(n), repeat=n)]
    found = runs["reached"].astype(int)
    return identical(
        found,
        np.tile(law.astype(int), (runs.n, 1)),
        twin=Twin.of("no cycles of two", b=np.tile(law & rival, (runs.n, 1)).astype(int)),
    )


@paper.claim(
    "dot_products_miss_maps",
    source="section 4 on dot-product attention; the rule is derived",
    statements=[3],
    setting=MAPS,
    parts=2,
    kind="extrapolation",
    formula="n^n - n (n - 1) maps of n = d + 1 nodes, n^n - n if their dependency has one sign",
    judged="a linear programme for each map of each set of nodes: which are reached, and how many",
)
def dot_products_miss_maps(setting: MapsSetting, lab: Lab) -> Verdict:
    """Dot-product attention on d + 1 nodes of width d reaches all maps but those that send the nodes with u > 0 to one key and
    those with u < 0 to another, u their dependency; all but the constant ones if u has one sign.

    Twins: the constant maps missed always; as many maps missed for either kind of nodes.
    """
    runs = lab.simulate(bilinear_maps, setting)
    n = setting.n_nodes
    every = list(product(range(n), repeat=n))
    law = np.array([[maps.dot_product_reaches(each, u) for each in every] for u in runs["dependency"]])
    constant = np.array([[len(set(each)) > 1 for each in every]] * runs.n)
    which = identical(
        runs["reached"].astype(int), law.astype(int), twin=Twin.of("constant maps", b=constant.astype(int))
    )
    one_sign = [bool((u > 0).all() or (u < 0).all()) for u in runs["dependency"]]
    counts = np.array([maps.dot_product_maps_exact(n, each) for each in one_sign])
    rival = np.array([maps.dot_product_maps_exact(n, not each) for each in one_sign])
    many = identical(runs["reached"].sum(1), counts, twin=Twin.of("the other kind of nodes", b=rival))
    return all_of(which.named("which"), many.named("how many"))
