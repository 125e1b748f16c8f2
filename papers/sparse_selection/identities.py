"""Claims that are identities of the operators: dropped mass, remembered ratios, landmarks, groups of equal keys."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, identical
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.sparse_selection.paper import IDENTITIES, paper
from attnlab.simulators.sparse_selection.operators import IdentitySetting, dropped, grouped, landmarks, remembered
from attnlab.theory.sparse_selection import rescaled_sparse, retained_mass


@paper.claim(
    "dropped_mass",
    source="shared by the family; derived",
    statements=[1],
    setting=IDENTITIES,
    kind="identity",
    formula="o_K - o = (1 - g)(o_K - o_D)",
    judged="attention on a random half of the keys less attention on all, equal within 100 roundings",
)
def dropped_mass(setting: IdentitySetting, lab: Lab) -> Verdict:
    """Leaving keys out errs by the dropped mass times the distance of the outputs over kept and dropped keys.

    Twin: the mass as an odds, (1 - g)/g.
    """
    runs = lab.simulate(dropped, setting)
    cells = list(zip(runs["weights"], runs["values"], runs["kept"], strict=True))
    law = np.array([retained_mass.dropped_mass_error_exact(p, v, K) for p, v, K in cells])
    g = np.array([p[K].sum() for p, _, K in cells])
    size = float(np.abs(runs["values"]).max())
    return identical(runs["error"], law, rounding=100, scale=size, twin=Twin.of("odds", b=law / g[:, None]))


@paper.claim(
    "remembered_ratios",
    source="section 3 of Chen et al.; the error is derived",
    statements=[11],
    setting=IDENTITIES,
    kind="identity",
    formula="y - o = (R_0 - R_t)(o_S - o_D) + (1 - R_0)(o_D(0) - o_D(t))",
    judged="the operator one step after a dense one, equal within 1000 roundings",
)
def remembered_ratios(setting: IdentitySetting, lab: Lab) -> Verdict:
    """A rescaled window errs by what the ratio and the outside have moved since the dense step, and by nothing else.

    Twin: the outside alone, as if the ratio had not moved.
    """
    runs = lab.simulate(remembered, setting)
    cells = list(zip(runs["ratio"], runs["inside"], runs["outside"], strict=True))
    law = np.array([rescaled_sparse.error_exact(R[0], R[1], S[1], D[1], D[0]) for R, S, D in cells])
    rival = np.array([rescaled_sparse.error_exact(R[0], R[0], S[1], D[1], D[0]) for R, S, D in cells])
    size = float(max(np.abs(runs["inside"]).max(), np.abs(runs["outside"]).max()))
    return identical(runs["error"], law, rounding=1000, scale=size, twin=Twin.of("the outside alone", b=rival))


@paper.claim(
    "landmarks_gate",
    source="section 3 of Mohtashami and Jaggi",
    statements=[12],
    setting=IDENTITIES,
    parts=2,
    kind="identity",
    formula="change by a block left out = its weight times (o_block - o_rest); landmark = log-sum-exp of its block: softmax",
    judged="the operator's map, equal within 1000 roundings",
)
def landmarks_gate(setting: IdentitySetting, lab: Lab) -> Verdict:
    """A block left out takes what its landmark holds, and a landmark that scores the log-sum-exp of its block loses nothing.

    Twins: the distance from the whole output; uniform weights.
    """
    runs = lab.simulate(landmarks, setting)
    mass = runs["mass"][:, None]
    law = mass * (runs["inside"] - runs["without"])
    whole = runs["without"] + law
    flat = np.full_like(runs["full"], 1 / runs["full"].shape[-1])
    return all_of(
        identical(
            runs["change"], law, rounding=1000, scale=float(np.abs(runs["inside"]).max()),
            twin=Twin.of("from the whole", b=mass * (runs["inside"] - whole)),
        ).named("a block left out"),
        identical(runs["weights"], runs["full"], rounding=1000, scale=1.0, twin=Twin.of("uniform", b=flat)).named(
            "log-sum-exp"
        ),
    )  # fmt: skip


@paper.claim(
    "groups_of_equal_keys",
    source="section 4 of Liang et al.",
    statements=[6],
    setting=IDENTITIES,
    kind="construction",
    formula="group attention on keys that are equal inside groups = attention on all keys",
    judged="the operator's outputs, equal within 1000 roundings of the largest",
)
def groups_of_equal_keys(setting: IdentitySetting, lab: Lab) -> Verdict:
    """Groups of equal keys lose nothing.

    Twin: keys longer by a billionth.
    """
    runs = lab.simulate(grouped, setting)
    size = float(np.abs(runs["full"]).max())
    return identical(
        runs["output"], runs["full"], rounding=1000, scale=size, twin=Twin.of("longer keys", b=runs["moved"])
    )
