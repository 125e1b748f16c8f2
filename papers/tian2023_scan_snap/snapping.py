"""Claims on scanning and snapping: the reduced flow against training, growth, its end, and when it comes (statements 6 and 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, converges, exponent, follows, ordered
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import SMALL, direction, flow, paper, reduced, scales
from attnlab.papers.tian2023_scan_snap.paper import snap_time as reduced_snap
from attnlab.simulators.token_selection.scan import ScanSetting, scan_flow
from attnlab.simulators.token_selection.training import Setting, train_tokens
from attnlab.theory.token_selection import attention
from attnlab.theory.token_selection.reduced_flow import token_descent


def observed(setting, runs):
    """Logits of the most frequent, a middle distinct and a common token, and the residual: ``(replica, record, 4)``."""
    z = runs["z"].mean(2)
    C, middle = setting.n_common, setting.n_common + setting.n_distinct // 2
    return np.stack([z[..., -1], z[..., middle], z[..., :C].mean(-1), runs["residual"].mean(-1)], axis=-1)


def predicted(setting, profile, steps):
    """The same by the reduced flow, ``(record, 4)``."""
    path = flow(setting, profile, steps)
    return np.stack(
        [path.z_distinct[:, -1], path.z_distinct[:, setting.n_distinct // 2], path.z_common, path.residual], axis=-1
    )


def without_feedback(setting, profile, steps):
    """First order in eta_Z / eta_Y: logits as if attention did not act back on the decoder or on itself."""
    slow = replace(setting, attention_rate=setting.decoder_rate * 1e-3)
    path = predicted(slow, profile, steps)
    path[:, :3] *= setting.attention_rate / slow.attention_rate
    return path


def lengths(setting):
    """Training at four lengths up to the setting's."""
    return [replace(setting, sequence_length=(setting.sequence_length - 1) // part + 1) for part in (8, 4, 2, 1)]


@paper.claim(
    "reduced_dynamics",
    source="Section 3, dynamics of Y and Z",
    statements=[6, 1, 2],
    parts=2,
    formula="4 D + 2 numbers for all of Y and Z; E z_T(t) - z(t) ~ 1 / T",
    assumptions=[
        "two classes, ten common and ten distinct tokens",
        "plain SGD, batch 128, fresh sequences",
        "eta_Y = eta_Z = 0.1 up to 2.8 t_0",
    ],
    judged="mean trajectories of three logits and the residual within 20 / T + eta / 20 at the longest T (20 / T: the "
    "relative variance 1 / (T P) of the rarest judged count; eta / 20: steps); the gap of the middle token's logit at "
    "the end falls like 1 / T (slope within 0.2)",
)
def reduced_dynamics(setting: Setting, lab: Lab) -> Verdict:
    """SGD on sampled sequences follows the reduced equations of attention and decoder, with a gap that falls like 1 / T.

    Twins: the first order in eta_Z / eta_Y, without the feedback of attention; a limit of long sequences in which the
    middle token keeps its logit.
    """
    runs = lab.simulate(train_tokens, *lengths(setting))
    profile, steps = runs[0]["profile"][0, 0], runs[0]["steps"][0]
    path, chosen = predicted(setting, profile, steps), np.linspace(0, len(steps) - 1, 9).astype(int)[1:]
    T = setting.sequence_length - 1
    whole = follows(
        observed(setting, runs[-1])[:, chosen],
        path[chosen],
        within=20 / T + setting.decoder_rate / 20,
        of="mean trajectory",
        times=steps[chosen].astype(float),
        twin=Twin.of("no feedback", predicted=without_feedback(setting, profile, steps)[chosen]),
    )
    ends = np.stack([observed(setting, run)[:, -1, 1] for run in runs], axis=1)
    sizes = np.array([each.sequence_length - 1 for each in lengths(setting)], float)
    descent = token_descent(reduced(setting, profile), setting.decoder_rate, setting.attention_rate, int(steps[-1]))
    limit = converges(
        sizes,
        ends - descent.z_distinct[-1, setting.n_distinct // 2],
        rate=1.0,
        within=0.2,
        twin=Twin.of("a resting token", gaps=ends),
    )
    return all_of(whole.named("trajectories"), limit.named("long sequences"))


@paper.claim(
    "scan_growth",
    source="corrects the theorem on scanning and snapping, Section 5",
    statements=[6],
    setting=scales(ScanSetting(), published={"n_steps": 20_000}),
    formula="B(t) = ln(1 + 4 Gamma(t) / C_0) / 4, Gamma = (eta_Z / eta_Y) K (M - 1)^2 h^2 / 2",
    assumptions=["one common token, frozen normalisers", "random C_0, M, K and rates, up to 20 K ln M / eta_Y"],
    judged="largest gap to the integrated flow over all times within 1e-4 (4 000 Runge-Kutta steps of at most "
    "0.07 times the inverse rate: errors of order 0.07^4)",
)
def scan_growth(setting: ScanSetting, lab: Lab) -> Verdict:
    """The exposure of distinct tokens is a quarter of ln(1 + 4 Gamma / C_0).

    Twin: the printed form, ln(C_0 + 4 Gamma) / 4.
    """
    measured, exact, printed = exposures(lab.simulate(scan_flow, setting))
    return agrees(
        np.abs(measured - exact).max(-1),
        0.0,
        within=1e-4,
        of="every replica",
        twin=Twin.of("printed form", measured=np.abs(measured - printed).max(-1)),
    )


@paper.claim(
    "scan_growth_printed",
    source="Theorem on scanning and snapping, Section 5",
    statements=[6],
    expected="REFUTED",
    setting=scales(ScanSetting(), published={"n_steps": 20_000}),
    formula="B(t) = ln(C_0 + 4 Gamma(t)) / 4",
    assumptions=["one common token, frozen normalisers", "random C_0, M, K and rates"],
    judged="as scan_growth",
    note="The printed form is off by -ln(C_0) / 4 at all times, at the start as well, where B = 0; see scan_growth.",
)
def scan_growth_printed(setting: ScanSetting, lab: Lab) -> Verdict:
    """The exposure of distinct tokens is a quarter of ln(C_0 + 4 Gamma). False unless C_0 = 1."""
    measured, exact, printed = exposures(lab.simulate(scan_flow, setting))
    return agrees(
        np.abs(measured - printed).max(-1),
        0.0,
        within=1e-4,
        of="every replica",
        twin=Twin.of("with 1 in place of C_0", measured=np.abs(measured - exact).max(-1)),
    )


def exposures(runs):
    """B ``(replica, record)``: integrated, by the closed form, and as printed."""
    names = ("time", "classes", "vocabulary", "decoder_rate", "attention_rate", "scale")
    rows = [
        (attention.speed_integral_exact(t, K, int(M), y, z), C0)
        for t, K, M, y, z, C0 in zip(*(runs[n] for n in names), strict=True)
    ]
    return (
        runs["exposure"],
        np.stack([attention.exposure_exact(*row) for row in rows]),
        np.stack([attention.exposure_published(*row) for row in rows]),
    )


ENDLESS = replace(
    SMALL,
    batch=0,
    profile="random",
    n_steps=6_000,
    n_records=200,
    decoder_rate=0.05,
    attention_rate=0.05,
    spacing="log",
)


EARLY_RATE, EARLY_STEPS = 0.002, 40


WINNER = 0.9


def scanned_on(c, rate, n_common, time):
    """Attention ``(replica, local)`` if the drive xi stayed what it was: dz/dt = xi f^2 for distinct tokens, rows of z keep their
    sum.

    ``rate (replica,)``: dz/dt of the last token at the start, which gives xi. Euler steps of 1/2000 of ``time``.
    """
    log_c, d = np.log(c), time / 2_000
    xi = rate / direction(c)[:, -1] ** 2
    for _ in range(2_000):
        f2 = direction(np.exp(log_c - log_c.max(-1, keepdims=True)))[:, n_common:] ** 2
        log_c[:, n_common:] += d * xi[:, None] * f2
        log_c[:, :n_common] -= d * xi[:, None] / n_common * f2.sum(-1, keepdims=True)
    return np.exp(log_c - log_c.max(-1, keepdims=True))


def units(setting, steps):
    """Time in units of t_0 = 2 K ln M / eta_Y."""
    return steps / attention.snap_time_limit(setting.n_classes, setting.vocabulary, setting.decoder_rate)


@paper.claim(
    "snapping",
    source="Theorem on scanning and snapping, Section 5",
    statements=[6],
    parts=3,
    setting=scales(ENDLESS, smoke={"n_steps": 3_000}),
    formula="ln chi ~ t^2 for t << t_0; d ln chi / d ln t -> 0 for t >> t_0; c of the first token stays below one",
    assumptions=[
        "two classes with random frequencies, ten common tokens",
        "eta_Y = eta_Z",
        "mean over endless sequences",
    ],
    judged="slope of ln chi from t_0 / 700 to t_0 / 170 is 2 within 0.2 (one step in ten: 0.1; strong overlaps add "
    "eta_Y t / K, 0.04); slope of chi against t from 5 t_0 on at most 1/2; share of the "
    "most frequent among the distinct tokens at the end (20 t_0) at most nine tenths, else it would have won",
)
def snapping(setting: Setting, lab: Lab) -> Verdict:
    """Growth is fast at first and logarithmic after t_0, so that no token wins.

    Twins: growth at a constant rate from the start; logits go on at their rates of t_0; scanning goes on with the drive of t_0.
    """
    runs = lab.simulate(train_tokens, setting)
    t, C = units(setting, runs["steps"][0]), setting.n_common
    risen = (runs["z"] - runs["z"][:, :1])[..., C:].mean(2)  # (replica, record, distinct)
    top = risen[..., -1]
    late = t > 5
    begun = lab.simulate(
        train_tokens,
        replace(setting, decoder_rate=EARLY_RATE, attention_rate=EARLY_RATE, n_steps=EARLY_STEPS, n_records=30),
    )
    scanning = begun["steps"][0] >= EARLY_STEPS / 4
    rise = (begun["z"] - begun["z"][:, :1])[..., -1].mean(2)
    scan = exponent(
        begun["steps"][0][scanning].astype(float),
        rise[:, scanning],
        2.0,
        within=0.2,
        twin=Twin.of("constant rate", predicted=1.0),
    )

    def slope(log_chi):
        return np.array([np.polyfit(np.log(t[late]), row[late], 1)[0] for row in log_chi])

    at = int(np.searchsorted(t, 1.0))
    rate = (risen[:, at] - risen[:, at - 1]) / (t[at] - t[at - 1])
    onward = risen[:, at, None] + rate[:, None] * np.maximum(t[:, None] - t[at], 0)
    slow = bounded(
        slope(2 * top), 0.5, of="every replica", twin=Twin.of("as before t_0", measured=slope(2 * onward[..., -1]))
    )

    def first(c):
        return c[..., -1] / c[..., C:].sum(-1)

    many = bounded(
        first(runs["c"][:, -1].mean(1)),
        WINNER,
        of="every replica",
        twin=Twin.of(
            "scanning on", measured=first(scanned_on(runs["c"][:, at].mean(1), rate[:, -1], C, t[-1] - t[at]))
        ),
    )
    return all_of(scan.named("scan"), slow.named("snap"), many.named("no winner"))


TIMED = replace(SMALL, batch=0, profile="random", n_steps=400, n_records=400)
FACTORS = (0.5, 0.75, 1.0, 1.5)


def measured_snap(runs):
    """Step at which the most frequent token's logit grows fastest, mean over classes, by a parabola through three:
    ``(replica,)``.
    """
    speed = np.diff(runs["z"][..., -1].mean(2), axis=1)
    i = np.clip(speed.argmax(1), 1, speed.shape[1] - 2)
    left, mid, right = (speed[np.arange(len(i)), i + k] for k in (-1, 0, 1))
    return runs["steps"][0][i] + 0.5 + 0.5 * (left - right) / (left - 2 * mid + right)


@paper.claim(
    "snap_time",
    source="Section 5, transition at t_0; Figure 9",
    statements=[7, 6],
    parts=3,
    setting=scales(TIMED),
    formula="t_snap = tau(eta_Y / eta_Z) / eta_Y; t_0 = 2 K ln M / eta_Y",
    assumptions=[
        "two classes, ten common tokens",
        "mean over endless sequences",
        "linear frequencies for powers and order, random ones for the factor",
        "snap: the growth of the most frequent token's logit is fastest",
    ],
    judged="exponent of t_snap in eta_Y at a fixed ratio is -1 within 0.05; t_snap eta_Y at eta_Y = eta_Z follows the "
    "reduced flow, replica by replica, within a quarter of the distance to slow attention; it is later at eta_Y = 10 "
    "eta_Z",
)
def snap_time(setting: Setting, lab: Lab) -> Verdict:
    """The time of snapping is inversely proportional to the decoder's rate, with a factor that depends on the ratio of the rates.

    Twins: t_snap ~ eta_Y^(-1/2), as if a diffusion; a factor that does not depend on the ratio (that of slow attention);
    faster attention snaps later.
    """
    linear = replace(setting, profile="linear")
    several = [
        replace(linear, decoder_rate=setting.decoder_rate * x, attention_rate=setting.attention_rate * x)
        for x in FACTORS
    ]
    slow = replace(linear, attention_rate=setting.attention_rate / 10)
    random, other, *runs = lab.simulate(train_tokens, setting, slow, *several)
    times = np.array([measured_snap(run)[0] for run in runs])  # replicas of one profile are equal
    power = exponent(
        np.array([each.decoder_rate for each in several]),
        times,
        -1.0,
        within=0.05,
        twin=Twin.of("square root", predicted=-0.5),
    )
    right, rival = (
        np.array([reduced_snap(each, row) for row in random["profile"][:, 0]])
        for each in (setting, replace(setting, attention_rate=setting.decoder_rate / 1_000))
    )
    per_step = setting.decoder_rate / (setting.n_classes * np.log(setting.vocabulary))
    factor = agrees(
        measured_snap(random) * per_step,
        right * per_step,
        within=float(abs((right - rival).mean()) * per_step) / 4,
        twin=Twin.of("slow attention", predicted=rival * per_step),
    )
    equal, late = measured_snap(runs[FACTORS.index(1.0)]), measured_snap(other)
    later = ordered(equal, late, of="every replica", twin=Twin.of("earlier", smaller=late, larger=equal))
    return all_of(power.named("power"), factor.named("factor"), later.named("ratio"))


FLIP = ScanSetting(decoder_rates=(1.0, 1.0), end=6.0, n_records=600, n_steps=2_400)


@paper.claim(
    "denser_after",
    source="corrects Section 5: larger eta_Y gives denser attention",
    statements=[7],
    setting=scales(FLIP),
    formula="dB/d eta_Y changes sign at t = (K / eta_Y)(e^u + (M - 1) u - 1) / M, (u - 2) e^u = (M - 1) u - 2",
    assumptions=["one common token, frozen normalisers", "fixed eta_Z, random C_0, M, K"],
    judged="time at which B of eta_Y = 1.05 falls below that of eta_Y = 1, in logarithms within 0.08 of the prediction "
    "(half of the distance to the rival is 0.1 at the smallest M)",
)
def denser_after(setting: ScanSetting, lab: Lab) -> Verdict:
    """At fixed eta_Z a larger decoder rate first strengthens the growth of attention and weakens it only after a later time.

    Twin: the paper's t_0 = 2 K ln M / eta_Y as that time.
    """
    runs = lab.simulate(scan_flow, setting)
    ahead = runs["exposure_faster"] - runs["exposure"]
    last = np.array([np.flatnonzero(row > 0)[-1] for row in ahead])
    rows = np.arange(len(last))
    share = ahead[rows, last] / (ahead[rows, last] - ahead[rows, last + 1])
    time = runs["time"][rows, last] + share * (runs["time"][rows, last + 1] - runs["time"][rows, last])
    names = runs["classes"], runs["vocabulary"]
    expected = np.array([attention.denser_after_exact(K, int(M), 1.05**0.5) for K, M in zip(*names, strict=True)])
    rival = np.array([attention.snap_time_limit(K, int(M), 1.05**0.5) for K, M in zip(*names, strict=True)])
    return agrees(np.log(time / expected), 0.0, within=0.08, twin=Twin.of("t_0", measured=np.log(time / rival)))
