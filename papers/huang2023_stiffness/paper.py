"""The paper, its statements and what cannot be tested here, and the settings that several claims share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from attnlab.papers.lab.conditions import outside
from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.stiffness.gated_networks import GATES, SpiralSetting

LIANG = Source(
    authors="Senwei Liang, Zhongzhan Huang, Hong Zhang",
    year=2022,
    title="Stiffness-aware neural network for learning Hamiltonian systems",
    venue="International Conference on Learning Representations",
)
paper = Paper(
    key="huang2023_stiffness",
    title="Understanding Self-attention Mechanism via Dynamical System Perspective",
    sources=[
        Source(
            authors="Zhongzhan Huang, Mingfu Liang, Jinghui Qin, Shanshan Zhong, Liang Lin",
            year=2023,
            title="Understanding Self-attention Mechanism via Dynamical System Perspective",
            venue="International Conference on Computer Vision",
            arxiv="2308.09939",
        ),
        LIANG,
    ],
    statements={
        1: "Solutions of ODEs and features along the depth of trained residual networks change fast on short stretches.",
        2: "Representing these stretches is needed for high performance, and makes training harder.",
        3: "A gate on the residual branch is a step size that adapts to the stiffness index, and lets a network represent more "
        "of it.",
        4: "This is why only some blocks need a gate.",
        5: "A gate that extracts finer stiffness information (StepNet) improves accuracy on vision benchmarks.",
        6: "The index of gated blocks and of linear flows lies between sharp bounds; what scaling does to it.",
        7: "The index of normalised random blocks falls like 1 / sqrt(1 + t) along depth, without any learning.",
        8: "Steps proportional to 1 / index have the least error of all step densities, by a factor that is known.",
        9: "An adaptive solver limited by accuracy takes steps proportional to 1 / index.",
        10: "On dissipative stiff equations the index is no measure of stiffness: steps follow the largest eigenvalue.",
        11: "Gates are larger, not smaller, in blocks of larger raw index, against the rule of a solver.",
    },
)
paper.not_testable(
    2,
    "about the accuracy of vision networks: on the tasks of this size accuracies of networks with and without gates "
    "differ within the noise of the seeds, and nothing varies what a network can represent and leaves the rest",
)
paper.not_testable(
    4, "an explanation of which blocks of deep vision networks need gates; needs their training with subsets of gates"
)
paper.not_testable(
    5,
    "needs the architecture of StepNet, of which no code is public, and vision benchmarks; a gate that sees "
    "block output and feature, step-like but not StepNet, stands beside the plain gate in statement 3",
)

HARD = SpiralSetting()
EASY = replace(HARD, turns=1.5)  # solved by every network
SHORT = "300 steps of 8 replicas end before the profiles have formed"


def spiral_scales(setting):
    """The setting at three scales; ``paper`` has the blocks per stage of the published figure, and wider channels."""
    return Scales(
        smoke=replace(setting, n_steps=300, n_replicas=8),
        desk=setting,
        paper=replace(setting, n_blocks=18, width=64, hidden=128, reduction=16, n_steps=20_000, n_replicas=32),
    )


EASY_SCALES, HARD_SCALES = spiral_scales(EASY), spiral_scales(HARD)
KINDS = {name: GATES.index(name) for name in ("f", "f and x")}


@dataclass(frozen=True)
class InputSetting:
    """Statements about all inputs: ``dim`` of the searched vectors, ``budget``: evaluations of one search."""

    dim: int = 6
    budget: int = 100_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "dim")
        require_positive(self, "budget", "n_replicas")


INPUTS = Scales(
    smoke=InputSetting(dim=4, budget=50_000), desk=InputSetting(), paper=InputSetting(dim=16, budget=1_000_000)
)


def without(values, needed, name):
    """The verdict if a setting lacks values that a statement speaks of; None if it has them."""
    missing = [value for value in needed if value not in values]
    if missing:
        return outside(f"{name}={values!r} lacks {missing!r}, which the statement is about")
    return None


def peak(index):
    """log of the largest over the median index of a profile, blocks on the last axis."""
    return np.log(index.max(-1) / np.median(index, axis=-1))
