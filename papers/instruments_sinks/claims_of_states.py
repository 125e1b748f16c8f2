"""Claims on the states behind sinks, on massive coordinates, and on turning sinks down or taking them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.instruments_sinks.measured import MovedSetting, moved, removed
from attnlab.papers.instruments_sinks.measured_states import (
    CellSetting,
    StateSetting,
    StreamSetting,
    cells,
    coordinates,
    streams,
)
from attnlab.papers.instruments_sinks.paper import CELLS, MOVED, STATES, STREAMS, paper
from attnlab.papers.lab.conditions import at_least, one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import sink_states as theory

WRITTEN = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
ORTHOGONAL = {"updates": one_of("orthogonal", why="the laws are exact for updates orthogonal to each other and to u")}


@paper.claim(
    "weights_of_secondary_sinks",
    source="section 2, score law and weakening law",
    statements=[3],
    setting=STREAMS,
    kind="construction",
    parts=2,
    formula="a_k = e^(b c_k)/(sum_k e^(b c_k) + n), c = m/sqrt(m^2 + s^2); the first falls by Z/(Z + S (e^(b c) - 1))",
    judged="weights of a head on normed states, within 200 roundings of 1, at six written norms",
    reads=("n_tokens", "start", "bonus"),
    covers=ORTHOGONAL,
)
def weights_of_secondary_sinks(setting: StreamSetting, lab: Lab) -> Verdict:
    """Two secondary sinks take weight by their cosine with the first token's state, which saturates in the written norm, and the
    first token falls by exactly that, with no change of its own.

    Twins: m/(m + s) for the cosine; one secondary sink.
    """
    every = lab.simulate(streams, *(replace(setting, written=m) for m in WRITTEN))
    rest, n = (setting.start + 1) ** 0.5, setting.n_tokens
    found = np.stack([runs["weights"] for runs in every])  # (m, replica, prompt, 3)
    fell = np.stack([runs["weights"][..., 0] / runs["alone"] for runs in every])
    cos = [theory.cosine_of_written(m, rest) for m in WRITTEN]
    law = np.array([theory.weights_of_sinks(setting.bonus, (1.0, c, c), n - 3) for c in cos])
    linear = np.array(
        [theory.weights_of_sinks(setting.bonus, (1.0, c, c), n - 3) for c in (m / (m + rest) for m in WRITTEN)]
    )
    weak = np.array([theory.weakening_exact(setting.bonus, c, 2, n) for c in cos])
    one = np.array([theory.weakening_exact(setting.bonus, c, 1, n) for c in cos])
    return all_of(
        identical(
            found, np.broadcast_to(law[:, None, None], found.shape), rounding=200, scale=1.0,
            twin=Twin.of("m/(m + s)", b=np.broadcast_to(linear[:, None, None], found.shape)),
        ).named("weights"),
        identical(
            fell, np.broadcast_to(weak[:, None, None], fell.shape), rounding=200, scale=1.0,
            twin=Twin.of("one sink", b=np.broadcast_to(one[:, None, None], fell.shape)),
        ).named("weakening"),
    )  # fmt: skip


@paper.claim(
    "lifetimes",
    source="section 2, lifetime law, general form",
    statements=[4],
    setting=STREAMS,
    kind="construction",
    parts=3,
    formula="lifetime = #{l >= l0: s^2 (l + 1) <= m^2 (1/tau^2 - 1)}: 0 below m = 2.06 s_l0; signed cosine only",
    judged="lifetimes and first layers counted by the instrument, exact; sinks at tokens of the opposite state and without a "
    "plant: none",
    reads=("start",),
    covers=ORTHOGONAL | {"n_layers": at_least(34, why="the longest lifetime has to fit")},
)
def lifetimes(setting: StreamSetting, lab: Lab) -> Verdict:
    """A written component is found from its layer on, for a number of layers quadratic in its norm, and a state of the opposite
    direction never, though the unsigned cosine takes it for a sink.

    Twins: layers counted from the plant on; an opposite state found as often as its mirror image.
    """
    every = lab.simulate(streams, *(replace(setting, written=m) for m in WRITTEN))
    found = np.stack([runs["lifetime"] for runs in every])
    law = np.array([theory.lifetime_exact(m, 1.0, setting.start) for m in WRITTEN])
    late = np.array([theory.lifetime_exact(m, 1.0, 0) for m in WRITTEN])
    began = np.stack([runs["began"] for runs in every])
    first = np.where(law > 0, setting.start, -1)
    false = np.stack([runs["false"] for runs in every])
    mirror = np.stack([runs["opposite_unsigned"] for runs in every])

    def tile(x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(x[:, None, None], found.shape).copy()

    return all_of(
        identical(found, tile(law), twin=Twin.of("from the plant on", b=tile(late))).named("lifetime"),
        identical(began, tile(first), twin=Twin.of("a layer later", b=tile(np.where(law > 0, first + 1, -1)))).named(
            "first"
        ),
        identical(false, np.zeros_like(false), twin=Twin.of("unsigned", b=mirror)).named("opposite states"),
    )


@paper.claim(
    "massive_coordinates",
    source="section 4, bound and null",
    statements=[5],
    setting=STATES,
    kind="extrapolation",
    parts=3,
    formula="phi = M sqrt(D)/sqrt(M^2 + D - 1); null quantiles q: D P(|x_1|/rms > q) = 1 - level",
    judged="phi of one planted state per replica within 100 roundings; empirical quantiles: spread sqrt(p (1 - p)/n)/f(q), and "
    "p^2/2 for two coordinates at once, f by differences of the law",
    reads=("dim", "massive", "n_states"),
    covers={"dim": at_least(64), "n_states": at_least(30_000)},
)
def massive_coordinates(setting: StateSetting, lab: Lab) -> Verdict:
    """A massive coordinate reads what its size says, never above sqrt(D); Gaussian states exceed the instrument's null quantiles
    as often as a sum over coordinates says.

    Twins: sqrt(D) itself; the 99 % quantile at half the tail; 4.18 for the 99.9 % quantile, a number of the sheet.
    """
    runs, d = lab.simulate(coordinates, setting), setting.dim
    law = np.full_like(runs["planted"], theory.phi_exact(setting.massive, d))
    parts = [
        identical(runs["planted"], law, rounding=100, twin=Twin.of("sqrt(D)", b=np.full_like(law, d**0.5))).named(
            "planted"
        )
    ]
    of = f"mean over replicas of {setting.n_states // 1000} draws"  # states above the higher quantile
    for name, level, rival in (("q99", 0.99, theory.gaussian_phi_quantile_bound(d, 0.995)), ("q999", 0.999, 4.18)):
        p = 1 - level
        q, beyond = (theory.gaussian_phi_quantile_bound(d, 1 - x) for x in (p, 0.99 * p))
        density = 0.01 * p / (beyond - q)
        size = (p * level / setting.n_states) ** 0.5 / density
        within = budget(
            replicas(size, setting.n_replicas, of=of), Piece("two at once", p**2 / 2 / density), Piece("1/n", size**2)
        )
        parts.append(
            agrees(runs[name], q, within=within, of=of, twin=Twin.of("rival quantile", predicted=rival)).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "four_cells",
    source="section 3, plants P2 to P5",
    statements=[5],
    setting=CELLS,
    kind="construction",
    parts=2,
    formula="(phi fires, alpha > .3) = (no, no), (yes, no), (no, yes), (yes, yes)",
    judged="all cells of all replicas, exact",
    reads=(),
    covers={"massive": at_least(40.0), "bonus": at_least(5.0), "dim": one_of(128), "n_tokens": one_of(48)},
)
def four_cells(setting: CellSetting, lab: Lab) -> Verdict:
    """A massive coordinate and a sink can each be there without the other, and the two instruments say which is.

    Twin: each is a sign of the other.
    """
    runs = lab.simulate(cells, setting)
    massive, sink = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    fires, weight = runs["fires"].astype(int), (runs["alpha"] > 0.3).astype(int)

    def tile(x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(x, fires.shape).copy()

    return all_of(
        identical(fires, tile(massive), twin=Twin.of("as the sink", b=tile(sink))).named("massive"),
        identical(weight, tile(sink), twin=Twin.of("as the massive one", b=tile(massive))).named("sink"),
    )


@paper.claim(
    "redistribution",
    source="sections 4 and 5, identities and output law",
    statements=[6],
    setting=MOVED,
    kind="construction",
    parts=4,
    formula="row sums 1, sink mass times keep; returned a_0/(1 - a_S); ||o' - o_r|| = keep w ||v_S - o_r||; no-op norm (1 - "
    "keep w)/(1 - w)",
    judged="last rows of maps with two hidden sinks and one on the first token, within 1000 roundings of 1",
    reads=("keep",),
)
def redistribution(setting: MovedSetting, lab: Lab) -> Verdict:
    """Hidden sinks turned down give their mass to the other keys in proportion, most of it to a first token that is a sink;
    outputs go towards the rest's in proportion to what is kept, and a sink of value 0 changes only the norm.

    Twins: sums without the mass given back; a_0 of the whole row; keep squared; no change of the norm.
    """
    runs = lab.simulate(moved, setting)
    w, keep = runs["sinks"], setting.keep
    sums = np.stack([runs["rows"], runs["ratio"]])
    share = np.vectorize(theory.returned_share)(runs["first"], w)
    far = np.vectorize(theory.distance_after_calibration)(w, keep, runs["apart"])
    gain = np.vectorize(theory.gain_of_no_op)(w, keep)

    def same(a: np.ndarray, b: np.ndarray, name: str, rival: np.ndarray, part: str) -> Verdict:
        return identical(a, b, rounding=1000, scale=1.0, twin=Twin.of(name, b=rival)).named(part)

    wanted = np.stack([np.ones_like(w), np.full_like(w, keep)])
    return all_of(
        same(sums, wanted, "not given back", wanted - np.stack([(1 - keep) * w, 0 * w]), "sums"),
        same(runs["returned"], share, "a_0", runs["first"], "returned"),
        same(runs["distance"], far, "keep squared", keep * far, "distance"),
        same(runs["gain"], gain, "no change", np.ones_like(gain), "norm"),
    )


@paper.claim(
    "removal",
    source="section 4, removal test, and section 6",
    statements=[7],
    setting=MOVED,
    kind="construction",
    parts=2,
    formula="||o^(-j) - o||/A_j = ||v_j - o_rest||; direction unchanged for v_j = 0",
    judged="the instrument against a second run of the map with the key masked before the softmax, within 10^5 roundings of 1 "
    "(differences over masses down to 10^-2); turn within 1000",
    reads=(),
)
def removal(setting: MovedSetting, lab: Lab) -> Verdict:
    """Per removed mass the output moves as the instrument says without running the model again, and removing a sink of value 0
    turns nothing.

    Twins: the distance from the whole output in place of the rest's; a sink that does something.
    """
    runs = lab.simulate(removed, setting)
    return all_of(
        identical(
            runs["move"], runs["knocked"], rounding=1e5, scale=np.maximum(runs["knocked"], 1.0),
            twin=Twin.of("from the whole output", b=runs["from_output"]),
        ).named("move"),
        identical(
            runs["idle_turn"], np.zeros_like(runs["turn"]), rounding=1000, scale=1.0,
            twin=Twin.of("a harmful sink", b=runs["turn"]),
        ).named("turn"),
    )  # fmt: skip
