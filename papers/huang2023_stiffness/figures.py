"""Figures: profiles of the index, solver steps, Euler errors, depth profiles of transformers, gates, and the gates'
reduced flow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.analysis.figures.style import style
from attnlab.papers.huang2023_stiffness.networks import GATES_AS_STEPS, both_tasks, gate_flows
from attnlab.papers.huang2023_stiffness.paper import EASY_SCALES, HARD, KINDS, paper
from attnlab.papers.huang2023_stiffness.solvers import EULER, KEPLER, VAN_DER_POL, speed_of
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.stiffness.depth import TransformerSetting, train_transformers
from attnlab.simulators.stiffness.euler_chains import EulerSetting, GateSetting, euler_rules, train_gates
from attnlab.simulators.stiffness.gated_networks import SpiralSetting, train_gated
from attnlab.simulators.stiffness.solvers import KeplerSetting, kepler_steps, van_der_pol_steps
from attnlab.theory.stiffness import euler_steps as steps
from attnlab.theory.stiffness import index as theory
from attnlab.theory.stiffness import orbits

NAMES = {0: "no gate", KINDS["f"]: "gate on f", KINDS["f and x"]: "gate on f and x"}
INPUT_WIDTH, MEAN_WIDTH = 0.35, 1.8


@paper.figure(
    "fig1",
    caption="Stiffness index of each block, spirals of 3.5 turns. (a) to (c): the network of each kind in "
    "replica 0; thin lines: single test inputs, dashed: least and largest of all test inputs, "
    "thick: their mean. (d): the mean profiles over replicas",
    source="figure of the index by block",
    setting=Scales(*(replace(EASY_SCALES.at(scale), turns=HARD.turns) for scale in ("smoke", "desk", "paper"))),
)
@style()
def index_by_block(setting: SpiralSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(train_gated, setting)
    blocks = np.arange(1.0, setting.n_blocks + 1)
    plate = figures.Plate(1, 4, width="double", height=2.6, share_y=True)
    for panel, (column, name) in zip(plate.panels, NAMES.items(), strict=False):
        look = panel.look(name)
        draw_inputs(
            panel,
            blocks,
            {key: runs[f"index_{key}"][0, column] for key in ("shown", "low", "high")},
            runs["index"][0, column],
            look,
        )
        panel.heading(name)
        panel.labels(x="block t")
        figures.band(plate[3], blocks, runs["index"][:, column], name)
    plate[0].labels(y=r"stiffness index $S_t = \|x_{t+1} - x_t\| / \|x_t\|$")
    plate[3].labels(x="block t")
    plate[3].heading("all replicas")
    for panel in plate.panels:
        panel.scale(y="log")
        panel.ticks(x=[b for b in (1, 4, 7, 10, 14, 18) if b <= setting.n_blocks])
    plate.legend("below")
    return plate


def draw_inputs(panel, blocks, inputs, mean, look):
    """Single inputs, their envelope and their mean."""
    single, *_ = panel.axes.plot(blocks, inputs["shown"].T, color=look.colour, linewidth=INPUT_WIDTH, alpha=0.7)
    panel.entry("single inputs", single)
    for number, row in enumerate(inputs["shown"]):
        panel.record(figures.Mark(panel.name, "input", f"input {number}", blocks, row))
    for end in ("low", "high"):
        (edge,) = panel.axes.plot(blocks, inputs[end], color="black", linestyle=(0, (3, 2)), linewidth=0.9)
        panel.entry("least and largest of all inputs", edge)
        panel.record(figures.Mark(panel.name, "envelope", end, blocks, inputs[end]))
    (middle,) = panel.axes.plot(blocks, mean, color="black", linewidth=MEAN_WIDTH)
    panel.entry("mean over inputs", middle)
    panel.record(figures.Mark(panel.name, "mean over inputs", "mean", blocks, mean))


@paper.figure(
    "fig2",
    caption="Left: the solution. Middle: its index, exact on the orbit and at the solver's steps, and on van der Pol's "
    "equation the largest eigenvalue of the Jacobian. Right: the step size. On the orbit the "
    "step is a mirror image of the index; on the stiff oscillator it is one of the eigenvalue",
    source="adaptive solvers",
    setting=KEPLER,
)
@style()
def solver_steps(setting: KeplerSetting, lab: Lab) -> figures.Plate:
    k = int(np.argmin(np.abs(np.array(setting.eccentricities) - 0.9)))
    e = setting.eccentricities[k]
    orbit = lab.simulate(kepler_steps, setting)
    relaxed = VAN_DER_POL.at(lab.scale)
    oscillator = lab.simulate(van_der_pol_steps, relaxed)
    plate = figures.Plate(3, 3, width="double", height=5.6)
    E = np.linspace(-np.pi, np.pi, 401)
    E = np.pi * np.sign(E) * np.abs(E / np.pi) ** 2.5  # more points near pericentre
    figures.prediction(plate[0, 0], E - e * np.sin(E), 1 - e * np.cos(E), "exact", series="exact")
    figures.prediction(plate[0, 1], E - e * np.sin(E), orbits.kepler_index(e, E), "exact", series="exact")
    cases = [
        (orbit, k, ("index",), f"Kepler orbit, e = {e:g}", "distance r"),
        *(
            (oscillator, relaxed.mu.index(mu), ("index", "eigenvalue"), rf"van der Pol, $\mu$ = {mu:g}", "position x")
            for mu in (10.0, 100.0)
        ),
    ]
    for row, (runs, case, names, title, solution) in enumerate(cases):
        show(plate[row, 0], runs, case, ("position",))
        show(plate[row, 1], runs, case, names)
        show(plate[row, 2], runs, case, ("step",))
        plate[row, 0].heading(title)
        for column in (1, 2):
            plate[row, column].scale(y="log")
        rates = "index (per time)" if row == 0 else "index, eigenvalue (per time)"
        for column, label in enumerate((solution, rates, "step size h (time)")):
            plate[row, column].labels(x="time t from pericentre" if row == 0 else "time t", y=label)
    plate.legend("below")
    return plate


def show(panel, runs, case, names):
    """Traces of one replica: the cycles of others are shifted in time."""
    words = {
        "position": "solution at the solver's steps",
        "index": "index at the solver's steps (per time)",
        "step": "step size h (time)",
        "eigenvalue": r"largest |eigenvalue| (per time)",
    }
    for name in names:
        look, time, values = panel.look(name), runs["shown_time"][0, case], runs[f"shown_{name}"][0, case]
        (line,) = panel.axes.plot(time, values, color=look.colour, linestyle=look.line_style, linewidth=1.2, zorder=3)
        panel.entry(words[name], line)
        panel.record(figures.Mark(panel.name, "replica", words[name], time, values, replica=0))


@paper.figure(
    "fig3",
    caption="Log of the norm after N Euler steps on a rotation of varying speed, for steps that are powers of 1 / "
    "index. Lines: leading order in 1 / N",
    source="derived for the paper's analogy",
    setting=EULER,
)
def euler_errors(setting: EulerSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(euler_rules, setting)
    n, speed = np.array(setting.n_steps), speed_of(setting, runs["centre"][0])
    plate = figures.Plate(1, 1, width="single", height=3.0)
    panel = plate[0]
    rules = {
        0.0: "equal steps",
        2.0: r"$h \propto$ index$^{-2}$",
        0.5: r"$h \propto$ index$^{-1/2}$",
        1.0: r"$h \propto$ "
        r"index$^{-1}$",
    }
    for number, (power, name) in enumerate(rules.items()):
        if power not in setting.powers:
            continue
        line = [steps.euler_error_approx(speed, int(k), power) for k in n]
        if power != 2.0:  # the same line as for equal steps
            figures.prediction(panel, n, line, f"{name}, predicted", series=name)
        figures.measurement(panel, n, runs["log_norm"][:, setting.powers.index(power)], name, dodge=2.5 * (number == 1))
    panel.scale(x="log", y="log")
    panel.labels(x="steps N", y=r"error $\ln(\|u_N\| / \|u_0\|)$")
    plate.legend("below")
    return plate


TRANSFORMERS = TransformerSetting()
DEPTHS = Scales(
    smoke=replace(TRANSFORMERS, n_layers=4, n_steps=60, n_replicas=8),
    desk=TRANSFORMERS,
    paper=replace(TRANSFORMERS, n_layers=16, dim=128, n_heads=4, n_tokens=32, batch=128, n_steps=20_000, n_replicas=32),
)


@paper.figure(
    "fig4",
    caption="Index of the sub-layers of pre-norm transformers times sqrt(1 + t), before and after training on naming a "
    "marked symbol; 1 is what orthogonal increments of equal size give. Shaded: 5 % around it",
    setting=DEPTHS,
    source="null model of depth",
)
def index_of_transformers(setting: TransformerSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(train_transformers, setting)
    n = 2 * setting.n_layers
    t, null = np.arange(n), theory.orthogonal_increments_index(n)
    plate = figures.Plate(1, 2, width="double", height=2.8, share_y=True)
    for panel, first, name in ((plate[0], 0, "attention"), (plate[1], 1, "feed-forward")):
        figures.prediction(panel, t, np.ones(n), "orthogonal increments", low=np.full(n, 0.95), high=np.full(n, 1.05))
        for number, (when, word) in enumerate(((0, "random"), (1, "trained"))):
            figures.measurement(
                panel, t[first::2], (runs["index"][:, when] / null)[:, first::2], word, dodge=2 * number - 1
            )
        panel.heading(name)
        panel.labels(x="sub-layer t")
    plate[0].labels(y=r"$S_t \sqrt{1 + t}$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig5",
    caption="Mean gate against raw index, one point for each block of each replica, with the median in eight equal "
    "groups by raw index. The rule of a solver would fall",
    source="gates as steps",
    setting=EASY_SCALES,
)
@style()
def gate_against_index(setting: SpiralSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=2.9, share_y=True)
    for panel, (task, runs) in zip(plate.panels, both_tasks(setting, lab), strict=True):
        for column in KINDS.values():
            x, y = runs["raw_index"][:, column].ravel(), runs["gate"][:, column].ravel()
            look = panel.look(NAMES[column])
            panel.axes.plot(x, y, look.marker, color=look.colour, markersize=2.2, alpha=0.45, markeredgewidth=0)
            groups = np.array_split(np.argsort(x), 8)
            medians = np.array([(np.median(x[g]), np.median(y[g])) for g in groups])
            (line,) = panel.axes.plot(
                *medians.T,
                color=look.colour,
                linestyle=look.line_style,
                linewidth=1.8,
                marker=look.marker,
                markersize=5,
                markeredgecolor="white",
            )
            panel.entry(NAMES[column], line)
            panel.record(figures.Mark(panel.name, "block", NAMES[column], x, y))
            panel.record(figures.Mark(panel.name, "median", NAMES[column], *medians.T))
        panel.scale(x="log")
        panel.ticks(x=[0.25, 0.5, 1.0, 2.0, 4.0])
        panel.heading(task)
        panel.labels(x=r"raw index $\|f(x)\| / \|x\|$")
    plate[0].labels(y="mean gate a")
    plate.legend("below")
    return plate


@paper.figure(
    "fig6",
    caption="Training of the gates of a chain of Euler blocks. (a): its error in units of the best possible; reduced "
    "flow of an infinitely deep chain, and the rival flow in which each gate sees its own block only. (b): trained "
    "gates against the time that the chain has reached, and the steps proportional to 1 / index",
    source="derived for the paper's analogy",
    setting=GATES_AS_STEPS,
)
def training_of_gates(setting: GateSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(train_gates, setting)
    time = runs["time"][0][1:]
    fine = np.geomspace(time[0], time[-1], 200)
    (flow, rival), best, _ = gate_flows(setting, fine)
    plate = figures.Plate(1, 2, width="double", height=3.0)
    figures.prediction(plate[0], fine, flow / best, "reduced flow")
    figures.prediction(plate[0], fine, rival / best, "own block only")
    figures.band(plate[0], time, runs["error"][:, 1:] / best, "trained chains", series="trained")
    figures.measurement(plate[0], time[::4], runs["error"][:, 1::4] / best, "trained chains, mean", series="trained")
    plate[0].scale(x="log")
    plate[0].labels(x=r"time $\eta\,$steps$/N^2$", y=r"error over the best, $2N\ln\|x_N\| / (\int\omega\,dt)^2$")
    order = np.linspace(0, setting.n_blocks - 1, 33).astype(int)
    speed, clock = steps.Speed(setting.base, setting.height, setting.centre, setting.width), np.linspace(0, 1, 400)
    figures.prediction(plate[1], clock, steps.speed_moment(speed, 1.0) / speed(clock), "1 / index")
    figures.measurement(
        plate[1],
        runs["clock"].mean(0)[order],
        runs["gate"][:, order] * setting.n_blocks,
        "trained chains, mean",
        series="trained",
    )
    plate[1].labels(x="time of the flow reached at the block", y=r"gate times N, $N h_k$")
    plate.legend("below")
    return plate
