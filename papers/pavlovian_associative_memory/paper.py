"""The paper, its settings, and how replicas are reduced to one error each."""

from __future__ import annotations

from dataclasses import replace

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
DESK = Setting(n_draws=800)
SCALES = paper.scales(
    smoke=replace(DESK, n_draws=200), desk=DESK, paper=replace(DESK, dim=64, n_pairs=300, value_dim=64)
)


def scaled(desk: Setting, paper_scale: Setting | None = None) -> Scales:
    """Three scales of one setting: a quarter of the draws at smoke, four times as many at paper."""
    return Scales(
        smoke=replace(desk, n_draws=desk.n_draws // 4),
        desk=desk,
        paper=paper_scale or replace(desk, n_draws=4 * desk.n_draws),
    )


def mean_over_pairs(runs, name="error"):
    """One number per replica."""
    return runs[name].mean(-1)


def over(setting: Setting) -> str:
    """What verdicts speak of: every replica's number is an average over its draws."""
    return f"mean over replicas of {setting.n_draws} draws"
