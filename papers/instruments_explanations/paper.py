"""The sheet on instruments for explanations: sources, statements, and the settings that claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.instruments_explanations.measured import (
    FitSetting,
    NetworkSetting,
    OrderSetting,
    PooledSetting,
    ProbeSetting,
    ReaderSetting,
)
from attnlab.papers.lab.declare import Paper, Scales, Source


def _source(authors: str, title: str, year: int, arxiv: str) -> Source:
    return Source(authors=authors, title=title, year=year, arxiv=arxiv)


METACOGNITION = "Language Models Are Capable of Metacognitive Monitoring and Control of Their Internal Activations"
paper = Paper(
    key="instruments_explanations",
    title="Instruments: attention as explanation, perturbed scores, relevance, masks, fits, probes, readers",
    sources=[
        _source(
            "Danish Pruthi and others", "Learning to Deceive with Attention-Based Explanations", 2020, "1909.07913"
        ),
        _source("Shunsuke Kitada, Hitoshi Iyatomi", "Attention Meets Perturbations", 2021, "2009.12064"),
        _source(
            "Thomas Gohel and others",
            "CoulGAT: An Experiment on Interpretability of Graph Attention Networks",
            2019,
            "1912.08409",
        ),
        _source("Bill Psomas and others", "Attention, Please! Revisiting Attentive Probing", 2025, "2506.10178"),
        _source("Mingyu Jin and others", "Exploring Concept Depth", 2024, "2404.07066"),
        _source("Li Ji-An and others", METACOGNITION, 2025, "2505.13763"),
    ],
    statements={
        1: "Attention mass is a gauge: it can be moved to any value with output and contributions unchanged, at the price of "
        "larger values.",
        2: "The worst perturbation of scores moves them by sum 0; random ones have 1/sqrt(n) of its gain; for two classes VAT's "
        "is AT's.",
        3: "Relevance by rule 0 conserves the output without biases; biases and norms take their shares.",
        4: "Deletion areas of additive outputs lie between those of the sorted orders, around 1/2 for random ones.",
        5: "A screened power of the distance is fitted from attention weights with the spread of least squares.",
        6: "Pooling by the mean divides what one token of N knows by sqrt(N); a pool that finds the token does not.",
        7: "A mean-difference probe of few states has an accuracy set by distance, dimension and number.",
        8: "A reader that adds up labelled states knows axes of larger variance better, without any semantics.",
        9: "In trained models: deceived users, gains by adversarial training, masks and reports of large models.",
    },
)
paper.not_testable(
    9, "needs the trained models and readers of the papers; the laws that such readings are held to are claimed here"
)

_POOLED = PooledSetting()
POOLED = Scales(replace(_POOLED, n_replicas=16), replace(_POOLED, n_replicas=64), replace(_POOLED, n_replicas=256))
_NETWORKS = NetworkSetting()
NETWORKS = Scales(replace(_NETWORKS, n_replicas=4), _NETWORKS, replace(_NETWORKS, dim=32))
_ORDERS = OrderSetting()
ORDERS = Scales(_ORDERS, _ORDERS, replace(_ORDERS, n_orders=10_000))
_FITS = FitSetting()
FITS = Scales(_FITS, replace(_FITS, n_prompts=2000), replace(_FITS, n_prompts=10_000))
_PROBES = ProbeSetting()
PROBES = Scales(_PROBES, replace(_PROBES, n_draws=400), replace(_PROBES, n_draws=2000))
_POOLS = ProbeSetting(distance=6.0, n_train=200, n_draws=50)
POOLS = Scales(_POOLS, replace(_POOLS, n_draws=100), replace(_POOLS, n_draws=400))
_READERS = ReaderSetting()
READERS = Scales(_READERS, replace(_READERS, n_replicas=32), replace(_READERS, n_replicas=128))
paper.scales(smoke=POOLED.smoke, desk=POOLED.desk, paper=POOLED.paper)
