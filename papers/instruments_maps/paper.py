"""The sheet on instruments for maps: sources, statements, and the settings that claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.instruments_maps.measured import ImageSetting, KnownSetting, RandomSetting, VoteSetting
from attnlab.papers.lab.declare import Paper, Scales, Source

ACCEPTABILITY = "Acceptability Judgements via Examining the Topology of Attention Maps"


def _source(authors: str, title: str, year: int, arxiv: str = "", venue: str = "") -> Source:
    return Source(authors=authors, title=title, year=year, arxiv=arxiv, venue=venue)


paper = Paper(
    key="instruments_maps",
    title="Instruments: entropy, distance, head patterns, topology, diversity, contrast, votes",
    sources=[
        _source("Nandan Kumar Jha, Brandon Reagen", "Entropy-Guided Attention for Private LLMs", 2025, "2501.03489"),
        _source(
            "Yiran Li and others",
            "How Does Attention Work in Vision Transformers? A Visual Analytics Attempt",
            2023,
            "2303.13731",
        ),
        _source(
            "Kevin Clark and others", "What Does BERT Look At? An Analysis of BERT's Attention", 2019, "1906.04341"
        ),
        _source("Daniil Cherniavskii and others", ACCEPTABILITY, 2022, "2205.09630"),
        _source(
            "Yong Guo, David Stutz, Bernt Schiele",
            "Robustifying Token Attention for Vision Transformers",
            2023,
            "2303.11126",
        ),
        _source(
            "Yuyao Ge and others",
            "Focusing by Contrastive Attention: Enhancing VLMs' Visual Reasoning",
            2025,
            "2509.06461",
        ),
        _source(
            "Tassilo Klein, Moin Nabi", "Attention Is (not) All You Need for Commonsense Reasoning", 2019, "1905.13497"
        ),
    ],
    statements={
        1: "Entropy has exact values for uniform causal heads and mixtures, and a mean for random scores that is ln n - s^2/2 "
        "at large n.",
        2: "Attention distance has exact nulls on lines and grids, and rows that end bias wide kernels.",
        3: "Template distances, selector masses and divergences of heads have closed forms and nulls.",
        4: "Bars of dimension 0 are a spanning tree: known heads have known sums, and two public ways of counting get them "
        "wrong.",
        5: "Alignment of rows is blind to uniform maps once weights below 2/n are cut.",
        6: "Dividing two maps pays while map noise is below image noise, and a large offset undoes it.",
        7: "Heads vote: the maximum attention score is right with the probability of a majority; the maximum over word pieces "
        "favours long candidates.",
        8: "In trained models: gains in acceptability and robustness, failure modes of entropy, extracted and injected patterns.",
    },
)
paper.not_testable(
    8, "needs the trained models of the papers; the laws that such readings are held to are claimed here"
)

_KNOWN = KnownSetting()
KNOWN = Scales(_KNOWN, _KNOWN, replace(_KNOWN, n_tokens=128, grid=14))
_RANDOM = RandomSetting(n_prompts=512)
RANDOM = Scales(_RANDOM, _RANDOM, replace(_RANDOM, n_replicas=64))
_IMAGES = ImageSetting(n_prompts=800)
IMAGES = Scales(_IMAGES, replace(_IMAGES, n_replicas=32), replace(_IMAGES, n_replicas=128))
_VOTES = VoteSetting()
VOTES = Scales(_VOTES, _VOTES, replace(_VOTES, n_prompts=40_000))
paper.scales(smoke=KNOWN.smoke, desk=KNOWN.desk, paper=KNOWN.paper)
