r"""The reduced model of in-context regression, two numbers per head, sampled with most of the noise averaged out.

He, Pan, Chen and Yang 2025 (arXiv 2503.12734): heads with scales omega_h, mu_h predict

.. math:: \hat y_q = \sum_l w_l y_l, \qquad w = \sum_h \mu_h\, \mathrm{softmax}(\omega_h X x_q).

The weights depend on the covariates only through the query's length r and the projections :math:`a_l = x_l^T x_q / r`,
independent standard normals. Given these, the average over the map, the noise and the other directions of the
covariates is exact for isotropic covariates:

.. math:: R = \frac{(r - w^T a)^2 + (d - 1)\|w\|^2}{d} + \sigma^2 (1 + \|w\|^2).

So a sample costs L numbers instead of L d, and what is left of the noise is that of r and a.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

_CHUNK = 2**18  # projections handled at once: 2 MB, which stays in the cache


@dataclass(frozen=True)
class ReducedSetting:
    """Head configurations ``omega[i], mu[i]`` (one tuple each) and the prompt lengths at which their risk is measured.

    The default: the pair (0.13, -0.13) and the single head (1/sqrt d, sqrt d / (1 + e 1.1 d/40)) of the paper's figure.
    ``step_size``: step of the gradient-descent rules beside them; ``trained_length``: the length whose inverse the
    un-normalised linear attention keeps as its factor at all lengths.
    """

    dim: int = 5
    noise_std: float = 0.1**0.5
    lengths: tuple[int, ...] = tuple(range(10, 101, 5))
    omega: tuple[tuple[float, ...], ...] = ((0.13, -0.13), (0.4472136,))
    mu: tuple[tuple[float, ...], ...] = ((3.45, -3.45), (1.6276947,))
    step_size: float = 0.897
    trained_length: int = 40
    n_sequences: int = 20_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "lengths", "trained_length", "n_sequences", "n_replicas")
        require_at_least(self, 0, "noise_std")
        if [len(each) for each in self.omega] != [len(each) for each in self.mu] or not all(self.omega):
            raise ValueError(
                f"omega={self.omega!r} and mu={self.mu!r} must hold as many heads, configuration by "
                "configuration, at least one; write omega=((0.1,-0.1),(0.4,))"
            )
        if not self.omega or not self.lengths:
            raise ValueError("omega and lengths must not be empty; give at least one configuration and one length")


@simulation(name="in_context_regression_reduced.reduced_risk", block=8)
def reduced_risk(
    setting: ReducedSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Risks at each length, on common random numbers: all rules and lengths see the same queries and examples.

    Returns ``lengths (replica, length)``; ``risk (replica, configuration, length)``; and, with the step eta,
    ``risk_debiased_gd``, ``risk_plain_gd``, and ``risk_linear_attention`` (weights eta s_l / trained_length),
    ``(replica, length)``.
    """
    rules = [_heads(np.array(omega), np.array(mu)) for omega, mu in zip(setting.omega, setting.mu, strict=True)]
    eta = setting.step_size
    rules += [
        lambda s: eta * (s - s.mean(-1, keepdim=True)) / s.shape[-1],
        lambda s: eta * s / s.shape[-1],
        lambda s: eta * s / setting.trained_length,
    ]
    risks = np.zeros((len(seeds), len(rules), len(setting.lengths)))
    for row, stream in enumerate(generators(seeds, "data")):
        for r, a in _samples(setting.dim, max(setting.lengths), setting.n_sequences, stream):
            for column, length in enumerate(setting.lengths):
                for index, rule in enumerate(rules):
                    risk = _risk_given(r, a[:, :length], rule, setting.dim, setting.noise_std)
                    risks[row, index, column] += float(risk.sum()) / setting.n_sequences
        current().progress(row + 1, len(seeds))
    names = ("risk_debiased_gd", "risk_plain_gd", "risk_linear_attention")
    return {"lengths": np.tile(setting.lengths, (len(seeds), 1)), "risk": risks[:, :-3]} | {
        name: risks[:, index - 3] for index, name in enumerate(names)
    }


@dataclass(frozen=True)
class RidgeSetting:
    """The ridge estimator on ``n_sequences`` drawn covariate matrices per replica at each prompt length."""

    dim: int = 5
    noise_std: float = 0.1**0.5
    lengths: tuple[int, ...] = tuple(range(10, 101, 5))
    n_sequences: int = 2_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "lengths", "n_sequences", "n_replicas")
        require_at_least(self, 0, "noise_std")


@simulation(name="in_context_regression_reduced.ridge_risk", block=8)
def ridge_risk(setting: RidgeSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    r"""Risk of the ridge estimator, averaged over map, noise and query exactly given the examples X.

    .. math:: W = (X^T X + \sigma^2 d I)^{-1} X^T, \qquad R = \sigma^2 + \|W X - I\|_F^2 / d + \sigma^2 \|W\|_F^2

    Without noise, W is the pseudo-inverse. Returns ``lengths`` and ``risk``, ``(replica, length)``.
    """
    d, noise2 = setting.dim, setting.noise_std**2
    eye, longest = torch.eye(d, dtype=torch.float64), max(setting.lengths)
    risks = np.zeros((len(seeds), len(setting.lengths)))
    for row, stream in enumerate(generators(seeds, "data")):
        for n in _parts(setting.n_sequences, longest * d):
            X = torch.empty(n, longest, d, dtype=torch.float64).normal_(generator=stream)
            for column, length in enumerate(setting.lengths):
                x = X[:, :length]
                W = torch.linalg.solve(x.mT @ x + noise2 * d * eye, x.mT) if noise2 else torch.linalg.pinv(x)
                risk = noise2 + ((W @ x - eye) ** 2).sum((-2, -1)) / d + noise2 * (W**2).sum((-2, -1))
                risks[row, column] += float(risk.sum()) / setting.n_sequences
        current().progress(row + 1, len(seeds))
    return {"lengths": np.tile(setting.lengths, (len(seeds), 1)), "risk": risks}


@dataclass(frozen=True)
class OptimumSetting:
    """Sizes d in ``dims`` with ``n_context = context_per_dim * d`` (rounded), and the size of the sample."""

    dims: tuple[int, ...] = (5, 10, 20, 40, 80)
    context_per_dim: float = 8.0
    noise_std: float = 0.1**0.5
    n_sequences: int = 4_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dims", "context_per_dim", "n_sequences", "n_replicas")
        require_at_least(self, 0, "noise_std")
        for dim in self.dims:
            if round(self.context_per_dim * dim) < 2:
                raise ValueError(
                    f"context_per_dim={self.context_per_dim!r} gives fewer than 2 examples at dim {dim}; "
                    f"use context_per_dim >= {2 / dim:.3g}"
                )


@simulation(name="in_context_regression_reduced.reduced_optimum", block=8)
def reduced_optimum(
    setting: OptimumSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """The best single head and the best symmetric pair on one fixed sample per replica and size.

    The average risk over the sample is a quadratic function of mu, minimised in closed form, and of one omega,
    minimised by Brent's method between 0.05 and 3 times 1/sqrt d (single head), 0.01 and 3 times (pair).

    Returns, all ``(replica, size)``: ``dims``, ``n_context``; ``one_head_omega``, ``one_head_mu``, ``one_head_risk``;
    ``pair_omega``, ``pair_step_size`` (2 mu omega), ``pair_risk``; ``limit_step_size``, ``limit_risk``: debiased
    gradient descent, the pair with omega -> 0; ``plain_gd_step_size``, ``plain_gd_risk``. The minimum over a sample is
    below that of the mean by an amount of order 1 / n_sequences.
    """
    families = {
        "one_head": (0.05, lambda s, omega: torch.softmax(omega * s, dim=-1)),
        "pair": (0.01, lambda s, omega: (torch.softmax(omega * s, -1) - torch.softmax(-omega * s, -1)) / (2 * omega)),
        "limit": (0.0, lambda s, omega: (s - s.mean(-1, keepdim=True)) / s.shape[-1]),
        "plain_gd": (0.0, lambda s, omega: s / s.shape[-1]),
    }
    found: dict[str, np.ndarray] = {}
    for row, stream in enumerate(generators(seeds, "data")):
        for column, dim in enumerate(setting.dims):
            n_context = max(2, round(setting.context_per_dim * dim))
            samples = list(_samples(dim, n_context, setting.n_sequences, stream))
            values = {"dims": dim, "n_context": n_context}
            for name, (low, weights) in families.items():
                fit = _Fit(samples, weights, dim, setting.noise_std)
                omega = fit.best(low / dim**0.5, 3 / dim**0.5) if low else 0.0
                factor, risk = fit(omega)
                values |= {f"{name}_omega": omega} if low else {}
                values |= {f"{name}_mu" if name == "one_head" else f"{name}_step_size": factor, f"{name}_risk": risk}
            for name, value in values.items():
                empty = np.zeros((len(seeds), len(setting.dims)), np.array(value).dtype)
                found.setdefault(name, empty)[row, column] = value
        current().progress(row + 1, len(seeds))
    return found


class _Fit:
    """The best factor on given weights, ``w = factor * weights(s, omega)``, and its average risk over a sample."""

    def __init__(
        self,
        samples: list[tuple[Tensor, Tensor]],
        weights: Callable[[Tensor, float], Tensor],
        dim: int,
        noise_std: float,
    ) -> None:
        self.samples, self.weights, self.dim, self.noise2 = samples, weights, dim, noise_std**2

    def __call__(self, omega: float) -> tuple[float, float]:
        """The minimiser over factors and the minimum."""
        count = null = linear = square = 0.0
        for r, a in self.samples:
            w = self.weights(r * a, omega)
            along, size = (w * a).sum(-1), (w**2).sum(-1)
            count += len(r)
            null += float((r[:, 0] ** 2).sum()) / self.dim
            linear += float((r[:, 0] * along).sum()) / self.dim
            square += float((along**2 + (self.dim - 1) * size).sum()) / self.dim + self.noise2 * float(size.sum())
        return linear / square, (null - linear**2 / square) / count + self.noise2

    def best(self, low: float, high: float) -> float:
        """The omega between ``low`` and ``high`` of least risk."""
        return float(
            minimize_scalar(
                lambda omega: self(omega)[1], bounds=(low, high), method="bounded", options={"xatol": 1e-4 * high}
            ).x
        )


def _heads(omega: np.ndarray, mu: np.ndarray) -> Callable[[Tensor], Tensor]:
    """The weights of softmax heads from scores ``(sequence, context)``."""

    def weights(scores: Tensor) -> Tensor:
        return sum(m * torch.softmax(w * scores, dim=-1) for w, m in zip(omega, mu, strict=True))

    return weights


def _risk_given(r: Tensor, a: Tensor, rule: Callable[[Tensor], Tensor], dim: int, noise_std: float) -> Tensor:
    """Risk ``(sequence,)`` given the query's length ``(sequence, 1)`` and the projections ``(sequence, context)``."""
    w = rule(r * a)
    along, size = (w * a).sum(-1), (w**2).sum(-1)
    return ((r[:, 0] - along) ** 2 + (dim - 1) * size) / dim + noise_std**2 * (1 + size)


def _samples(dim: int, n_context: int, n_sequences: int, stream: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Lengths of queries ``(sequence, 1)`` and projections of examples on them ``(sequence, context)``, in parts."""
    for n in _parts(n_sequences, n_context):
        numbers = torch.empty(n, dim + n_context, dtype=torch.float64).normal_(generator=stream)
        yield torch.linalg.vector_norm(numbers[:, :dim], dim=-1, keepdim=True), numbers[:, dim:].contiguous()


def _parts(n_sequences: int, size: int) -> Iterator[int]:
    part = max(1, _CHUNK // size)
    for low in range(0, n_sequences, part):
        yield min(part, n_sequences - low)
