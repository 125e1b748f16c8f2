"""Claims on single rows: idle heads, bounds of sums, gradients, blockwise passes, linear forms and forget gates."""

from __future__ import annotations

import math

import numpy as np
import torch

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, euler_step, for_all, identical
from attnlab.analysis.theorems.statement.domains import Vector
from attnlab.papers.lab.conditions import one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.normalisers.paper import CLIPPED, IDLE, RESTS, RULES, SEARCHES, SearchSetting, paper
from attnlab.simulators.score_maps.idle import IdleSetting, RestSetting, descend, rests
from attnlab.simulators.score_maps.rules import RuleSetting, blockwise, forms, gradients
from attnlab.theory.gates_and_memory import forgetting
from attnlab.theory.score_maps import gated, idle, standardised
from attnlab.theory.score_maps import gradients as rules


@paper.for_all(
    "softpick_rows_sum_to_at_most_one",
    source="equation 3 of Zuhri et al.",
    statements=[3],
    setting=SEARCHES,
    formula="sum_j relu(e^(s_j) - 1) <= sum_j |e^(s_j) - 1|",
)
def softpick_rows_sum_to_at_most_one(setting: SearchSetting):
    """A softpick row sums to at most one, whatever its scores. Twin: to at most 0.95."""
    return {
        "searched": for_all(s=Vector(4, low=-4.0, high=4.0)).bound(
            lambda s: torch.relu(torch.expm1(s)).sum() - torch.expm1(s).abs().sum(),
            at_most=0.0,
            twin=Twin.of("0.95", at_most=-0.05),
        )
    }


@paper.claim(
    "softmax_never_rests",
    source="section 3 of Bondarenko et al.; the flow is derived here",
    statements=[4],
    kind="extrapolation",
    setting=IDLE,
    formula="n t / (n - 1) = F(u) - F(u0), F(u) = 3u + 3e^u + e^(2u)/2 - e^(-u), gap u + ln(n - 1): it grows like ln(2t) / 2",
    judged="gap of the idle key at every recorded step; margin: Euler steps at the largest rate of the flow, 4/27 of n/(n-1)",
    reads=("n_keys", "step", "n_steps", "n_records"),
    covers={"score": one_of("softmax")},
)
def softmax_never_rests(setting: IdleSetting, lab: Lab) -> Verdict:
    """To do nothing a softmax head drives the gap of an idle key up for ever, by a known flow.

    Twin: without the factor n/(n - 1).
    """
    runs = lab.simulate(descend, setting)
    time, n = runs["time"][0], setting.n_keys
    law = idle.softmax_gap_exact(time, n)
    rival = idle.softmax_gap_exact(time * (n - 1) / n, n)
    steepest = n / (n - 1) * 4 / 27  # largest r^2 (1 - r); its slope in u is at most 1/8
    within = budget(euler_step(setting.step, n / (n - 1) / 8, float(law[-1])), euler_step(setting.step, steepest, 1.0))
    return agrees(
        runs["gap"][0],
        law,
        within=within,
        of="every replica",
        unit="time",
        twin=Twin.of("without n/(n-1)", predicted=rival),
    )


@paper.claim(
    "clipped_softmax_rests",
    source="section 4 of Bondarenko et al.; the gap is derived here",
    statements=[4],
    kind="extrapolation",
    setting=CLIPPED,
    parts=2,
    formula="gap -> ln((zeta - gamma) / (-gamma) - (n - 1)), where R = 0",
    judged="gap and rest at the last step; descent comes near exponentially, and what it leaves is below 1e-6",
    reads=("n_keys", "gamma"),
    covers={"score": one_of("clipped")},
)
def clipped_softmax_rests(setting: IdleSetting, lab: Lab) -> Verdict:
    """A clipped softmax head does nothing at a finite gap, and its scores stop there.

    Twins: the threshold -gamma; softmax's rest.
    """
    runs = lab.simulate(descend, setting)
    law = idle.clipped_gap_limit(setting.n_keys, setting.gamma)
    rival = math.log(1 / -setting.gamma - (setting.n_keys - 1))
    left = float(idle.softmax_rest_exact(setting.step * setting.n_steps, setting.n_keys)[0])
    gap = agrees(
        runs["gap"][:, -1], law, within=1e-6, of="every replica", twin=Twin.of("threshold -gamma", predicted=rival)
    )
    rest = agrees(runs["rest"][:, -1], 0.0, within=1e-6, of="every replica", twin=Twin.of("softmax", predicted=left))
    return all_of(gap.named("gap"), rest.named("rest"))


@paper.claim(
    "gates_rest_at_any_length",
    source="section 4 of Bondarenko et al.; the gaps are derived here",
    statements=[4],
    kind="extrapolation",
    setting=RESTS,
    parts=2,
    formula="softmax leaves r at the gap ln((n-1)(1-r)/r), a gate at the logit -ln((1-r)/r), for every n",
    judged="what is left at r = 0.01 and three lengths, within 64 n roundings",
    reads=("n_keys",),
)
def gates_rest_at_any_length(setting: RestSetting, lab: Lab) -> Verdict:
    """What lets a head do nothing costs a gate the same logit at every length, and softmax a gap that grows with it.

    Neither gives an exact zero at finite scores. Twins: the gap with ln n; the gate of 0.0105.
    """
    rest = 0.01
    gaps = tuple(gated.softmax_gap_to_rest(rest, n) for n in setting.n_keys)
    gate = -gated.gate_logit_to_rest(rest)
    runs = lab.simulate(rests, RestSetting(setting.n_keys, gaps, (gate,) * len(gaps), setting.n_replicas))
    law = np.full_like(runs["softmax"], rest)
    shorter = np.array([[1 / (1 + (n / (n - 1)) * (1 - rest) / rest) for n in setting.n_keys]] * runs.n)
    budgeted = 64 * max(setting.n_keys)
    softmax = identical(runs["softmax"], law, rounding=budgeted, twin=Twin.of("ln n", b=shorter))
    return all_of(
        softmax.named("softmax"),
        identical(runs["gate"], law, rounding=budgeted, twin=Twin.of("5 % more", b=1.05 * law)).named("gate"),
    )


@paper.claim(
    "score_gradients",
    source="derived here",
    statements=[8],
    kind="extrapolation",
    setting=RULES,
    parts=6,
    formula="the rules of theory/score_maps/gradients.py",
    judged="rules against autograd through the kernels' maps, within 64 n roundings of the largest gradient",
    reads=("n_keys", "cut"),
)
def score_gradients(setting: RuleSetting, lab: Lab) -> Verdict:
    """Each map has its rule for the gradient of a row of scores.

    Twins: softmax's rule for softplus, softpick and clipped; for softmax without the mean; for signed the mean without signs; for
    standardised rows without the term that turns with the spread.
    """
    runs = lab.simulate(gradients, setting)
    s, P = runs["scores"], runs["upstream"]
    gamma = -setting.cut / setting.n_keys
    soft = rules.softmax_gradient(s, P)
    W = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    size = np.exp(np.abs(s)) / np.exp(np.abs(s)).sum(-1, keepdims=True)
    spread = s.std(-1, keepdims=True) + 1e-3
    both = {
        "softmax": (soft, W * P),
        "softplus": (rules.softplus_gradient(s, P), soft),
        "softpick": (rules.softpick_gradient(s, P), soft),
        "clipped": (rules.clipped_gradient(s, P, gamma), soft),
        "signed": (rules.signed_gradient(s, P), size * (P - (np.sign(s) * size * P).sum(-1, keepdims=True))),
        "standardised": (rules.standardised_gradient(s, P), (P - P.mean(-1, keepdims=True)) / spread),
    }
    return all_of(
        *[
            identical(runs[name], law, rounding=64 * setting.n_keys, twin=Twin.of("another rule", b=rival)).named(name)
            for name, (law, rival) in both.items()
        ]
    )


@paper.claim(
    "one_pass_over_blocks",
    source="online forms; section 3 of Lin et al.",
    statements=[7, 8],
    kind="construction",
    setting=RULES,
    parts=3,
    formula="m' = max(m, block), both sums times e^(m - m'); softpick's level is max(0, max s); a forget gate adds c_i - c_j "
    "per block",
    judged="outputs of one pass against the dense kernels, within 64 n roundings",
)
def one_pass_over_blocks(setting: RuleSetting, lab: Lab) -> Verdict:
    """Softpick, signed attention and forget gates run in one pass over blocks of keys.

    Twin: without rescaling when the level grows.
    """
    runs = lab.simulate(blockwise, setting)
    return all_of(
        *[
            identical(
                runs[f"{name}_blocks"],
                runs[f"{name}_dense"],
                rounding=64 * setting.n_keys,
                twin=Twin.of("unscaled", a=runs[f"{name}_unscaled"]),
            ).named(name)
            for name in ("softpick", "signed", "forgetting")
        ]
    )


@paper.claim(
    "level_without_the_zero",
    source="published kernel of Zuhri et al.",
    statements=[8],
    kind="extrapolation",
    setting=RULES,
    parts=2,
    formula="level max s in float32: after a block of scores below -88 the sums hold 0 * infinity; all scores below -88 give "
    "0, as they should",
    judged="which entries of the output are numbers",
)
def level_without_the_zero(setting: RuleSetting, lab: Lab) -> Verdict:
    """Softpick in float32 needs the level max(0, max s) only where a block of very negative scores comes before a larger one.

    Twins: that both give numbers; that rows without a positive score fail as well.
    """
    runs = lab.simulate(blockwise, setting)
    numbers = {name: np.isfinite(runs[name]) for name in ("clamped", "unclamped", "unclamped_low")}
    fine = np.ones_like(numbers["clamped"])
    return all_of(
        identical(
            np.stack([numbers["clamped"], numbers["unclamped"]]),
            np.stack([fine, ~fine]),
            twin=Twin.of("both", b=np.stack([fine, fine])),
        ).named("a larger block later"),
        identical(
            runs["unclamped_low"], 0.0 * runs["unclamped_low"], twin=Twin.of("not a zero", b=fine.astype(np.float32))
        ).named("none"),
    )


@paper.claim(
    "standardised_rows_are_linear",
    source="derived here",
    statements=[2],
    kind="extrapolation",
    setting=RULES,
    formula="O = g q^T sum_j (k_j - kbar) v_j^T / (sqrt(q^T C q) + eps) + b sum_j v_j",
    judged="the operator against the linear form, within 64 n d roundings",
    reads=("n_keys", "dim"),
)
def standardised_rows_are_linear(setting: RuleSetting, lab: Lab) -> Verdict:
    """Attention with standardised scores is linear attention: moments of the keys are enough.

    Twin: the sample covariance, n - 1.
    """
    runs, n = lab.simulate(forms, setting), setting.n_keys
    every = [
        [
            standardised.linear_form(q, k, v, g, 0.25, eps)
            for q, k, v in zip(runs["q"], runs["k"], runs["v"], strict=True)
        ]
        for g, eps in ((1.0, 1e-3), (math.sqrt((n - 1) / n), 1e-3 * math.sqrt((n - 1) / n)))
    ]
    law, rival = (np.array(x) for x in every)
    return identical(runs["standardised"], law, rounding=64 * n * setting.dim, twin=Twin.of("n - 1", b=rival))


@paper.claim(
    "rectified_rows_have_no_scale",
    source="equation 7 of Zhang et al.",
    statements=[5],
    setting=RULES,
    formula="RMSNorm(relu(c s) V) = RMSNorm(relu(s) V), c > 0",
    judged="outputs at scores s and 3 s, within 64 n roundings",
)
def rectified_rows_have_no_scale(setting: RuleSetting, lab: Lab) -> Verdict:
    """With its norm ReLA does not see a common positive factor of a row's scores. Twin: outputs that grow by 0.1 %."""
    runs = lab.simulate(forms, setting)
    return identical(
        runs["rectified_tripled"],
        runs["rectified"],
        rounding=64 * setting.n_keys,
        twin=Twin.of("0.1 % more", b=1.001 * runs["rectified"]),
    )


@paper.claim(
    "forget_gates_are_a_bias",
    source="equations 7 and 8 of Lin et al.",
    statements=[7],
    setting=RULES,
    parts=4,
    formula="multiplying all old numerators by f_i at step i = softmax(s_ij + c_i - c_j), c = cumsum(ln f); constant f: slope "
    "-ln f of |i - j|",
    judged="kernels with the bias against the recurrence and against ALiBi; the gradient of ln f against the reversed sum of "
    "columns; "
    "rows of score gradients sum to 0; within 64 n roundings",
    reads=("n_keys", "gate"),
)
def forget_gates_are_a_bias(setting: RuleSetting, lab: Lab) -> Verdict:
    """A forget gate acts as a bias of the scores, and a constant one as ALiBi.

    Twins: the gate of the key included, c_i - c_(j-1); the slope 1 - f; columns summed from the gate's own key on.
    """
    runs, n = lab.simulate(forms, setting), setting.n_keys
    s, f = runs["scores"], runs["gates"]
    law = np.array([forgetting.recurrent_weights(*each) for each in zip(s, f, strict=True)])
    early = np.array([forgetting.recurrent_weights(a - np.log(g), g) for a, g in zip(s, f, strict=True)])
    apart = np.arange(n)[:, None] - np.arange(n)

    def biased(slope: float) -> np.ndarray:
        e = np.where(apart >= 0, np.exp(s - slope * apart), 0.0)
        return e / e.sum(-1, keepdims=True)

    slope = np.array([forgetting.log_gate_gradient(each) for each in runs["score_slope"]])
    own = np.concatenate([slope[:, 1:], np.zeros((len(slope), 1))], 1)
    own_map = np.array([forgetting.recurrent_weights(*each) for each in zip(runs["fading_scores"], f, strict=True)])
    rounding = 64 * n
    return all_of(
        identical(runs["faded"], law, rounding=rounding, twin=Twin.of("own gate, too", b=early)).named("kernel"),
        identical(runs["fading"], own_map, rounding=rounding, twin=Twin.of("kernel's other scores", b=law)).named(
            "operator"
        ),
        identical(
            runs["constant"],
            biased(-math.log(setting.gate)),
            rounding=rounding,
            twin=Twin.of("1 - f", b=biased(1 - setting.gate)),
        ).named("ALiBi"),
        identical(runs["gate_slope"], slope, rounding=rounding, twin=Twin.of("from the own key on", b=own)).named(
            "gradient"
        ),
    )
