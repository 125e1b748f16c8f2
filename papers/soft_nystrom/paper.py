"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.sketching.landmarks import KernelSetting, NewtonSetting

TITLE = "SOFT: Softmax-free Transformer with Linear Complexity"
paper = Paper(
    key="soft_nystrom",
    title=TITLE,
    sources=[
        Source(
            authors="Jiachen Lu, Jinghan Yao, Junge Zhang, Xiatian Zhu, Hang Xu, Weiguo Gao, Chunjing Xu, Tao Xiang, Li Zhang",
            year=2021,
            arxiv="2110.11945",
            title=TITLE,
            venue="Advances in Neural Information Processing Systems",
        )
    ],
    statements={
        1: "The Gaussian kernel of tied queries and keys replaces softmax: symmetric, positive semi-definite, of unit diagonal.",
        2: "It is approximated through landmarks, C A^+ C^T, whose tokens come from pooling or a strided convolution.",
        3: "A^+ by Newton's iteration from alpha A: with alpha = 2 / |A|_1^2 it converges, and the "
        "residual squares at each step.",
        4: "The gradient of the inverse needs no unrolling: -Y^T G Y^T.",
        5: "Normalised as D^(-1/2) S D^(-1/2) the operator has a bounded norm; without, its norm "
        "grows with the number of tokens.",
    },
)

NEWTON = Scales(*[NewtonSetting()] * 3)
#: Landmarks on a regular polygon: the kernel is circulant, all its rows have one sum, and |A|_1 is its largest eigenvalue.
RING = Scales(*[NewtonSetting(token_std=4.0, n_iterations=25, ring=True, n_replicas=1)] * 3)
LARGEST = Scales(*[NewtonSetting(token_std=4.0, factor=2.0, n_iterations=25, ring=True, n_replicas=1)] * 3)
KERNELS = Scales(
    smoke=KernelSetting(n_replicas=32),
    desk=KernelSetting(n_tokens=512, n_replicas=64),
    paper=KernelSetting(n_tokens=2048),
)
LEFT = Scales(*[KernelSetting(n_tokens=128)] * 3)
paper.scales(smoke=NEWTON.smoke, desk=NEWTON.desk, paper=NEWTON.paper)
