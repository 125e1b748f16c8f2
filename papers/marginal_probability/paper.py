"""The paper, its statements, and the settings that its claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.latent_structures.assignment import AssignmentSetting, RingSetting
from attnlab.simulators.latent_structures.channel import ChannelSetting
from attnlab.simulators.latent_structures.draws import DrawSetting, LongRowSetting
from attnlab.simulators.latent_structures.enumeration import EnumerationSetting
from attnlab.simulators.latent_structures.iterations import AntipodalSetting, RetrievalSetting, SlotSetting

TITLE = "Attention: Marginal Probability is All You Need?"
paper = Paper(
    key="marginal_probability",
    title=TITLE,
    sources=[
        Source(authors="Ryan Singh, Christopher L. Buckley", year=2023, arxiv="2304.04556", title=TITLE),
        Source(
            authors="Pascal O. Vontobel",
            year=2013,
            venue="IEEE Transactions on Information Theory",
            title="The Bethe Permanent of a Nonnegative Matrix",
        ),
    ],
    statements={
        1: "Attention is the posterior expectation of a function of a latent structure; its weights are posterior marginals "
        "of edges.",
        2: "With exactly one parent per query, uniformly, and pairwise potentials, marginals are softmax weights and the mean "
        "value of the "
        "parent is self-attention.",
        3: "Only the prior over structures differs between mechanisms: log prior as bias and mask, several latents as heads, "
        "a draw "
        "as hard attention, independent edges as sigmoid attention, one-to-one structures as doubly stochastic attention.",
        4: "Iterated attention (Hopfield networks, slots) alternates posterior inference and the maximisation of a bound.",
        5: "Biological models of attention have the same form.",
    },
)
paper.not_testable(5, "it is a discussion of models of neuroscience, without a formula")

SMALL, MORE = EnumerationSetting(n_replicas=4), EnumerationSetting(n_replicas=16)
ENUMERATED = paper.scales(smoke=SMALL, desk=MORE, paper=replace(MORE, n_replicas=64))
PAIRS = Scales(*[replace(each, structures="fixed number") for each in (SMALL, MORE, ENUMERATED.paper)])
LONG_ROWS = Scales(
    LongRowSetting(n_keys=256, n_parents=64, n_replicas=4), LongRowSetting(), LongRowSetting(1024, 256, n_replicas=32)
)
WARM = Scales(
    *[AssignmentSetting(5, (1e-5,), n_replicas=4), AssignmentSetting(5, (1e-5,)), AssignmentSetting(7, (1e-5,))]
)
RINGS = Scales(RingSetting((2, 3, 5)), RingSetting(), RingSetting((2, 3, 4, 5, 6, 7, 8)))
COLD = Scales(
    AssignmentSetting(4, (1.0, 2.0, 3.0), n_replicas=8),
    AssignmentSetting(4, (0.7, 1.0, 1.5, 2.0, 3.0), n_replicas=24),
    AssignmentSetting(5, (0.7, 1.0, 1.5, 2.0, 3.0), n_replicas=64),
)
EVIDENCE = Scales(
    AssignmentSetting(4, (1e-4, 1.0, 3.0), n_replicas=16),
    AssignmentSetting(5, (1e-4, 1.0, 3.0), n_replicas=32),
    AssignmentSetting(6, (1e-4, 1.0, 3.0), n_replicas=64),
)
CURVE = Scales(
    *[
        AssignmentSetting(4, betas, n_replicas=1)
        for betas in ((0.1, 0.5, 2.0), *[tuple(0.1 * 1.26**k for k in range(16))] * 2)
    ]
)
ONE_TO_ONE = Scales(
    *[AssignmentSetting(4, n_draws=n, n_replicas=k) for n, k in ((50_000, 16), (100_000, 32), (100_000, 128))]
)
DRAWS = Scales(DrawSetting(n_groups=20_000, n_replicas=16), DrawSetting(n_groups=60_000), DrawSetting(n_replicas=256))
CHANNEL = Scales(
    ChannelSetting(n_draws=60_000, n_replicas=16),
    ChannelSetting(n_draws=200_000),
    ChannelSetting(n_draws=1_000_000, n_replicas=64),
)
SWAPS = Scales(
    ChannelSetting(1.0, n_draws=10_000, n_replicas=16),
    ChannelSetting(1.0, n_draws=40_000),
    ChannelSetting(1.0, n_draws=100_000, n_replicas=128),
)
RETRIEVAL = Scales(RetrievalSetting(n_replicas=8), RetrievalSetting(), RetrievalSetting(64, 16, n_replicas=128))
ANTIPODAL = Scales(
    AntipodalSetting(critical_steps=2_000, n_replicas=4), AntipodalSetting(), AntipodalSetting(critical_steps=100_000)
)
SLOTS = Scales(SlotSetting(n_replicas=8), SlotSetting(), SlotSetting(400, 8, 5, n_replicas=128))
