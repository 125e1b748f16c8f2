"""Claims on recall: correlated keys, outliers, drift, forgetting, chunks, and losses that overflow or have a floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exhaustive, identical, relative
from attnlab.papers.lab.conditions import at_least, one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.miras.paper import (
    CHUNKS,
    CORRELATED,
    DRIFT,
    DRIFTS,
    GATED,
    GATES,
    REPEATS,
    STREAM,
    STREAMS,
    noise,
    over,
    paper,
)
from attnlab.simulators.associative_memory.online import RepeatSetting, repeats
from attnlab.simulators.associative_memory.tracking import (
    ChunkSetting,
    CorrelatedSetting,
    StreamSetting,
    chunks,
    correlated,
    stream,
)
from attnlab.theory.associative_memory import online_errors as theory

CALM = {"drift_std": one_of(0.0), "noise_std": one_of(0.0), "map": one_of("identity"), "n_burn": at_least(200)}
L1_RATE, L2_RATE = 0.1, 0.5


@paper.claim(
    "correlated_keys",
    source="section 3, attentional biases; the errors are derived",
    statements=[3],
    setting=CORRELATED,
    kind="extrapolation",
    parts=3,
    formula="Hebb (n - 1) rho^2; delta rule rho^2 [(1 - r^m)^2 a_i + a_m], r = 1 - rho, a_t = (1 - r^2t)/(1 - r^2); 0 for rho "
    "= 0",
    judged="squared errors of every pair, exact means over independent values, within 1000 roundings of 1",
    reads=("n_pairs", "overlap"),
    covers={
        "rate": one_of(1.0, why="the laws are for rate 1"),
        "overlap": that(lambda x: x > 0.05, "above 0.05", "else there is nothing to tell"),
    },
)
def correlated_keys(setting: CorrelatedSetting, lab: Lab) -> Verdict:
    """Orthonormal keys are recalled exactly by the dot product and by the squared error; of keys that overlap the squared error
    keeps the last ones, by an exact law of the pairs written later.

    Twins: the target counted as interference; interference of later pairs only; an overlap of 0.02.
    """
    runs, apart, near = lab.simulate(correlated, setting, replace(setting, overlap=0.0), replace(setting, overlap=0.02))
    n, rho = setting.n_pairs, setting.overlap
    hebb = np.full_like(runs["hebb"], theory.hebbian_equicorrelated_error(n, rho))
    delta = np.tile(theory.delta_equicorrelated_errors(n, rho), (runs.n, 1))
    m = n - np.arange(1, n + 1)
    later = np.tile(rho**2 * (1 - (1 - rho) ** (2.0 * m)) / (1 - (1 - rho) ** 2), (runs.n, 1))
    both = np.stack([apart["hebb"], apart["delta"]])
    return all_of(
        identical(runs["hebb"], hebb, rounding=1000, scale=1.0, twin=Twin.of("target counted", b=hebb + rho**2)).named(
            "Hebb"
        ),
        identical(runs["delta"], delta, rounding=1000, scale=1.0, twin=Twin.of("later pairs only", b=later)).named(
            "delta rule"
        ),
        identical(
            both,
            np.zeros_like(both),
            rounding=1000,
            scale=1.0,
            twin=Twin.of("overlap 0.02", a=np.stack([near["hebb"], near["delta"]])),
        ).named("orthonormal"),
    )


@paper.claim(
    "outliers",
    source="section 5.1, robust biases; the stationary errors are derived",
    statements=[4],
    setting=STREAMS,
    kind="extrapolation",
    parts=5,
    formula="squared h d eps s^2/(2 - h); Huber and l1: x <- x - 2 h z psi(z - xi) + h^2 psi^2 with z = sqrt(x) t: stationary "
    "mean of the chain",
    judged="mean squared error per row in the second part of a stream, within what replicas leave open and 1e-4 for quadrature",
    reads=("dim", "scale", "outlier_std"),
    covers={**CALM, "gate": one_of(1.0), "dim": at_least(3)},
)
def outliers(setting: StreamSetting, lab: Lab) -> Verdict:
    """With a share of outliers the squared loss errs by their variance, the Huber loss far less, and l1 has a floor that its
    rate sets.

    Twins: squared, without the square of the step, h d eps s^2/2; Huber, outliers that do not cost pull (the error times 1 -
    eps); l1, without its fluctuations.
    """
    d, s = setting.dim, setting.outlier_std
    cells = [("squared", 0.1), ("huber", 0.1), ("huber", 0.2), ("l1", 0.0), ("l1", 0.2)]
    rates = {"squared": L2_RATE, "huber": L2_RATE, "l1": L1_RATE}
    every = lab.simulate(
        stream, *(replace(setting, loss=loss, rate=rates[loss], outlier_rate=eps) for loss, eps in cells)
    )
    parts = []
    for (loss, eps), runs in zip(cells, every, strict=True):
        if loss == "squared":
            law = theory.tracking_error_exact(d, L2_RATE, eps**0.5 * s, 0.0)
            twin = Twin.of("first order of the step", predicted=law * (2 - L2_RATE) / 2)
        else:
            chain = theory.OutlierLaw(d, rates[loss], loss, setting.scale, eps, s)
            law = chain.mean()
            twin = (
                Twin.of("no fluctuations", predicted=chain.leading())
                if loss == "l1"
                else Twin.of("outliers cost no pull", predicted=(1 - eps) * law)
            )
        pieces = [noise((loss, eps), setting, STREAM.n_draws, law)]
        if loss != "squared":
            pieces.append(relative(1e-4, law, "quadrature"))
        parts.append(
            agrees(runs["error"], law, within=budget(*pieces), of=over(setting), twin=twin).named(
                f"{loss}, {100 * eps:g} %"
            )
        )
    return all_of(*parts)


@paper.claim(
    "drift",
    source="section 3, online learning; the law is derived",
    statements=[1],
    setting=DRIFTS,
    kind="extrapolation",
    parts=3,
    formula="(q^2 (1 - c) + h^2 s^2)/c, c = h (2 - h)/d; least at h = (-x + sqrt(x^2 + 4 x))/2, x = q^2/s^2",
    judged="mean squared error per row at half, once and twice the best rate, within what replicas leave open",
    reads=("dim", "noise_std", "drift_std"),
    covers={
        "loss": one_of("squared"),
        "gate": one_of(1.0),
        "map": one_of("identity"),
        "outlier_rate": one_of(0.0),
        "noise_std": that(lambda s: s > 0, "above 0"),
        "drift_std": that(lambda q: q > 0, "above 0"),
    },
)
def drift(setting: StreamSetting, lab: Lab) -> Verdict:
    """The delta rule tracks a target that walks with an exact error, least at a rate that the ratio of drift to noise sets.

    Twin: c = 2 h/d, without the square of the step.
    """
    d, s, q = setting.dim, setting.noise_std, setting.drift_std
    best = theory.best_tracking_rate(d, s, q)
    cells = {"drift, half the best rate": best / 2, "drift, best rate": best, "drift, twice the best rate": 2 * best}
    parts = []
    every = lab.simulate(stream, *(replace(setting, rate=rate) for rate in cells.values()))
    for (name, rate), runs in zip(cells.items(), every, strict=True):
        law = theory.tracking_error_exact(d, rate, s, q)
        c = 2 * rate / d
        parts.append(
            agrees(
                runs["error"],
                law,
                within=budget(noise(name, setting, DRIFT.n_draws, law)),
                of=over(setting),
                twin=Twin.of("first order of the step", predicted=(q**2 * (1 - c) + rate**2 * s**2) / c),
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "forgetting",
    source="section 3.2, forget gates as retention; the share is derived",
    statements=[2],
    setting=GATES,
    kind="extrapolation",
    formula="<W, W*>/|W*|^2 = (h/d) / (1 - alpha (1 - h/d))",
    judged="mean share of the target that is held, within what replicas leave open",
    reads=("dim", "rate", "gate"),
    covers={
        **CALM,
        "loss": one_of("squared"),
        "outlier_rate": one_of(0.0),
        "gate": that(lambda g: g < 1, "below 1", "else all is held"),
    },
)
def forgetting(setting: StreamSetting, lab: Lab) -> Verdict:
    """A forget gate is paid for: of a target that stays, the gated delta rule holds a share, which falls as the width grows.

    Twin: the gradient taken before the gate, (h/d)/(1 - alpha + h/d).
    """
    runs = lab.simulate(stream, setting)
    law = theory.forgetting_gain_exact(setting.dim, setting.rate, setting.gate)
    late = theory.forgetting_gain_exact(setting.dim, setting.rate, setting.gate, late=True)
    return agrees(
        runs["gain"],
        law,
        within=budget(noise("gain", setting, GATED.n_draws, law)),
        of=over(setting),
        twin=Twin.of("gradient before the gate", predicted=late),
        null=np.full(runs.n, 0.5),
    )


SIZES_OF_CHUNKS = (4, 16, 64)


@paper.claim(
    "chunks",
    source="section 5.4, chunked training; the laws are derived",
    statements=[1],
    setting=CHUNKS,
    kind="extrapolation",
    parts=4 * len(SIZES_OF_CHUNKS),
    formula="one by one (1 - h(2-h)/d)^b; chunk 1 - 2 h b/d + (h^2 b/d)(1 + (b-1)/d), 1 at h = 2 d/(d + b - 1); difference "
    "(1 - h/d)^b - 1 + h b/d",
    judged="means over draws and replicas for b = 4, 16, 64, within what replicas leave open",
    reads=("dim", "rate"),
)
def chunked(setting: ChunkSetting, lab: Lab) -> Verdict:
    """Gradients taken at the first memory of a chunk of b keys make another rule: its error has its own exact factor, exceeds
    that of the delta rule, and grows from the rate 2 d/(d + b - 1) on; the difference is of order h^2 b^2 per chunk.

    Twins: one by one, without the square of the step; chunks, b in the place of b - 1; b^2 for b (b - 1) in the difference;
    the limit 2 d/(d + b).
    """
    d, h = setting.dim, setting.rate
    parts = []
    limits = [theory.chunk_rate_limit(b, d) for b in SIZES_OF_CHUNKS]
    every = lab.simulate(chunks, *(replace(setting, n_keys=b) for b in SIZES_OF_CHUNKS))
    edge = lab.simulate(
        chunks, *(replace(setting, n_keys=b, rate=r) for b, r in zip(SIZES_OF_CHUNKS, limits, strict=True))
    )
    for b, runs, at in zip(SIZES_OF_CHUNKS, every, edge, strict=True):
        rows = (
            ("one_by_one", theory.sequential_factor_exact(b, d, h), (1 - 2 * h / d) ** b),
            ("chunk", theory.chunk_factor_exact(b, d, h), theory.chunk_factor_exact(b, d, h) + h**2 * b / d**2),
            (
                "difference",
                theory.chunk_difference_exact(b, d, h),
                theory.chunk_difference_exact(b, d, h) * b / (b - 1),
            ),
            ("limit", 1.0, theory.chunk_factor_exact(b, d, 2 * d / (d + b))),
        )
        for name, law, rival in rows:
            found = at["chunk"] if name == "limit" else runs[name]
            parts.append(
                agrees(
                    found,
                    law,
                    within=budget(noise((name, b), setting, CHUNKS.desk.n_draws, law)),
                    of=over(setting),
                    twin=Twin.of("nearest rival", predicted=rival),
                ).named(f"{name}, b = {b}")
            )
    return all_of(*parts)


ABOVE, BELOW = (3.0, 4.0), (1.25, 1.5, 1.75)


@paper.claim(
    "powers",
    source="section 5.1, l_p biases; the limits are derived",
    statements=[3, 4],
    setting=REPEATS,
    kind="extrapolation",
    parts=2,
    formula="|e| = (2/(h p))^(1/(p-2)): above p = 2 larger errors grow, below it errors end there",
    judged="errors of 0.999 and 1.001 times the limit, and ten times, for p = 3, 4: which shrink; errors after many steps for "
    "p = 1.25, "
    "1.5, 1.75 within 100 roundings",
    reads=("rate",),
    covers={"n_steps": at_least(40, "errors have come to their floor")},
)
def powers(setting: RepeatSetting, lab: Lab) -> Verdict:
    """Losses of p > 2 overflow from an error that the rate sets, so one outlier of any larger size ends them; those of p < 2
    have a floor.

    Twins: the limit without the factor p; without the 2.
    """
    n, h = setting.n_steps, setting.rate
    cases, wrong = [], []
    for p in ABOVE:
        limit = theory.power_step_limit(p, h)
        for rows, at in ((cases, limit), (wrong, limit * p ** (1 / (p - 2)))):
            starts = (0.999 * at, 1.001 * at, 10 * at)
            found = lab.simulate(repeats, replace(setting, power=p, starts=starts))["sizes"]
            for row in found:
                rows += [(p, float(s[1] / s[0]), float(s[-1]), k == 0) for k, s in enumerate(row)]

    def as_said(case) -> bool:
        _, first, last, inside = case
        return (first < 1 and last < 1) if inside else first > 1

    exact = exhaustive(cases, as_said, twin=Twin.of("without p", cases=wrong), of="every error")
    limits = np.array([theory.power_step_limit(p, h) for p in BELOW])
    every = lab.simulate(repeats, *(replace(setting, power=p, starts=(0.4, 1.0)) for p in BELOW))
    ends = np.stack([runs["sizes"][:, :, n] for runs in every])
    law = np.broadcast_to(limits[:, None, None], ends.shape)
    half = np.broadcast_to((limits * np.array([2 ** (1 / (2 - p)) for p in BELOW]))[:, None, None], ends.shape)
    floors = identical(ends, law, rounding=100, twin=Twin.of("1/(h p)", b=half))
    return all_of(exact.named("p above 2"), floors.named("p below 2"))
