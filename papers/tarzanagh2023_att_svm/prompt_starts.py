"""Claims on where a prompt ends that starts somewhere: the selected token, and the cone that keeps it (statements 4 and
9)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, aligned, all_of, budget, exhaustive
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import outside, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import paper, too_short, unless_moving
from attnlab.simulators.max_margin_attention.prompt_vectors import PromptSetting, prompts
from attnlab.theory.max_margin_attention import dynamics
from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention.prompt_vectors import separating_gap

STARTS = Scales(PromptSetting(), PromptSetting(n_steps=4_000), PromptSetting(n_steps=16_000))
ONE_INPUT = {
    "keys": that(lambda keys: len(keys) == 1 and len(keys[0]) == 3, "one input of three tokens"),
    "scores": that(
        lambda scores: len(scores) == 1 and scores[0][0][0] > scores[0][0][1] >= scores[0][0][2],
        "one case, falling from the first token to the third",
    ),
}


def svm_direction(keys, token):
    """The prompt of least norm that selects one token of a single input."""
    return svm.frobenius_svm(np.array(keys), np.ones((1, 1)), [token]).weights[:, 0]


def flow_ends(setting, starts):
    """Ends ``(start, dim)`` and leading tokens ``(start,)`` of the normalised flow over the length of the path."""
    keys, scores = np.array(setting.keys), np.array(setting.scores)[0]
    length = setting.learning_rate * setting.n_steps
    flows = [
        dynamics.logit_flow(keys, np.ones((1, 1)), scores, [0.0, length], start=start[:, None], loss=setting.loss)
        for start in np.asarray(starts, dtype=float)
    ]
    return np.array([flow.weights[-1, :, 0] for flow in flows]), np.array(
        [flow.logits[-1, 0].argmax() for flow in flows]
    )


def settled_starts(setting):
    """Predicted ends and tokens, and which starts stay clear of the boundary: one step aside they end at the same
    token."""
    starts = np.array(setting.starts)
    ends, tokens = flow_ends(setting, starts)
    aside = [s * setting.learning_rate * e for e in np.eye(starts.shape[1]) for s in (1, -1)]
    return ends, tokens, np.all([flow_ends(setting, starts + move)[1] == tokens for move in aside], axis=0)


@paper.claim(
    "prompt_starts",
    source="companion paper, single-input figure",
    statements=[9, 4],
    parts=3,
    setting=STARTS,
    reads=("keys", "scores", "starts", "loss", "learning_rate", "n_steps"),
    covers={**ONE_INPUT, "descent": that(lambda descent: descent == "normalised", "'normalised'")},
    formula="p_k / ||p_k|| -> p_alpha / ||p_alpha||; p_alpha = (-0.0990, 0.9901) of the best token, (1, 0) of the "
    "second",
    assumptions=[
        "tokens (-0.1, 1), (1, 0), (0, 0) with scores 1, 0.9, c: the given c, and c = 0",
        "six starts (0, a); starts whose flow ends elsewhere when they are moved by one step are left out",
    ],
    judged="every start: selected token as in the flow of p from this start; angle to the SVM direction of this token "
    "within "
    "what the flow leaves across it, and one step",
)
def prompt_starts(setting: PromptSetting, lab: Lab) -> Verdict:
    """Every start ends at the SVM direction of a token, of the best one unless another is locally optimal and the start
    on its side.

    With c = 0.9 the second token is not locally optimal, and all starts select the best one; with c = 0 it is, and
    starts with a <= -1 select it: the flow of one logit a token says which. Twins: the other token's direction; the
    best token from every start.
    """
    if (short := too_short(setting.n_steps * setting.learning_rate, 50)) is not None:
        return short
    low = replace(setting, scores=(((*setting.scores[0][0][:2], 0.0),),))
    try:
        directions = np.array([svm_direction(setting.keys, token) for token in range(3)])
    except svm.Infeasible:
        return outside(f"keys={setting.keys!r}: some token cannot be selected, it lies among the others")
    parts, steps = [], None
    for name, each, runs in zip(
        ("given scores", "c = 0"), (setting, low), lab.simulate(prompts, setting, low), strict=True
    ):
        ends, tokens, clear = settled_starts(each)
        if clear.sum() < 2:
            return outside(f"{clear.sum()} of {len(clear)} starts stay clear of the boundary by one step")
        aims, p = directions[tokens[clear]], runs["p"][0, clear]
        steps = runs["steps"][0]
        across = svm.angle(ends[clear][..., None], aims[..., None])
        step = setting.learning_rate / np.linalg.norm(ends[clear], axis=1)
        within = budget(Piece("finite part and start", float(across.max())), Piece("one step", float(step.max())))
        angle = aligned(
            p[:, -1],
            aims,
            within_angle=float(within),
            of="every start",
            unit="start",
            twin=Twin.of("other token", direction=directions[np.where(tokens[clear] == 0, 1, 0)]),
        )
        ways = np.array([to_all(walk, aim) for walk, aim in zip(p, aims, strict=True)])
        parts.append(unless_moving(angle, steps, ways, float(within)).named(name))
    chosen = runs["attention"][0, :, 0].argmax(-1)
    if np.all(tokens[clear] == 0):
        return outside("with the last score 0 all starts select the best token: no start is on the side of another")
    which = exhaustive(
        np.flatnonzero(clear).tolist(),
        lambda i: bool(chosen[i] == tokens[i]),
        unit="start",
        of="every start",
        twin=Twin.of("always the best token", check=lambda i: bool(chosen[i] == 0)),
    )
    return all_of(*parts, which.named("selection"))


def to_all(walk, end):
    """Angles of the points of a walk ``(record, dim)`` to one direction."""
    return svm.angle(np.where(walk.any(-1, keepdims=True), walk, -end)[:, None], end[None])  # the origin is far from it


OFFSETS = (-100.0, -20.0, -5.0, -2.0, -1.0, -0.5, -0.16, 0.16, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0)
"""Leads of the better rival over the worse one at the starts of the cone, less the boundary, in units of the logits."""
LEAD = 200.0
KEYS, SCORES = PromptSetting().keys, (((1.0, 0.9, 0.0),),)


def around_boundary(keys, scores):
    """Starts in the plane that the second token leads by 200 over the worse of its rivals, the better one by the
    offsets."""
    X = np.array(keys[0])
    gaps = separating_gap(X, scores[0][0], 1) + np.array(OFFSETS)
    starts = np.linalg.solve(np.array([X[0] - X[2], X[1] - X[2]]), [gaps, np.full(len(gaps), LEAD)])
    return tuple(tuple(round(float(x), 9) for x in start) for start in starts.T)


def cone(n_steps):
    """Starts around the boundary of the three-token example with scores 1, 0.9, 0."""
    return PromptSetting(scores=SCORES, starts=around_boundary(KEYS, SCORES), n_steps=n_steps, n_records=20)


@paper.claim(
    "cone",
    source="local convergence theorem; the boundary is derived",
    statements=[4, 9],
    kind="extrapolation",
    setting=Scales(cone(6_000), cone(10_000), cone(40_000)),
    reads=("keys", "scores", "starts", "learning_rate"),
    covers={**ONE_INPUT, "descent": that(lambda descent: descent == "normalised", "'normalised'")},
    formula="token a is kept iff (k_b - k_c)^T p < log [(gamma_a - gamma_c) (k_a - k_c)^T (k_c - k_b) / ((gamma_b - "
    "gamma_a) "
    "(k_b - k_a)^T (k_b - k_c))], -0.210 here",
    assumptions=[
        "one input; a the second, b the best, c the worst token",
        "starts that a leads by 10 at least, further than one step from the boundary; the path twice as long as the "
        "start",
    ],
    judged="every start: the second token is kept or left as the boundary says; starts lie from 100 logits within to "
    "100 beyond it, "
    "the nearest 0.16",
)
def cone_of_attraction(setting: PromptSetting, lab: Lab) -> Verdict:
    """Descent keeps a locally optimal token within a cone around its direction, up to a boundary where two rivals
    balance.

    Inside, the worse rival drives the prompt along the direction; outside, the better one takes over. Twin: the
    boundary without the scores and angles, where the two rivals have equal logits.
    """
    try:
        boundary = separating_gap(setting.keys[0], setting.scores[0][0], 1)
        if setting.starts == around_boundary(KEYS, SCORES):
            setting = replace(setting, starts=around_boundary(setting.keys, setting.scores))
    except (ValueError, np.linalg.LinAlgError) as error:
        return outside(str(error))
    start, keys = np.array(setting.starts), np.array(setting.keys[0])
    needed = 2 * np.linalg.norm(start, axis=1).max()
    if (short := too_short(setting.n_steps * setting.learning_rate, needed)) is not None:
        return short
    logits = start @ keys.T
    gap, lead = logits[:, 0] - logits[:, 2], logits[:, 1] - np.maximum(logits[:, 0], logits[:, 2])
    step = setting.learning_rate * np.linalg.norm(keys[0] - keys[2])
    use = np.flatnonzero((lead >= 10) & (np.abs(gap - boundary) > step))
    if not (np.any(gap[use] < boundary) and np.any(gap[use] > boundary)):
        return outside(f"no start that the second token leads by 10 lies on each side of the boundary {boundary:.3g}")
    if np.array_equal(gap[use] < boundary, gap[use] < 0.0):
        return outside(
            f"no start lies between the boundary {boundary:.3g} and that of equal logits: they are not told apart"
        )
    kept = lab.simulate(prompts, setting)["attention"][0, :, 0].argmax(-1) == 1
    return exhaustive(
        use.tolist(),
        lambda i: bool(kept[i] == (gap[i] < boundary)),
        unit="start",
        of="every start",
        twin=Twin.of("equal logits", check=lambda i: bool(kept[i] == (gap[i] < 0.0))),
    )
