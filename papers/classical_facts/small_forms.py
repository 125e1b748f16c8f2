"""What the proved form of each fact states, in words: few variables, and often another statement than the searched one.

A proof in balls or by sympy reaches one to three dimensions. Some of these forms are the fact itself for two or three keys, some
bound a derivative instead of a difference, some leave out what is free. ``attnlab show classical_facts.NAME`` prints
these words beside the formula, the level and the box of each form.
"""

SMALL_FORMS = {
    "lipschitz_l2": "two logits: the norm of the Jacobian, 2 p (1 - p), is at most 1/2 (beta = 1); a bound of the derivative",
    "lipschitz_l1": "three logits, one of them 0: absolute row sums of the Jacobian, 2 p (1 - p), are at most 1/2 (beta = 1)",
    "lipschitz_linf": "two logits: the norm of the Jacobian, 2 p (1 - p), is at most 1/2 (beta = 1); a bound of the derivative",
    "l1_saturates": "two logits, differences s and t of each pair: the same statement",
    "cocoercive": "two logits, differences s and t of each pair, beta = 1: the same statement",
    "jacobian_form": "two logits: the same statement",
    "jacobian_norm": "two logits, one of them 0, all directions of the plane: the same statement",
    "jacobian_saturates": "two logits, one of them 0, all directions of the plane: the same statement",
    "largest_weight_at_spread": "three logits, the largest 0 and x below it: the same statement",
    "smallest_weight_at_spread": "three logits, the smallest 0 and x above it: the same statement",
    "shift_invariance": "three logits: the same statement",
    "argmax_limit": "three logits, the top one leading by g + y, beta = 1: the same statement",
    "uniform_limit": "two logits x apart, beta = 1: the same statement",
    "lse_max": "two logits t apart, beta = 1: the upper bound only, log(1 + exp(-t)) is at most log 2",
    "lse_mean": "two logits t apart: the upper bound only, log cosh(t / 2) is at most t^2 / 8",
    "lse_smooth": "two logits, one of them 0 and the other moved by s, beta = 1: the same statement with s^2 / 8, for moves "
    "of s / 2 and -s / 2",
    "lse_convex": "two logits, one of them 0 and the other moved by s: the same statement",
    "gibbs": "two logits, one of them 0: the same statement",
    "gibbs_gap": "two logits: the same statement",
    "divergence_at_spread": "two logits, one of them 0 and the other moved by s: the same statement",
    "pinsker": "two logits, differences s and t of each pair: the same statement",
    "entropy_range": "two logits t apart: the upper bound only",
    "entropy_deficit": "two logits t apart: the same statement",
    "fano": "three logits, one of them 0; its weight in place of the largest, for which the inequality holds, too",
    "renyi_order": "two logits t apart: the middle inequality only, 1 / sum p^2 is at most exp H(p)",
    "score_slope": "two logits t apart: the upper bound only",
    "hull": "two keys with values a and b: the same statement in one dimension",
    "dropped_mass": "two keys with values 1 and a, the second dropped: the same statement",
    "output_change": "two keys with values d apart, differences s and t of the logits: the same statement",
    "query_gradient": "two keys: the variance of one weight, p (1 - p), is at most 1/4, from which the bound follows",
    "loss_gradient": "three logits, one of them 0: the same statement",
    "permutation_equivariance": "two tokens: the same statement",
    "merging": "three parts of one key each: the same statement",
    "linear_recurrence": "a few tokens in two dimensions: the same statement",
    "kernel_smoothing": "two opposite keys of one length: the same statement",
    "rank_collapse_layer": "two scalar tokens m - h and m + h: the same statement",
    "rank_collapse_depth": "two scalar tokens -s and s after two layers: half their distance is at most s^9",
    "growth": "three scalar tokens 1/r, r, -r and the move of the first from 0: the same statement, divided by r^2",
    "birkhoff": "the matrix ((e^d, 1), (1, e^d)): the slope of the log ratio, a bound of the derivative",
}
"""Words of the proved form by fact; a fact that is not here has none, and the search is all the evidence."""


def note_on(name: str) -> str:
    """What ``show`` tells of the proved form of a fact, or that there is none."""
    if name in SMALL_FORMS:
        return f"The proved form speaks of {SMALL_FORMS[name]}."
    return "No proved form: searched in the dimension of the setting only."
