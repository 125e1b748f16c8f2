r"""The null of a map whose rows do not know of each other: every row keeps its weights, and deals them out to random keys.

For scores that are independent and alike within a row, whatever their law, a shuffled map has the law of the map itself, so a
number read off both differs by 0 on average: no size or temperature has to be matched. Keys that please all queries (column
effects) are what such a null is told apart from.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np


def shuffled_rows(a: np.ndarray, seen: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """``count`` times the maps ``a`` (batch, head, query, key), the weights of every row dealt out among the keys that it
    sees.

    Each of them alone is a random deal; together they are spread out: deal k is the first one, moved on by k m/count of the
    row's m keys, so that their mean errs less than that of independent ones. The deal depends on the places of a map's row
    maxima, so it is the same wherever the map stands among prompts and heads, and with padding. ``seen`` (batch or 1, head or
    1, query, key).
    """
    n = a.shape[-1]
    t = np.arange(n)
    seen = np.broadcast_to(seen, a.shape)
    m = seen.sum(-1, keepdims=True)
    keys = np.empty(a.shape)
    flat = keys.reshape(-1, n, n)
    for row, peaks in zip(flat, a.argmax(-1).astype(np.int64).reshape(-1, n), strict=True):
        row[:] = np.random.default_rng([n, zlib.crc32(peaks.tobytes())]).random((n, n))
    places = np.argsort(~seen, axis=-1, kind="stable")  # the keys that a row sees come first
    deal = np.argsort(np.where(t < m, keys, np.inf), axis=-1, kind="stable")
    for k in range(count):
        turned = np.where(t < m, (t - k * m // count) % np.maximum(m, 1), t)
        of = np.take_along_axis(places, np.take_along_axis(deal, turned, -1), -1)
        made = np.empty_like(a)
        np.put_along_axis(made, places, np.take_along_axis(a, of, -1), -1)
        yield made


def spread_of_hits(m: np.ndarray, count: int) -> np.ndarray:
    """Variance of the share of ``count`` deals that put the weight of a one-hot row of ``m`` keys on one given key, for every
    m."""
    found = []
    for each in np.atleast_1d(m):
        hits = np.bincount(np.arange(count) * each // count, minlength=each) / count
        found.append(float((hits**2).mean() - hits.mean() ** 2))
    return np.array(found)
