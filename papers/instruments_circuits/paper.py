"""The sheet on instruments for circuits: sources, statements, and the settings that claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.instruments_circuits.measured import (
    CodeSetting,
    InductionSetting,
    LeakSetting,
    ProgramSetting,
    SetSetting,
)
from attnlab.papers.lab.declare import Paper, Scales, Source

paper = Paper(
    key="instruments_circuits",
    title="Instruments: circuits, patching, ablation windows, lenses",
    sources=[
        Source(
            authors="Jack Merullo, Carsten Eickhoff, Ellie Pavlick",
            title="Circuit Component Reuse Across Tasks in Transformer Language Models",
            year=2024,
            arxiv="2310.08744",
        ),
        Source(
            authors="Charles O'Neill, Thang Bui",
            title="Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language Models",
            year=2024,
            arxiv="2405.12522",
        ),
        Source(
            authors="Siddarth Mamidanna, Daking Rai, Ziyu Yao, Yilun Zhou",
            title="All for One: LLMs Solve Mental Math at the Last Token With Information Transferred From Other Tokens",
            year=2025,
            arxiv="2509.09650",
        ),
        Source(
            authors="Shahar Katz, Yonatan Belinkov",
            title="VISIT: Visualizing and Interpreting the Semantic Information Flow of Transformers",
            year=2023,
            arxiv="2305.13417",
        ),
        Source(
            authors="Jun Zhang and others",
            title="CAB: Comprehensive Attention Benchmarking on Long Sequence Modeling",
            year=2022,
            arxiv="2210.07661",
        ),
    ],
    statements={
        1: "Induction written by hand has weights in closed form, and answers right from small strengths on.",
        2: "Components sum to the logits when all are scaled by the norm of the whole state, and not when each is by its own.",
        3: "Path patching finds the planted circuit: which head acts on what, and through which input.",
        4: "Circuits of two tasks overlap by chance like random sets: mean, variance and tail are hypergeometric.",
        5: "The share of prompts with a code of their own has a null that depends on how many codes a head uses.",
        6: "Context-free states before a layer keep the answer up to the first layer that needs context, and the windows that "
        "suffice are those that contain the layers used.",
        7: "The lens shows the answer at the depth at which it is written.",
        8: "A causal operator has no leak; the published test of 1e-4 lets a leak of 1e-6 pass.",
        9: "Gradients miss a head behind a saturated softmax; the path integral gives its whole effect.",
        10: "In trained language models 78 % of the heads of one task are those of another, and arithmetic waits for the last "
        "token.",
    },
)
paper.not_testable(10, "needs the trained models of the papers; what such readings are held to is claimed here")

_MODEL = InductionSetting()
MODELS = Scales(replace(_MODEL, n_replicas=2), _MODEL, replace(_MODEL, n_prompts=64, n_replicas=16))
PROGRAMS = Scales(ProgramSetting(modulus=5), ProgramSetting(), ProgramSetting(modulus=9))
_SETS = SetSetting(n_pairs=16_000)
SETS = Scales(_SETS, _SETS, replace(_SETS, n_replicas=64))
CODES = Scales(
    CodeSetting(n_heads=2000), CodeSetting(n_heads=8000, n_replicas=48), CodeSetting(n_heads=8000, n_replicas=64)
)
LEAKS = Scales(LeakSetting(n_replicas=4), LeakSetting(), LeakSetting(n_tokens=64))
paper.scales(smoke=MODELS.smoke, desk=MODELS.desk, paper=MODELS.paper)
