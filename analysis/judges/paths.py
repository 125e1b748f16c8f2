"""Does a trajectory follow its prediction, and does a vector point where it should? Judges of dynamics, directions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from attnlab.analysis.judges.arguments import as_null, as_twin, margin
from attnlab.analysis.judges.frame import (
    decide,
    decide_every,
    every_replica,
    judge,
    nothing_to_judge,
    out_of_reach,
    values_witness,
    why,
)
from attnlab.analysis.judges.located import Located, locate
from attnlab.analysis.judges.resolution import resolution, resolving, with_resolution
from attnlab.analysis.statistics.intervals import finite_array, finite_vector, guarded_mean_intervals
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict
from attnlab.analysis.verdicts.wording import draws_of, read_of

_DRAWN = re.compile(r" of \d+ draws$")


def follows(
    trajectories: ArrayLike,
    predicted: ArrayLike | Callable[[np.ndarray], np.ndarray],
    *,
    within: float,
    twin: Twin | ArrayLike | Callable,
    times: ArrayLike | None = None,
    scale: float | str = 1.0,
    refined: ArrayLike | None = None,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    null: Twin | ArrayLike | None = None,
) -> Verdict:
    r"""Trajectories stay close to the predicted one, at all recorded times at once.

    .. math:: d_r = \sup_t \max_k |x_{r,k}(t) - p_k(t)| \,/\, \text{scale} \le within

    HOLDS iff the interval of the distance lies below ``within``, REFUTED iff it lies above.

    Args:
        trajectories: shape (replica, time) or (replica, time, component).
        predicted: shape (time,) or (time, component), or a function of ``times``.
        times: shape (time,); needed for a function, and used to say when the distance is largest.
        scale: a number, or "range" for the range of the predicted trajectory (then ``within`` is a fraction).
        refined: the prediction recomputed with half the step. Its distance to ``predicted`` counts as the prediction's
            own error, widens the interval on both sides, and must not exceed a quarter of ``within``.
        of: which distance: its mean, median or quantile over replicas, or "every replica", as in
            :func:`attnlab.analysis.agrees`; or "mean trajectory": the distance of the mean over replicas, whose
            interval holds at all times and components at once (each with its part of the error: record few times).
        twin: the rival trajectory (an array or function), or ``Twin.of(label, predicted=...)``, also with
            ``trajectories`` or ``within``.
        null: the null control, ``frozen(trajectories)``: stopped at their start, which the same check must refute; if it
            does not, the claim is VACUOUS and says which movement it needs.

    ``resolves`` is the share by which the amplitude of the prediction (its way from its first value) and its time constant
    may change before the data refute it, the larger of the two.
    """
    clock = None if times is None else finite_vector("times", times, axis="time")
    reference = _path("predicted", predicted, clock)
    if callable(predicted):
        predicted = reference
    arguments = {"trajectories": trajectories, "predicted": predicted, "within": within, "refined": refined}
    twin = as_twin("follows", twin, arguments, "predicted")
    # the refinement belongs to the claim's own prediction
    rival = replace(twin, arguments={"refined": None, **twin.arguments}) if "predicted" in twin.arguments else twin
    kind = "trajectory" if _DRAWN.sub("", of) == "mean trajectory" else read_of(of)[0]
    error = draw("follows", confidence)
    unit_of_length = _scale(scale, reference)

    def check(
        trajectories: ArrayLike, predicted: ArrayLike | Callable, within: float, refined: ArrayLike | None
    ) -> Verdict:
        x, p = finite_array("trajectories", trajectories), _path("predicted", predicted, clock)
        w = margin("within", within)
        if x.ndim < 2 or x.shape[1:] != p.shape:
            raise ValueError(f"trajectories must have shape (replica, *{p.shape}) to match predicted, got {x.shape}")
        blank = Verdict(
            Outcome.UNDECIDED,
            "trajectory",
            of=f"largest distance, {of}",
            predicted=w,
            relation="<=",
            confidence=1 - error,
            n=len(x),
            unit=unit,
        )
        if len(x) == 0:
            return nothing_to_judge(blank, unit)
        own = 0.0 if refined is None else float(np.max(np.abs(_path("refined", refined, clock) - p))) / unit_of_length
        if own > w / 4:
            return replace(
                blank,
                reason=f"halving the prediction's step moves it by {own:.3g}, more than a quarter of "
                f"within={w:g}; refine the prediction first",
            )
        gap = np.abs(x - p) / unit_of_length
        distances = gap.reshape(len(x), -1).max(axis=1)
        found = (
            _mean_path(x - p, unit_of_length, error, draws_of(of))
            if kind == "trajectory"
            else locate(distances, of, error)
        )
        interval = max(0.0, found.interval[0]) - own, found.interval[1] + own
        estimate = float(distances.max()) if kind == "every" else found.estimate
        blank = replace(blank, measured=estimate, interval=interval)
        if kind == "every":
            return every_replica(blank, distances, np.zeros(len(x)), decide_every(distances, -math.inf, w - own))
        outcome = decide(interval, -math.inf, w)
        reason = why(outcome, replace(found, interval=interval), len(x), -math.inf, w)
        worst = np.unravel_index(np.argmax(gap.mean(axis=0)), p.shape)
        moment = f"time {clock[worst[0]]:.6g}" if clock is not None else f"record {int(worst[0])}"
        if outcome is not Outcome.HOLDS:
            reason = f"{reason}; farthest off at {moment}"
        witness = values_witness(distances, within=w, farthest=moment) if outcome is Outcome.REFUTED else None
        return replace(blank, outcome=outcome, reason=reason, witness=witness)

    verdict = judge(check, arguments, rival, null=as_null("follows", null, arguments, "trajectories"))
    if resolving() and verdict.outcome not in (Outcome.REFUTED, Outcome.VACUOUS):
        verdict = with_resolution(verdict, max(_resolutions(check, arguments, reference, clock)))
    return _too_near(verdict, twin, reference, clock, unit_of_length, within)


def frozen(trajectories: ArrayLike) -> np.ndarray:
    """Every trajectory ``(replica, time, ...)`` stopped at its first record: the null control "nothing is learnt"."""
    x = finite_array("trajectories", trajectories)
    if x.ndim < 2:
        raise ValueError(f"trajectories must have shape (replica, time, ...), got {x.shape}")
    return np.repeat(x[:, :1], x.shape[1], axis=1)


def aligned(
    vectors: ArrayLike,
    direction: ArrayLike,
    *,
    within_angle: float | None = None,
    min_cosine: float | None = None,
    twin: Twin | ArrayLike,
    signed: bool = True,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    null: Twin | ArrayLike | None = None,
) -> Verdict:
    r"""Vectors point in the predicted direction, up to an angle (in radians).

    .. math:: \theta_r = \angle(v_r, u) \le \theta_{max}, \qquad
              \theta_{max} = \text{within\_angle} = \arccos(\text{min\_cosine})

    HOLDS iff the interval of the angle lies below the margin, REFUTED iff it lies above. Angles are computed as
    2 atan2(|a - b|, |a + b|) of the unit vectors, which keeps all digits of small ones.

    Args:
        vectors: shape (replica, ...), not zero; trailing axes (a matrix, say) are read as one vector.
        direction: shape (...), or one per replica (replica, ...), not zero.
        signed: if False, opposite directions count as the same (eigenvectors), and angles lie in [0, pi/2].
        of: as in :func:`attnlab.analysis.agrees`, of the angles.
        twin: the rival direction, or ``Twin.of(label, direction=...)``, also with ``vectors``.
        null: the null control, the vectors at the frozen start, or ``Twin.of(label, vectors=...)``.

    ``resolves`` is the angle by which the direction may be turned, out of the plane it makes with the vector measured,
    before the data refute it: the relative size of the error of a unit vector.
    """
    if (within_angle is None) == (min_cosine is None):
        raise ValueError(f"give one of within_angle={within_angle!r} (radians) and min_cosine={min_cosine!r}")
    arguments = {"vectors": vectors, "direction": direction}
    twin = as_twin("aligned", twin, arguments, "direction")
    if within_angle is None:
        if not -1 < min_cosine < 1:
            raise ValueError(f"min_cosine must lie in (-1, 1), got {min_cosine!r}")
        limit = math.acos(min_cosine)
    else:
        limit = margin("within_angle", within_angle)
    largest = math.pi if signed else math.pi / 2
    if limit >= largest:
        raise ValueError(f"an angle of {limit:.4g} admits every direction; it must be below {largest:.4g}")
    error, kind = draw("aligned", confidence), read_of(of)[0]

    def check(vectors: ArrayLike, direction: ArrayLike, turned: float = 0.0) -> Verdict:
        v = finite_array("vectors", vectors)
        blank = Verdict(
            Outcome.UNDECIDED,
            "direction",
            of=f"angle, {of}",
            predicted=limit,
            relation="<=",
            confidence=1 - error,
            n=len(v),
            unit=unit,
        )
        if len(v) == 0:
            return nothing_to_judge(blank, unit)
        angles = _turned(_angles(v, finite_array("direction", direction), signed), turned)
        found = locate(angles, of, error)
        interval = max(0.0, found.interval[0]), min(largest, found.interval[1])
        if found.trouble:
            interval = found.interval
        blank = replace(blank, measured=float(angles.max()) if kind == "every" else found.estimate, interval=interval)
        if kind == "every":
            return every_replica(blank, angles, np.zeros(len(v)), decide_every(angles, -math.inf, limit))
        outcome = decide(interval, -math.inf, limit)
        return replace(
            blank,
            outcome=outcome,
            reason=why(outcome, found, len(v), -math.inf, limit),
            witness=values_witness(angles, within_angle=limit) if outcome is Outcome.REFUTED else None,
        )

    verdict = judge(
        check,
        arguments,
        twin,
        vary=lambda e: {"turned": min(abs(e), math.pi / 2)},
        null=as_null("aligned", null, arguments, "vectors"),
    )
    if set(twin.arguments) != {"direction"} or verdict.n == 0:
        return verdict
    shape = np.shape(vectors)
    rivals = np.broadcast_to(np.asarray(twin.arguments["direction"], dtype=np.float64), shape)
    apart = _angles(rivals, np.broadcast_to(np.asarray(direction, dtype=np.float64), shape), signed)
    near = out_of_reach(replace(verdict, margin=limit), twin, float(apart.max() if kind == "every" else apart.mean()))
    return replace(near, margin=None)


def _path(name: str, path: ArrayLike | Callable, clock: np.ndarray | None) -> np.ndarray:
    if callable(path):
        if clock is None:
            raise ValueError(f"{name} is a function of time, so follows needs times=...")
        path = path(clock)
    p = finite_array(name, np.asarray(path), axis="time")
    if p.ndim == 0 or (clock is not None and len(p) != clock.size):
        length = "" if clock is None else f" of length {clock.size} like times"
        raise ValueError(f"{name} must have a leading time axis{length}, got shape {p.shape}")
    return p


def _scale(scale: float | str, reference: np.ndarray) -> float:
    if scale == "range":
        size = float(np.ptp(reference))
        if size == 0:
            raise ValueError("scale='range' needs a predicted trajectory that moves; give a number instead")
        return size
    if isinstance(scale, str):
        raise ValueError(f"scale must be a positive number or 'range', got {scale!r}")
    return margin("scale", scale)


def _mean_path(differences: np.ndarray, unit_of_length: float, error: float, draws: int) -> Located:
    """Largest size of the mean difference over all times and components, with intervals that hold at once."""
    flat = differences.reshape(len(differences), -1) / unit_of_length
    estimate = float(np.max(np.abs(flat.mean(axis=0))))
    if len(flat) < 2 or not np.any(np.ptp(flat, axis=0)):
        return Located(estimate, (-math.inf, math.inf), "one trajectory, or equal ones, have no spread to judge by")
    ends = guarded_mean_intervals(flat, 1 - error / flat.shape[1], draws)
    nearest = np.where(ends[:, 0] * ends[:, 1] <= 0, 0.0, np.abs(ends).min(axis=1))
    return Located(estimate, (float(nearest.max()), float(np.abs(ends).max())))


def _resolutions(
    check: Callable[..., Verdict], arguments: dict, reference: np.ndarray, clock: np.ndarray | None
) -> list[float]:
    """By which share amplitude and time constant of the prediction must change for the data to refute it."""

    def refuted(path: np.ndarray) -> bool:
        return check(**{**arguments, "predicted": path, "refined": None}).outcome is Outcome.REFUTED

    way = reference - reference[:1]
    if not np.any(way):
        return [resolution(lambda e: refuted(reference * (1 + e)))]
    t = np.arange(len(reference), dtype=float) if clock is None else clock
    shares = [resolution(lambda e: refuted(reference + e * way))]
    if len(t) > 2 and np.all(np.diff(t) > 0):
        between = PchipInterpolator(t, reference, axis=0)
        origin = min(0.0, float(t[0]))
        shares.append(resolution(lambda e: refuted(between(np.clip(origin + (t - origin) * (1 + e), t[0], t[-1])))))
    return shares


def _turned(angles: np.ndarray, by: float) -> np.ndarray:
    """The angles after the direction is turned by an angle at right angles to each: cos = cos(angle) cos(by)."""
    if by == 0:
        return angles
    half = np.sin(angles / 2) ** 2 + np.cos(angles) * math.sin(by / 2) ** 2
    return 2 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))


def _too_near(
    verdict: Verdict, twin: Twin, reference: np.ndarray, clock: np.ndarray | None, size: float, within: float
) -> Verdict:
    """The verdict, knowing how far the twin's trajectory is from the claim's."""
    if set(twin.arguments) != {"predicted"} or verdict.predicted is None:
        return verdict
    apart = float(np.max(np.abs(_path("predicted", twin.arguments["predicted"], clock) - reference))) / size
    near = out_of_reach(replace(verdict, margin=verdict.predicted), twin, apart, within)
    return replace(near, margin=None)


def _angles(vectors: np.ndarray, direction: np.ndarray, signed: bool) -> np.ndarray:
    v = vectors.reshape(len(vectors), -1)
    if direction.shape not in (vectors.shape, vectors.shape[1:]):
        raise ValueError(
            f"direction must have shape {vectors.shape[1:]}, or one per replica, to match vectors "
            f"{vectors.shape}; got {direction.shape}"
        )
    u = np.broadcast_to(direction.reshape(-1, v.shape[1]), v.shape)
    for name, rows in (("vectors", v), ("direction", u)):
        zero = np.flatnonzero(~rows.any(axis=1))
        if zero.size:
            raise ValueError(f"{name}[{zero[0]}] is zero and has no direction; leave such ones out by a stated rule")
    v, u = (rows / np.max(np.abs(rows), axis=1, keepdims=True) for rows in (v, u))
    v, u = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (v, u))
    angles = 2 * np.arctan2(np.linalg.norm(v - u, axis=1), np.linalg.norm(v + u, axis=1))
    return angles if signed else np.minimum(angles, math.pi - angles)
