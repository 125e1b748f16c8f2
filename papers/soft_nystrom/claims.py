"""Claims: the kernel and its bias, what landmarks leave, Newton's inverse and where its start fails, gradients, norms."""

from __future__ import annotations

import math

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, finite_size, identical, replicas
from attnlab.papers.lab.conditions import one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.soft_nystrom.paper import KERNELS, LARGEST, LEFT, NEWTON, RING, paper
from attnlab.simulators.sketching.landmarks import KernelSetting, NewtonSetting, kernels, left_over, newton, rows
from attnlab.theory.sketching import gaussian_kernel as theory
from attnlab.theory.sketching.nystrom import iterations_needed, residual

EPS = float(np.finfo(float).eps)
TOLERANCE = 1e-6
#: Spread over replicas of |S|_2 / n times sqrt(n), d = 8, standard deviation 1/2: 64 replicas of
#: np.random.SeedSequence(77), n = 256.
SPREAD_OF_THE_NORM = 0.121


@paper.claim(
    "gaussian_kernel",
    source="equation 4",
    statements=[1],
    parts=2,
    setting=LEFT,
    formula="S = S^T, S_ii = 1, S >= 0",
    judged="largest entry of S - S^T and of its diagonal minus 1, within 64 roundings; least eigenvalue above -64 n eps",
    reads=("n_tokens",),
)
def gaussian_kernel(setting: KernelSetting, lab: Lab) -> Verdict:
    """The kernel of tied queries and keys is symmetric, positive semi-definite and of unit diagonal.

    Twins: rows that sum to 1; a least eigenvalue above 1 / n.
    """
    runs = lab.simulate(kernels, setting)
    away = np.stack([runs["asymmetry"], runs["diagonal"]])
    exact = identical(
        away,
        np.zeros_like(away),
        rounding=64,
        scale=1.0,
        twin=Twin.of("normalised rows", a=np.stack([runs["skew"], runs["diagonal"]])),
    )
    n = setting.n_tokens
    positive = bounded(
        runs["least"], 0.0, side="below", within=64 * n * EPS, twin=Twin.of("1 / n", bound=1 / n), of="every replica"
    )
    return all_of(exact.named("symmetric"), positive.named("positive"))


@paper.claim(
    "softmax_with_a_bias",
    source="derived here",
    statements=[1],
    kind="extrapolation",
    setting=LEFT,
    formula="rows of S over their sums = softmax(q . k / sqrt(d) - |k|^2 / (2 sqrt(d)))",
    judged="entry by entry, within 64 roundings of exponents of size |q| |k| / sqrt(d), at most 64 of them",
    reads=("n_tokens", "dim"),
)
def softmax_with_a_bias(setting: KernelSetting, lab: Lab) -> Verdict:
    """Normalised by rows, the kernel is softmax attention that sees long keys less. Twin: softmax without the bias."""
    runs = lab.simulate(rows, setting)
    scores = np.stack([theory.equivalent_scores(q, q) for q in runs["tokens"]])
    plain = scores + ((runs["tokens"] ** 2).sum(-1) / 2 / math.sqrt(setting.dim))[:, None]
    law, rival = (np.exp(s) / np.exp(s).sum(-1, keepdims=True) for s in (scores, plain))
    return identical(runs["rows"], law, rounding=64 * 64, scale=law, twin=Twin.of("no bias", b=rival))


@paper.claim(
    "landmarks_leave_a_positive_rest",
    source="derived here",
    statements=[2],
    kind="extrapolation",
    parts=4,
    setting=LEFT,
    formula="S - C A^-1 C^T >= 0, its trace at least the sum of the eigenvalues of S after the m-th; any landmarks",
    judged="least eigenvalue of what is left above -64 n eps times the condition of A, at most 1e4; its trace; for landmarks "
    "that are tokens and for means of tokens",
    reads=("n_tokens", "n_landmarks"),
)
def landmarks_leave_a_positive_rest(setting: KernelSetting, lab: Lab) -> Verdict:
    """What landmarks leave of the kernel is positive semi-definite, pooled ones too, and at least what the best rank leaves.

    Twins: a least eigenvalue above 1 / n; a trace of twice the bound.
    """
    runs = lab.simulate(left_over, setting)
    n = setting.n_tokens
    bound = np.array([theory.nystrom_trace_bound(S, setting.n_landmarks) for S in runs["kernel"]])
    parts = []
    for kind in ("token", "pooled"):
        parts.append(
            bounded(
                runs[f"least_{kind}"],
                0.0,
                side="below",
                within=64 * n * EPS * 1e4,
                twin=Twin.of("1 / n", bound=1 / n),
                of="every replica",
            ).named(f"{kind} landmarks, rest")
        )
        parts.append(
            bounded(
                runs[f"trace_{kind}"], bound, side="below", twin=Twin.of("twice", bound=2 * bound), of="every replica"
            ).named(f"{kind} landmarks, trace")
        )
    return all_of(*parts)


@paper.claim(
    "residual_squares",
    source="proposition on Newton's iteration",
    statements=[3],
    setting=NEWTON,
    formula="|1 - A X_t| = rho^(2^t), rho = max |1 - alpha lambda^2|",
    judged="spectral norms at every iteration, within 64 m roundings times 2^t of the first residual "
    "(each step doubles a relative "
    "error), at least 64 m^2 roundings of the unit matrix",
    reads=("factor",),
)
def residual_squares(setting: NewtonSetting, lab: Lab) -> Verdict:
    """Every iteration squares the residual, exactly. Twin: a start 2 % smaller."""
    runs = lab.simulate(newton, setting)
    steps = range(setting.n_iterations + 1)
    law = np.array([[residual(A, setting.factor, t) for t in steps] for A in runs["matrix"]])
    rival = np.array([[residual(A, 0.98 * setting.factor, t) for t in steps] for A in runs["matrix"]])
    m = setting.n_landmarks
    scale = law * 2.0 ** np.arange(setting.n_iterations + 1) + m
    return identical(runs["residual"], law, rounding=64 * m, scale=scale, twin=Twin.of("2 % smaller start", b=rival))


@paper.claim(
    "largest_start_converges",
    source="proposition on the start",
    statements=[3],
    setting=LARGEST,
    expected="REFUTED",
    formula="the residual vanishes from alpha = 2 / |A|_1^2",
    judged="residual after 25 iterations at most 1e-6, for landmarks on a regular polygon of 16 corners",
    note="All rows of a circulant matrix have one sum, so that lambda_max = |A|_1 and 1 - alpha "
    "lambda_max^2 = -1, whose square is 1 at "
    "every step: see smaller_start_converges.",
    covers={"factor": one_of(2.0)},
)
def largest_start_converges(setting: NewtonSetting, lab: Lab) -> Verdict:
    """Newton's iteration converges from alpha = 2 / |A|_1^2 for every landmark matrix. Twin: to 1e-9."""
    runs = lab.simulate(newton, setting)
    return bounded(
        runs["residual"][:, -1], TOLERANCE, twin=Twin.of("to 1e-9", bound=TOLERANCE / 1000), of="every replica"
    )


@paper.claim(
    "smaller_start_converges",
    source="corrects the proposition on the start",
    statements=[3],
    kind="extrapolation",
    setting=RING,
    formula="from 1.8 / |A|_1^2 it takes log2(kappa^2 ln(1/tau) / 1.8) iterations, kappa = |A|_1 / lambda_min",
    judged="first iteration with a residual below 1e-6, within one iteration",
    reads=("factor",),
    covers={"factor": one_of(1.8)},
)
def smaller_start_converges(setting: NewtonSetting, lab: Lab) -> Verdict:
    """A tenth less converges on the same landmarks, in twice the logarithm of their condition. Twin: once the logarithm."""
    runs = lab.simulate(newton, setting)
    first = np.array([np.flatnonzero(r < TOLERANCE)[0] if (r < TOLERANCE).any() else len(r) for r in runs["residual"]])
    kappa = [np.abs(A).sum(0).max() / np.linalg.eigvalsh(A)[0] for A in runs["matrix"]]
    law = float(np.mean([iterations_needed(float(k), TOLERANCE) for k in kappa]))
    rival = float(np.mean([iterations_needed(math.sqrt(k), TOLERANCE) for k in kappa]))
    return agrees(
        first.astype(float), law, within=1.0, of="every replica", twin=Twin.of("once the logarithm", predicted=rival)
    )


@paper.claim(
    "gradient_without_unrolling",
    source="proposition on the gradient",
    statements=[4],
    setting=NEWTON,
    formula="dL/dA = -Y^T (dL/dY) Y^T",
    judged="against the gradient through all iterations, within 64 m^2 roundings of its largest entry "
    "times the squared condition",
    reads=("n_landmarks",),
)
def gradient_without_unrolling(setting: NewtonSetting, lab: Lab) -> Verdict:
    """The gradient of the converged inverse is the stated product. Twin: with dL/dY transposed."""
    runs = lab.simulate(newton, setting)
    pairs = list(zip(runs["inverse"], runs["pull"], strict=True))
    law = np.array([theory.inverse_gradient_exact(Y, G) for Y, G in pairs])
    rival = np.array([theory.inverse_gradient_exact(Y, G.T) for Y, G in pairs])
    condition = np.array([np.linalg.cond(A) for A in runs["matrix"]])
    scale = (np.abs(law).max((1, 2)) * condition**2)[:, None, None] * np.ones_like(law)
    return identical(
        runs["gradient"], law, rounding=64 * setting.n_landmarks**2, scale=scale, twin=Twin.of("transposed", b=rival)
    )


@paper.claim(
    "normalised_norm",
    source="section on normalisation",
    statements=[5],
    setting=KERNELS,
    formula="|D^(-1/2) S D^(-1/2)|_2 = 1",
    judged="largest eigenvalue of every replica, within 8 n roundings",
    reads=("n_tokens",),
)
def normalised_norm(setting: KernelSetting, lab: Lab) -> Verdict:
    """The normalised kernel has spectral norm 1, whatever the number of tokens. Twin: the kernel divided by n."""
    runs = lab.simulate(kernels, setting)
    return identical(
        runs["normalised"], np.ones(runs.n), rounding=8 * setting.n_tokens, twin=Twin.of("over n", a=runs["norm"])
    )


@paper.claim(
    "norm_grows",
    source="section on normalisation; the constant is derived here",
    statements=[5],
    kind="extrapolation",
    setting=KERNELS,
    formula="|S|_2 / n -> (2 a / (a + b + c))^(d/2), a = 1/(4 sigma^2), b = 1/(2 sqrt d), c = sqrt(a^2 + 2 a b)",
    judged="mean over replicas; margin: the spread of another seed, and 1/n, the share of a single token",
    reads=("n_tokens", "dim", "token_std"),
    covers={"dim": one_of(8, why="the spread is known there"), "token_std": one_of(0.5)},
)
def norm_grows(setting: KernelSetting, lab: Lab) -> Verdict:
    """Without it the norm grows like n, by the top eigenvalue of the kernel under the law of the tokens. Twin: 5 % more."""
    runs = lab.simulate(kernels, setting)
    law = theory.norm_share_limit(setting.dim, setting.token_std)
    std = SPREAD_OF_THE_NORM / math.sqrt(setting.n_tokens)
    of = f"mean over replicas of {setting.n_tokens} draws"
    return agrees(
        runs["norm"],
        law,
        within=budget(replicas(std, runs.n, of=of), finite_size(setting.n_tokens, 1.0, of="n")),
        of=of,
        twin=Twin.of("5 % more", predicted=1.05 * law),
    )
