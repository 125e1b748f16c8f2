"""Claims on Loki and slim attention: rankings by leading directions, what they keep and move, values made of cached keys."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exhaustive, finite_size, identical, replicas
from attnlab.papers.lab.conditions import at_least
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_and_exact_variants.paper import CACHES, DIRECTIONS, ROTATIONS, paper
from attnlab.simulators.heads_and_sharing.key_cache import KeyCacheSetting, key_cache
from attnlab.simulators.sparse_selection.corrections import DirectionSetting, directions, full_rotation
from attnlab.theory.heads_and_sharing import key_cache as cache_theory
from attnlab.theory.sparse_selection import loki, retained_mass

#: Significand of bfloat16, with the leading bit.
BITS = 8
#: Times 1/sqrt n, the relative standard deviation of the error of one replica if one direction of W_K^-1 dominates: its
#: square is a chi-squared with n degrees of freedom, and the root halves.
DOMINANT = 0.5 * math.sqrt(2)


def spectrum(setting: DirectionSetting) -> np.ndarray:
    """Variances of the keys."""
    return np.arange(1, setting.dim + 1, dtype=float) ** -setting.exponent


def correlations(runs: dict, setting: DirectionSetting) -> np.ndarray:
    """The law of the correlation for every query drawn, (replica, draw, directions)."""
    lam = spectrum(setting)
    return np.array(
        [
            [[loki.score_correlation_exact(q, lam, r) for r in setting.directions] for q in each]
            for each in runs["query"]
        ]
    )


@functools.lru_cache(maxsize=16)
def _jaccards(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Law of the overlap on a grid of correlations; linear between, to 1e-5 away from 1."""
    grid = 1 - np.concatenate([np.geomspace(1e-6, 0.02, 40), np.linspace(0.021, 0.999, 120)])[::-1]
    return grid, np.array([loki.jaccard_limit(float(rho), share) for rho in grid])


@paper.claim(
    "loki_in_a_full_basis",
    source="lemma 4.1 of Singhania et al.",
    statements=[6],
    kind="construction",
    setting=ROTATIONS,
    formula="(q E) . (k E) = q . k",
    judged="the operator in a random basis against softmax on the best keys by exact scores, within 100 roundings of the values",
)
def loki_in_a_full_basis(setting: DirectionSetting, lab: Lab) -> Verdict:
    """With all directions the best keys and their weights are those of exact scores. Twin: half of the directions."""
    runs = lab.simulate(full_rotation, setting)
    return identical(runs["rotated"], runs["best"], rounding=1000, scale=5.0, twin=Twin.of("half", a=runs["half"]))


@paper.claim(
    "leading_directions_rank",
    source="section 4 of Singhania et al.; the laws are derived",
    statements=[8],
    kind="extrapolation",
    setting=DIRECTIONS,
    parts=4,
    formula="rho = sqrt(sum_(c<=r) q_c^2 lam_c / sum q_c^2 lam_c); Jaccard of the best shares from rho, jointly Gaussian scores",
    judged="means over queries, each on keys of its own, at the first and the last number of directions; the law at every query; "
    "spreads (1 - rho^2)/sqrt n, and of an overlap that of a binomial, times the slope of ov/(2 - ov)",
    reads=("dim", "exponent", "directions", "share"),
    covers={"n_keys": at_least(2048)},
)
def leading_directions_rank(setting: DirectionSetting, lab: Lab) -> Verdict:
    """Approximate and exact scores correlate by the query's own share of variance, and the sets overlap as that says.

    Twin: the explained variance of the keys, for every query.
    """
    runs, n, of = lab.simulate(directions, setting), setting.n_keys, f"mean over replicas of {setting.n_draws} draws"
    rho, parts = correlations(runs, setting), []
    for k in (0, len(setting.directions) - 1):
        r = setting.directions[k]
        explained = math.sqrt(loki.explained_variance(spectrum(setting), r))
        overlap = np.interp(rho[..., k], *_jaccards(setting.share))
        draws = math.sqrt(setting.n_draws)
        both = 2 * overlap / (1 + overlap)  # share of the best keys that is found
        turned = 2 / (2 - both) ** 2 * np.sqrt(both * (1 - both) / (setting.share * n))
        kept = setting.share * n
        cells = {
            "correlation": (rho[..., k], (1 - rho[..., k] ** 2) / math.sqrt(n), explained, n),
            "jaccard": (overlap, turned, loki.jaccard_limit(explained, setting.share), kept),
        }
        for name, (law, each, rival, size) in cells.items():
            std = float(np.sqrt((each**2).mean()))
            parts.append(
                agrees(
                    runs[name][..., k].mean(1),
                    law.mean(1),
                    within=budget(replicas(std / draws, runs.n, of=of), finite_size(size, 1.0, of="n")),
                    of=of,
                    twin=Twin.of("explained variance", predicted=rival),
                ).named(f"{name}, r = {r}")
            )
    return all_of(*parts)


@paper.claim(
    "a_quarter_loses_little",
    source="section 5 of Singhania et al., r = d/4 and k_f = 1/4; the law is derived",
    statements=[8],
    kind="extrapolation",
    setting=DIRECTIONS,
    parts=2,
    formula="kept mass Phi(rho s - t), t = Phi^-1(1 - f), of Phi(s - t)",
    judged="mean over queries with keys of variances c^-2 and of equal variances; the spread of a "
    "kept share is known to leading order",
    reads=("dim", "share", "score_std"),
    covers={"n_keys": at_least(2048)},
)
def a_quarter_loses_little(setting: DirectionSetting, lab: Lab) -> Verdict:
    """A quarter of the directions keeps nearly the mass of the best quarter of the keys if their variances fall like c^-2,
    and loses
    half of the gain of choosing if they are equal. Twin: the mass of the best keys.
    """
    r = setting.dim // 4
    cells = [replace(setting, directions=(r,), exponent=x) for x in (2.0, 0.0)]
    parts, of = [], f"mean over replicas of {setting.n_draws} draws"
    best = retained_mass.oracle_mass_limit(setting.score_std, setting.share)
    for cell, runs in zip(cells, lab.simulate(directions, *cells), strict=True):
        law = np.array(
            [
                np.mean([retained_mass.proxy_mass_limit(setting.score_std, setting.share, x) for x in each[:, 0]])
                for each in correlations(runs, cell)
            ]
        )
        typical = float(correlations(runs, cell).mean())
        std = retained_mass.proxy_mass_std(setting.score_std, setting.share, typical, setting.n_keys)
        within = budget(
            replicas(std / math.sqrt(setting.n_draws), runs.n, of=of),
            finite_size(setting.n_keys, math.exp(setting.score_std**2), of="n"),
        )
        parts.append(
            agrees(
                runs["kept"][..., 0].mean(1), law, within=within, of=of, twin=Twin.of("the best keys", predicted=best)
            ).named(f"variances c^-{cell.exponent:g}")
        )
    return all_of(*parts)


@paper.claim(
    "what_a_step_moves",
    source="section 4.3 of Singhania et al.",
    statements=[9],
    kind="identity",
    setting=DIRECTIONS,
    formula="2 d / (r + 2 k_f d) = 1 / (r/(2d) + k_f)",
    judged="numbers read per key on average, for every r and number of keys kept of 64 keys of width 16, within rounding",
)
def what_a_step_moves(setting: DirectionSetting, lab: Lab) -> Verdict:
    """The speed-up of a memory-bound step counts keys and values that are kept. Twin: keys alone, 2/(r/d + k_f)."""
    n, d = 64, 16

    def agree(case: tuple[int, int], once: bool = False) -> bool:
        r, keep = case
        read = n * r + 2 * keep * d
        law = 2 / (r / d + keep / n) if once else loki.movement_speed_up(r / d, keep / n)
        return abs(2 * n * d / read / law - 1) < 1e-12

    cases = [(r, keep) for r in range(1, d + 1) for keep in range(1, n)]
    return exhaustive(cases, agree, twin=Twin.of("keys alone", check=lambda case: agree(case, True)))


@paper.claim(
    "values_from_cached_keys",
    source="equations 1 to 3 of Graef and Wasielewski",
    statements=[10],
    kind="construction",
    setting=CACHES,
    formula="softmax(q K^T) K W_KV + b_V - b_K W_KV, W_KV = W_K^-1 W_V",
    judged="causal outputs of all heads from keys alone against those of both, biases in all projections, within 40 d cond(W_K) "
    "roundings of values of size 10, the largest condition number of the run",
)
def values_from_cached_keys(setting: KeyCacheSetting, lab: Lab) -> Verdict:
    """A cache of keys gives multi-head attention exactly, in the precision that cond(W_K) leaves. Twin: biases left out."""
    runs, D = lab.simulate(key_cache, setting), setting.n_heads * setting.head_dim
    return identical(
        runs["keys_only"],
        runs["both"],
        rounding=40 * D * float(runs["condition"].max()),
        scale=10.0,
        twin=Twin.of("biases left out", a=runs["without_bias"]),
    )


@paper.claim(
    "rounded_keys_cost_a_condition_number",
    source="not in the paper; the sheet's rule is eps cond(W_K); derived here",
    statements=[10],
    kind="extrapolation",
    setting=CACHES,
    parts=2,
    formula="(sum_j u_j^2 |w_j|^2 |(W_K^-1 W_V)_j|^2)^(1/2) / |W_V|_F, about u |W_K|_F |W_K^-1|_F / d",
    judged="logarithm of the relative error of values from bfloat16 keys against its law's, mean over replicas; a direction of "
    "W_K that dominates varies like "
    "a chi-squared with n degrees; of values stored themselves against that of u",
    covers={"n_tokens": at_least(256)},
)
def rounded_keys_cost_a_condition_number(setting: KeyCacheSetting, lab: Lab) -> Verdict:
    """Keys stored in bfloat16 give values whose error is u times a Frobenius condition number over d.

    Twins: eps cond(W_K), larger by more than ten; that of values stored themselves, 5 % more.
    """
    runs, n = lab.simulate(key_cache, setting), setting.n_tokens
    matrices = list(zip(runs["key_matrix"], runs["value_matrix"], strict=True))
    law = np.array([cache_theory.reconstruction_error_approx(W, V, BITS) for W, V in matrices])
    rule = np.array([cache_theory.published_error_bound(W, BITS) for W, _ in matrices])
    u = np.array(
        [
            math.sqrt((cache_theory.rounding_share(size := np.linalg.norm(V, axis=0), BITS) * size**2).sum())
            / np.linalg.norm(V)
            for _, V in matrices
        ]
    )
    std = DOMINANT / math.sqrt(n)
    return all_of(
        agrees(
            np.log(runs["error"]),
            np.log(law),
            within=budget(replicas(std, runs.n), finite_size(n, 1.0, of="n")),
            scale=1.0,
            twin=Twin.of("eps cond", predicted=np.log(rule)),
        ).named("from keys"),
        agrees(
            np.log(runs["direct"]),
            np.log(u),
            within=budget(
                replicas(std / math.sqrt(setting.n_heads * setting.head_dim), runs.n), finite_size(n, 1.0, of="n")
            ),
            scale=1.0,
            twin=Twin.of("5 % more", predicted=np.log(1.05 * u)),
        ).named("stored"),
    )


@paper.claim(
    "cache_factors",
    source="section 1 and table of Graef and Wasielewski: 2 for square projections, 32 for T5-11B",
    statements=[11],
    kind="anchor",
    setting=CACHES,
    parts=2,
    formula="2 H d / stored: H d for keys, d_model where the token itself is smaller",
    judged="equal whole numbers; T5-11B has 128 heads of 128 and tokens of 1024",
)
def cache_factors(setting: KeyCacheSetting, lab: Lab) -> Verdict:
    """The cache halves for square projections, and is a 32th for T5-11B. Twin: the keys of T5-11B stored in place of the
    token."""
    square = cache_theory.cache_factor(1024, 16, 64)
    wide, keys = cache_theory.cache_factor(1024, 128, 128, stored=1024), cache_theory.cache_factor(1024, 128, 128)
    return all_of(
        identical(np.array([2.0]), np.array([square]), twin=Twin.of("nothing saved", b=np.array([1.0]))).named(
            "square"
        ),
        identical(np.array([32.0]), np.array([wide]), twin=Twin.of("keys stored", b=np.array([keys]))).named("T5-11B"),
    )
