"""Claims on the reduced loss, seen on all sequences at once: its origin, the saddle at L = N, plateaus, nested growth (5, 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    budget,
    exhaustive,
    exponent,
    finite_size,
    follows,
    frozen,
    relative,
    rounding,
    step_size,
)
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.paper import first_time, paper
from attnlab.simulators.induction_heads.population import PopulationSetting, train_population
from attnlab.theory.induction_heads import dynamics
from attnlab.theory.induction_heads import reduced_loss as theory

SADDLE = PopulationSetting(n_context=3, n_labels=3, learning_rate=0.1, n_steps=15_000, n_records=1_500)
SADDLES = Scales(
    smoke=replace(SADDLE, learning_rate=0.5, n_steps=3_000),
    desk=SADDLE,
    paper=replace(SADDLE, n_context=4, n_labels=4, n_steps=24_000),
)
SMALL_STARTS = (1e-5, 1e-6)
STARTS = (1e-1, 1e-3)


def times_of_transition(runs, n_context):
    """Time at which the loss of each replica falls through half of ln N."""
    return first_time(runs["time"][0], -runs["loss"], -0.5 * np.log(n_context))


def record_lag(runs):
    """The most by which a recorded loss, a mean over the steps since the record before, lags."""
    return float(np.diff(runs["time"][0]).max()) / 2


def starts(runs):
    """``(beta1, alpha, beta2, xi)`` of each replica at the start."""
    return np.stack([runs[name][:, 0] for name in ("beta1", "alpha", "beta2", "xi")], axis=-1)


@paper.claim(
    "origin",
    source="Section 4, reduced loss",
    statements=[5],
    setting=SADDLES,
    kind="identity",
    formula="d loss / d xi = -(1 - N/L) / (2N + 1) at the origin, all other first derivatives 0",
    assumptions=["exact loss for D to infinity", "N up to 8, L up to 4N"],
    judged="every (N, L): gradient by complex steps, to 1e-14; `first_steps` measures the same drift",
)
def origin(setting: PopulationSetting, lab: Lab) -> Verdict:
    """The origin is a critical point of the exact loss of the circuit if and only if L = N.

    Twin: it is one for every L.
    """

    def slope(N, L):
        moved = 1e-30j * np.eye(4)
        return theory.circuit_loss_limit(*moved.T, N, L).imag / 1e-30

    cases = [(N, L) for N in range(2, 9) for L in range(N, 4 * N + 1)]
    return exhaustive(
        cases,
        lambda case: bool(
            np.allclose(slope(*case), [0, 0, 0, -(1 - case[0] / case[1]) / (2 * case[0] + 1)], rtol=0, atol=1e-14)
        ),
        twin=Twin.of("critical for every L", check=lambda case: bool(np.allclose(slope(*case), 0, rtol=0, atol=1e-14))),
    )


@paper.claim(
    "saddle",
    source="Section 4, L = N",
    statements=[5],
    setting=SADDLES,
    formula="t = const + ln(1 / |start|) / (kappa sqrt(rho)), kappa = (H_N - 1) / (2N (2N + 1)), rho = 1/(L - 1), H_N "
    "harmonic number",
    assumptions=["all sequences at once, orthonormal contents", "small positive starts", "linear readout"],
    judged="slope of the time of transition over ln(1/start) between 1e-5 and 1e-6, every replica, within the step size, the "
    "lag of a record and ten times the relative size of the start",
    reads=("n_context", "learning_rate"),
)
def saddle(setting: PopulationSetting, lab: Lab) -> Verdict:
    """With L = N the wait grows with the logarithm of the start, at the rate of the saddle of the exact loss.

    Twin: the rate of the nested-logit loss, in which every label is a typical one.
    """
    N, h = setting.n_context, setting.learning_rate
    runs = lab.simulate(train_population, *(replace(setting, n_labels=N, init_scale=s) for s in SMALL_STARTS))
    times = [times_of_transition(each, N) for each in runs]
    if (few := too_few(np.isfinite(times).all(0), "have passed the transition", least=len(times[0]))) is not None:
        return few
    speed = dynamics.readout_rate(N) ** 0.5
    sizes = [np.log(np.abs(starts(each)[:, [1, 3]] * [speed, 1]).sum(-1)) for each in runs]
    slopes = (times[1] - times[0]) / (sizes[0] - sizes[1])
    exact, nested = (1 / (rate(N, N) * speed) for rate in (theory.circuit_saddle_rate_exact, theory.saddle_rate))
    return agrees(
        slopes,
        exact,
        within=budget(
            step_size(*(step / np.log1p(step / exact) for step in (h, h / 2))),
            Piece("records", record_lag(runs[0]) / np.log(SMALL_STARTS[0] / SMALL_STARTS[1])),
            finite_size(1 / SMALL_STARTS[0], 10 * exact, of="start"),
        ),
        of="every replica",
        twin=Twin.of("typical labels", predicted=nested),
    )


@paper.claim(
    "plateau",
    source="Section 4, Figure 5",
    statements=[5, 7],
    parts=2,
    setting=SADDLES,
    formula="t(loss = ln(N)/2) of the flow with rates (1, 1, 1 or 0, 1/(L - 1)) from each replica's own start; 1 with label_bias",
    assumptions=[
        "all sequences at once, orthonormal contents",
        "linear readout",
        "L = N + 2",
        "start of size 0.1, 0.001",
    ],
    judged="time over predicted time, every replica and start, is 1 within the change from runs with twice the step (twice that, "
    "as of Euler's steps) and the lag of a record",
    reads=("n_context", "learning_rate", "label_bias"),
)
def plateau(setting: PopulationSetting, lab: Lab) -> Verdict:
    """With more labels than the context holds, the wait is that of the exact flow and stays finite as the start vanishes.

    Twin: the flow of a readout that moves at the rate 1/L.
    """
    N, L = setting.n_context, setting.n_context + 2
    base = replace(setting, n_labels=L, n_steps=setting.n_steps // 4)
    half = {"learning_rate": setting.learning_rate / 2, "n_steps": 2 * base.n_steps}
    parts = []
    for scale in STARTS:
        whole, fine = lab.simulate(
            train_population, replace(base, init_scale=scale), replace(base, init_scale=scale, **half)
        )
        times = [times_of_transition(each, N) for each in (whole, fine)]
        if (few := too_few(np.isfinite(times).all(0), "have passed the transition", least=len(times[0]))) is not None:
            return few
        rates = [(1, 1, float(setting.label_bias), rate) for rate in (dynamics.readout_rate(L), 1 / L)]
        coarse, exact = (dynamics.circuit_transition_times(starts(each), N, L, rates[0]) for each in (whole, fine))
        rival = dynamics.circuit_transition_times(starts(fine), N, L, rates[1])
        lag = record_lag(fine) / float(times[1].min())
        parts.append(
            agrees(
                times[1] / exact,
                1.0,
                within=budget(step_size((times[0] / coarse).mean(), (times[1] / exact).mean()), Piece("records", lag)),
                of="every replica",
                twin=Twin.of("readout of rate 1/L", predicted=rival / exact),
            ).named(f"start {scale:g}")
        )
    return all_of(*parts)


@paper.claim(
    "nested_growth",
    source="Section 4, equations of the reduced loss",
    statements=[7],
    parts=3,
    setting=SADDLES,
    formula="beta1(t), alpha(t), xi(t) of the exact flow from zero, before and after the transition",
    assumptions=["all sequences at once, orthonormal contents", "linear readout", "L = N + 2"],
    judged="largest distance at 0.3, 0.6, 0.9 and 1.2 of the wait, in units of the flow's range, every replica, within twice "
    "the change from runs with twice the step",
    reads=("n_context", "learning_rate", "label_bias"),
)
def nested_growth(setting: PopulationSetting, lab: Lab) -> Verdict:
    """Gradient descent moves all three nested logits along the exact flow, through the transition.

    Twin: the readout moves at the rate 1/L. Null control: nothing moves.
    """
    N, L, bias = setting.n_context, setting.n_context + 2, float(setting.label_bias)
    base = replace(setting, n_labels=L, init_scale=1e-9, n_steps=setting.n_steps // 4, n_records=setting.n_steps // 40)
    half = replace(base, learning_rate=setting.learning_rate / 2, n_steps=2 * base.n_steps)
    runs = lab.simulate(train_population, base, half)
    rates = [(1, 1, bias, rate) for rate in (dynamics.readout_rate(L), 1 / L)]
    wait = dynamics.transition_time(dynamics.circuit_flow, (0, 0, 0, 0), N, L, rates[0])
    clock = runs[0]["time"][0]
    if clock[-1] < 1.2 * wait:
        return too_few(np.zeros(runs[0].n, bool), "have run for 1.2 of the wait")
    at = np.concatenate([[0], np.searchsorted(clock, np.array([0.3, 0.6, 0.9, 1.2]) * wait)])
    line, rival = (dynamics.circuit_flow((0, 0, 0, 0), clock[at], N, L, each) for each in rates)
    parts = []
    for name in ("xi", "alpha", "beta1"):
        whole, fine = (each[name][:, at] / np.ptp(getattr(line, name)) for each in runs)
        parts.append(
            follows(
                runs[1][name][:, at],
                getattr(line, name),
                within=budget(step_size(whole, fine), rounding(base.n_steps)),
                scale="range",
                of="every replica",
                times=clock[at],
                twin=Twin.of("readout of rate 1/L", predicted=getattr(rival, name)),
                null=frozen(runs[1][name][:, at]),
            ).named(name)
        )
    return all_of(*parts)


WAITS = (440, 110)  # the window of the first steps, in parts of the wait


@paper.claim(
    "first_steps",
    source="Section 4, equations of the reduced loss",
    statements=[5, 7],
    parts=5,
    setting=SADDLES,
    formula="xi = rho g t, alpha = kappa rho g t^2 / 2, beta1 ~ t^4 from a start near zero; g = (1 - N/L) / (2N + 1), kappa the "
    "mixed derivative of the exact loss, rho = 1/(L - 1)",
    assumptions=["all sequences at once, orthonormal contents", "L = N + 2", "beta2 = 0, or small where it is trained"],
    judged="log-log slopes of every replica between 1/440 and 1/110 of the wait, within p (p - 1)/2 of the inverse number of "
    "steps for Euler steps of t^p and 1/110 for later orders; xi/t and 2 alpha/t^2 at its end within the same",
    reads=("n_context",),
)
def first_steps(setting: PopulationSetting, lab: Lab) -> Verdict:
    """With more labels than the context holds the readout drifts off at once; each of the nested logits grows with its own power
    of time, for its force is the product of those that it is nested in.

    Twins: powers of logits that are nested in one less or one more; a readout of rate 1/L.
    """
    N, L = setting.n_context, setting.n_context + 2
    wait = dynamics.transition_time(dynamics.circuit_flow, (0, 0, 0, 0), N, L, (1, 1, 0, dynamics.readout_rate(L)))
    n_steps = 1_000
    step = float(f"{wait / WAITS[1] / n_steps:.2g}")
    runs = lab.simulate(
        train_population,
        replace(setting, n_labels=L, init_scale=1e-15, learning_rate=step, n_steps=n_steps, n_records=100),
    )
    time = runs["time"][0]
    early = time >= time[-1] * WAITS[1] / WAITS[0]
    later = finite_size(WAITS[1], of="wait")

    def euler(power, n):
        return Piece("Euler steps", power * (power - 1) / 2 / n)

    parts = [
        exponent(
            time[early],
            runs[name][:, early],
            power,
            within=budget(euler(power, time[early][0] / step), later),
            of="every replica",
            twin=rival,
        ).named(name)
        for name, power, rival in (("xi", 1.0, 2.0), ("alpha", 2.0, 1.0), ("beta1", 4.0, 3.0))
    ]
    drift = (1 - N / L) / (2 * N + 1)
    kappa = theory.circuit_saddle_rate_exact(N, L)
    for name, power, law in (("xi", 1, drift), ("alpha", 2, kappa * drift / 2)):
        size = law * dynamics.readout_rate(L)
        parts.append(
            agrees(
                runs[name][:, -1] / time[-1] ** power,
                size,
                within=budget(
                    Piece("Euler steps", size * euler(power, n_steps).size), relative(1 / WAITS[1], size, "later")
                ),
                of="every replica",
                twin=Twin.of("readout of rate 1/L", predicted=law / L),
                null=runs[name][:, 0],
            ).named(f"size of {name}")
        )
    return all_of(*parts)
