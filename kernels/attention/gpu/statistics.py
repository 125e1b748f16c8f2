r"""Row statistics in the Triton kernels: sums that are carried from tile to tile, and what their cotangents add to ds.

With f and g of ``gpu_kernels`` at the row's level, a = \|f\|, T the sum of a, and pi = a / T, a row is described by T,
its sums of f, of f over the chosen keys, of a^2 and of a ln a, by its largest a and the key where it lies, and by count,
mean and squared deviation of the logits, plain and weighted by a. Means and deviations are merged tile by tile (Chan,
Golub, LeVeque 1983), so that no large squares are subtracted. A change of level multiplies a by r.

The derivative of any statistic in the logit s_j is, with sigma = sign(f) f' the slope of a,

    sigma (A0 + A1 ln a + A2 a + A3 (s - mu) + A4 (s - mu)^2 + A5 [j is the largest]) + a (B0 + B1 (s - mu))
    + C0 + C1 (s - mean) + D g' + (E0 + E1 [j is chosen]) f',

mu the weighted mean: ``coefficients`` makes the row's numbers, ``slope_of_statistics`` the sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.kernels.attention.cpu import RAW
from attnlab.kernels.attention.gpu.jit import jit, tl

#: What the forward kernel writes for every row: the raw statistics, then T, the count and the key of the largest weight.
RECORD = (*RAW, "total", "count", "top_key")
#: The rows that ``slope_of_statistics`` reads.
COEFFICIENTS = (
    "weighted_mean",
    "mean",
    "top_key",
    "A0",
    "A1",
    "A2",
    "A3",
    "A4",
    "A5",
    "B0",
    "B1",
    "C0",
    "C1",
    "D",
    "E0",
    "E1",
)


def coefficients(record: Tensor, u: Tensor, cotangents: Tensor) -> Tensor:
    """(16, ..., query) from the record (13, ..., query), u = 1/Z (..., query) and cotangents (10, ..., query) of ``RAW``."""
    x = dict(zip(RECORD, record, strict=True))
    c = dict(zip(RAW, cotangents, strict=True))
    some = x["total"] > 0
    one_over_total = torch.where(some, 1 / torch.where(some, x["total"], 1.0), 0.0)
    log_total = torch.where(some, x["total"], 1.0).log()
    one_over_count = 1 / x["count"].clamp(min=1)
    a0 = (
        c["entropy"] * (log_total - x["entropy"])
        - 2 * c["square"] * x["square"]
        - c["weighted_logit_variance"] * x["weighted_logit_variance"]
    )
    weights = c["max_weight"] * x["max_weight"] + c["row_sum"] * x["row_sum"] + c["mass"] * x["mass"]
    rows = {
        "weighted_mean": x["weighted_logit_mean"],
        "mean": x["logit_mean"],
        "top_key": x["top_key"],
        "A0": a0 * one_over_total,
        "A1": -c["entropy"] * one_over_total,
        "A2": 2 * c["square"] * one_over_total**2,
        "A3": c["weighted_logit_mean"] * one_over_total,
        "A4": c["weighted_logit_variance"] * one_over_total,
        "A5": c["max_weight"] * u,
        "B0": c["weighted_logit_mean"] * one_over_total,
        "B1": 2 * c["weighted_logit_variance"] * one_over_total,
        "C0": c["logit_mean"] * one_over_count,
        "C1": 2 * c["logit_variance"] * one_over_count,
        "D": (c["log_sum_exp"] - weights) * u,
        "E0": c["row_sum"] * u,
        "E1": c["mass"] * u,
    }
    return torch.stack([rows[name] for name in COEFFICIENTS])


@jit
def log_of(a):
    """ln a, and 0 where a has underflowed."""
    there = a > 1.2e-38
    return tl.where(there, tl.log(tl.where(there, a, 1.0)), 0.0)


@jit
def merged(weight, mean, deviation, more_weight, more_mean, more_deviation):
    """Weight, mean and squared deviation of two groups together."""
    both = weight + more_weight
    share = tl.where(both > 0, more_weight / tl.where(both > 0, both, 1.0), 0.0)
    gap = more_mean - mean
    return both, mean + gap * share, deviation + more_deviation + gap * gap * weight * share


@jit
def group(weights, x):
    """Weight, mean and squared deviation over the keys of a tile (query, key)."""
    weight = tl.sum(weights, 1)
    mean = tl.sum(weights * x, 1) / tl.where(weight > 0, weight, 1.0)
    gap = tl.where(weights > 0, x - mean[:, None], 0.0)
    return weight, mean, tl.sum(weights * gap * gap, 1)


@jit
def add_tile(
    r,
    f,
    s,
    visible,
    chosen,
    keys,
    n_k,
    row_sum,
    mass,
    square,
    product_log,
    top,
    top_key,
    total,
    mean_w,
    deviation_w,
    count,
    mean,
    deviation,
):
    """The sums with one more tile; r is what the change of level multiplies earlier numerators by."""
    a = tl.abs(f)
    s = tl.where(visible, s, 0.0)
    row_sum = row_sum * r + tl.sum(f, 1)
    mass = mass * r + tl.sum(tl.where(chosen[None, :], f, 0.0), 1)
    square = square * r * r + tl.sum(a * a, 1)
    product_log = r * (product_log + log_of(r) * total) + tl.sum(a * log_of(a), 1)
    best = tl.max(a, 1)
    where = tl.min(tl.where(visible & (a == best[:, None]), keys[None, :], n_k), 1).to(top.dtype)
    top_key = tl.where((best > top * r) | (top_key < 0), where, top_key)
    top = tl.maximum(best, top * r)
    w, m, d = group(a, s)
    total, mean_w, deviation_w = merged(total * r, mean_w, deviation_w * r, w, m, d)
    w, m, d = group(tl.where(visible, 1.0, 0.0).to(top.dtype), s)
    count, mean, deviation = merged(count, mean, deviation, w, m, d)
    return (row_sum, mass, square, product_log, top, top_key, total, mean_w, deviation_w, count, mean, deviation)


@jit
def store_record(
    record,
    stride,
    log_z,
    u,
    inside,
    row_sum,
    mass,
    square,
    product_log,
    top,
    top_key,
    total,
    mean_w,
    deviation_w,
    count,
    mean,
    deviation,
):
    """The rows of ``RECORD``, ``stride`` apart; ``record`` points at the place of each query."""
    safe = tl.where(total > 0, total, 1.0)
    entropy = tl.where(total > 0, tl.log(safe) - product_log / safe, 0.0)
    tl.store(record, log_z, mask=inside)
    tl.store(record + stride, entropy, mask=inside)
    tl.store(record + 2 * stride, top * tl.abs(u), mask=inside)
    tl.store(record + 3 * stride, square / (safe * safe), mask=inside)
    tl.store(record + 4 * stride, mean, mask=inside)
    tl.store(record + 5 * stride, deviation / tl.where(count > 0, count, 1.0), mask=inside)
    tl.store(record + 6 * stride, mean_w, mask=inside)
    tl.store(record + 7 * stride, deviation_w / safe, mask=inside)
    tl.store(record + 8 * stride, row_sum * u, mask=inside)
    tl.store(record + 9 * stride, mass * u, mask=inside)
    tl.store(record + 10 * stride, total, mask=inside)
    tl.store(record + 11 * stride, count, mask=inside)
    tl.store(record + 12 * stride, top_key, mask=inside)


@jit
def coefficient(rows, number, stride, inside):
    """One of ``COEFFICIENTS``."""
    return tl.load(rows + number * stride, mask=inside, other=0.0)


@jit
def slope_of_statistics(rows, stride, inside, keys, chosen, s, f, f1, g1):
    """What the cotangents of the statistics add to ds.

    ``rows`` points at the first coefficient of each row, the others are ``stride`` apart; rows, inside, keys and chosen
    broadcast against the tile.
    """
    a = tl.abs(f)
    slope = tl.where(f > 0, f1, tl.where(f < 0, -f1, 0.0))
    x = s - coefficient(rows, 0, stride, inside)
    inner = coefficient(rows, 6, stride, inside) + coefficient(rows, 7, stride, inside) * x
    inner = coefficient(rows, 3, stride, inside) + inner * x
    inner += coefficient(rows, 4, stride, inside) * log_of(a) + coefficient(rows, 5, stride, inside) * a
    top = coefficient(rows, 2, stride, inside).to(tl.int32)
    inner += tl.where(keys == top, coefficient(rows, 8, stride, inside), 0.0)
    found = slope * inner + a * (coefficient(rows, 9, stride, inside) + coefficient(rows, 10, stride, inside) * x)
    x = s - coefficient(rows, 1, stride, inside)
    found += coefficient(rows, 11, stride, inside) + coefficient(rows, 12, stride, inside) * x
    found += coefficient(rows, 13, stride, inside) * g1
    return (
        found
        + (coefficient(rows, 14, stride, inside) + tl.where(chosen, coefficient(rows, 15, stride, inside), 0.0)) * f1
    )
