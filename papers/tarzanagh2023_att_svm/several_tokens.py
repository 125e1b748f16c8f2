"""Claims on a non-linear head, which keeps several tokens (statement 8)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from attnlab.analysis import Twin, Verdict, aligned, all_of, ordered
from attnlab.papers.lab.conditions import too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import paper
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.training import Setting
from attnlab.theory.max_margin_attention import frobenius as svm

RELU = Setting(n_inputs=3, n_tokens=4, dim=6, head="relu", n_steps=3_000, n_records=30, n_replicas=320)
HEADS = Scales(replace(RELU, n_steps=2_000, n_replicas=96), RELU, replace(RELU, n_steps=20_000, n_replicas=3_200))
KEPT, MASKED = 1e-3, 1e-6  # attention weights above are kept, below are masked; between them a replica is left out
ACCEPTED = [
    "accepted replicas: several tokens kept somewhere, some masked, at the end no attention weight between 1e-6 and "
    "1e-3, and the generalised machine is feasible"
]
FEW = "few of the 96 replicas are accepted, and 2 000 steps leave some on their way"


@dataclass(frozen=True)
class Several:
    """Accepted replicas: ``index``, which inputs are switched ``off (accepted, input)``, and how the trained weights compare.

    One minus correlation along training, ``(accepted, record)``: ``combined`` with W_fin + R W_mm, ``generalised`` with W_mm,
    ``single`` with the machine of the leading tokens, ``relaxed`` with W_mm when inputs that are off need margin zero only.
    ``machine``, ``relaxed_machine (accepted, dim, dim)``; ``leak (accepted,)``: the largest masked attention weight.
    """

    index: np.ndarray
    off: np.ndarray
    combined: np.ndarray
    generalised: np.ndarray
    single: np.ndarray
    relaxed: np.ndarray
    machine: np.ndarray
    relaxed_machine: np.ndarray
    leak: np.ndarray


def several(runs):
    """The accepted replicas, compared with all predictors."""
    attention = np.exp(runs["log_attention"])
    kept = attention >= KEPT
    off = np.ptp(runs["worth"], axis=-1) == 0  # no token of the input changes the output
    clear = ~((attention > MASKED) & ~kept).any((-2, -1))
    index = np.flatnonzero(clear & (kept.sum(-1).max(-1) > 1) & (~kept & ~off[..., None]).any((-2, -1)))
    rows, used = [], []
    for i in index:
        keys, queries, W = runs["keys"][i], runs["queries"][i], runs["W"][i]
        try:
            machine = svm.several_token_svm(keys, queries, kept[i])
        except svm.Infeasible:  # ties among kept tokens may leave no room to mask the others
            continue
        used.append(i)
        relaxed = svm.several_token_svm(keys, queries, kept[i], off[i])
        finite = svm.log_ratio_weights(keys, queries, attention[i], kept[i])
        factor = ((W - finite) * machine).sum((-2, -1), keepdims=True) / (machine**2).sum()
        single = svm.frobenius_svm(keys, queries, attention[i].argmax(-1)).weights
        rows.append(
            (
                svm.misalignment(W, finite + factor * machine),
                svm.misalignment(W, machine),
                svm.misalignment(W, single),
                svm.misalignment(W, relaxed),
                machine,
                relaxed,
                attention[i][~kept[i]].max(),
            )
        )
    index = np.array(used, dtype=int)
    if not rows:
        curve, matrix = np.empty((0, runs["steps"].shape[1])), np.empty((0, *runs["W"].shape[2:]))
        return Several(index, off[index], curve, curve, curve, curve, matrix, matrix, np.empty(0))
    return Several(index, off[index], *map(np.array, zip(*rows, strict=True)))


def too_few_accepted(chosen, runs, condition, what):
    """The verdict if fewer than two replicas can be judged."""
    accepted = f"are accepted and {what} ({len(chosen.index)} of {runs.n} are accepted)"
    return too_few(condition, accepted, wants="replicas")


@paper.claim(
    "several_tokens",
    source="Section on non-linear heads",
    statements=[8],
    setting=HEADS,
    parts=2,
    undecided_at_smoke=FEW,
    formula="corr(W, W_fin + R W_mm) > corr(W, W_mm) > corr(W, W_one)",
    assumptions=ACCEPTED,
    judged="median over accepted replicas of the differences of log10 (1 - corr), both above 0",
)
def several_tokens(setting: Setting, lab: Lab) -> Verdict:
    """Finite part plus generalised machine describe trained weights best, the machine alone next, the one-token machine worst.

    Twins: the reversed orders.
    """
    runs = lab.simulate(simulator.train, setting)
    chosen = several(runs)
    if (few := too_few_accepted(chosen, runs, np.ones(len(chosen.index), bool), "of use")) is not None:
        return few
    best, middle, worst = (np.log10(curves[:, -1]) for curves in (chosen.combined, chosen.generalised, chosen.single))
    first, second = (
        ordered(low, high, of="median over replicas", twin=Twin.of("reversed", smaller=high, larger=low))
        for low, high in ((best, middle), (middle, worst))
    )
    return all_of(first.named("finite part"), second.named("several tokens"))


def switched_off(setting, lab: Lab):
    """The runs, what is accepted, in which accepted replicas relaxing makes a difference, and the angle it makes."""
    runs = lab.simulate(simulator.train, setting)
    chosen = several(runs)
    apart = svm.angle(chosen.machine, chosen.relaxed_machine)
    use = apart > 0.1
    return runs, chosen, use, apart


@paper.claim(
    "strict_machine",
    source="Section on non-linear heads",
    statements=[8],
    setting=HEADS,
    expected="REFUTED",
    undecided_at_smoke=FEW,
    formula="W / ||W||_F -> W_mm / ||W_mm||_F, margin one on every input",
    assumptions=[
        *ACCEPTED,
        "the ReLU units of some input are all off, and W_mm is more than 0.1 rad from the relaxed machine",
    ],
    judged="median angle to W_mm below a third of the mean angle between the two machines",
    note="An input whose units are all off has no gradient: nothing masks its tokens further. See relaxed_machine.",
)
def strict_machine(setting: Setting, lab: Lab) -> Verdict:
    """Weights trained with a ReLU head diverge in the direction of the generalised machine with a margin on every input.

    Twin: the machine that is relaxed on inputs whose units are all off.
    """
    return _machine(setting, lab, "machine", "relaxed_machine")


@paper.claim(
    "relaxed_machine",
    source="corrects the section on non-linear heads",
    statements=[8],
    setting=HEADS,
    undecided_at_smoke=FEW,
    formula="min ||W||_F: equalities among kept tokens; margin 1 if the head still answers to the input, margin 0 if "
    "not",
    assumptions=[
        *ACCEPTED,
        "the ReLU units of some input are all off, and W_mm is more than 0.1 rad from the relaxed machine",
    ],
    judged="median angle to the relaxed machine below a third of the mean angle between the two machines",
)
def relaxed_machine(setting: Setting, lab: Lab) -> Verdict:
    """Inputs whose ReLU units are all off ask for no further margin: the direction is that of the relaxed machine.

    Twin: the machine with margin one on every input.
    """
    return _machine(setting, lab, "relaxed_machine", "machine")


def _machine(setting, lab: Lab, right, rival):
    runs, chosen, use, apart = switched_off(setting, lab)
    if (few := too_few_accepted(chosen, runs, use, "have an input that is switched off")) is not None:
        return few
    W = runs["W"][chosen.index[use], -1]
    return aligned(
        W,
        getattr(chosen, right)[use],
        within_angle=float(apart[use].mean()) / 3,
        of="median over replicas",
        twin=Twin.of(rival.replace("_", " "), direction=getattr(chosen, rival)[use]),
    )
