"""Claims on scanning and snapping: the reduced flow against training, growth, its end, and when it comes (statements 6 and 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    budget,
    euler_step,
    exponent,
    finite_size,
    follows,
    frozen,
    relative,
    replicas,
    rounding,
)
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_least, not_yet, one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import (
    DESCENT,
    ENDLESS_CLASSES,
    SMALL,
    at_rest,
    descent,
    flow,
    paper,
    scales,
)
from attnlab.papers.tian2023_scan_snap.paper import snap_time as reduced_snap
from attnlab.simulators.token_selection.training import Setting, train_tokens
from attnlab.theory.token_selection import attention, decoder


def observed(setting, runs):
    """Logits of the most frequent, a middle distinct and a common token, and the residual: ``(replica, record, 4)``."""
    z = runs["z"].mean(2)
    C, middle = setting.n_common, setting.n_common + setting.n_distinct // 2
    return np.stack([z[..., -1], z[..., middle], z[..., :C].mean(-1), runs["residual"].mean(-1)], axis=-1)


def predicted(setting, profile, steps):
    """The same by the reduced flow, ``(record, 4)``."""
    return four(setting, flow(setting, profile, steps))


def four(setting, path):
    """The four numbers of :func:`observed` along a path of the reduced equations."""
    return np.stack(
        [path.z_distinct[:, -1], path.z_distinct[:, setting.n_distinct // 2], path.z_common, path.residual], axis=-1
    )


def without_feedback(setting, profile, steps):
    """First order in eta_Z / eta_Y: logits as if attention did not act back on the decoder or on itself."""
    slow = replace(setting, attention_rate=setting.decoder_rate * 1e-3)
    path = predicted(slow, profile, steps)
    path[:, :3] *= setting.attention_rate / slow.attention_rate
    return path


#: Over replicas, of a logit at its widest at T = 512, extrapolated from T / 2 and T: 16 replicas at seed 1, desk.
SPREAD_OF_LOGITS = 0.0054


@paper.claim(
    "reduced_dynamics",
    source="Section 3, dynamics of Y and Z",
    statements=[6, 1, 2],
    parts=2,
    reads=("decoder_rate", "attention_rate", "n_steps", "sequence_length", "n_common", "n_distinct", "n_classes"),
    covers=DESCENT
    | {
        "profile": one_of("linear", why="sampled sequences have the linear profile"),
        "batch": at_least(1, "short sequences are sampled; endless ones are the first part"),
        "sequence_length": at_least(257, "the second order in 1 / T is bounded at T of hundreds"),
    },
    undecided_at_smoke="16 replicas leave more than the margin of the second order in 1 / T",
    formula="4 D + 2 numbers for all of Y and Z; E z_T(t) - z(t) ~ 1 / T",
    assumptions=[
        "two classes, ten common and ten distinct tokens",
        "plain SGD, batch 128, fresh sequences of 256 and 512 tokens",
        "eta_Y = eta_Z = 0.2 up to 2.8 t_0",
    ],
    judged="on endless sequences every replica follows the reduced steps up to rounding; sampled, the mean trajectories of three "
    "logits and the residual, extrapolated from T / 2 and T as 1 / T, do so within the second order of the middle token's "
    "counts, 2 / (T P)^2, and replicas",
)
def reduced_dynamics(setting: Setting, lab: Lab) -> Verdict:
    """SGD on sampled sequences follows the reduced equations of attention and decoder, with a gap that falls like 1 / T.

    Twin: the first order in eta_Z / eta_Y, without the feedback of attention. Null control: logits at
    rest, their noise kept.
    """
    T = setting.sequence_length - 1
    short = replace(setting, sequence_length=T // 2 + 1)
    whole, half, full = lab.simulate(train_tokens, replace(setting, batch=0, n_replicas=2), short, setting)
    profile, steps = full["profile"][0, 0], full["steps"][0]
    path, rival = four(setting, descent(setting, profile))[steps], without_feedback(setting, profile, steps)
    endless = observed(setting, whole)
    exact = follows(
        endless,
        path,
        within=budget(rounding(100 * setting.n_steps)),
        of="every replica",
        times=steps.astype(float),
        twin=Twin.of("no feedback", predicted=rival),
        null=frozen(endless),
    )
    chosen = np.linspace(0, len(steps) - 1, 5).astype(int)[1:]
    P = profile[setting.n_common + setting.n_distinct // 2]
    shorter, longer = (observed(setting, run)[:, chosen] for run in (half, full))
    seen = 2 * longer - shorter
    sampled = follows(
        seen,
        path[chosen],
        within=budget(
            finite_size(T, 2 * float(np.abs(path[:, :3]).max()) / P**2, power=2, of="T"),
            replicas(
                SPREAD_OF_LOGITS * (512 / T) ** 0.5, setting.n_replicas, of="mean trajectory", points=4 * len(chosen)
            ),
        ),
        of="mean trajectory",
        times=steps[chosen].astype(float),
        twin=Twin.of("no feedback", predicted=rival[chosen]),
        null=at_rest(seen, path[0]),
    )
    return all_of(exact.named("endless"), sampled.named("sampled"))


ENDLESS = replace(
    SMALL,
    batch=0,
    profile="random",
    n_steps=3_000,
    n_records=200,
    decoder_rate=0.1,
    attention_rate=0.1,
    spacing="log",
    n_replicas=16,
)
EARLY_RATE, EARLY_STEPS = 2e-4, 40


def units(setting, steps):
    """Time in units of t_0 = 2 K ln M / eta_Y."""
    return steps / attention.snap_time_limit(setting.n_classes, setting.vocabulary, setting.decoder_rate)


def log_slope(times, log_chi):
    """Slope of ln chi against ln t over the given records, ``(replica,)``. ``log_chi (replica, record)``."""
    return np.polyfit(np.log(times), np.log(log_chi).T, 1)[0]


def first_share(c, n_common):
    """Share of the most frequent among the distinct tokens. ``c (..., local)``."""
    return c[..., -1] / c[..., n_common:].sum(-1)


LATE = 5  # in units of t_0


@paper.claim(
    "snapping",
    source="Theorem on scanning and snapping, Section 5",
    statements=[6],
    parts=3,
    setting=scales(ENDLESS),
    covers=ENDLESS_CLASSES | {"n_steps": at_least(3_000, "growth is judged up to 20 t_0")},
    formula="ln chi ~ t^2 for t << t_0; d ln chi / d ln t small for t >> t_0; c of the first token stays below one",
    assumptions=[
        "two classes with random frequencies, ten common tokens",
        "eta_Y = eta_Z",
        "mean over endless sequences",
    ],
    judged="slope of ln chi at eta = 2e-4 over steps 10 to 40 is 2, within steps (1 / (4 t^2)) and the decoder's next order, "
    "eta t / K; from 5 to 20 t_0 every replica has the log-log slope of its reduced flow, and at the end its share of the most "
    "frequent among the distinct tokens, within Euler steps at the largest curvature, 1 / (2 K)",
)
def snapping(setting: Setting, lab: Lab) -> Verdict:
    """Growth is quadratic in time at first and slower than any power after t_0, so that no token wins.

    Slope and share are those of the reduced flow, far from the 1 that a winner has. Twins: velocities dated one step late; late
    growth as sqrt(t); the share that the token has at t_0. Null control: the share at the start.
    """
    early = replace(setting, decoder_rate=EARLY_RATE, attention_rate=EARLY_RATE, n_steps=EARLY_STEPS, n_records=60)
    runs, begun = lab.simulate(train_tokens, setting, early)
    C, steps = setting.n_common, runs["steps"][0]
    if units(setting, steps)[-1] < 2 * LATE:
        return not_yet(
            f"n_steps={setting.n_steps} end at {units(setting, steps)[-1]:.2g} t_0, to be {2 * LATE} at least"
        )
    rise = (begun["z"] - begun["z"][:, :1])[..., -1].mean(2)
    scanning = begun["steps"][0] >= EARLY_STEPS / 4
    t = begun["steps"][0][scanning]
    scan = exponent(
        t - 0.5,  # a logit after t steps is a sum of the velocities at 0 to t - 1
        rise[:, scanning],
        2.0,
        within=budget(
            Piece("steps", 1 / (2 * t[0] * (t[0] - 1))),
            Piece("decoder's next order", 2 * EARLY_RATE * EARLY_STEPS / setting.n_classes),
        ),
        bend=0.01,
        of="every replica",
        twin=Twin.of("velocities dated one step late", x=t + 0.5),
    )
    top, late = (runs["z"] - runs["z"][:, :1])[..., -1].mean(2), units(setting, steps) > LATE
    paths = [flow(setting, row, steps[1:]) for row in runs["profile"][:, 0]]
    after = late[1:]
    slopes = np.array([log_slope(steps[1:][after], path.z_distinct[None, after, -1])[0] for path in paths])
    shares = np.array([path.c_distinct[-1, -1] / path.c_distinct[-1].sum() for path in paths])
    steps_of = {
        "step": setting.decoder_rate,
        "rate": 1 / (2 * setting.n_classes),
    }  # curvature of the loss in logits <= 1/2
    slow = agrees(
        log_slope(steps[late], top[:, late]),
        slopes,
        within=budget(euler_step(**steps_of, amplitude=slopes.max())),
        of="every replica",
        twin=Twin.of("as sqrt(t)", predicted=0.5),
    )
    at = int(np.searchsorted(units(setting, steps), 1.0))
    share = first_share(runs["c"].mean(2), C)
    many = agrees(
        share[:, -1],
        shares,
        within=budget(euler_step(**steps_of, amplitude=shares.max())),
        of="every replica",
        twin=Twin.of("frozen at t_0", measured=share[:, at]),
        null=share[:, 0],
    )
    return all_of(scan.named("scan"), slow.named("snap"), many.named("no winner"))


TIMED = replace(
    SMALL, batch=0, profile="random", decoder_rate=0.1, attention_rate=0.1, n_steps=400, n_records=400, n_replicas=16
)
FACTORS = (0.5, 1.0, 2.0)
SLOWER = 10  # ratio eta_Y / eta_Z of the slower attention


def measured_snap(runs):
    """Step at which the most frequent token's logit grows fastest, mean over classes, by a parabola through three:
    ``(replica,)``.
    """
    return peak_of_growth(runs["z"][..., -1].mean(2))


def peak_of_growth(z):
    """The same of logits ``(replica, step)`` recorded at every step."""
    speed = np.diff(z, axis=1)
    i = np.clip(speed.argmax(1), 1, speed.shape[1] - 2)
    left, mid, right = (speed[np.arange(len(i)), i + k] for k in (-1, 0, 1))
    return i + 0.5 + 0.5 * (left - right) / (left - 2 * mid + right)


def lead(setting, time):
    """Steps by which descent leads the flow of the decoder, ln(h'(0) / h'(t)) / 2, by the error term of Euler's method."""
    M, visits = setting.vocabulary, time / setting.n_classes
    h = decoder.decoder_growth_exact(visits, M, setting.decoder_rate)
    return float(np.log((M - 1 + np.exp(M * h)) / M) / 2)


@paper.claim(
    "snap_time",
    source="Section 5, transition at t_0; Figure 9",
    statements=[7, 6],
    parts=3,
    setting=scales(TIMED),
    covers=ENDLESS_CLASSES
    | {
        "attention_rate": one_of(TIMED.attention_rate, why="400 steps hold the snap of the declared rates"),
        "decoder_rate": one_of(TIMED.decoder_rate, why="400 steps hold the snap of the declared rates"),
        "n_steps": at_least(400, "the slowest of the runs snaps after 240 steps"),
    },
    formula="t_snap = tau(eta_Y / eta_Z) / eta_Y; t_0 = 2 K ln M / eta_Y",
    assumptions=[
        "two classes, ten common tokens",
        "mean over endless sequences",
        "linear frequencies for the power, random ones for the factors",
        "snap: the growth of the most frequent token's logit is fastest",
    ],
    judged="exponent of t_snap in eta_Y at a fixed ratio is -1; t_snap eta_Y in units of K ln M is that of the reduced flow in "
    "every replica, at eta_Y = eta_Z and at eta_Y = 10 eta_Z: all within the half of a step by which a step is dated, "
    "and the steps by which Euler's method leads the flow, ln(h'(0) / h') / 2",
)
def snap_time(setting: Setting, lab: Lab) -> Verdict:
    """The time of snapping is inversely proportional to the decoder's rate, with a factor that depends on the ratio of the rates.

    Twins: t_snap ~ eta_Y^(-0.9); the paper's factor, 2, at both ratios.
    """
    linear = replace(setting, profile="linear", n_replicas=1)
    several = [
        replace(linear, decoder_rate=setting.decoder_rate * x, attention_rate=setting.attention_rate * x)
        for x in FACTORS
    ]
    slower = replace(setting, attention_rate=setting.attention_rate / SLOWER)
    random, other, *runs = lab.simulate(train_tokens, setting, slower, *several)
    times = np.array([measured_snap(run)[0] for run in runs])
    earliest = reduced_snap(several[-1], runs[-1]["profile"][0, 0])
    apart = np.log(FACTORS[-1] / FACTORS[-2])
    power = exponent(
        np.array([each.decoder_rate for each in several]),
        times,
        -1.0,
        within=budget(
            Piece("half a step", 0.5 / earliest / apart),
            Piece("steps ahead of the flow", lead(several[-1], earliest) / earliest / apart),
        ),
        twin=Twin.of("power 0.9", predicted=-0.9),
    )
    unit = setting.n_classes * np.log(setting.vocabulary)  # K ln M
    published = attention.snap_time_limit(setting.n_classes, setting.vocabulary, 1.0) / unit
    parts = [power.named("power")]
    for name, one, seen in (("equal rates", setting, random), (f"ratio {SLOWER}", slower, other)):
        expected = np.array([reduced_snap(one, row) for row in seen["profile"][:, 0]])
        if expected.max() > 0.9 * setting.n_steps:
            return not_yet(f"n_steps={setting.n_steps} end before the snap, expected after {expected.max():.0f} steps")
        parts.append(
            agrees(
                measured_snap(seen) * setting.decoder_rate / unit,
                expected * setting.decoder_rate / unit,
                within=budget(
                    Piece("half a step", 0.5 * setting.decoder_rate / unit),
                    Piece("steps ahead of the flow", lead(one, expected.max()) * setting.decoder_rate / unit),
                    relative(1e-4, published, "peak of the flow"),
                ),
                of="every replica",
                twin=Twin.of("t_0", predicted=published),
            ).named(name)
        )
    return all_of(*parts)
