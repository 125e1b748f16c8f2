"""The sheet on instruments for sinks: sources, statements, and the settings that claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.instruments_sinks.measured import HeadSetting, MapSetting, MovedSetting
from attnlab.papers.instruments_sinks.measured_states import CellSetting, StateSetting, StreamSetting
from attnlab.papers.lab.declare import Paper, Scales, Source

paper = Paper(
    key="instruments_sinks",
    title="Instruments: attention sinks, massive activations, calibration",
    sources=[
        Source(
            authors="Jeffrey T. H. Wong and others",
            title="On the Existence and Behaviour of Secondary Attention Sinks",
            year=2025,
            arxiv="2512.22213",
        ),
        Source(
            authors="Seil Kang and others",
            title="See What You Are Told: Visual Attention Sink in Large Multimodal Models",
            year=2025,
            arxiv="2503.03321",
        ),
        Source(
            authors="Zhongzhi Yu and others",
            title="Unveiling and Harnessing Hidden Attention Sinks: Enhancing Large Language Models without Training through "
            "Attention Calibration",
            year=2024,
            arxiv="2406.15765",
        ),
    ],
    statements={
        1: "Names for the sink score differ by factors; each has a null mean that holds for every exchangeable law of scores, "
        "and a spread that does not.",
        2: "A score bonus b on the first key gives the mean weight (1/T) sum e^b/(e^b + i - 1), so a fixed threshold is not "
        "comparable across lengths.",
        3: "A secondary sink attracts attention by the cosine of its state with the first token's, and weakens the first by an "
        "exact factor.",
        4: "A written component is seen as a sink for a number of layers that grows with the square of its norm; the sign of "
        "the cosine matters.",
        5: "A massive coordinate stands out by M sqrt(D)/sqrt(M^2 + D - 1), below sqrt(D); massive activations and sinks are "
        "two things.",
        6: "Turning sinks down and giving their mass back keeps row sums; what comes back to a key is its share of the rest.",
        7: "Removal of a sink moves the output by the distance of its value from the rest; a sink of value 0 only by its norm.",
        8: "Sinks elsewhere than on the first token are found by comparing columns, at an error known beforehand.",
        9: "In trained language models secondary sinks come from single MLPs, few levels occur, and calibration raises accuracy.",
    },
)
paper.not_testable(
    9, "needs the trained models of the papers; the laws that such readings are held to are claimed here"
)

_MAPS = MapSetting(n_prompts=2048)
MAPS = Scales(smoke=replace(_MAPS, n_prompts=1024), desk=_MAPS, paper=replace(_MAPS, n_replicas=64))
_PLANTED = MapSetting(n_tokens=64, bonus=2.0, n_prompts=512, n_replicas=32)
PLANTED = Scales(smoke=replace(_PLANTED, n_replicas=16), desk=_PLANTED, paper=replace(_PLANTED, n_replicas=128))
_FLAT = MapSetting(sd=0.0, n_prompts=2, n_replicas=2)
FLAT = Scales(_FLAT, _FLAT, _FLAT)
HEADS = Scales(smoke=HeadSetting(n_replicas=8), desk=HeadSetting(n_heads=800), paper=HeadSetting(n_heads=3200))
_FOUND = HeadSetting(n_heads=1600)
FOUND = Scales(_FOUND, _FOUND, replace(_FOUND, n_replicas=64))
_COLUMNS = HeadSetting(n_tokens=64, sd=1.0, column=20, n_heads=400)
COLUMNS = Scales(_COLUMNS, replace(_COLUMNS, n_heads=800), replace(_COLUMNS, n_heads=3200))
STREAMS = Scales(
    smoke=StreamSetting(n_replicas=2), desk=StreamSetting(n_replicas=8), paper=StreamSetting(dim=512, n_replicas=16)
)
_STATES = StateSetting(n_replicas=32)
STATES = Scales(_STATES, _STATES, StateSetting(n_replicas=128))
CELLS = Scales(CellSetting(n_replicas=16), CellSetting(n_replicas=128), CellSetting(n_replicas=512))
MOVED = Scales(MovedSetting(n_replicas=4), MovedSetting(), MovedSetting(n_tokens=128))
paper.scales(smoke=MAPS.smoke, desk=MAPS.desk, paper=MAPS.paper)
