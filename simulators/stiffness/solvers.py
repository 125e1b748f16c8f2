"""Adaptive Runge-Kutta steps on a Kepler orbit and on van der Pol's equation, beside the stiffness index of the solution.

The embedded pair of Dormand and Prince with the usual step control (Hairer, Norsett and Wanner, Solving Ordinary
Differential Equations I, sections II.4 and II.5), many solutions in one call, each with its own steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.setting import checked, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation

_NODES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (-71 / 57600, 0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)
_SKIPPED = 10  # accepted steps at the start: from 1e-6 the control grows them by at most 10 each

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class KeplerSetting:
    """Orbits of these eccentricities for one period and a half from a random phase; semi-major axis and parameter 1.

    ``tolerance``: relative, and absolute in units of the axis. ``n_shown``: times of one period, equally spaced from
    apocentre to apocentre, at which index and step are kept.
    """

    eccentricities: tuple[float, ...] = (0.3, 0.6, 0.9, 0.99)
    tolerance: float = 1e-8
    n_shown: int = 400
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "tolerance", "n_shown", "n_replicas")
        require_inside(self, 0, 1, "eccentricities")


@dataclass(frozen=True)
class VanDerPolSetting:
    """Damping constants ``mu``, and the tolerances; random starts, ``n_cycles`` cycles after the first.

    ``n_shown``: equally spaced times at which index, step and eigenvalue are kept.
    """

    mu: tuple[float, ...] = (1.0, 10.0, 30.0, 100.0)
    tolerance: float = 1e-6
    n_cycles: float = 1.0
    n_shown: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "mu", "tolerance", "n_cycles", "n_shown", "n_replicas")


@simulation(name="stiffness_solvers.kepler_steps", block=8)
def kepler_steps(setting: KeplerSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Step sizes of the solver against the index at the start of each step.

    ``rank_correlation``, ``slope`` (of log step on log index), ``burst_share`` (least share of the time in which half of the
    relative change, the sum of index times step, is made), each ``(replica, eccentricity)``; ``shown_time``,
    ``shown_index``, ``shown_step``, ``shown_position`` (distance from the focus) ``(replica, eccentricity, time)``, the time
    counted from pericentre.
    """
    es = np.array(setting.eccentricities)
    phases = np.array([np.random.default_rng(seed).uniform(0, 2 * np.pi) for seed in seeds])
    e, E = np.tile(es, len(seeds)), np.repeat(phases, es.size)
    r, minor = 1 - e * np.cos(E), np.sqrt(1 - e**2)
    start = np.stack([np.cos(E) - e, minor * np.sin(E), -np.sin(E) / r, minor * np.cos(E) / r], axis=-1)
    first = E - e * np.sin(E)  # time since pericentre
    begin, end = 2 * np.pi - first % (2 * np.pi), 3 * np.pi  # the next pericentre; a period and a half
    paths = solve(kepler_field, start, np.full(len(e), end), tolerance=setting.tolerance, absolute=setting.tolerance)
    rows = []
    for path, b in zip(paths, begin, strict=True):
        index = path.index(kepler_field)
        keep = slice(_SKIPPED, -1)
        time, step = path.times[:-1], np.diff(path.times)
        middle = (index + np.append(index[1:], index[-1])) / 2  # of the index over each step
        # one period from pericentre to pericentre does not fit for every phase, one of the length 2 pi always does
        whole = (time >= time[_SKIPPED]) & (time < time[_SKIPPED] + 2 * np.pi)
        order = np.argsort(-middle[whole])
        change = np.cumsum((step * middle)[whole][order])
        spent = np.cumsum(step[whole][order])  # time, the fastest stretches first
        clock = np.linspace(-np.pi, np.pi, setting.n_shown)
        from_pericentre = (time[keep] - b + np.pi) % (2 * np.pi) - np.pi
        sorted_by = np.argsort(from_pericentre)
        distance = np.linalg.norm(path.states[:-1, :2], axis=1)
        shown = {
            name: np.interp(clock, from_pericentre[sorted_by], values[keep][sorted_by], period=2 * np.pi)
            for name, values in (("index", index), ("step", step), ("position", distance))
        }
        rows.append(
            {
                "rank_correlation": rank_correlation(step[keep], index[keep]),
                "slope": np.polyfit(np.log(index[keep]), np.log(step[keep]), 1)[0],
                "burst_share": np.interp(change[-1] / 2, np.append(0, change), np.append(0, spent)) / spent[-1],
                "shown_time": clock,
                **{f"shown_{name}": values for name, values in shown.items()},
            }
        )
    return _stacked(rows, len(seeds))


@simulation(name="stiffness_solvers.van_der_pol_steps", block=8)
def van_der_pol_steps(
    setting: VanDerPolSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Step sizes of the solver against index and largest eigenvalue of the Jacobian at the start of each step.

    Each ``(replica, mu)``: ``index_correlation``, ``eigenvalue_correlation`` (rank correlations with the step), ``slow_product``,
    the median of step times |eigenvalue| where the index is below its median over time; with ``shown_time``, ``shown_index``,
    ``shown_step``, ``shown_eigenvalue``, ``shown_position (replica, mu, time)`` over the last cycle.
    """
    mus = np.array(setting.mu)
    start = np.array([np.random.default_rng(seed).uniform((1.0, -0.5), (2.0, 0.5)) for seed in seeds])
    mu, u = np.tile(mus, len(seeds)), np.repeat(start, mus.size, axis=0)
    cycle = (3 - 2 * np.log(2)) * mu + 7.014 * mu ** (-1 / 3) * (mu > 3) + 5.05 * (mu <= 3)  # lengths, roughly

    def field(rows: np.ndarray, states: np.ndarray) -> np.ndarray:
        x, v = states.T
        return np.stack([v, mu[rows] * (1 - x**2) * v - x], axis=-1)

    paths = solve(
        field, u, (1 + setting.n_cycles) * cycle, tolerance=setting.tolerance, absolute=1e-3 * setting.tolerance
    )
    rows = []
    for row, path in enumerate(paths):
        index, step = path.index(field, row), np.diff(path.times)
        keep = np.flatnonzero(path.times[:-1] >= cycle[row])[:-1]  # after the first cycle, not the cut last step
        x, v = path.states[:-1].T
        jacobians = np.zeros((len(step), 2, 2))
        jacobians[:, 0, 1], jacobians[:, 1, 0], jacobians[:, 1, 1] = 1, -2 * mu[row] * x * v - 1, mu[row] * (1 - x**2)
        largest = np.abs(np.linalg.eigvals(jacobians)).max(-1)
        time = path.times[:-1]
        slow = keep[index[keep] <= weighted_median(index[keep], step[keep])]
        clock = np.linspace(time[keep[0]], time[keep[-1]], setting.n_shown)
        shown = {
            name: np.interp(clock, time[keep], values[keep])
            for name, values in (("index", index), ("step", step), ("eigenvalue", largest), ("position", x))
        }
        rows.append(
            {
                "index_correlation": rank_correlation(step[keep], index[keep]),
                "eigenvalue_correlation": rank_correlation(step[keep], largest[keep]),
                "slow_product": np.median(step[slow] * largest[slow]),
                "shown_time": clock - clock[0],
                **{f"shown_{name}": values for name, values in shown.items()},
            }
        )
    return _stacked(rows, len(seeds))


def kepler_field(rows: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Velocity and acceleration ``(row, 4)`` of states ``(row, 4)`` around the origin."""
    r3 = (states[:, :2] ** 2).sum(-1, keepdims=True) ** 1.5
    return np.concatenate([states[:, 2:], -states[:, :2] / r3], axis=1)


@dataclass(frozen=True)
class Path:
    """One solution: ``times (step + 1,)`` and ``states (step + 1, component)`` at the ends of the accepted steps."""

    times: np.ndarray
    states: np.ndarray

    def index(self, field: Field, row: int = 0) -> np.ndarray:
        """||du/dt|| / ||u|| at the start of every step."""
        states = self.states[:-1]
        speed = field(np.full(len(states), row), states)
        return np.linalg.norm(speed, axis=1) / np.linalg.norm(states, axis=1)


def solve(
    field: Field, start: np.ndarray, end: np.ndarray, *, tolerance: float, absolute: float, first_step: float = 1e-6
) -> list[Path]:
    """Solve from time 0 to ``end (row,)`` for every row of ``start (row, component)``; each row has its own steps.

    ``field(rows, states)`` gives the time derivative of the states of the given rows. A step is accepted if the root mean
    square of the estimated errors over ``absolute + tolerance * |u|`` is at most 1; the next is 0.9 error^(-1/5) times as
    long, at least 0.2 and at most 10 times, and not longer after a rejection.
    """
    n = len(start)
    u, t, h = start.astype(np.float64).copy(), np.zeros(n), np.full(n, first_step)
    speed, rejected = field(np.arange(n), u), np.zeros(n, bool)
    times, states = [[0.0] for _ in range(n)], [[row.copy()] for row in u]
    open_rows = np.arange(n)
    for trial in range(10**8):
        if trial % 1000 == 0:
            current().progress(int(1000 * np.mean(t / end)), 1000)
        h[open_rows] = np.minimum(h[open_rows], end[open_rows] - t[open_rows])
        k, step = [speed[open_rows]], h[open_rows, None]
        for weights in _NODES[1:]:
            new = u[open_rows] + step * sum(w * each for w, each in zip(weights, k, strict=True) if w)
            k.append(field(open_rows, new))
        scale = absolute + tolerance * np.maximum(np.abs(u[open_rows]), np.abs(new))
        error = np.sqrt(
            np.mean((step * sum(w * each for w, each in zip(_ERROR, k, strict=True) if w) / scale) ** 2, axis=1)
        )
        good = error < 1
        with np.errstate(divide="ignore"):
            factor = np.clip(0.9 * error**-0.2, 0.2, 10.0)
        factor[rejected[open_rows] | ~good] = np.minimum(factor, 1.0)[rejected[open_rows] | ~good]
        rejected[open_rows] = ~good
        done = open_rows[good]
        t[done] += h[done]
        u[done], speed[done] = new[good], k[-1][good]
        h[open_rows] *= factor
        for row in done:
            times[row].append(t[row])
            states[row].append(u[row].copy())
        open_rows = open_rows[t[open_rows] < end[open_rows]]
        if not open_rows.size:
            break
    return [Path(np.array(a), np.array(b)) for a, b in zip(times, states, strict=True)]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value below which half of the weight lies."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _stacked(rows: list[dict], n_replicas: int) -> dict[str, np.ndarray]:
    """Rows of all replicas and cases as arrays ``(replica, case, ...)``."""
    return {
        name: np.array([row[name] for row in rows]).reshape(n_replicas, -1, *np.shape(rows[0][name]))
        for name in rows[0]
    }
