"""Hashes of unit queries and keys by random hyperplanes, drawn many times: moments of weights, outputs, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation

CHUNK = 4096  # hashes at a time


@dataclass(frozen=True)
class HashSetting:
    """``n_keys`` unit keys and ``n_queries`` unit queries of ``dim``, values of ``n_values`` with mean ``value_mean``; ``n_bits``
    of a hash, ``n_hashes`` averaged in one draw, ``n_draws`` per replica; ``data``: seed of q, k, v, common to all."""

    n_bits: int = 4
    n_hashes: int = 1
    n_draws: int = 100_000
    n_keys: int = 32
    n_queries: int = 2
    dim: int = 6
    n_values: int = 4
    value_mean: float = 0.5
    data: int = 0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_hashes", "n_draws", "n_keys", "n_queries", "n_values", "n_replicas")
        require_at_least(self, 2, "dim")
        require_inside(self, 0, 17, "n_bits")


@dataclass(frozen=True)
class PairSetting:
    """``angles`` between a query and a key, in radians; ``n_bits``; ``n_hashes`` averaged, ``n_draws`` per replica."""

    angles: tuple[float, ...] = (0.1, 0.4, 0.8, 1.2)
    n_bits: int = 4
    n_hashes: int = 8
    n_draws: int = 4000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_hashes", "n_draws", "n_replicas")
        require_inside(self, 0, 17, "n_bits")
        require_inside(self, 0, np.pi, "angles")


def given(setting: HashSetting) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unit queries (n_q, d), the others near the first, unit keys (n, d), values (n, d_v), an output gradient (n_q, d_v)."""
    rng = np.random.default_rng(setting.data)
    q, k = (rng.standard_normal((n, setting.dim)) for n in (setting.n_queries, setting.n_keys))
    v = setting.value_mean + rng.standard_normal((setting.n_keys, setting.n_values))
    gradient = rng.standard_normal((setting.n_queries, setting.n_values))
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
    q[1:] = q[:1] + q[1:] / 2
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    return q, k, v, gradient


READS = ("n_bits", "n_hashes", "n_draws", "n_keys", "n_queries", "dim", "n_values", "value_mean", "data")


@simulation(name="hashing_draws.outputs", block=2, reads=READS)
def outputs(setting: HashSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Moments over the draws of each replica, for outputs that average ``n_hashes`` hashes.

    ``mean``, ``variance`` (replica, query, value): of the outputs; ``weight (replica, query, key)``: mean collisions;
    ``shared (replica, key)``: covariance of a key's collisions with queries 0 and 1 (only if there are two);
    ``cosine (replica,)``: mean of the normalised output of query 0 along the direction of its mean output;
    ``gradient (replica, query, d)``: mean of tau/2 [B o (dY V^T)] K.
    """
    q, k, v, dY = given(setting)
    found: dict[str, list] = {name: [] for name in ("mean", "variance", "weight", "shared", "cosine", "gradient")}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        B = np.concatenate(
            [
                _collisions(rng, q, k, n, setting.n_bits, setting.n_hashes)
                for n in _chunks(setting.n_draws, setting.n_hashes)
            ]
        )  # (draw, query, key)
        y = B @ v
        found["mean"].append(y.mean(0))
        found["variance"].append(y.var(0, ddof=1))
        found["weight"].append(B.mean(0))
        both = B[:, :2] - B[:, :2].mean(0)
        found["shared"].append((both[:, 0] * both[:, -1]).sum(0) / (len(B) - 1))
        direction = y[:, 0].mean(0) / np.linalg.norm(y[:, 0].mean(0))
        length = np.linalg.norm(y[:, 0], axis=1)
        along = np.divide(y[:, 0] @ direction, length, out=np.zeros(len(B)), where=length > 0)  # nobody met: no output
        found["cosine"].append(along.mean())
        found["gradient"].append(setting.n_bits / 2 * (B.mean(0) * (dY @ v.T)) @ k)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="hashing_draws.pairs", block=4, reads=("angles", "n_bits", "n_hashes", "n_draws"))
def pairs(setting: PairSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``mean``, ``variance (replica, angle)`` over draws of the share of ``n_hashes`` hashes in which two unit vectors meet."""
    keys = np.array([[np.cos(t), np.sin(t)] for t in setting.angles])
    mean, variance = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        B = np.concatenate(
            [
                _collisions(rng, np.array([[1.0, 0.0]]), keys, n, setting.n_bits, setting.n_hashes)[:, 0]
                for n in _chunks(setting.n_draws, setting.n_hashes)
            ]
        )
        mean.append(B.mean(0))
        variance.append(B.var(0, ddof=1))
    return {"mean": np.array(mean), "variance": np.array(variance)}


def codes(x: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Hashes (draw, n) of rows x (n, d) under planes (draw, bit, d): the bits of w . x > 0 as one whole number."""
    n, width, dim = planes.shape
    bits = (planes.reshape(-1, dim) @ x.T > 0).reshape(n, width, len(x))
    found = np.zeros((n, len(x)), dtype=np.uint16)
    for bit in range(width):
        found |= bits[:, bit].astype(np.uint16) << np.uint16(bit)
    return found


def _collisions(rng: np.random.Generator, q: np.ndarray, k: np.ndarray, n: int, bits: int, hashes: int) -> np.ndarray:
    """Shares of meetings (draw, query, key) in ``hashes`` hashes."""
    planes = rng.standard_normal((n * hashes, bits, q.shape[1]))
    met = codes(q, planes)[:, :, None] == codes(k, planes)[:, None]
    return met.astype(float) if hashes == 1 else met.reshape(n, hashes, len(q), len(k)).mean(1)


def _chunks(n_draws: int, n_hashes: int) -> list[int]:
    """Draws in parts of about CHUNK hashes."""
    size = max(1, CHUNK // n_hashes)
    return [min(size, n_draws - start) for start in range(0, n_draws, size)]
