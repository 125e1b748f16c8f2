"""Claims on forms: known recurrences as descent, gradients, retention in closed form, and maps back from accumulated
gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, relative, rounding
from attnlab.papers.lab.conditions import at_least, one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.miras.paper import PROBLEMS, RESTS, SIGNED, SIMPLEX, SIZES, paper
from attnlab.simulators.associative_memory.maps import SimplexSetting, SizeSetting, simplex, sizes
from attnlab.simulators.associative_memory.online import LearnerSetting, ProblemSetting, learners, problems
from attnlab.theory.associative_memory import objectives, retention


def _each(runs, law, *names) -> np.ndarray:
    """A law of the arrays of one replica, for all replicas."""
    return np.stack([law(*rows) for rows in zip(*(runs[name] for name in names), strict=True)])


@paper.claim(
    "dictionary",
    source="section 3 and its table of models",
    statements=[1],
    parts=4,
    formula="a W + h v k^T; W (I - h k k^T) + h v k^T; a W (I - h k k^T) + h v k^T; weights h (a^(m+1) - theta^(m+1))/(a - "
    "theta)",
    judged="memories after every step of descent by automatic differentiation, within 8 roundings per step and 8 per key entry",
    reads=("n_steps", "gate", "rate", "momentum"),
)
def dictionary(setting: LearnerSetting, lab: Lab) -> Verdict:
    """Linear attention with any gates, the delta rule, its gated form and the momentum of Titans are online descent on the dot
    product and on the squared error.

    The gated delta rule takes the gradient at the memory after its gate. Twins: the gate applied after the write; the implicit
    step's rate h / (1 + h); the gradient at the memory before the gate; a gate that acts on the last change as well.
    """
    runs = lab.simulate(learners, setting)
    pairs = ("keys", "values")

    def gated(law):
        return _each(runs, law, *pairs, "gates", "rates")

    def ages(weights):
        T = setting.n_steps
        lag = np.arange(T)[:, None] - np.arange(T)
        table = np.where(lag >= 0, weights[np.abs(lag)], 0.0)
        return _each(runs, lambda k, v: np.einsum("ts,sv,sk->tvk", table, v, k), *pairs)

    late_write = gated(lambda k, v, a, h: objectives.gated_hebbian_path(k, v, a, a * h))
    plain = _each(runs, lambda k, v, h: objectives.gated_delta_path(k, v, 1.0, h), *pairs, "rates")
    implicit = _each(runs, lambda k, v, h: objectives.gated_delta_path(k, v, 1.0, h / (1 + h)), *pairs, "rates")
    weights = objectives.momentum_weights_exact(setting.n_steps, setting.gate, setting.momentum, setting.rate)
    damped = objectives.momentum_weights_exact(
        setting.n_steps, setting.gate, setting.gate * setting.momentum, setting.rate
    )
    rows = (
        ("dot_product", gated(objectives.gated_hebbian_path), Twin.of("gate after the write", b=late_write)),
        ("squared", plain, Twin.of("implicit step", b=implicit)),
        (
            "squared_gated_first",
            gated(objectives.gated_delta_path),
            Twin.of("gradient before the gate", b=gated(objectives.late_gate_path)),
        ),
        ("momentum", ages(weights), Twin.of("gated momentum", b=ages(damped))),
    )
    allowed = 8 * (setting.n_steps + setting.key_dim)
    return all_of(*(identical(runs[name], law, rounding=allowed, twin=twin).named(name) for name, law, twin in rows))


@paper.claim(
    "gradients",
    source="section 5.1, attentional biases",
    statements=[3],
    setting=PROBLEMS,
    parts=3,
    formula="p sign(e) |e|^(p-1) k^T; clip(e, -c, c) k^T; e min(1, c/|e|) k^T",
    judged="gradients by automatic differentiation, within 100 roundings",
    reads=("powers", "scale"),
)
def gradients(setting: ProblemSetting, lab: Lab) -> Verdict:
    """The l_p loss and both Huber losses, entrywise and of the norm, have the stated gradients in W.

    The two Huber losses differ: one entry beyond the scale shortens all of the second. Twins: no factor p; each Huber loss for
    the other.
    """
    runs = lab.simulate(problems, setting)
    pair = ("memory", "key", "value")

    def powers(factor):
        return _each(
            runs, lambda *x: np.stack([factor(p) * objectives.power_gradient(*x, p) for p in setting.powers]), *pair
        )

    entry = _each(runs, lambda *x: objectives.huber_gradient(*x, setting.scale), *pair)
    norm = _each(runs, lambda *x: objectives.huber_vector_gradient(*x, setting.scale), *pair)
    return all_of(
        identical(
            runs["power_gradients"],
            powers(lambda p: 1.0),
            rounding=100,
            twin=Twin.of("no factor p", b=powers(lambda p: 1 / p)),
        ).named("l_p"),
        identical(runs["huber"], entry, rounding=100, twin=Twin.of("of the norm", b=norm)).named("Huber"),
        identical(runs["huber_vector"], norm, rounding=100, twin=Twin.of("entrywise", b=entry)).named(
            "Huber of the norm"
        ),
    )


@paper.claim(
    "retention_forms",
    source="sections 3.2 and 5.2, learning and retaining",
    statements=[2],
    setting=PROBLEMS,
    parts=3,
    formula="a (W0 - h g), a = 1/(1 + h/lam); W0 - h/(1 + h |k|^2) e k^T; c softmax(a ln W0 - h' g), h' = 1/(1/h + lam), a = "
    "h'/h",
    judged="minimisers drawn first, the linear term of the problem being what makes them stationary, within 1000 roundings",
    reads=("rate", "pull"),
)
def retention_forms(setting: ProblemSetting, lab: Lab) -> Verdict:
    """A pull to 0 beside the pull to the last memory is a forget gate; the squared error itself is the delta rule at a rate below
    1/|k|^2; KL and entropy on a simplex are a softmax of a gated logarithm.

    Twins: a gate of 1 - h/lam; |k| = 1; a rate that the entropy does not shrink.
    """
    runs = lab.simulate(problems, setting)
    h, lam = setting.rate, setting.pull

    def decay(x, g):
        return retention.weight_decay_step(x, g, h, lam)

    def rough(x, g):
        return (1 - h / lam) * (x - h * g)

    def implicit(x, k, v):
        return retention.implicit_delta_step(x, k, v, h)

    def unit(x, k, v):
        return x - h / (1 + h) * np.outer(x @ k - v, k)

    def entropic(x, g):
        return retention.entropic_step(x, g, h, lam)

    def unshrunk(x, g):
        return retention.entropic_step(x, (1 + h * lam) * g, h, lam)

    rows = (
        ("weight decay", "minimiser", decay, rough, ("memory", "decay_gradient")),
        ("implicit", "implicit", implicit, unit, ("memory", "key", "value")),
        ("KL and entropy", "simplex", entropic, unshrunk, ("simplex_memory", "entropic_gradient")),
    )
    return all_of(
        *(
            identical(
                runs[found],
                _each(runs, law, *names),
                rounding=1000,
                twin=Twin.of("nearest rival", b=_each(runs, rival, *names)),
            ).named(name)
            for name, found, law, rival, names in rows
        )
    )


@paper.claim(
    "mirror_maps",
    source="corrects the map of section 5.3",
    statements=[3, 4],
    setting=PROBLEMS,
    kind="extrapolation",
    formula="W = sign(A) |A|^(q-1) / |A|_q^(q-2) minimises |W|_p^2/2 - <W, A>, 1/p + 1/q = 1",
    judged="memories drawn first, A being the gradient of half their squared norm; orders other than 2, within 1e4 roundings "
    "(powers to q - 1 of numbers that are rounded)",
    reads=("orders",),
    covers={"orders": that(lambda x: any(q != 2 for q in x), "an order other than 2", "both maps are the same at 2")},
)
def mirror_maps(setting: ProblemSetting, lab: Lab) -> Verdict:
    """Retention by l_q brings accumulated gradients back by the inverse mirror map, which is not the printed one but at q = 2.

    Twin: the printed map, A / |A|_q^(q-2).
    """
    runs = lab.simulate(problems, setting)
    which = [i for i, q in enumerate(setting.orders) if q != 2]
    W = np.repeat(runs["minimiser"][:, None], len(which), 1)

    def maps(law):
        return _each(runs, lambda A: np.stack([law(A[i], setting.orders[i]) for i in which]), "accumulated")

    return identical(
        W, maps(retention.mirror_map), rounding=1e4, twin=Twin.of("printed map", b=maps(retention.printed_map))
    )


ORDERS = (2.0, 2.5, 3.5, 4.0)


@paper.claim(
    "printed_map_climbs",
    source="the map of section 5.3; its slope is derived",
    statements=[4],
    setting=SIZES,
    kind="extrapolation",
    parts=len(ORDERS),
    formula="errors in size are multiplied by 1 - h (3 - q) a^(2-q) per step, a^(3-q) = |W*|_q",
    judged="one step from a size off by 1e-6, every replica, within 1e-4 (the next order of the expansion and rounding of "
    "differences)",
    reads=("size", "rate"),
    covers={
        "gate": one_of(1.0),
        "map": one_of("printed"),
        "off": that(lambda x: 0 < abs(x) <= 1e-5, "1e-5 at most", "the law is linear"),
    },
)
def printed_map_climbs(setting: SizeSetting, lab: Lab) -> Verdict:
    """Above q = 3 descent through the printed map climbs the loss along the target: errors in the size of a memory grow.

    Twin: the norm held constant, a factor 1 - h a^(2-q).
    """
    parts = []
    for q, runs in zip(ORDERS, lab.simulate(sizes, *(replace(setting, order=q) for q in ORDERS)), strict=True):
        size = runs["sizes"]
        found = (size[:, 1] - setting.size) / (size[:, 0] - setting.size)
        law = retention.printed_map_factor(q, setting.size, setting.rate)
        constant = 1 - (1 - law) / (3 - q)
        twin = constant if q > 2 else 1 - setting.rate / 2  # at q = 2 there is no norm: half the rate
        within = budget(relative(1e-4, 1.0, "next order and rounding"))
        parts.append(
            agrees(
                found,
                law,
                within=within,
                of="every replica",
                twin=Twin.of("norm constant" if q > 2 else "half the rate", predicted=twin),
            ).named(f"q = {q:g}")
        )
    return all_of(*parts)


@paper.claim(
    "printed_map_rests_below",
    source="the map of section 5.3; where it rests is derived",
    statements=[4],
    setting=RESTS,
    kind="extrapolation",
    formula="|W|_4 = 1/a, (1 - alpha) a = h (w - 1/a), the larger root",
    judged="size at the end of every replica, within the share that is left of a distance of 1 at the fixed point's own "
    "factor, and rounding",
    reads=("size", "gate", "rate", "n_steps"),
    covers={
        "order": one_of(4.0),
        "map": one_of("printed"),
        "gate": that(lambda g: g < 1, "below 1", "without it nothing rests"),
        "off": that(lambda x: x <= -0.2, "-0.2 at most", "the start lies beyond the root that repels"),
        "n_steps": at_least(300, "the memory comes to rest"),
    },
)
def printed_map_rests_below(setting: SizeSetting, lab: Lab) -> Verdict:
    """At q = 4 a forget gate makes the printed map come to rest, at a size far below the target's.

    Twin: a size 2 % larger. Null control: the size at the start.
    """
    runs = lab.simulate(sizes, setting)
    law = retention.quartic_size_exact(setting.size, setting.gate, setting.rate)
    left = (setting.gate + setting.rate * law**2) ** setting.n_steps
    return agrees(
        runs["sizes"][:, -1],
        law,
        within=budget(relative(10 * left, law, "what is left of the start, tenfold"), rounding(1e4)),
        of="every replica",
        twin=Twin.of("2 % larger", predicted=law * 1.02),
        null=runs["sizes"][:, 0],
    )


@paper.claim(
    "entropic_memory",
    source="section 5.3, Memora",
    statements=[3],
    setting=SIMPLEX,
    parts=2,
    formula="W_T = c softmax(-h sum_t a^(T-t) g_t) from the uniform memory; sum W = c, W > 0",
    judged="memory at the end from the recorded gradients, within 64 roundings per step; sums within 64 roundings",
    reads=("gate", "rate", "total"),
    covers={"chunk": one_of(False)},
)
def entropic_memory(setting: SimplexSetting, lab: Lab) -> Verdict:
    """Memora stays on its simplex, and is one softmax of the discounted sum of all gradients.

    Twins: gradients that are not discounted; a sum that the gate scales.
    """
    runs = lab.simulate(simplex, setting)
    if not (runs["least"] > 0).all():
        raise ValueError("an entry of the memory is not positive")

    def law(gate):
        return _each(runs, lambda g: retention.entropic_memory_exact(g, gate, setting.rate, setting.total), "gradients")

    sums = np.full_like(runs["sums"], setting.total)
    return all_of(
        identical(
            runs["memory"], law(setting.gate), rounding=64 * setting.n_steps, twin=Twin.of("not discounted", b=law(1.0))
        ).named("memory"),
        identical(runs["sums"], sums, rounding=64, twin=Twin.of("gated", b=setting.gate * sums)).named("sum"),
    )


@paper.claim(
    "signed_targets",
    source="section 5.3, Memora; the limit is derived",
    statements=[4],
    setting=SIGNED,
    kind="extrapolation",
    parts=2,
    formula="|W - W*| is at least, and tends to, the distance of W* from the simplex: max(0, W* - tau)",
    judged="squared distance of every replica: at least that of the projection, and by no more than the regret bound 2 c ln "
    "n/(h T)",
    reads=("total", "rate", "n_steps"),
    covers={"chunk": one_of(True), "gate": one_of(1.0, why="a gate pulls towards the uniform memory")},
)
def signed_targets(setting: SimplexSetting, lab: Lab) -> Verdict:
    """A single simplex cannot hold a target with negative entries: it ends at the nearest point of the simplex.

    Twins: for the least distance, 5 % farther; for the limit, negative entries cut off.
    """
    runs = lab.simulate(simplex, setting)
    W, target = runs["memory"], runs["target"]

    def distance(x):
        return ((x - target) ** 2).sum((1, 2))

    found = distance(W)
    near = np.stack([retention.nearest_on_simplex(x, setting.total) for x in target])
    excess = 2 * retention.entropic_regret_bound(target[0].size, setting.rate, setting.n_steps, setting.total)
    clipped = distance(np.maximum(target, 0))
    above = bounded(
        found,
        distance(near) * (1 - 1e-9),
        side="below",
        of="every replica",
        twin=Twin.of("5 % farther", bound=1.05 * distance(near)),
    )
    limit = agrees(
        found,
        distance(near),
        within=budget(relative(excess, 1.0, "regret")),
        of="every replica",
        twin=Twin.of("negative entries cut off", predicted=clipped),
    )
    return all_of(above.named("least"), limit.named("limit"))
