"""Claims: structures listed one by one against closed forms of their marginals and expectations; long rows; draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, relative, replicas
from attnlab.papers.lab.conditions import at_most, that
from attnlab.papers.lab.run.workbench import Lab, Runs
from attnlab.papers.marginal_probability.paper import DRAWS, LONG_ROWS, ONE_TO_ONE, PAIRS, paper
from attnlab.simulators.latent_structures.assignment import AssignmentSetting, assignments
from attnlab.simulators.latent_structures.draws import DrawSetting, LongRowSetting, long_rows, parent_draws
from attnlab.simulators.latent_structures.enumeration import EnumerationSetting, enumerate_structures
from attnlab.theory.latent_structures import parents, permutations, trees

ONE = {"structures": that(lambda s: s == "one parent", "one parent", "the other lists are derived from this setting")}


def roundings(runs: Runs) -> float:
    """Roundings of a sum over a list: the logarithm of a weight sums n^2 terms, and e^x is right to |x| roundings.

    The sum itself adds log2 of the list (numpy adds in pairs), normalising as much again; the closed form is counted alike.
    """
    size = np.abs(np.where(np.isfinite(runs["scores"]), runs["scores"], 0.0)).max()
    n = runs["scores"].shape[-1]
    return 4 * (n * n * (1 + float(size)) + math.log2(int(runs["n_structures"].max())))


@paper.claim(
    "one_parent_is_softmax",
    source="the one-parent Markov random field",
    statements=[1, 2],
    formula="P(i <- j) = e^(S_ij) / sum_l e^(S_il), E[value of the parent] = attention",
    judged="marginals and means summed over all parent maps against the formula and the repository's softmax attention, to "
    "rounding",
    covers=ONE,
    parts=2,
)
def one_parent_is_softmax(setting: EnumerationSetting, lab: Lab) -> Verdict:
    """Over all maps with one parent per query, marginals of edges are softmax weights and the mean parent value is attention.

    Twins: a sink of logit -3; queries scaled by 1.02.
    """
    runs = lab.simulate(enumerate_structures, setting)
    S, budgeted = runs["scores"], roundings(runs)
    weights = parents.one_parent_marginals(S)
    maps = identical(
        runs["marginals"],
        weights,
        rounding=budgeted,
        scale=1.0,
        twin=Twin.of("a sink of logit -3", b=parents.null_parent_marginals(S, -3.0)),
    )
    size = float(np.abs(runs["values"]).max())
    warmer = parents.one_parent_marginals(1.02 * S) @ runs["values"]
    means = identical(
        runs["mean"],
        runs["attention"],
        rounding=2 * budgeted,
        scale=size,
        twin=Twin.of("queries scaled by 1.02", b=warmer),
    )
    return all_of(maps.named("marginals"), means.named("means"))


@paper.claim(
    "priors_make_mechanisms",
    source="table of priors and mechanisms",
    statements=[3],
    formula="pi e^S / sum pi e^S; 1 / (1 + e^-S / odds); the sum of heads",
    judged="sums over all structures: random priors with masks, independent edges, two independent parents; to rounding",
    covers=ONE,
    reads=("prior_odds",),
    parts=4,
)
def priors_make_mechanisms(setting: EnumerationSetting, lab: Lab) -> Verdict:
    """A log prior is a bias and a mask, independent edges are sigmoid attention, independent parents are heads.

    Twins: half the log prior; odds 2 % larger; heads that read by each other's scores.
    """
    biased, edges, heads = lab.simulate(
        enumerate_structures,
        replace(setting, weighted=True),
        replace(setting, structures="independent edges"),
        replace(setting, structures="two heads"),
    )
    S, log_prior = biased["scores"], biased["log_prior"]
    prior = identical(
        biased["marginals"],
        parents.one_parent_marginals(S, log_prior),
        rounding=roundings(biased),
        scale=1.0,
        twin=Twin.of("half the log prior", b=parents.one_parent_marginals(S, log_prior / 2)),
    )
    bias = identical(
        biased["attention"],
        parents.one_parent_marginals(S, log_prior) @ biased["values"],
        rounding=2 * roundings(biased),
        scale=float(np.abs(biased["values"]).max()),
        twin=Twin.of("half the log prior", b=parents.one_parent_marginals(S, log_prior / 2) @ biased["values"]),
    )
    sigmoid = identical(
        edges["marginals"],
        parents.independent_edge_marginals(edges["scores"], setting.prior_odds),
        rounding=roundings(edges),
        scale=1.0,
        twin=Twin.of(
            "odds 2 % larger", b=parents.independent_edge_marginals(edges["scores"], 1.02 * setting.prior_odds)
        ),
    )
    weights = parents.one_parent_marginals(heads["scores"])  # (replica, head, query, key)
    means = weights @ heads["values"]
    swapped = weights[:, ::-1] @ heads["values"]
    both = identical(
        heads["mean"],
        means.sum(1),
        rounding=4 * roundings(heads),
        scale=float(np.abs(heads["values"]).max()),
        twin=Twin.of("each head reads by the other's scores", b=swapped.sum(1)),
    )
    return all_of(prior.named("prior"), bias.named("bias"), sigmoid.named("edges"), both.named("heads"))


@paper.claim(
    "other_structures",
    source="standard facts, beside the paper's table",
    statements=[1, 3],
    kind="extrapolation",
    formula="e^S / (e^b + sum e^S); e^S e_(r-1)(w without j) / e_r(w); permanents; w_ij (L^-1_ii - L^-1_ji)",
    judged="sums over all structures with at most one parent, exactly two, one-to-one, and without cycles; to rounding",
    covers=ONE | {"n_tokens": at_most(6, "all permutations are summed")},
    reads=("null_logit", "n_parents"),
    parts=4,
)
def other_structures(setting: EnumerationSetting, lab: Lab) -> Verdict:
    """Marginals with a null parent, a fixed number of parents, one-to-one, and as trees have closed forms.

    Twins: a null logit 5 % larger; independent edges with the same sum; scores 2 % larger, twice.
    """
    null, fixed, matched, tree = lab.simulate(
        enumerate_structures,
        *[replace(setting, structures=s) for s in ("null parent", "fixed number", "permutation", "tree")],
    )
    S = null["scores"]
    sink = identical(
        null["marginals"],
        parents.null_parent_marginals(S, setting.null_logit),
        rounding=roundings(null),
        scale=1.0,
        twin=Twin.of("null logit 5 % larger", b=parents.null_parent_marginals(S, 1.05 * setting.null_logit)),
    )
    S, r = fixed["scores"], setting.n_parents
    free = np.array([[parents.threshold_marginals(row, r) for row in each] for each in S])
    number = identical(
        fixed["marginals"],
        parents.subset_marginals(S, r),
        rounding=roundings(fixed),
        scale=1.0,
        twin=Twin.of("independent edges with the same sum", b=free),
    )
    S = matched["scores"]
    one_to_one = identical(
        matched["marginals"],
        np.stack([permutations.permutation_marginals(each) for each in S]),
        rounding=roundings(matched),
        scale=1.0,
        twin=Twin.of("scores 2 % larger", b=np.stack([permutations.permutation_marginals(1.02 * each) for each in S])),
    )
    S = tree["scores"]
    condition = float(max(np.linalg.cond(_laplacian(each)) for each in S))
    forest = np.stack([trees.tree_marginals(each) for each in S])
    acyclic = identical(
        tree["marginals"],
        forest,
        rounding=roundings(tree) + 8 * S.shape[-1] * condition,
        scale=1.0,
        twin=Twin.of("scores 2 % larger", b=np.stack([trees.tree_marginals(1.02 * each) for each in S])),
    )
    return all_of(
        sink.named("null parent"), number.named("two parents"), one_to_one.named("one-to-one"), acyclic.named("trees")
    )


def _laplacian(S: np.ndarray) -> np.ndarray:
    w = np.exp(S - S.max(1, keepdims=True))
    return np.diag(w.sum(1)) - w + np.diag(np.diag(w))


@paper.claim(
    "beyond_marginals",
    source="definition of attention as an expectation; derived here",
    statements=[1],
    kind="extrapolation",
    setting=PAIRS,
    formula="E (sum of parents' values)^2: sum P v^2; (sum P v)^2 + sum P (1 - P) v^2; sum_jk P_jk v_j v_k",
    judged="sums over all structures with one parent, independent edges and exactly two parents; to rounding",
    covers={"structures": that(lambda s: s == "fixed number", "a fixed number", "the other lists are derived from it")},
    reads=("n_parents", "prior_odds"),
    parts=3,
)
def beyond_marginals(setting: EnumerationSetting, lab: Lab) -> Verdict:
    """A function of one parent is averaged by marginals, whatever the function; of several parents it needs their joint law.

    Twins: the square of the mean; for two parents, edges that are independent with the same marginals.
    """
    one, edges, two = lab.simulate(
        enumerate_structures,
        *[replace(setting, structures=s) for s in ("one parent", "independent edges", "fixed number")],
    )
    parts = []
    for name, runs in (("one parent", one), ("independent edges", edges), ("two parents", two)):
        v, S = runs["values"], runs["scores"]
        if name == "one parent":
            P = parents.one_parent_marginals(S)
            law, rival = P @ v**2, (P @ v) ** 2
        elif name == "independent edges":
            P = parents.independent_edge_marginals(S, setting.prior_odds)
            law, rival = (P @ v) ** 2 + (P * (1 - P)) @ v**2, (P @ v) ** 2
        else:
            P = parents.subset_marginals(S, setting.n_parents)
            pairs = parents.subset_pair_marginals(S, setting.n_parents)
            law, rival = np.einsum("rijk,rjv,rkv->riv", pairs, v, v), (P @ v) ** 2 + (P * (1 - P)) @ v**2
        size = (S.shape[-1] * float(np.abs(v).max())) ** 2
        label = "independent edges" if name == "two parents" else "the square of the mean"
        parts.append(
            identical(
                runs["mean_square"], law, rounding=2 * roundings(runs), scale=size, twin=Twin.of(label, b=rival)
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "a_fixed_number_is_a_threshold",
    source="derived here, by Edgeworth's expansion",
    statements=[3],
    kind="extrapolation",
    setting=LONG_ROWS,
    formula="P = p + p (1 - p) ((2 p - 1) / 2V + kappa_3 / 2V^2) + O(1/V^2), p = sigmoid(S - mu) with sum r",
    judged="three keys of every row (at ranks 1/8, 1/4 and 1); margin 3 p (1 - p) / V^2 for the next order",
    reads=("n_parents",),
    covers={
        "n_parents": that(lambda r: r >= 32, "at least 32", "an expansion in one over the variance of their number")
    },
    parts=3,
)
def a_fixed_number_is_a_threshold(setting: LongRowSetting, lab: Lab) -> Verdict:
    """Exactly r parents of a long row weigh like sigmoid attention with a threshold, with a correction of order 1/r.

    Twin: without the correction.
    """
    runs = lab.simulate(long_rows, setting)
    free = np.stack([parents.threshold_marginals(row, setting.n_parents) for row in runs["scores"]])
    law = np.stack([parents.subset_marginals_approx(row, setting.n_parents) for row in runs["scores"]])
    spread = free * (1 - free)
    next_order = 3 * spread / spread.sum(1, keepdims=True) ** 2
    n = setting.n_keys
    parts = []
    for rank in (n // 8, n // 4, n - 1):
        parts.append(
            agrees(
                runs["marginals"][:, rank],
                law[:, rank],
                within=budget(relative(1, float(next_order[:, rank].max()), "next order")),
                of="every replica",
                twin=Twin.of("no correction", predicted=free[:, rank]),
            ).named(f"key {rank + 1} of {n}")
        )
    return all_of(*parts)


@paper.claim(
    "hard_attention_is_a_draw",
    source="hard attention as a sample",
    statements=[3],
    setting=DRAWS,
    formula="E |v_J - o|^2 = sum P |v|^2 - |o|^2, over m for the mean of m draws",
    judged="mean over draws and replicas of the squared distance from attention's output, each replica against its own "
    "prediction",
    reads=("group",),
    parts=2,
)
def hard_attention_is_a_draw(setting: DrawSetting, lab: Lab) -> Verdict:
    """Parents drawn from softmax weights average to attention, with variance sum P |v|^2 - |o|^2 per draw.

    Twins: 2 % more; for groups, m - 1 for m.
    """
    runs = lab.simulate(parent_draws, setting)
    P = parents.one_parent_marginals(runs["scores"])[:, None, :]
    law = np.array([parents.variance_of_a_draw(p, v)[0] for p, v in zip(P, runs["values"], strict=True)])
    fourth = np.array([_fourth(p[0], v) for p, v in zip(P, runs["values"], strict=True)])
    n, m = setting.n_groups, setting.group
    one = math.sqrt(float(np.mean((fourth - law**2) / (n * m))))
    # the squared mean of m draws has variance at most 2 law^2 / m^2 and (fourth - law^2) / m^3 more
    mean = math.sqrt(float(np.mean((2 * law**2 / m**2 + (fourth - law**2) / m**3) / n)))
    draws = f"mean over replicas of {n} draws"
    single = agrees(
        runs["one"],
        law,
        within=budget(replicas(one, runs.n, of=draws)),
        of=draws,
        twin=Twin.of("2 % more", predicted=1.02 * law),
    )
    grouped = agrees(
        runs["mean"],
        law / m,
        within=budget(replicas(mean, runs.n, of=draws)),
        of=draws,
        twin=Twin.of("m - 1 for m", predicted=law / (m - 1)),
    )
    return all_of(single.named("one draw"), grouped.named(f"{m} draws"))


def _fourth(p: np.ndarray, v: np.ndarray) -> float:
    return float(p @ np.square(v - p @ v).sum(-1) ** 2)


@paper.claim(
    "marginals_are_not_the_structure",
    source="derived here",
    statements=[1, 3],
    kind="extrapolation",
    setting=ONE_TO_ONE,
    formula="chance that rows drawn independently from P are one-to-one: perm(P) >= n! / n^n",
    judged="share of draws, rows from exact marginals of permutations of random scores, each replica against its own prediction",
    covers={"n_draws": that(lambda n: n >= 1000, "at least 1000", "the share of draws is judged")},
)
def marginals_are_not_the_structure(setting: AssignmentSetting, lab: Lab) -> Verdict:
    """Rows drawn independently from one-to-one marginals are one-to-one only with probability perm(P).

    Twin: a tenth more.
    """
    runs = lab.simulate(assignments, setting)
    beta = setting.inverse_temperatures[0]
    law = np.array([permutations.permanent(permutations.permutation_marginals(beta * each)) for each in runs["scores"]])
    std = math.sqrt(float(np.mean(law * (1 - law))) / setting.n_draws)
    draws = f"mean over replicas of {setting.n_draws} draws"
    return agrees(
        runs["one_to_one"],
        law,
        within=budget(replicas(std, runs.n, of=draws)),
        of=draws,
        twin=Twin.of("a tenth more", predicted=1.1 * law),
    )
