"""Random ReLU attention heads with trained values: tokens on a sphere, targets, features of heads, and runs with few heads.

Head m maps tokens x_0 (query) and x_1 .. x_N (keys) to (1/N) sum_i ReLU(x~_0^T W_m x~_i) x~_i, and the model is the sum over
heads of <v_m, .> with trained v_m. Targets: ``"b2"`` is the mean over keys of <beta, x_i>^2, ``"s2"`` of <x_0, x_i>^2,
``"s2b"`` of <x_0, x_i>^2 <beta, x_i>, each minus its expectation; beta is the first basis vector, any power may stand for 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

KINDS = ("attention", "biased", "plain", "perceptron")
_TARGET = re.compile(r"[bs][1-9]|s[1-9]b")
_CHUNK = 2_000


def bias_of(kind: str, dim: int) -> float:
    """The mean of W on the diagonal of the token block: 2 sqrt(d) for ``"biased"`` heads, 0 for the others.

    <x_0, x_i> has standard deviation 1 / sqrt(d), so the mean of a pre-activation then varies by 2.
    """
    return 2 * math.sqrt(dim) if kind == "biased" else 0.0


def tokens(generator: torch.Generator, n: int, n_keys: int, dim: int) -> tuple[Tensor, Tensor]:
    """Queries ``(n, d)`` and keys ``(n, N, d)``, independent and uniform on the unit sphere, float64."""
    x = torch.randn(n, n_keys + 1, dim, generator=generator, dtype=torch.float64)
    x = x / x.norm(dim=-1, keepdim=True)
    return x[:, 0], x[:, 1:]


def labels(query: Tensor, keys: Tensor, targets: Sequence[str]) -> Tensor:
    """The targets' values, ``(n, target)``; their expectation over tokens is zero."""
    s, b = (keys @ query[:, :, None])[..., 0], keys[..., 0]
    columns = []
    for name in targets:
        power = int(name[1])
        values = (s if name[0] == "s" else b) ** power
        values = values * b if len(name) == 3 else values - mean_power(query.shape[1], power)
        columns.append(values.mean(1))
    return torch.stack(columns, dim=1)


def rotated_labels(inputs: tuple[Tensor, Tensor], targets: Sequence[str], rotations: Tensor) -> Tensor:
    """The targets of rotated tokens, ``(n, copy, target)``: queries by ``rotations[0]``, keys by ``rotations[1]``.

    Kernels of zero-mean heads don't change under such rotations, so the copies are equally hard, and their mean has a
    smaller error.
    """
    (query, keys), copies = inputs, range(rotations.shape[1])
    return torch.stack([labels(query @ rotations[0, c], keys @ rotations[1, c], targets) for c in copies], dim=1)


def random_rotations(generator: torch.Generator, n_copies: int, dim: int, kind: str) -> Tensor:
    """Uniform orthogonal matrices of queries and of keys, ``(2, copy, d, d)``; the same for both if heads are biased."""
    Q, R = torch.linalg.qr(torch.randn(2, n_copies, dim, dim, generator=generator, dtype=torch.float64))
    Q = Q * R.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
    return Q[:1].expand(2, -1, -1, -1) if kind == "biased" else Q


def mean_power(dim: int, power: int) -> float:
    """E of a coordinate of a uniform unit vector to a power: (p-1)!! / (d (d+2) .. (d+p-2)), zero for odd powers."""
    return math.prod((k - 1) / (dim + k - 2) for k in range(2, power + 1, 2)) if power % 2 == 0 else 0.0


def require_targets(targets: Sequence[str]) -> None:
    """Every name stands for a target."""
    for name in targets:
        if not _TARGET.fullmatch(name):
            raise ValueError(f"targets={name!r} is unknown; use names such as 'b2', 's2' or 's1b'")


def head_weights(generator: torch.Generator, n_heads: int, dim: int, kind: str, n_keys: int) -> Tensor:
    """Random weights: W of attention heads ``(M, d + 1, d + 1)``, ``(M, d, d)`` of plain ones, neurons ``(M, (N+1) d + 1)``.

    Entries are N(0, 1/4), around the identity times :func:`bias_of` on the token block; N(0, 1) for plain heads, whose
    tokens lack the constant, and for neurons.
    """
    if kind == "perceptron":
        return torch.randn(n_heads, (n_keys + 1) * dim + 1, generator=generator, dtype=torch.float64)
    size = dim + (kind != "plain")
    W = torch.randn(n_heads, size, size, generator=generator, dtype=torch.float64)
    if kind != "plain":
        W = W / 2
        W[:, range(dim), range(dim)] += bias_of(kind, dim)
    return W


def features(query: Tensor, keys: Tensor, weights: Tensor, kind: str) -> Tensor:
    """Features of all heads, ``(n, M, d + 1)`` (``(n, M, d)`` of plain heads, ``(n, M, 1)`` of neurons)."""
    if kind == "perceptron":
        n_tokens = keys.shape[1] + 1
        joined = torch.cat([query[:, None], keys], dim=1).flatten(1) / math.sqrt(n_tokens)
        return torch.relu(augmented(joined) @ weights.T / math.sqrt(2))[..., None]
    if kind != "plain":
        query, keys = augmented(query), augmented(keys)
    scores = torch.einsum("na,mab->nmb", query, weights) @ keys.mT  # (n, M, N)
    return torch.relu(scores) @ keys / keys.shape[1]


def augmented(x: Tensor) -> Tensor:
    """The vectors with a last coordinate 1."""
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


@dataclass(frozen=True)
class ProductSetting:
    """Inner products of features at ``n_inputs`` fixed inputs, averaged over ``n_heads`` random heads."""

    kind: str = "attention"
    dim: int = 5
    n_keys: int = 3
    n_inputs: int = 6
    n_heads: int = 400_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "kind", KINDS)
        require_positive(self, "dim", "n_keys", "n_inputs", "n_heads", "n_replicas")


@simulation(name="random_feature_heads.head_products", block=4, reads=("kind", "dim", "n_keys", "n_inputs", "n_heads"))
def head_products(
    setting: ProductSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``products (replica, input, input)``: means over heads of <phi_m(x), phi_m(x')>, with fresh heads per replica.

    The inputs are the same for all replicas: ``query (replica, input, d)``, ``keys (replica, input, N, d)``. ``permuted``
    is the largest change of a feature when keys are permuted, ``swapped`` when the query and the first key change places.
    """
    query, keys = tokens(torch.Generator().manual_seed(1), setting.n_inputs, setting.n_keys, setting.dim)
    products, permuted, swapped = [], [], []
    for generator in generators(seeds, "heads"):
        total = torch.zeros(setting.n_inputs, setting.n_inputs, dtype=torch.float64)
        left = setting.n_heads
        while left:
            W = head_weights(generator, min(left, _CHUNK), setting.dim, setting.kind, setting.n_keys)
            phi = features(query, keys, W, setting.kind).flatten(1)
            total += phi @ phi.T
            left -= len(W)
        products.append(total / setting.n_heads)
        phi = features(query, keys, W, setting.kind)
        other = torch.cat([query[:, None], keys[:, 1:]], dim=1)
        permuted.append((features(query, keys.flip(1), W, setting.kind) - phi).abs().max())
        swapped.append((features(keys[:, 0], other, W, setting.kind) - phi).abs().max())
    n = len(seeds)
    return {
        "products": torch.stack(products).numpy(),
        "permuted": torch.stack(permuted).numpy(),
        "swapped": torch.stack(swapped).numpy(),
        "query": query.expand(n, -1, -1).numpy().copy(),
        "keys": keys.expand(n, -1, -1, -1).numpy().copy(),
    }


@dataclass(frozen=True)
class ExplicitSetting:
    """Heads with given values in cells (d, N, M): ``n_draws`` sets of heads, each at ``n_inputs`` inputs."""

    cells: tuple[tuple[int, int, int], ...] = ((5, 1, 50), (5, 3, 50), (8, 4, 25), (8, 4, 50), (8, 4, 100), (8, 4, 200))
    n_draws: int = 40
    n_inputs: int = 100
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "cells", "n_draws", "n_inputs", "n_replicas")


@simulation(name="random_feature_heads.explicit_weights", block=4, reads=("cells", "n_draws", "n_inputs"))
def explicit_weights(
    setting: ExplicitSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``error (replica, cell)``: mean squared error of plain heads with values sqrt(2 pi) beta / M at the target ``"b1"``."""
    rows = []
    for generator in generators(seeds, "heads"):
        row = []
        for dim, n_keys, n_heads in setting.cells:
            total = 0.0
            for _ in range(setting.n_draws):
                query, keys = tokens(generator, setting.n_inputs, n_keys, dim)
                W = head_weights(generator, n_heads, dim, "plain", n_keys)
                output = math.sqrt(2 * math.pi) * features(query, keys, W, "plain")[..., 0].mean(1)
                total += float(((output - labels(query, keys, ["b1"])[:, 0]) ** 2).mean())
            row.append(total / setting.n_draws)
        rows.append(row)
    return {"error": np.array(rows)}


@dataclass(frozen=True)
class HeadsSetting:
    """Regression with few heads on ``n_samples`` inputs; the first heads of the largest set are the smaller sets."""

    kind: str = "attention"
    dim: int = 8
    n_keys: int = 4
    n_samples: int = 180
    n_test: int = 500
    heads: tuple[int, ...] = (5, 10, 20, 40, 80, 160, 320, 640)
    ridge: float = 0.01
    targets: tuple[str, ...] = ("b1", "b2", "s1", "s2")
    n_copies: int = 16
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "kind", KINDS)
        require_targets(self.targets)
        require_positive(self, "dim", "n_keys", "heads", "ridge", "n_copies", "n_replicas")
        require_at_least(self, 2, "n_samples", "n_test")


@simulation(
    name="random_feature_heads.few_heads",
    block=4,
    reads=("kind", "dim", "n_keys", "n_samples", "n_test", "heads", "ridge", "targets", "n_copies"),
)
def few_heads(setting: HeadsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Test errors over the test sample's variance with M heads, ``(replica, heads, target)``, and with infinitely many.

    Errors are means over ``n_copies`` of every target (:func:`rotated_labels`).

    ``ridgeless``: least squares, of least norm where it is not unique. ``ridge``: with the ridge on the diagonal of the Gram
    matrix of the features divided by sqrt(M). ``limit (replica, target)``: the same ridge with the kernel of infinitely
    many heads, on the same data.
    """
    from attnlab.simulators.random_feature_heads.learning_curves import gram

    out: dict[str, list] = {"ridgeless": [], "ridge": [], "limit": []}
    for data, heads in zip(generators(seeds, "data"), generators(seeds, "heads"), strict=True):
        train, test = (tokens(data, n, setting.n_keys, setting.dim) for n in (setting.n_samples, setting.n_test))
        rotations = random_rotations(data, setting.n_copies, setting.dim, setting.kind)
        y, y_test = (rotated_labels(x, setting.targets, rotations).flatten(1) for x in (train, test))
        W = head_weights(heads, max(setting.heads), setting.dim, setting.kind, setting.n_keys)
        phi, phi_test = (features(*x, W, setting.kind) for x in (train, test))
        scale, eye = y_test.var(0, correction=0), torch.eye(setting.n_samples, dtype=torch.float64)

        def error(predicted: Tensor, y_test: Tensor = y_test, scale: Tensor = scale) -> Tensor:
            ratio = ((predicted - y_test) ** 2).mean(0) / scale
            return ratio.unflatten(0, (setting.n_copies, -1)).mean(0)

        ridgeless, ridge = [], []
        for m in setting.heads:
            A, B = phi[:, :m].flatten(1) / math.sqrt(m), phi_test[:, :m].flatten(1) / math.sqrt(m)
            ridgeless.append(error(B @ torch.linalg.lstsq(A, y, driver="gelsd").solution))
            ridge.append(error(B @ (A.T @ torch.linalg.solve(A @ A.T + setting.ridge * eye, y))))
        K, K_test = (gram(x, train, setting.kind) for x in (train, test))
        out["ridgeless"].append(torch.stack(ridgeless))
        out["ridge"].append(torch.stack(ridge))
        out["limit"].append(error(K_test @ torch.linalg.solve(K + setting.ridge * eye, y)))
    return {name: torch.stack(rows).numpy() for name, rows in out.items()}
