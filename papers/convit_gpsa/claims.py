"""Claims: weights of Gaussian heads, how near they come to convolutions, what a gate mixes, and where training takes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, relative
from attnlab.papers.convit_gpsa.paper import EVEN, HEADS, LAYERS, MATCHING, UNIFORM, WINDOWS, paper
from attnlab.papers.lab.conditions import at_least, not_yet, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.positional_attention.gates import MatchingSetting, WindowSetting, matching, windows
from attnlab.simulators.positional_attention.heads import (
    HeadsSetting,
    LayerSetting,
    UniformSetting,
    heads,
    layers,
    uniform,
)
from attnlab.theory.positional_attention import gates, locality
from attnlab.theory.positional_attention.gated_positions import centre_weight_exact, centre_weight_small, gate_at_start

#: A row of at most 1681 weights is an exponential each, a sum and a division; sums of squares and roots add a few.
ROUNDINGS = 200
#: Radii of the windows and local shares of the matching tasks that are judged.
RADII = (1, 2, 3)
SHARES = (0.25, 0.5, 0.75)

INTERIOR = {
    "side": at_least(25, "a Gaussian of locality 0.25 has a weight below 1e-16 beyond 12 cells"),
    "localities": that(lambda x: min(x) >= 0.25, "from 0.25 on", "wider heads feel the border"),
}


def _law(setting: HeadsSetting, law: Callable[[float], float], n: int) -> np.ndarray:
    """``(replica, locality)``."""
    return np.tile([law(a) for a in setting.localities], (n, 1))


def _same(runs: dict, name: str, setting: HeadsSetting, law: Callable, rival: Callable, label: str) -> Verdict:
    predicted = _law(setting, law, len(runs[name]))
    b = _law(setting, rival, len(runs[name]))
    return identical(runs[name], predicted, rounding=ROUNDINGS, twin=Twin.of(label, b=b)).named(name)


@paper.claim(
    "gaussian_weights",
    source="equations 5 to 7; the normaliser is derived",
    statements=[2],
    setting=HEADS,
    parts=2,
    reads=("localities",),
    covers=INTERIOR | {"n_heads": that(lambda n: int(n**0.5) % 2 == 1, "an odd kernel", "centres are cells then")},
    formula="w0 = theta(alpha)^-2, next e^-alpha w0; theta the sum of e^(-alpha t^2)",
    judged="largest and second largest weight of an interior cell, within 200 roundings",
)
def gaussian_weights(setting: HeadsSetting, lab: Lab) -> Verdict:
    """A head centred on a cell gives it theta(alpha)^-2 and each of its neighbours e^-alpha of that, in the interior.

    Twins: the form for wide heads, alpha/pi; the weights of a head of 2 % more locality.
    """
    runs = lab.simulate(heads, setting)
    centre = _same(runs, "centre", setting, centre_weight_exact, centre_weight_small, "alpha/pi")
    nearest = _same(
        runs,
        "nearest",
        setting,
        locality.nearest_weight_exact,
        lambda a: locality.nearest_weight_exact(1.02 * a),
        "2 % more local",
    )
    return all_of(centre, nearest)


@paper.claim(
    "even_kernels",
    source="appendix on the initialisation; the weight is derived",
    statements=[2],
    setting=EVEN,
    kind="extrapolation",
    reads=("localities",),
    covers=INTERIOR | {"n_heads": that(lambda n: int(n**0.5) % 2 == 0, "an even kernel", "centres are corners then")},
    formula="e^(-alpha/2) / (sum of e^(-alpha (t + 1/2)^2))^2, at most 1/4",
    judged="largest weight of an interior cell, within 200 roundings",
)
def even_kernels(setting: HeadsSetting, lab: Lab) -> Verdict:
    """Heads of even kernels are centred on corners of cells and never look at one cell: four share the largest weight, below 1/4.

    Twin: a quarter of the weight of a cell-centred head.
    """
    runs = lab.simulate(heads, setting)
    return _same(
        runs,
        "centre",
        setting,
        locality.shared_centre_weight_exact,
        lambda a: centre_weight_exact(a) / 4,
        "a quarter of w0",
    )


@paper.claim(
    "how_far_and_how_evenly",
    source="non-locality metric and entropies; closed forms are derived",
    statements=[2],
    setting=HEADS,
    parts=2,
    kind="extrapolation",
    reads=("localities",),
    covers=INTERIOR,
    formula="sum P |delta|; H = 2 (ln theta + alpha <t^2>)",
    judged="mean distance and entropy of the head on its own cell, within 200 roundings",
)
def how_far_and_how_evenly(setting: HeadsSetting, lab: Lab) -> Verdict:
    """Distance and entropy of a positional head are fixed numbers of its locality. Twins: those of 2 % more locality."""
    runs = lab.simulate(heads, setting)
    parts = [
        _same(runs, name, setting, law, lambda a, law=law: law(1.02 * a), "2 % more local")
        for name, law in (("distance", locality.mean_distance_exact), ("entropy", locality.entropy_exact))
    ]
    return all_of(*parts)


@paper.claim(
    "uniform_distance",
    source="non-locality metric; the sum is derived",
    statements=[2],
    setting=UNIFORM,
    kind="extrapolation",
    reads=("sides",),
    formula="H^-4 sum (H - |a|)(H - |b|) |(a, b)|, tends to 0.5214 H",
    judged="mean distance of uniform maps, within 200 roundings",
)
def uniform_distance(setting: UniformSetting, lab: Lab) -> Verdict:
    """Uniform attention on a grid looks at a mean distance that an exact sum gives. Twin: its limit of large grids."""
    runs = lab.simulate(uniform, setting)
    law = np.tile([locality.uniform_distance_exact(side) for side in setting.sides], (runs.n, 1))
    limit = np.tile([locality.uniform_distance_limit(side) for side in setting.sides], (runs.n, 1))
    return identical(runs["distance"], law, rounding=ROUNDINGS, twin=Twin.of("large grids", b=limit))


@paper.claim(
    "convolution",
    source="theorem 1 of Cordonnier et al.; the error at finite locality is derived",
    statements=[1],
    setting=HEADS,
    parts=2,
    reads=("localities",),
    covers=INTERIOR
    | {"n_heads": that(lambda n: n in (9, 25), "9 or 25", "a kernel of that side has its cells as centres")},
    formula="sqrt(1 - 2 w0 + theta(2 alpha)^2 / theta(alpha)^4) -> sqrt(20) e^-alpha",
    judged="relative error of the layer's matrix at an interior cell, orthonormal slices, within 200 roundings of 1 (differences "
    "from ones); its ratio to the limit at the largest locality within 3.2 e^-alpha, the next term",
)
def convolution(setting: HeadsSetting, lab: Lab) -> Verdict:
    """Positional heads converge to a given convolution in the interior, with an error that falls like sqrt(20) e^-alpha.

    Twins: the missing centre weight 1 - w0 for the error; 4 e^-alpha, its limit.
    """
    runs = lab.simulate(heads, setting)
    law = _law(setting, locality.convolution_error_exact, runs.n)
    rival = _law(setting, lambda a: 1 - centre_weight_exact(a), runs.n)
    exact = identical(runs["error"] ** 2, law**2, rounding=ROUNDINGS, scale=1.0, twin=Twin.of("1 - w0", b=rival**2))
    at = int(np.argmax(setting.localities))
    alpha = setting.localities[at]
    limit, q = locality.convolution_error_limit(alpha), np.exp(-alpha)
    within = budget(
        relative(3.2 * q + 32 * q**2, limit, "the next term of the expansion in e^-alpha, and ten times its square")
    )
    late = agrees(
        runs["error"][:, at],
        limit,
        within=within,
        of="every replica",
        twin=Twin.of("4 e^-alpha", predicted=4 * np.exp(-alpha)),
    )
    return all_of(exact.named("all localities"), late.named("limit"))


@paper.claim(
    "borders",
    source="derived: rows are normalised at a border, too",
    statements=[1],
    setting=HEADS,
    parts=2,
    kind="extrapolation",
    reads=("side", "localities"),
    covers={"n_heads": that(lambda n: n in (9, 25), "9 or 25", "a kernel of that side has its cells as centres")},
    formula="sqrt(mean over heads of sum (p - shift)^2) -> sqrt(5/9) at a corner, sqrt(3/9) at an edge, of 3 x 3 kernels",
    judged="relative error of the layer's matrix at a corner and at an edge, within 200 roundings",
)
def borders(setting: HeadsSetting, lab: Lab) -> Verdict:
    """At a border no locality makes the layer a convolution of the image padded with zeros: heads that look outside renormalise.

    Twins: the interior's error.
    """
    runs = lab.simulate(heads, setting)
    side, middle = setting.side, setting.side // 2
    reach = range(-(math.isqrt(setting.n_heads) // 2), math.isqrt(setting.n_heads) // 2 + 1)
    kernel = [(float(a), float(b)) for a in reach for b in reach]
    rival = Twin.of("interior", b=_law(setting, locality.convolution_error_exact, runs.n))
    parts = []
    for name, query in (("corner_error", (0, 0)), ("edge_error", (0, middle))):
        law = [locality.border_error_exact((side, side), query, kernel, a) for a in setting.localities]
        parts.append(identical(runs[name], np.tile(law, (runs.n, 1)), rounding=ROUNDINGS, twin=rival).named(name))
    return all_of(*parts)


@paper.claim(
    "rows_and_gradient",
    source="equation 9; the gradient is derived",
    statements=[3],
    setting=LAYERS,
    parts=2,
    formula="rows of (1 - g) C + g P sum to 1; dL/dlambda = g (1 - g) <dL/dA, P - C>",
    judged="row sums of random layers within 4 roundings per key, the operator's gradient by autograd within 4 per entry of a "
    "map",
)
def rows_and_gradient(setting: LayerSetting, lab: Lab) -> Verdict:
    """Rows of a gated map sum to one for all gates, and the gradient of a gate is the stated scalar product.

    Twins: row sums one rounding budget off; a gradient without the content map.
    """
    runs = lab.simulate(layers, setting)
    n = setting.side**2
    ones = np.ones_like(runs["row_sum"])
    rows = identical(runs["row_sum"], ones, rounding=4 * n, twin=Twin.of("a millionth less", b=ones - 1e-6))
    cells = [
        [
            (runs["gate"][r, h], *(runs[name][r, h] for name in ("map_gradient", "positional", "content")))
            for h in range(setting.n_heads)
        ]
        for r in range(runs.n)
    ]
    law = np.array([[gates.gate_gradient_exact(*each) for each in row] for row in cells])
    alone = np.array([[gates.gate_gradient_exact(g, G, P, 0 * C) for g, G, P, C in row] for row in cells])
    size = np.abs(runs["map_gradient"]).sum((2, 3)) / 4
    gradient = identical(runs["gate_gradient"], law, rounding=4, scale=size, twin=Twin.of("without content", b=alone))
    return all_of(rows.named("row sums"), gradient.named("gradient"))


@paper.claim(
    "gates_follow_the_window",
    source="section 3, gates escape locality where useful; the task and its law are derived",
    statements=[4],
    setting=WINDOWS,
    parts=2 * len(RADII),
    kind="extrapolation",
    covers={"locality": at_least(0.5, "a head as wide as the grid is not told from the mean")},
    formula="lambda <- lambda - 2 eta g (1 - g) |P - C|^2 / n (g - g*), g* = <P - C, T - C> / |P - C|^2",
    judged="gates of every replica at every record against the recursion of two numbers, within 64 roundings per step; and at "
    "the "
    "end against g*, by what the recursion says is left",
)
def gates_follow_the_window(setting: WindowSetting, lab: Lab) -> Verdict:
    """On a mean over a window around each cell, a gate between a Gaussian and the mean of the image falls as the window
    grows, by a
    recursion of two numbers of the maps, to the gate of least distance.

    Twins: g* of a window of one more radius; the start.
    """
    parts = []
    every = lab.simulate(windows, *(replace(setting, radius=r) for r in (*RADII, RADII[-1] + 1)))
    bests = []
    for runs in every:
        P, T = runs["positional"][0], runs["target"][0]
        content = np.full_like(P, 1 / len(P))
        bests.append(gates.best_gate_exact(P, content, T))
    size = float(((P - content) ** 2).sum() / len(P))
    for k, radius in enumerate(RADII):
        runs, best, rival = every[k], bests[k], bests[k + 1]
        curves, other = (
            np.array(
                [
                    gates.gate_descent_exact(row[0], target, size, setting.learning_rate, steps)
                    for row, steps in zip(runs["gate"], runs["steps"], strict=True)
                ]
            )
            for target in (best, rival)
        )
        parts.append(
            identical(
                runs["gate"], curves, rounding=64 * setting.n_steps, twin=Twin.of("the next window", b=other)
            ).named(f"path, radius {radius}")
        )
        left = float(np.abs(curves[:, -1] - best).max())
        parts.append(
            agrees(
                runs["gate"][:, -1],
                best,
                within=budget(relative(1.0, max(2 * left, 1e-9), "what the recursion leaves, twice")),
                of="every replica",
                twin=Twin.of("the next window", predicted=rival),
                null=runs["gate"][:, 0],
            ).named(f"end, radius {radius}")
        )
    return all_of(*parts)


@paper.claim(
    "gates_share_matching",
    source="section 3, gates escape locality where useful; the task and its law are derived",
    statements=[4],
    setting=MATCHING,
    parts=2 * len(SHARES),
    kind="extrapolation",
    formula="gate u/(u + v) of the best u P + v C, -> s as content sharpens; distance g D_local + (1 - g) D_far",
    judged="every replica at the end, where content maps give partners a weight of at least 0.98, read from the replica as is "
    "that of the own cell; the margin is half of what these move the gate",
    covers={"locality": that(lambda x: x == 1.0, "1", "where the head starts, so that its blur is right at once")},
)
def gates_share_matching(setting: MatchingSetting, lab: Lab) -> Verdict:
    """A head trained on s times a local blur and 1 - s times the value of a matching cell anywhere learns a gate of s, and
    looks as
    far as that mixture; from a start of sigma(1).

    Twins: a gate of 1.05 s; the distance of 1.05 s; the null control is the start.
    """
    parts = []
    for s, runs in zip(SHARES, lab.simulate(matching, *(replace(setting, local_share=s) for s in SHARES)), strict=True):
        match = float(runs["match"][:, -1].min())
        if match < 0.98:
            return not_yet(f"n_steps={setting.n_steps} leaves content maps at {match:.3f} on a partner")
        side = setting.side
        blur = np.array(
            [locality.weights_on_grid_exact((side, side), (i // side, i % side), (0, 0), setting.locality).ravel()
             for i in range(side**2)]
        )  # fmt: skip
        ends = list(zip(runs["match"][:, -1], runs["own"][:, -1], strict=True))
        law, rival = (
            np.array([gates.matching_gate_exact(share, w, own, blur) for w, own in ends])
            for share in (gates.matching_gate_limit(s), 1.05 * s)
        )
        trusted = float(np.abs(law - s).max() / 2)
        within = budget(relative(1.0, trusted, "half of what content that is not sharp yet moves"))
        parts.append(
            agrees(
                runs["gate"][:, -1],
                law,
                within=within,
                of="every replica",
                twin=Twin.of("1.05 s", predicted=rival),
                null=runs["gate"][:, 0],
            ).named(f"gate, s = {s}")
        )
        cells = np.array([(i // side, i % side) for i in range(side**2)], float)
        apart = np.hypot(*(cells[:, None] - cells).transpose(2, 0, 1))
        local, far = float((blur * apart).sum() / len(blur)), float(apart.sum() / (len(blur) * (len(blur) - 1)))
        own = runs["own"][:, -1]
        looked, other = (gates.matching_distance_limit(g, local, far * (1 - own)) for g in (law, rival))
        loose = trusted * (far - local)
        parts.append(
            agrees(
                runs["distance"][:, -1],
                looked,
                within=budget(relative(1.0, loose, "the gate's margin")),
                of="every replica",
                twin=Twin.of("1.05 s", predicted=other),
                null=runs["distance"][:, 0],
            ).named(f"distance, s = {s}")
        )
    return all_of(*parts)


@paper.claim(
    "gate_at_start",
    source="section 3, lambda = 1 at the start",
    statements=[3, 4],
    setting=MATCHING,
    kind="construction",
    formula="sigma(1) = 0.7311",
    judged="the recorded gate before training, within 8 roundings of float32",
)
def starts_local(setting: MatchingSetting, lab: Lab) -> Verdict:
    """At the start 0.7311 of the weight is positional. Twin: 0.7616, as if the gate were tanh(1)."""
    runs = lab.simulate(matching, replace(setting, local_share=SHARES[0]))
    start = runs["gate"][:, 0].astype(np.float32)
    law = np.full_like(start, gate_at_start())
    return identical(start, law, rounding=8, twin=Twin.of("tanh(1)", b=np.full_like(start, np.tanh(1.0))))
