"""Claims on the reduced loss: its origin, the saddle at L = N, plateaus and the flow that training follows (5 and 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, exhaustive, exponent, follows
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.paper import first_time, paper
from attnlab.simulators.induction_heads.circuit import CircuitSetting, train_circuit
from attnlab.simulators.induction_heads.population import PopulationSetting, train_population
from attnlab.theory.induction_heads import dynamics
from attnlab.theory.induction_heads import reduced_loss as theory

SADDLE = PopulationSetting(n_context=3, n_labels=3, n_steps=3_000, n_records=1_500)
SADDLES = Scales(
    smoke=replace(SADDLE, learning_rate=1.0, n_steps=1_500, n_records=750),
    desk=SADDLE,
    paper=replace(SADDLE, n_context=4, n_labels=4, learning_rate=0.25, n_steps=12_000),
)
SCALES_OF_START = (1e-1, 1e-2, 1e-3, 1e-4)


def times_of_transition(runs, n_context):
    """Time at which the loss of each replica falls through half of ln N."""
    return first_time(runs["time"][0], -runs["loss"], -0.5 * np.log(n_context))


def starts(runs):
    """``(beta1, alpha, beta2, xi)`` of each replica at the start."""
    return np.stack([runs[name][:, 0] for name in ("beta1", "alpha", "beta2", "xi")], axis=-1)


@paper.claim(
    "origin",
    source="Section 4, reduced loss",
    statements=[5],
    setting=SADDLES,
    formula="d loss / d xi = -(1 - N/L) / (2N + 1) at the origin, all other first derivatives 0",
    assumptions=["exact loss for D to infinity", "N up to 8, L up to 4N"],
    judged="every (N, L): gradient by complex steps, to 1e-14",
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
    judged="slope of the time of transition over ln(1/start) between 1e-3 and 1e-4, every replica, within half of the "
    "distance to the twin",
)
def saddle(setting: PopulationSetting, lab: Lab) -> Verdict:
    """With L = N the wait grows with the logarithm of the start, at the rate of the saddle of the exact loss.

    Twin: the rate of the nested-logit loss, in which every label is a typical one.
    """
    N = setting.n_context
    runs = lab.simulate(train_population, *(replace(setting, n_labels=N, init_scale=s) for s in SCALES_OF_START[-2:]))
    times = [times_of_transition(each, N) for each in runs]
    sizes = [np.log(np.abs(starts(each)[:, [1, 3]] * [dynamics.readout_rate(N) ** 0.5, 1]).sum(-1)) for each in runs]
    slopes = (times[1] - times[0]) / (sizes[0] - sizes[1])
    exact, nested = (
        1 / (rate(N, N) * dynamics.readout_rate(N) ** 0.5)
        for rate in (theory.circuit_saddle_rate_exact, theory.saddle_rate)
    )
    return agrees(
        slopes,
        exact,
        within=abs(nested - exact) / 2,
        of="every replica",
        twin=Twin.of("typical labels", predicted=nested),
    )


@paper.claim(
    "plateau",
    source="Section 4, Figure 5",
    statements=[5, 7],
    parts=3,
    setting=SADDLES,
    formula="t(loss = ln(N)/2) of the flow with rates (1, 1, 0, 1/(L - 1)) from each replica's own start",
    assumptions=["all sequences at once, orthonormal contents", "linear readout", "start of size 0.1, 0.01, 0.001"],
    judged="time over predicted time, every replica and start, is 1 within half of the twin's distance",
)
def plateau(setting: PopulationSetting, lab: Lab) -> Verdict:
    """With more labels than the context holds, the wait is that of the exact flow and stays finite as the start vanishes.

    Twin: the flow of the nested-logit loss.
    """
    N, L = setting.n_context, setting.n_context + 2
    rate = dynamics.readout_rate(L)
    runs = lab.simulate(
        train_population,
        *(replace(setting, n_labels=L, init_scale=s, n_steps=setting.n_steps // 4) for s in SCALES_OF_START[:3]),
    )
    parts = []
    for scale, each in zip(SCALES_OF_START, runs, strict=False):
        times = times_of_transition(each, N)
        exact = np.array(
            [dynamics.transition_time(dynamics.circuit_flow, z, N, L, (1, 1, 0, rate)) for z in starts(each)]
        )
        nested = np.array(
            [
                dynamics.transition_time(dynamics.nested_logit_flow, z[[0, 1, 3]], N, L, (1, 1, rate))
                for z in starts(each)
            ]
        )
        parts.append(
            agrees(
                times / exact,
                1.0,
                within=float(np.abs(nested / exact - 1).min()) / 2,
                of="every replica",
                twin=Twin.of("nested logits", predicted=nested / exact),
            ).named(f"start {scale:g}")
        )
    return all_of(*parts)


@paper.claim(
    "nested_powers",
    source="Section 4, equations of the reduced loss",
    statements=[7],
    parts=3,
    setting=SADDLES,
    formula="xi ~ t, alpha ~ t^2, beta1 ~ t^4 from a start near zero",
    assumptions=[
        "all sequences at once, orthonormal contents",
        "L = N + 2",
        "before a twentieth of the wait: corrections are a few times t / wait",
    ],
    judged="log-log slopes of every replica within 0.25 between an eightieth and a twentieth of the wait",
)
def nested_powers(setting: PopulationSetting, lab: Lab) -> Verdict:
    """Each of the nested logits grows with its own power of time, for its force is the product of those that it is nested in.

    Twins: powers 2, 1 and 2, those of logits that are not nested in all of the others.
    """
    N, L = setting.n_context, setting.n_context + 2
    runs = lab.simulate(
        train_population, replace(setting, n_labels=L, init_scale=1e-9, learning_rate=0.05, n_steps=200, n_records=200)
    )
    wait = dynamics.transition_time(dynamics.circuit_flow, (0, 0, 0, 0), N, L, (1, 1, 0, dynamics.readout_rate(L)))
    time = runs["time"][0]
    early = (time >= wait / 80) & (time <= wait / 20)
    return all_of(
        *(
            exponent(time[early], runs[name][:, early], power, within=0.25, of="every replica", twin=rival).named(name)
            for name, power, rival in (("xi", 1.0, 2.0), ("alpha", 2.0, 1.0), ("beta1", 4.0, 2.0))
        )
    )


FLOW = CircuitSetting(
    dim=255,
    n_labels=8,
    n_classes=8,
    n_novel=64,
    within_class_noise=0.0,
    label_bias=False,
    readout="linear",
    batch=32,
    learning_rate=0.2,
    n_steps=1_100,
    n_records=55,
    n_test=50,
    n_replicas=16,
)
FLOWS = Scales(
    smoke=replace(FLOW, dim=127, n_replicas=8),
    desk=FLOW,
    paper=replace(FLOW, dim=2047, learning_rate=0.05, n_steps=5_000),
)


@paper.claim(
    "exact_flow",
    source="Section 4, equations of the reduced loss",
    statements=[7],
    setting=FLOWS,
    formula="dz/dt = -rates grad loss, z = (beta1, alpha, xi), rates (1, 1, 1/(L - 1)); time in units of the transition",
    assumptions=["sampled sequences", "dimension 255", "two-number circuit, linear readout from zero"],
    judged="time of transition (accuracy-free: loss = ln(N)/2) within a fifth of the predicted one, mean over replicas",
)
def exact_flow(setting: CircuitSetting, lab: Lab) -> Verdict:
    """Stochastic gradient descent on sampled sequences of large dimension passes the transition when the exact flow does.

    Twin: the readout moves at the rate of the attention's numbers.
    """
    N, L = setting.n_context, setting.n_labels
    runs = lab.simulate(train_circuit, setting)
    steps = runs["steps"][0]
    found = setting.learning_rate * first_time(steps, -runs["test_loss"], -0.5 * np.log(N))
    exact, rival = (
        dynamics.transition_time(dynamics.circuit_flow, (0, 0, 0, 0), N, L, (1, 1, 0, rate))
        for rate in (dynamics.readout_rate(L), 1.0)
    )
    return agrees(found, exact, within=0.2 * exact, twin=Twin.of("readout of rate one", predicted=rival))


@paper.claim(
    "slow_phase",
    source="Section 4, slow phase",
    statements=[2, 7],
    setting=FLOWS,
    formula="u = s0 xi: N e^u + (L - N) u = N + rho s0^2 (L - N) t, CLA = N / (N + (L - N) e^-u), s0 = 1/(2N + 1)",
    assumptions=["sampled sequences", "two-number circuit, linear readout from zero", "first third of the wait"],
    judged="largest distance of the mean CLA within a quarter of the twin's largest distance",
)
def slow_phase(setting: CircuitSetting, lab: Lab) -> Verdict:
    """While attention is uniform, the mass on labels of the context follows the closed form.

    Twin: the readout moves at the rate of the attention's numbers.
    """
    N, L = setting.n_context, setting.n_labels
    runs = lab.simulate(train_circuit, setting)
    wait = dynamics.transition_time(dynamics.circuit_flow, (0, 0, 0, 0), N, L, (1, 1, 0, dynamics.readout_rate(L)))
    time = setting.learning_rate * runs["steps"][0]
    early = (time > 0) & (time < wait / 3)
    line, rival = (
        dynamics.slow_phase_context_mass(time[early], N, L, rate) for rate in (dynamics.readout_rate(L), 1.0)
    )
    return follows(
        runs["context_mass"][:, early],
        line,
        within=float(np.abs(rival - line).max()) / 4,
        of="mean trajectory",
        times=time[early],
        twin=Twin.of("readout of rate one", predicted=rival),
    )
