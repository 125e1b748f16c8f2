"""Claims on sampled sequences of large dimension: they follow the flow of the reduced loss, slow phase and transition (2, 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, euler_step, finite_size, follows, frozen, replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_least, at_most, one_of, outside, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.paper import first_time, paper
from attnlab.simulators.induction_heads.circuit import CircuitSetting, train_circuit
from attnlab.simulators.induction_heads.population import PopulationSetting, train_population
from attnlab.theory.induction_heads import dynamics

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
    n_replicas=32,
)
FLOWS = Scales(
    smoke=replace(FLOW, dim=127, n_replicas=16),
    desk=FLOW,
    paper=replace(FLOW, dim=2047, learning_rate=0.05, n_steps=5_000),
)
IDEAL = {
    "readout": one_of("linear", why="the flow is that of a linear readout"),
    "within_class_noise": at_most(0.0, "the closed loss is that of items without noise"),
    "p_novel": one_of(1.0, why="the closed loss is that of classes never seen before"),
    "burstiness": one_of(1, why="the closed loss is that of different items"),
    "layer_1": one_of(True, why="the flow moves beta1"),
    "attention": one_of(True, why="the flow moves the attention"),
    "dim": at_least(127, "contents are orthonormal up to a few parts in dim"),
}
READ = ("n_context", "n_labels", "dim", "learning_rate", "init_scale", "alignment", "label_bias")


def start_of(setting):
    """``(beta1, alpha, beta2, xi)`` at the start."""
    first = setting.init_scale
    return first, first, first * setting.label_bias, first + setting.alignment


def wait_of(setting):
    """Time at which the exact flow passes half of ln N; infinite at a saddle."""
    N, L = setting.n_context, setting.n_labels
    rates = (1, 1, float(setting.label_bias), dynamics.readout_rate(L))
    return dynamics.transition_time(dynamics.circuit_flow, start_of(setting), N, L, rates)


DELAY = 7.0  # transitions come 2.6 % later at dimension 127 than at 255 (16 circuits each): a relative delay of 7/dim
SPREAD = {4: 0.026, 2: 0.08}  # relative spread of the time of transition over circuits at 255, by N, of the same runs
MASS = 6.0  # the mass on labels of the context ends lower by 0.048 at 127 and by 0.0205 at 255: by 6/dim


@paper.claim(
    "exact_flow",
    source="Section 4, equations of the reduced loss",
    statements=[7],
    parts=2,
    setting=FLOWS,
    formula="dz/dt = -rates grad loss, z = (beta1, alpha, beta2, xi), rates (1, 1, 1 or 0, 1/(L - 1)); time: loss = ln(N)/2",
    assumptions=["sampled sequences", "linear readout"],
    judged="time of transition at N and at N/2 is the predicted one within 7/dim and its spread (2.6 % at N = 4, 8 % at "
    "N = 2), mean over replicas",
    reads=READ,
    covers=IDEAL,
)
def exact_flow(setting: CircuitSetting, lab: Lab) -> Verdict:
    """Stochastic gradient descent on sampled sequences of large dimension passes the transition when the exact flow does.

    The noise of the descent, not the dimension, makes the margin wide; `nested_growth` and `plateau` judge the flow itself.
    Twin: the flow of the nested-logit loss.
    """
    L = setting.n_labels
    sizes = [setting, replace(setting, n_context=max(1, setting.n_context // 2))]
    if L <= setting.n_context or setting.n_context < 4:
        return outside(
            f"n_context={setting.n_context}, n_labels={L}: the wait is judged for L > N and at N and N/2 >= 2"
        )
    parts = []
    for each, runs in zip(sizes, lab.simulate(train_circuit, *sizes), strict=True):
        steps = runs["steps"][0]
        found = setting.learning_rate * first_time(steps, -runs["test_loss"], -0.5 * np.log(each.n_context))
        if (few := too_few(np.isfinite(found), "have passed the transition", least=len(found))) is not None:
            return few
        exact = wait_of(each)
        beta1, alpha, _, xi = start_of(each)
        rates = (1, 1, dynamics.readout_rate(L))
        rival = dynamics.transition_time(dynamics.nested_logit_flow, (beta1, alpha, xi), each.n_context, L, rates)
        spread = SPREAD.get(each.n_context, max(SPREAD.values()))
        parts.append(
            agrees(
                found,
                exact,
                within=budget(replicas(spread * exact, len(found)), finite_size(each.dim, DELAY * exact, of="dim")),
                twin=Twin.of("nested logits", predicted=rival),
            ).named(f"N = {each.n_context}")
        )
    return all_of(*parts)


def held(setting):
    """The circuit with its attention held at uniform, and steps that are large for a readout alone."""
    return replace(setting, attention=False, learning_rate=20 * setting.learning_rate, n_steps=1_500, n_records=6)


SLOW = PopulationSetting(
    n_context=3, n_labels=5, attention=False, init_scale=1e-9, learning_rate=2.0, n_steps=1_200, n_records=1_200
)


@paper.claim(
    "slow_phase",
    source="Section 4, slow phase",
    statements=[2, 7],
    parts=3,
    setting=FLOWS,
    formula="u = s0 xi: N e^u + (L - N) u = N + rho s0^2 (L - N) t, CLA = N / (N + (L - N) e^-u), loss = ln(N + (L - N) e^-u), "
    "s0 = 1/(2N + 1), rho = 1/(L - 1)",
    assumptions=["linear readout from zero", "attention held uniform, until CLA is about 0.9"],
    judged="xi and loss on all sequences at once (N = 3, L = 5) along the whole way, every replica, within Euler's error and a "
    "record; mean CLA on sampled sequences at six times within 6/dim and its spread (0.008)",
    reads=("n_context", "n_labels", "dim", "learning_rate"),
    covers={
        **{name: IDEAL[name] for name in ("readout", "within_class_noise", "p_novel", "burstiness", "dim")},
        "init_scale": at_most(0.0, "the closed form starts at zero"),
        "alignment": at_most(0.0, "the closed form starts at zero"),
    },
)
def slow_phase(setting: CircuitSetting, lab: Lab) -> Verdict:
    """While attention is uniform, the readout's overlap, the loss and the mass on labels of the context saturate along the
    closed form.

    In training the attention leaves uniform long before that; it is held here, so that the whole curve is seen. Twins: the
    readout moves at the rate 1/L; it goes on at its first pace. Null control: nothing moves, but the noise.
    """
    N, L = SLOW.n_context, SLOW.n_labels
    rho = dynamics.readout_rate(L)
    runs = lab.simulate(train_population, SLOW)
    at = np.linspace(0, len(runs["time"][0]) - 1, 7).astype(int)
    time = runs["time"][0][at]
    steepest = rho * ((1 - N / L) / (2 * N + 1)) ** 2  # fall of the loss at the start
    curvature = rho * N / L * (1 - N / L) / (2 * N + 1) ** 2
    parts = []
    for name, law, late in (
        ("xi", dynamics.slow_phase_xi, 0.0),
        ("loss", dynamics.slow_phase_loss, SLOW.learning_rate * steepest / np.log(L / N)),
    ):
        line, rival = (law(time, N, L, rate) for rate in (rho, 1 / L))
        parts.append(
            follows(
                runs[name][:, at],
                line,
                within=budget(euler_step(SLOW.learning_rate, curvature), Piece("a record", late)),
                scale="range",
                of="every replica",
                times=time,
                twin=Twin.of("readout of rate 1/L", predicted=rival),
                null=frozen(runs[name][:, at]),
            ).named(name)
        )
    N, L = setting.n_context, setting.n_labels
    if L <= N:
        return outside(f"n_context={N}, n_labels={L}: at L = N the readout stays at zero")
    setting = held(setting)
    runs = lab.simulate(train_circuit, setting)
    time, found = setting.learning_rate * runs["steps"][0], runs["context_mass"]
    rho, of = dynamics.readout_rate(L), "mean trajectory"
    first = rho * (1 - N / L) / (2 * N + 1) ** 2 * time  # u at its first pace
    parts.append(
        follows(
            found,
            dynamics.slow_phase_context_mass(time, N, L, rho),
            within=budget(replicas(0.008, runs.n, of=of, points=len(time)), finite_size(setting.dim, MASS, of="dim")),
            of=of,
            times=time,
            twin=Twin.of("without saturation", predicted=N / (N + (L - N) * np.exp(-first))),
            null=frozen(found) + found - found.mean(0),
        ).named("mass on sampled sequences")
    )
    return all_of(*parts)
