"""The paper, its settings, and how replicas are reduced to one error each."""

from __future__ import annotations

from dataclasses import replace

from attnlab.analysis import replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.associative_memory.recall import Setting

TITLE = "Understanding Transformers through the Lens of Pavlovian Conditioning"
paper = Paper(
    key="pavlovian_associative_memory",
    title=TITLE,
    sources=[
        Source(authors="Mu Qiao", year=2025, arxiv="2508.08289", title=TITLE),
        Source(
            authors="Hubert Ramsauer, Bernhard Schäfl, Johannes Lehner, Philipp Seidl, Michael Widrich, Thomas Adler, "
            "Lukas Gruber, Markus Holzleitner, Milena Pavlović, Geir Kjetil Sandve, Victor Greiff, David Kreil, "
            "Michael Kopp, Günter Klambauer, Johannes Brandstetter, Sepp Hochreiter",
            year=2021,
            arxiv="2008.02217",
            title="Hopfield Networks is All You Need",
            venue="International Conference on Learning Representations",
        ),
    ],
    statements={
        1: "Linear attention is one-shot Hebbian memory: values are stored under keys and read out by queries.",
        2: "A head of key width d retrieves O(sqrt d) associations with a guarantee, and O(d) on average.",
        3: "Errors propagate through depth, which trades depth against width and redundancy of heads.",
        4: "Error-correcting and decaying rules improve on the plain Hebbian rule.",
        5: "The least-squares memory stores exactly d values (2 d signs), polynomial kernels about d^p, softmax exponentially "
        "many.",
    },
)
DESK = Setting(n_draws=800, n_replicas=32)
SCALES = paper.scales(
    smoke=replace(DESK, n_replicas=16), desk=DESK, paper=replace(DESK, dim=64, n_pairs=300, value_dim=64)
)


def scaled(desk: Setting, paper_scale: Setting | None = None) -> Scales:
    """Three scales of one setting: half of the replicas at smoke, four times as many draws at paper."""
    return Scales(
        smoke=replace(desk, n_replicas=desk.n_replicas // 2),
        desk=desk,
        paper=paper_scale or replace(desk, n_draws=4 * desk.n_draws),
    )


def mean_over_pairs(runs, name="error"):
    """One number per replica."""
    return runs[name].mean(-1)


def over(setting: Setting) -> str:
    """What verdicts speak of: every replica's number is an average over its draws."""
    return f"mean over replicas of {setting.n_draws} draws"


#: Spreads over replicas of what claims judge, in units of the predicted size (1 where none is given) and brought to the desk's
#: draws: standard deviations of 12 replicas of other seeds with a sixteenth of the draws (Hebbian ones: of 16 with half), so
#: known to a fifth; those of cells with more draws, brought to these.
SPREADS = {
    "spherical": 0.0089,
    "gaussian": 0.0096,
    "noisy cue": 0.0079,
    "factor": 0.0032,
    "scaled": 0.0059,
    "sign spherical": 0.02,
    "sign binary": 0.012,
    "capacity growth": 0.0072,
    "capacity": 0.0096,
    "reach 16": 0.13,
    "reach 64": 0.13,
    "reach 256": 0.21,
    "reach 1024": 0.36,
    "reach growth": 0.0055,
    "decay, young": 0.008,
    "decay, old": 0.0078,
    "p = 1": 0.0036,
    "p = 2": 0.0054,
    "p = 3": 0.0026,
    "b = 2": 0.0098,
    "labels": 0.0033,
    "delta profile": 0.012,
    "delta short": 0.021,
    "least squares": 0.0054,
    "noisy cue of least squares": 0.019,
    "softmax identity": 0.00076,
    "target weight": 0.00094,
    "nearest": 0.0098,
    "half weight 4": 0.0072,
    "half weight 6": 0.0026,
    "half weight 8": 0.0015,
    "half weight 10": 0.00051,
    "split": 0.012,
    "full width": 0.014,
    "majority of 3": 0.047,
    "majority of 7": 0.18,
    "chain layer 1": 0.029,
    "chain layer 2": 0.04,
    "chain layer 3": 0.042,
    "chain layer 4": 0.089,
    "chain layer 6, three heads": 0.09,
}


def noise(name: str, setting, desk_draws: int, size: float = 1.0, points: int = 1, of: str = "") -> Piece:
    """What the replicas leave open: the spread, :data:`SPREADS` times ``size``, falls with the root of the draws."""
    of = of or over(setting)
    return replicas(
        SPREADS[name] * size * (desk_draws / setting.n_draws) ** 0.5, setting.n_replicas, of=of, points=points
    )
