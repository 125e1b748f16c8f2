"""Figures: errors against the step size, error constants, layers and their parameters, particle paths, trained stacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures, mean_interval
from attnlab.analysis.figures.style import style
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lu2019_multiparticle.constants import WIDE_SCALES, measured_ratio, predicted_ratio
from attnlab.papers.lu2019_multiparticle.orders import RELU
from attnlab.papers.lu2019_multiparticle.paper import errors, norm, paper, systems, terms
from attnlab.papers.lu2019_multiparticle.trained import OWN_SCALES, SHARED_SCALES, both, log_ratios
from attnlab.simulators.particle_flow.splitting_errors import Setting, splitting_errors
from attnlab.simulators.particle_flow.stacks import StackSetting, train_stacks
from attnlab.theory.particle_flow.fields import integrate
from attnlab.theory.particle_flow.parameters import layer_parameters
from attnlab.theory.particle_flow.splitting import SCHEMES as STAGES
from attnlab.theory.particle_flow.splitting import error_coefficient, error_constant, euler_layer

SHOWN = {
    "transformer exact": "Lie–Trotter, exact",
    "macaron exact": "Strang–Marchuk, exact",
    "macaron midpoint": "Strang–Marchuk, midpoint",
    "transformer euler": "Transformer, Euler",
    "macaron euler": "Macaron, Euler",
    "parallel euler": "parallel, Euler",
}


def error_plate(setting, lab: Lab, predicted):
    """Local and global errors against the step size, and lines of the predicted first-order terms if ``predicted``."""
    runs = lab.simulate(splitting_errors, setting)
    steps, system = runs["steps"][0], systems(runs, setting)
    plate = figures.Plate(1, 2, width="double", height=3.4)
    for panel, which in zip(plate.panels, ("local", "global"), strict=True):
        for scheme, label in SHOWN.items():
            if predicted and any(terms(scheme).values()):
                vector = (
                    error_coefficient(system, runs["start"], terms(scheme))
                    if which == "local"
                    else error_constant(system, runs["start"], setting.horizon, terms(scheme))
                )
                order = 2 if which == "local" else 1
                figures.prediction(panel, steps, np.exp(np.log(norm(vector)).mean()) * steps**order, label)
            figures.estimate(
                panel,
                steps,
                *geometric(norm(errors(runs, which, scheme))),
                label,
                interval="95 % t intervals of the geometric mean over systems",
            )
        panel.scale(x="log", y="log")
        panel.ticks(x=[x for x in (0.004, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if steps.min() <= x <= steps.max()])
        panel.labels(
            x=r"step size $\gamma = T/L$",
            y=r"local error $|X(\gamma) - A(X(0))|$" if which == "local" else r"global error $|X(T) - X_L|$",
        )
        panel.heading("one step" if which == "local" else f"{setting.horizon:g} unit of time")
        for order, scheme in (
            ((2, "transformer euler"), (3, "macaron exact"))
            if which == "local"
            else ((1, "transformer euler"), (2, "macaron exact"))
        ):
            size = geometric(norm(errors(runs, which, scheme)))[0][-1] * (4 if scheme.endswith("euler") else 0.12)
            figures.power_law(panel, order, (steps[-1], size), (steps[-1], steps[1]), f"slope {order}")
    plate.legend("below", columns=3)
    return plate


def geometric(sizes):
    """Geometric mean over systems with the t interval of the mean logarithm, each ``(depth,)``."""
    logs = np.log(sizes)
    ends = np.array([mean_interval(column, 0.95) for column in logs.T])
    return np.exp(logs.mean(0)), *np.exp(ends.T)


@paper.figure(
    "fig1",
    caption="Local and global error of splitting schemes against the step size, tanh. Lines: predicted leading "
    "error of the first-order schemes. Exact and midpoint sub-flows show the order of the splitting; "
    "the Euler sub-steps of a network are first order whatever the splitting",
    source="Theorem 1",
)
def errors_against_step(setting: Setting, lab: Lab) -> figures.Plate:
    return error_plate(setting, lab, predicted=True)


@paper.figure(
    "fig2",
    caption="The same for ReLU, whose kinks leave the orders in place",
    source="Theorem 1, without smoothness",
    setting=RELU,
)
def errors_against_step_relu(setting: Setting, lab: Lab) -> figures.Plate:
    return error_plate(setting, lab, predicted=False)


@paper.figure(
    "fig3",
    caption="Error constant of the Macaron network against that of the Transformer network, a point a system; "
    "and the ratio measured at the largest depth against its prediction by error constants",
    setting=WIDE_SCALES,
)
def constants(setting: Setting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(splitting_errors, setting)
    system = systems(runs, setting)
    sizes = {
        each: norm(error_constant(system, runs["start"], setting.horizon, terms(each)))
        for each in ("transformer euler", "macaron euler")
    }
    plate = figures.Plate(1, 2, width="double", height=3.2)
    ends = np.array([min(map(np.min, sizes.values())), max(map(np.max, sizes.values()))]) * [0.9, 1.1]
    figures.prediction(plate[0], ends, ends, "equal", series="diagonal")
    scatter(plate[0], sizes["transformer euler"], sizes["macaron euler"], "random systems")
    plate[0].scale(x="log", y="log")
    plate[0].labels(x=r"Transformer error constant $|E_{\rm Tr}(T)|$", y=r"Macaron error constant $|E_{\rm Mac}(T)|$")
    plate[0].heading("predicted constants")
    predicted, measured = predicted_ratio(runs, setting), measured_ratio(runs)[:, -1]
    ends = np.array([predicted.min() * 0.95, predicted.max() * 1.05])
    figures.prediction(plate[1], ends, ends, "equal", series="diagonal")
    scatter(plate[1], predicted, measured, "random systems")
    figures.reference(plate[1], "no gain", y=1.0)
    plate[1].labels(
        x=r"predicted ratio $|E_{\rm Mac}| / |E_{\rm Tr}|$", y=f"measured ratio of errors, $L = {setting.depths[-1]}$"
    )
    plate[1].heading("Macaron over Transformer")
    plate.legend("below")
    return plate


@style()
def scatter(panel, x, y, label):
    """One point a system."""
    order = np.argsort(x)
    look = panel.look(label)
    (points,) = panel.axes.plot(
        x[order],
        y[order],
        look.marker,
        color=look.colour,
        markersize=4,
        markeredgewidth=0.5,
        markeredgecolor="white",
        linestyle="none",
        zorder=3,
    )
    panel.entry(label, points)
    panel.record(figures.Mark(panel.name, "scatter", label, x[order], y[order]))
    panel.sheet.tell("Points: single systems", [len(x)])


LAYERS = {
    "Transformer": ("attention", "feed-forward, $m$"),
    "Macaron": ("½ feed-forward, $m/2$", "attention", "½ feed-forward, $m/2$"),
}


@paper.figure(
    "fig4",
    caption="The layers from bottom to top, each sub-layer with its residual connection, and their parameters "
    "with biases and a normalisation each, m = 4 d",
    source="Figure 2",
)
@style()
def layers(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=2.9, width_ratios=(1.1, 1), letters=True)
    panel = plate[0]
    for column, (name, parts) in enumerate(LAYERS.items()):
        draw_layer(panel, 1.15 * column, name, parts)
    panel.axes.set(xlim=(-0.5, 1.75), ylim=(-0.25, 3.5))
    panel.labels(x="", y="")
    panel.axes.set_axis_off()
    dims = [8, 64, 256, 512, 1024]
    counts = {kind: [layer_parameters(kind, d, 4 * d) for d in dims] for kind in ("transformer", "macaron")}
    rows = [
        [f"{number:,}".replace(",", "\u2009") for number in (d, counts["transformer"][i], counts["macaron"][i], 3 * d)]
        for i, d in enumerate(dims)
    ]
    shown = plate[1]
    table = shown.axes.table(
        rows,
        colLabels=["width $d$", "Transformer", "Macaron", "difference"],
        loc="center",
        cellLoc="center",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.scale(1, 1.45)
    shown.labels(x="", y="")
    shown.axes.set_axis_off()
    shown.heading("parameters of a layer")
    for kind, values in counts.items():
        shown.record(figures.Mark(shown.name, "table", kind, np.array(dims, float), np.array(values, float)))
    panel.heading("sub-layers")
    return plate


def draw_layer(panel, x, name, parts):
    """Boxes of equal total height from bottom to top, an arrow through them, a bypass around each."""
    axes, height = panel.axes, 3.0 / len(parts)
    for k, part in enumerate(parts):
        look = panel.look("attention" if part == "attention" else "feed-forward")
        low = k * height + 0.22 * height
        axes.fill(
            [x - 0.42, x + 0.42, x + 0.42, x - 0.42],
            [low, low, low + 0.5 * height, low + 0.5 * height],
            facecolor="white",
            edgecolor=look.colour,
            linewidth=1.2,
            linestyle=look.line_style,
            zorder=2,
        )
        axes.text(x, low + 0.25 * height, part, ha="center", va="center", size=7.5, zorder=3)
        bottom, top = low - 0.12 * height, low + 0.62 * height
        axes.plot([x, x + 0.5, x + 0.5, x + 0.03], [bottom, bottom, top, top], color="#6B6B6B", linewidth=0.8, zorder=1)
        axes.text(
            x,
            top,
            "+",
            ha="center",
            va="center",
            size=8,
            zorder=4,
            bbox={"boxstyle": "circle,pad=0.08", "facecolor": "white", "edgecolor": "#6B6B6B", "linewidth": 0.7},
        )
    axes.annotate(
        "", (x, 3.15), (x, -0.15), arrowprops={"arrowstyle": "-|>", "color": "#1A1A1A", "linewidth": 0.9}, zorder=0
    )
    axes.text(x, 3.3, name, ha="center", va="center", size=9)
    panel.record(figures.Mark(panel.name, "layer", name, np.arange(len(parts), dtype=float), categories=parts))


PLANE = Scales(*[Setting(dim=2, n_replicas=8, depths=(6, 12), schemes=("transformer euler", "macaron euler"))] * 3)


@paper.figure(
    "fig5",
    caption="Paths of the particles in the plane of their first two coordinates: the exact flow from an open to a "
    "filled circle, and the states "
    "after each of 6 layers with the same weights",
    setting=PLANE,
    source="Section 3",
)
@style()
def plane(setting: Setting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(splitting_errors, setting)
    system, X = systems({name: values[:1] for name, values in runs.items()}, setting), runs["start"][:1]
    exact = integrate(system.field, X, setting.horizon, 240)[:, 0]
    shown = exact[..., :2]
    plate = figures.Plate(1, 2, width="double", height=3.2, share_y=True, share_x=True)
    depth = setting.depths[0]
    for panel, (kind, name) in zip(plate.panels, (("transformer", "Transformer"), ("macaron", "Macaron")), strict=True):
        path = [X]
        for _ in range(depth):
            path.append(euler_layer(system, path[-1], setting.horizon / depth, STAGES[kind]))
        states = np.stack(path)[:, 0]
        for particle in range(setting.n_particles):
            figures.path(panel, *shown[:, particle].T, "exact flow")
        look = panel.look(name)
        drawn = [
            panel.axes.plot(
                *states[:, particle, :2].T,
                marker=look.marker,
                markersize=3,
                linewidth=0.8,
                color=look.colour,
                linestyle=look.line_style,
                zorder=5,
            )[0]
            for particle in range(setting.n_particles)
        ]
        panel.entry(f"{name}, L = {depth}", drawn[0])
        for particle in range(setting.n_particles):
            panel.record(figures.Mark(panel.name, "layers", f"{name}, particle {particle}", *states[:, particle, :2].T))
        off = norm(states[-1] - exact[-1]) / norm(exact[-1] - exact[0])
        panel.heading(f"{name}: {100 * off:.1f} % off at the end")
        panel.labels(x="first coordinate", y="second coordinate" if kind == "transformer" else "")
    plate.legend("below")
    return plate


@paper.figure(
    "fig6",
    caption="The equation, and Transformer stacks trained on its end alone. (a), (b): a coordinate of three particles "
    "along the layers, the most bent ones of a held-out state, for stacks that share one layer's weights and for "
    "stacks whose layers have their own. (c): distance to the flow on the way, relative to its length. (d): error at "
    "the end when shared weights are run with another number of layers; lines: the teacher's own weights",
    setting=SHARED_SCALES,
    source="Section 3",
)
def trained_stacks(setting: StackSetting, lab: Lab) -> figures.Plate:
    own = lab.simulate(train_stacks, replace(setting, kind="transformer", shared=False, n_replicas=8))
    shared = both(setting, lab)
    T, L = setting.horizon, setting.depths[0]
    system, times = systems({name: values[:1] for name, values in own.items()}, setting), np.linspace(0, T, L + 1)
    exact = integrate(system.field, own["probe"][:1], T, 60)[:, 0]
    fine = np.linspace(0, T, len(exact))
    bend = np.abs(exact - np.linspace(exact[0], exact[-1], len(exact))).max(0)  # (particle, coordinate)
    plate = figures.Plate(2, 2, width="double", height=5.0)
    names = "trained, shared weights", "trained, own weights"
    for panel, runs, name in zip(plate.panels, (shared[0], own), names, strict=False):
        for particle in np.argsort(-bend.max(-1))[:3]:
            coordinate = int(np.argmax(bend[particle]))
            figures.band(panel, times, runs["path"][:, :, particle, coordinate], name)
            figures.prediction(panel, fine, exact[:, particle, coordinate], "flow dX/dt = F(X) + G(X)")
        figures.band(plate[2], times[1:], runs["path_error"][:, 1:], name)
        panel.labels(x=r"depth as time $t = l\,T/L$", y="coordinate of a particle")
    ends = np.array([panel.axes.get_ylim() for panel in plate.panels[:2]])
    for panel in plate.panels[:2]:
        panel.limits(y=(ends[:, 0].min(), ends[:, 1].max()))
    plate[0].heading("one layer’s weights for all")
    plate[1].heading("weights of their own")
    figures.prediction(plate[2], times, shared[0]["straight_error"].mean(0), "straight line at constant speed")
    plate[2].labels(x=r"depth as time $t = l\,T/L$", y="rms distance to the flow")
    plate[2].heading("on the way")
    depths = np.array(setting.depths, float)
    for runs, name in zip(shared, ("Transformer", "Macaron"), strict=True):
        figures.prediction(plate[3], depths, runs["exact_weights_error"].mean(0), name)
        figures.measurement(plate[3], depths, runs["depth_error"], name)
    plate[3].scale(x="log", y="log")
    plate[3].ticks(x=depths, y=[0.02, 0.03, 0.05, 0.1, 0.2])
    plate[3].labels(x="layers $L$ at the same horizon", y="rms error at the end")
    plate[3].heading(f"other depths, trained at $L = {L}$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig7",
    caption="Error of Macaron stacks over that of Transformer stacks with as many parameters, on held-out states of "
    "the same teacher: with the teacher's own weights in every layer, and trained. Below 1 Macaron is better",
    setting=OWN_SCALES,
)
def equal_parameters(setting: StackSetting, lab: Lab) -> figures.Plate:
    before, after = log_ratios(*both(setting, lab))
    ends = np.exp([min(before.min(), after.min()) - 0.1, max(before.max(), after.max()) + 0.1])
    shown = [value for value in (0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0) if ends[0] < value < ends[1]]
    plate = figures.Plate(1, 2, width="double", height=3.0, width_ratios=(1, 1.25))
    plate[0].scale(y="log")
    plate[1].scale(x="log", y="log")
    figures.strip(
        plate[0], ["teacher’s weights", "trained"], {"pairs of stacks": np.exp(np.stack([before, after], axis=1))}
    )
    plate[0].labels(x="", y="error of Macaron / error of Transformer")
    scatter(plate[1], np.exp(before), np.exp(after), "pairs of stacks")
    figures.prediction(plate[1], ends, ends, "training changes nothing")
    plate[1].labels(x="ratio with the teacher’s weights", y="ratio after training")
    plate[1].ticks(x=shown)
    for panel in plate.panels:
        panel.ticks(y=shown)
        figures.reference(panel, "equal", y=1.0)
    plate.legend("below")
    return plate
