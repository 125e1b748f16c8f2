"""Estimates of e^{x . y} by one projection or many: trigonometric, positive and hyperbolic features, evaluated as they stand."""

from __future__ import annotations

import numpy as np

KINDS = ("trigonometric", "positive", "hyperbolic")


def features(x: np.ndarray, W: np.ndarray, kind: str) -> np.ndarray:
    """Features (..., n, columns) of rows x (..., n, d) under projections W (..., m, d), without the factor of their number.

    Columns are m ("positive") or 2 m; divide products of two feature vectors by m (hyperbolic: 2 m) for the estimate.
    """
    p, half = x @ np.swapaxes(W, -1, -2), (x**2).sum(-1, keepdims=True) / 2
    if kind == "trigonometric":
        return np.exp(half) * np.concatenate([np.sin(p), np.cos(p)], -1)
    if kind == "positive":
        return np.exp(p - half)
    if kind == "hyperbolic":
        return np.concatenate([np.exp(p - half), np.exp(-p - half)], -1)
    raise ValueError(f"kind={kind!r} is unknown; use one of {', '.join(KINDS)}")


def estimates_of_each_row(x: np.ndarray, y: np.ndarray, W: np.ndarray, kind: str) -> np.ndarray:
    """The estimate of e^{x . y} by every row of W (..., m, d) alone, shape (..., m), for vectors x and y (d,)."""
    found = features(x[None], W, kind) * features(y[None], W, kind)  # (..., 1, columns)
    found = found[..., 0, :]
    if kind == "positive":
        return found
    m = W.shape[-2]
    both = found[..., :m] + found[..., m:]
    return both / 2 if kind == "hyperbolic" else both
