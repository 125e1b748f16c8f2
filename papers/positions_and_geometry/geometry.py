"""Claims on frames, spheres and clouds."""

from __future__ import annotations

import math

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, replicas
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.positions_and_geometry.paper import CLOUDS, FRAMES, SPHERES, paper
from attnlab.simulators.positional_attention.geometry import (
    CloudSetting,
    FrameSetting,
    SphereSetting,
    clouds,
    frames,
    spheres,
)
from attnlab.theory.positional_attention import geometric_algebra, group_transport, sphere


@paper.claim(
    "frames_do_not_matter",
    source="equation 6 of Miyato et al.",
    statements=[8],
    setting=FRAMES,
    kind="construction",
    reads=("distance",),
    covers={"distance": that(lambda t: t <= 1000, "at most 1000", "rounding grows with its square")},
    formula="y(h g_1, ..., h g_n) = y(g_1, ..., g_n)",
    judged="outputs equal within 1000 (1 + |t|^2) roundings, since entries of size |t| cancel in products",
)
def frames_do_not_matter(setting: FrameSetting, lab: Lab) -> Verdict:
    """A common rigid motion of all poses from the left changes nothing.

    Twin: the same motion from the right, which moves every token in its own frame.
    """
    runs = lab.simulate(frames, setting)
    return identical(
        runs["moved"],
        runs["output"],
        rounding=1000 * (1 + setting.distance**2),
        twin=Twin.of("from the right", a=runs["behind"], b=runs["output"]),
    )


@paper.claim(
    "translations_sharpen",
    source="equation 6 of Miyato et al.; corrects 1 + |t|^2 of the sheet",
    statements=[9],
    setting=FRAMES,
    parts=2,
    kind="extrapolation",
    reads=("translations",),
    covers={"translations": that(lambda t: min(t) >= 0.8, "at least .8", "nearer ones differ little from none")},
    formula="variance of q.(g k)/sqrt d per block of four = |g|_F^2/4 = 1 + |t|^2/4",
    judged="means over replicas; the square of a bilinear form scatters by sqrt(2 + 6 tr (g g^T)^2/|g|_F^4) at most",
)
def translations_sharpen(setting: FrameSetting, lab: Lab) -> Verdict:
    """A relative translation t adds |t|^2/4 to the variance of scores: one of four channels carries it.

    Twin: 1 + |t|^2/3, as if the three channels of space were all.
    """
    runs, parts = lab.simulate(frames, setting), []
    of = f"mean over replicas of {setting.n_draws} draws"
    for i, length in enumerate(setting.translations):
        law = np.array([group_transport.block_variance(g[i]) / 4 for g in runs["relative"]])
        square = runs["relative"][0, i] @ runs["relative"][0, i].T
        scatter = math.sqrt(2 + 6 * float(np.square(square).sum() / np.trace(square) ** 2))
        within = budget(replicas(float(law.mean()) * scatter / math.sqrt(setting.n_draws), runs.n, of=of))
        rival = Twin.of("three channels", predicted=np.full(runs.n, 1 + length**2 / 3))
        parts.append(agrees(runs["variance"][:, i], law, within=within, of=of, twin=rival).named(f"|t| = {length:g}"))
    return all_of(*parts)


@paper.claim(
    "weights_make_the_integral",
    source="equation 8 of Bonev et al.; the response is a closed form",
    statements=[10],
    setting=SPHERES,
    parts=4,
    kind="extrapolation",
    reads=("concentration", "n_lat"),
    covers={
        "n_lat": at_least(16, "coarser grids leave errors above the margin"),
        "concentration": that(lambda k: k <= 6, "at most 6"),
    },
    formula="response to u.x = coth kappa - 1/kappa for every u of the grid; mean of z^2 1/3, without weights 1/2",
    judged="the operator's outputs, equal within 10^-12: Gauss-Legendre rows are exact for polynomials of degree 31",
)
def weights_make_the_integral(setting: SphereSetting, lab: Lab) -> Verdict:
    """With quadrature weights softmax is the integral in every direction; without them the poles count too much, at any
    resolution.

    Twins: rows of equal angles with weights; a spread of 10^-6; the means swapped.
    """
    runs = lab.simulate(spheres, setting)
    digits = 1e-12 / np.finfo(float).eps
    law = np.full(runs.n, sphere.mean_direction_exact(setting.concentration))
    third, half = np.full(runs.n, 1 / 3), np.full(runs.n, 0.5)
    return all_of(
        identical(
            runs["gauss"], law, rounding=digits, scale=1.0, twin=Twin.of("equal angles", a=runs["angles"], b=law)
        ).named("response"),
        identical(runs["worst"], 0 * law, rounding=digits, scale=1.0, twin=Twin.of("1e-6", b=0 * law + 1e-6)).named(
            "every direction"
        ),
        identical(runs["flat"], third, rounding=digits, scale=1.0, twin=Twin.of("1/2", b=half)).named("mean of z^2"),
        identical(runs["flat_unweighted"], half, rounding=digits, scale=1.0, twin=Twin.of("1/3", b=third)).named(
            "without weights"
        ),
    )


@paper.claim(
    "pairs_are_blind_to_mirrors",
    source="section 3 of Spellings; the parities are derived",
    statements=[11],
    setting=CLOUDS,
    parts=4,
    kind="extrapolation",
    formula="values: turned = original for pairs and triples; mirrored = original for pairs alone; vectors of pairs are "
    "pseudovectors",
    judged="the operators' outputs with random weights, equal within 10^4 roundings",
)
def pairs_are_blind_to_mirrors(setting: CloudSetting, lab: Lab) -> Verdict:
    """Invariants of pairs do not change in a mirror, the signed volume of triples does; vectors of pairs change sign with it.

    Twins: the mirror images seen by triples; true vectors.
    """
    runs = lab.simulate(clouds, setting)
    blind = not geometric_algebra.tells_handedness(2) and geometric_algebra.tells_handedness(3)
    seen = Twin.of("triples see it", a=runs["triples_mirrored"], b=runs["triples"])
    return all_of(
        identical(runs["pairs_turned"], runs["pairs"], rounding=1e4, twin=seen).named("pairs turned"),
        identical(runs["triples_turned"], runs["triples"], rounding=1e4, twin=seen).named("triples turned"),
        identical(
            runs["pairs_mirrored"], runs["pairs" if blind else "triples_mirrored"], rounding=1e4, twin=seen
        ).named("pairs mirrored"),
        identical(
            runs["vector_mirrored"], -runs["vector"], rounding=1e4, twin=Twin.of("true vectors", b=runs["vector"])
        ).named("vectors"),
    )
