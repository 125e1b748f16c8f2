"""The paper: its statements, its settings, two claims and a figure."""

from dataclasses import dataclass, replace

import numpy as np

from attnlab.analysis import Twin, Vector, agrees, figures, for_all
from attnlab.papers.lab import Paper, Scales, Source, main
from gaussian_logits.simulator import Setting, rows
from gaussian_logits.theory import inverse_participation_approx, inverse_participation_limit

paper = Paper(
    key="gaussian_logits",
    title="How many keys does softmax attention attend to?",
    sources=[Source(authors="You", title="How many keys does softmax attention attend to?", year=2026)],
    statements={
        1: "With Gaussian logits of standard deviation s, n E sum p^2 is exp(s^2), with a correction of order 1/n.",
        2: "The inverse participation ratio never exceeds the largest weight.",
    },
)
DESK = Setting()
paper.scales(
    smoke=replace(DESK, n_queries=2000, n_replicas=8), desk=DESK, paper=replace(DESK, n_queries=20_000, n_replicas=64)
)


@paper.claim(
    "participation",
    source="Theorem 1",
    statements=[1],
    formula="n E sum_j p_j^2 = exp(s^2) (1 + (3 (exp(s^2) - 1) - 2 (exp(2 s^2) - 1)) / n)",
    assumptions=["independent Gaussian logits"],
    judged="within a third of the correction; twin: the formula without it",
)
def participation(setting, lab):
    """The mean inverse participation ratio is exp(s^2), corrected to first order in 1/n."""
    runs = lab.simulate(rows, setting)
    predicted = inverse_participation_approx(setting.logit_std, setting.n_keys)
    limit = inverse_participation_limit(setting.logit_std)
    return agrees(
        runs["inverse_participation"],
        predicted,
        within=abs(predicted - limit) / 3,
        of=f"mean over replicas of {setting.n_queries} draws",
        twin=Twin.of("the limit of many keys", predicted=limit),
    )


@dataclass(frozen=True)
class Search:
    """The box of logits that is searched, and the evaluations of each search."""

    dim: int = 8
    logit_bound: float = 6.0
    budget: int = 50_000


@paper.for_all(
    "largest_weight",
    source="Lemma 1",
    statements=[2],
    setting=Scales(Search(), Search(), Search(dim=32)),
    formula="sum_j p_j^2 <= max_j p_j",
)
def largest_weight(setting):
    """The inverse participation ratio of softmax weights is at most the largest weight."""
    return {
        "searched": for_all(x=Vector(setting.dim, -setting.logit_bound, setting.logit_bound)).bound(
            lambda x: (x.softmax(-1) ** 2).sum() / x.softmax(-1).max(),
            at_most=1.0,
            twin=Twin.of("nine tenths of it", at_most=0.9),
        )
    }


@paper.figure("fig1", caption="Inverse participation ratio of softmax weights over Gaussian logits", source="Figure 1")
def participation_against_keys(setting, lab):
    """n E sum p^2 against the number of keys: the corrected formula and its limit as lines, simulations as points."""
    numbers = np.array([64, 128, 256, 512])
    runs = lab.simulate(rows, *[replace(setting, n_keys=int(n)) for n in numbers])
    fine = np.geomspace(64, 512, 60)
    plate = figures.Plate(width="single")
    figures.prediction(
        plate[0], fine, [inverse_participation_approx(setting.logit_std, n) for n in fine], "first order in 1/n"
    )
    figures.measurement(
        plate[0],
        numbers,
        np.stack([run["inverse_participation"] for run in runs], -1),
        "attention rows",
        series="first order in 1/n",
    )
    figures.reference(plate[0], "limit", y=inverse_participation_limit(setting.logit_std))
    plate[0].scale(x="log")
    plate[0].ticks(x=[64, 128, 256, 512])
    plate[0].labels(x="number of keys n", y="n E Σ p²")
    return plate


if __name__ == "__main__":
    raise SystemExit(main(paper))
