"""Claims on trained heads: structure, signs, overshoot, drift, more than two heads (statements 1 to 3 and 7)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, frozen, ordered, replicas, settles
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.he2025_icl_regression.paper import (
    MEDIAN,
    SHORT,
    TRAINED_SCALE,
    adam_excess,
    at_batch,
    draws,
    finite_omega,
    needs_two_heads,
    one_head_optimum,
    paper,
    sizes,
    step_noise,
    trailing_mean,
    trained,
    weighted,
)
from attnlab.papers.lab.conditions import outside, too_few
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.in_context_regression import training as simulator
from attnlab.theory.in_context_regression import gradient_descent_risks as risks

#: Spreads over 32 replicas of a run of 40 000 steps at seed 1 (batch 64): of the diagonal energy and the relative spread of omega
#: (diagonal_kq), of the label's energy and the relative sum (zero_sum_ov), of products, and of gaps times the root of two
#: (more_heads_are_two), of the change of log |sum mu omega| (drift).
SPREAD = {
    "diagonal": 0.011,
    "omega": 0.023,
    "label": 0.0026,
    "sum": 0.0056,
    "gap": 0.0017,
    "product": 0.013,
    "change": 0.011,
}


#: Fall of log |omega| in a doubling of the steps, on average from 0.14 after 40 000 to 0.13 after 500 000 (fact sheet).
FALL = math.log(0.14 / 0.13) / math.log2(500_000 / 40_000)


def relative_spread(values, weights):
    """Weighted standard deviation over heads, relative to the weighted mean."""
    mean = weighted(weights, values)[..., None]
    return np.sqrt(weighted(weights, (values - mean) ** 2)) / mean[..., 0]


@paper.claim(
    "diagonal_kq",
    source="Section 4, Figure 1",
    statements=[1],
    parts=2,
    undecided_at_smoke=SHORT,
    formula="KQ^(h) -> omega^(h) I_d, |omega^(h)| -> omega",
    assumptions=["H >= 2", "replicas past the one-head plateau", "heads weighted by |mu|"],
    judged="diagonal energy share of KQ tends to 1 within 0.01, and the relative spread of |omega| over heads to 0 in the median "
    "replica within 0.02, both at batch 256 (fact sheet, section 7: above 0.99; 0.137, 0.140, 0.135, 0.141), more at smaller "
    "batches, and the replicas' interval",
)
def diagonal_kq(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Each head's key-query matrix becomes a multiple of the identity, and the heads agree on its size.

    Twins: a head reads one direction (a rank-one block has diagonal energy 3 / (d + 2) in the mean); the sizes of omega
    are as free as those of mu. Null control: the matrices at the start.
    """
    if (verdict := needs_two_heads(setting)) is not None:
        return verdict
    steps, runs, early = trained(setting, lab)
    if early is not None:
        return early
    size = np.abs(runs["mu"])
    energy = weighted(size, runs["diagonal_energy"])
    diagonal = settles(
        steps,
        energy,
        1.0,
        within=budget(Piece("noise of Adam", at_batch(setting, 0.01, 1.0)), replicas(SPREAD["diagonal"], len(energy))),
        twin=Twin.of("rank-one heads", predicted=3 / (setting.dim + 2)),
        null=frozen(energy),
    )
    of_omega = relative_spread(np.abs(runs["omega"]), size)
    spread = settles(
        steps,
        of_omega,
        0.0,
        of=MEDIAN,
        within=budget(
            Piece("noise of Adam", at_batch(setting, 0.02, 0.5)), replicas(SPREAD["omega"], len(energy), of=MEDIAN)
        ),
        scale=1.0,
        twin=Twin.of("omega as free as mu", curves=relative_spread(size, np.ones_like(size))),
        null=frozen(of_omega),
    )
    return all_of(diagonal.named("diagonal"), spread.named("one size"))


@paper.claim(
    "zero_sum_ov",
    source="Section 4, Figure 1",
    scales=("desk", "paper"),
    why_these_scales=SHORT,
    statements=[2],
    parts=2,
    formula="OV^(h) -> (0_d, mu^(h)), sum_h mu^(h) -> 0",
    assumptions=["H >= 2", "replicas past the one-head plateau", "OV summed over heads of one sign"],
    judged="energy share of the label entry tends to 1, and |sum mu| / sum |mu| to 0 in the median replica, within what the "
    "excess risk e of the noise allows (4 e / eta^2, and sqrt(e L / (1 + sigma^2)) over eta / 0.16) and the replicas' interval",
)
def zero_sum_ov(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The output-value rows keep only the label entry, and these entries sum to zero over the heads.

    Redundant heads of one sign keep compensating covariate entries for long, so rows are summed over the sign group.
    Entries v of the two groups add (v_+ - v_-) . omega x_q to the output, so that an excess e of the risk bounds the energy
    |v|^2 / mu^2 by 4 e / eta^2; a sum of mu adds its multiple of the mean label, of variance (1 + sigma^2) / L.
    Twins: a generic row (energy share 1 / (d + 1)); heads that draw their signs independently. Null control: the start.
    """
    if (verdict := needs_two_heads(setting)) is not None:
        return verdict
    steps, runs, early = trained(setting, lab)
    if early is not None:
        return early
    d, L, sigma = task = sizes(setting)
    eta, excess = (
        risks.debiased_gd_best_step_exact(*task),
        adam_excess(setting, risks.debiased_gd_best_risk_exact(*task)).size,
    )
    energy = np.nanmean(runs["group_last_entry_energy"], axis=-1)
    label = settles(
        steps,
        energy,
        1.0,
        within=budget(Piece("noise of Adam", 4 * excess / eta**2), replicas(SPREAD["label"], len(energy))),
        twin=Twin.of("generic rows", predicted=1 / (d + 1)),
        null=frozen(energy),
    )
    size = np.abs(runs["mu"])
    total = size.sum(-1)
    signs = np.array(np.meshgrid(*[[-1, 1]] * min(setting.n_heads, 10))).reshape(min(setting.n_heads, 10), -1)
    independent = np.abs(size[..., : len(signs)] @ signs).mean(-1) / total
    imbalance = np.abs(runs["mu"].sum(-1)) / total
    zero = settles(
        steps,
        imbalance,
        0.0,
        of=MEDIAN,
        within=budget(
            Piece("noise of Adam", (excess * L / (1 + sigma**2)) ** 0.5 * TRAINED_SCALE / eta),
            replicas(SPREAD["sum"], len(energy), of=MEDIAN),
        ),
        scale=1.0,
        twin=Twin.of("independent signs", curves=independent),
        null=frozen(imbalance),
    )
    return all_of(label.named("label entry"), zero.named("zero sum"))


@paper.claim(
    "sign_matching",
    source="Section 4",
    statements=[3],
    formula="sign mu^(h) = sign omega^(h)",
    assumptions=[
        "H >= 2",
        "replicas past the one-head plateau whose OV, summed over either sign group, has most of its energy in the label entry",
        "heads with |mu| above 5 % of the largest",
    ],
    judged="every replica: no active head has mu and omega of different signs",
)
def sign_matching(setting: simulator.Setting, lab: Lab) -> Verdict:
    """In a trained model every active head has mu and omega of the same sign.

    With H > d heads some replicas swap the roles of keys and values (findings, 9): their mu and omega are zero up to noise,
    and have no sign. Twin: signs match across heads as well as within them (each mu is compared with the omega of the next
    head). Null control: the heads at the start.
    """
    if (verdict := needs_two_heads(setting)) is not None:
        return verdict
    _, runs, early = trained(setting, lab)
    if early is not None:
        return early
    by_label = runs["group_last_entry_energy"][:, -1].min(-1) > 0.5
    if (verdict := too_few(by_label, "read the label in their values")) is not None:
        return verdict
    runs = {name: values[by_label] for name, values in runs.items()}

    def mismatched(record, shift=0):
        omega, mu = np.roll(runs["omega"][:, record], shift, -1), runs["mu"][:, record]
        active = np.abs(mu) > 0.05 * np.abs(mu).max(-1, keepdims=True)
        return (active & (np.sign(omega) != np.sign(mu))).sum(-1).astype(float)

    return agrees(
        mismatched(-1),
        0.0,
        within=0.5,  # heads are counted
        scale=1.0,
        of="every replica",
        twin=Twin.of("no match within a head", measured=mismatched(-1, shift=1)),
        null=mismatched(0),
    )


@paper.claim(
    "more_heads_are_two",
    source="Section 4",
    scales=("desk", "paper"),
    why_these_scales=SHORT,
    statements=[3, 4],
    parts=2,
    formula="H > 2 equals H = 2: sum over positive heads of mu omega = eta / 2, same risk",
    assumptions=["H > 2 against H = 2", "replicas past the one-head plateau"],
    judged="paired gaps to debiased gradient descent differ by 0 between H and 2 heads within the noise of Adam; the sign group "
    "with more heads (where it has more) does half of the step within the noise of Adam and what heads of finite size lose; both "
    "with the replicas' interval",
)
def more_heads_are_two(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Heads of one sign act together as one head: more than two heads do what two heads do.

    Twins: more heads go half of the way to the Bayes risk; every head does the same part of the step. Null
    control: the products at the start. The risk part is blunt: plain gradient descent, the nearer rival, lies within the noise
    of Adam at this batch and is not excluded; the twin was changed after a test showed that.
    """
    if setting.n_heads < 3:
        return outside(f"n_heads={setting.n_heads}: the statement compares H > 2 with H = 2")
    _, runs, early = trained(setting, lab)
    _, two, few = trained(replace(setting, n_heads=2), lab)
    if early is not None or few is not None:
        return few if early is None else early
    task = sizes(setting)
    best, lowest = risks.debiased_gd_best_step_exact(*task), risks.debiased_gd_best_risk_exact(*task)
    bayes = risks.bayes_risk_limit(setting.dim / setting.n_context, setting.noise_std)
    n = min(len(runs["risk"]), len(two["risk"]))  # replicas are independent: any pairing will do
    gap = agrees(
        runs["gap_to_debiased_gd"][:n] - two["gap_to_debiased_gd"][:n],
        0.0,
        of=draws(setting),
        within=budget(adam_excess(setting, lowest), replicas(SPREAD["gap"], n, of=draws(setting))),
        scale=lowest,
        twin=Twin.of("half of the way to Bayes", predicted=float(bayes - lowest) / 2),
    )
    positive = (runs["mu"][:, -1] > 0).sum(-1)
    uneven = 2 * positive != setting.n_heads  # where the groups are equal, so are all parts
    if (few := too_few(uneven, "have more heads of one sign", wants="replicas")) is not None:
        return few
    major, at = np.where(2 * positive > setting.n_heads, 0, 1), np.flatnonzero(uneven)
    work = (runs["group_mu"] * runs["group_omega"])[at, :, major[at]]
    heads = np.maximum(positive, setting.n_heads - positive)[at]
    half = agrees(
        work[:, -1],
        best / 2,
        within=budget(
            Piece("noise of Adam", step_noise(setting)),
            Piece("finite omega", finite_omega(*task)[0] / 2),
            replicas(SPREAD["product"], len(at)),
        ),
        twin=Twin.of("equal parts for all heads", predicted=best * heads / setting.n_heads),
        null=np.nan_to_num(work[:, 0]),
    )
    return all_of(gap.named("risk"), half.named("larger group"))


@paper.claim(
    "overshoot",
    source="Section 5, stage II; Figure 2",
    statements=[7],
    undecided_at_smoke=SHORT,
    formula="max over t of |omega|(t) > |omega|(end), while sum mu -> 0",
    assumptions=[
        "H >= 2",
        "replicas past the one-head plateau",
        "|omega| averaged over the two sign groups, weighted by mu",
    ],
    judged="log of the largest over the last |omega| exceeds log 1.2, the median replica",
)
def overshoot(setting: simulator.Setting, lab: Lab) -> Verdict:
    """After the growth |omega| overshoots: it rises above the value at which the late drift begins, and comes back.

    Twin: the overshoot goes up to the best single head. Null control: heads frozen at their start.
    """
    if (verdict := needs_two_heads(setting)) is not None:
        return verdict
    _, runs, early = trained(setting, lab)
    if early is not None:
        return early
    omega = weighted(np.abs(runs["mu"]), np.abs(runs["omega"]))
    single, last = float(np.abs(one_head_optimum(setting).omega[0])), np.log(omega[:, -1])
    return ordered(
        last,
        np.log(omega.max(-1)),
        by=math.log(1.2),
        of=MEDIAN,
        twin=Twin.of("up to the best single head", by=math.log(single / TRAINED_SCALE)),
        null=Twin.of("nothing is learnt", smaller=np.log(omega[:, 0]), larger=np.log(omega[:, 0])),
    )


@paper.claim(
    "drift",
    source="Section 5, stage III; Figure 2",
    statements=[7],
    parts=2,
    undecided_at_smoke=SHORT,
    formula="mu omega = const while |omega| falls and |mu| rises",
    assumptions=["H >= 2", "replicas past the one-head plateau", "last doubling of the training time"],
    judged="log |omega| of the median replica falls by more than 0.02 in the last doubling of the steps (fact sheet: from 0.14 "
    "after 40 000 to 0.13 after 500 000 steps), and by less than gradient flow of balanced factors, 0.14; log of sum mu omega "
    "stays within the noise of Adam and the replicas' interval",
)
def drift(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Late in training omega shrinks and mu grows along the valley, the product staying what it is.

    Twins: omega falls like t^(-1/5), the gradient flow of balanced factors; omega shrinks alone, and the product with it.
    Null control: no movement at all.
    """
    if (verdict := needs_two_heads(setting)) is not None:
        return verdict
    steps, runs, early = trained(setting, lab)
    if early is not None:
        return early
    omega = trailing_mean(steps, np.log(np.abs(runs["group_omega"]).mean(-1)))
    product = trailing_mean(steps, np.log(np.abs(runs["step_size"])))
    half = np.searchsorted(steps, steps[-1] / 2)
    there = np.isfinite(omega[:, half])  # past the plateau for the last half, too
    if (verdict := too_few(there, "are past the plateau for half of the training")) is not None:
        return verdict
    omega, product = omega[there], product[there]
    falls = ordered(
        omega[:, -1],
        omega[:, half],
        of=MEDIAN,
        by=FALL,
        twin=Twin.of("like the flow of balanced factors", by=math.log(2) / 5),
        null=Twin.of("nothing is learnt", smaller=omega[:, half], larger=omega[:, half]),
    )
    fall, change = omega[:, -1] - omega[:, half], product[:, -1] - product[:, half]
    stays = agrees(
        change,
        0.0,
        within=budget(
            Piece("noise of Adam", step_noise(setting) / risks.debiased_gd_best_step_exact(*sizes(setting))),
            replicas(SPREAD["change"], len(change), of=MEDIAN),
        ),
        scale=1.0,
        of=MEDIAN,
        twin=Twin.of("omega alone", measured=fall),
    )
    return all_of(falls.named("omega falls"), stays.named("product stays"))
