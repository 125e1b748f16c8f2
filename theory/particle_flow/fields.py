r"""A Transformer layer as vector fields on interacting particles: attention F, feed-forward G, and their derivatives.

Lu, Li, He, Sun, Dong, Qin, Wang and Liu (arXiv 1906.02762), section 3: tokens are particles, rows of X (n x d), with

.. math:: \frac{dX}{dt} = F(X) + G(X),

F the interaction ("diffusion", attention) and G the force on each particle alone ("convection", feed-forward network).
All functions take X of shape (..., n, d); leading axes are systems or states and broadcast with those of the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from attnlab.theory.checks import check_count, check_one_of

ACTIVATIONS = ("tanh", "gelu", "relu")


@dataclass(frozen=True)
class ParticleSystem:
    r"""The two fields of a layer with H heads of width d_h = d / H and a feed-forward network of m hidden units.

    .. math:: F(X) = \sum_h \mathrm{softmax}\bigl(X W_Q^{(h)} (X W_K^{(h)})^T / \sqrt{d_h}\bigr) X W_V^{(h)} W_O^{(h)},
              \qquad G(X) = \sigma(X W_1 + b_1) W_2 + b_2

    Shapes: ``W_Q, W_K, W_V, W_O`` (..., d, d), heads side by side in the columns of the first three and the rows of the
    last; ``W_1`` (..., d, m), ``b_1`` (..., m), ``W_2`` (..., m, d), ``b_2`` (..., d). ``activation``: tanh, gelu or relu.
    """

    W_Q: np.ndarray
    W_K: np.ndarray
    W_V: np.ndarray
    W_O: np.ndarray
    W_1: np.ndarray
    b_1: np.ndarray
    W_2: np.ndarray
    b_2: np.ndarray
    n_heads: int = 1
    activation: str = "tanh"

    def __post_init__(self) -> None:
        dim = self.W_Q.shape[-1]
        check_one_of(ACTIVATIONS, activation=self.activation)
        if self.n_heads < 1 or dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads!r} does not divide dim={dim}; use a divisor")

    def interaction(self, X: np.ndarray) -> np.ndarray:
        """F(X), shape of X."""
        P, _, _, V = self._attention(X)
        return _merged(P @ V) @ self.W_O

    def convection(self, X: np.ndarray) -> np.ndarray:
        """G(X), shape of X."""
        return (
            _activation(self.activation, X @ self.W_1 + self.b_1[..., None, :])[0] @ self.W_2 + self.b_2[..., None, :]
        )

    def field(self, X: np.ndarray) -> np.ndarray:
        """F(X) + G(X)."""
        return self.interaction(X) + self.convection(X)

    def interaction_derivative(self, X: np.ndarray, direction: np.ndarray) -> np.ndarray:
        r"""F'(X) applied to a direction Y: with logits S, weights P and values V of a head,

        .. math:: dP = P \odot (dS - \mathrm{rowsum}(P \odot dS)), \qquad dF = (dP\, V + P\, dV) W_O.
        """
        P, Q, K, V = self._attention(X)
        dQ, dK, dV = (self._heads(direction @ W) for W in (self.W_Q, self.W_K, self.W_V))
        dS = (dQ @ _t(K) + Q @ _t(dK)) / Q.shape[-1] ** 0.5
        dP = P * (dS - np.sum(P * dS, axis=-1, keepdims=True))
        return _merged(dP @ V + P @ dV) @ self.W_O

    def convection_derivative(self, X: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """G'(X) applied to a direction; at the kink of relu the derivative from the left."""
        slope = _activation(self.activation, X @ self.W_1 + self.b_1[..., None, :])[1]
        return (slope * (direction @ self.W_1)) @ self.W_2

    def _attention(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Weights (..., head, n, n), and queries, keys and values (..., head, n, d_h)."""
        Q, K, V = (self._heads(X @ W) for W in (self.W_Q, self.W_K, self.W_V))
        S = Q @ _t(K) / Q.shape[-1] ** 0.5
        E = np.exp(S - S.max(axis=-1, keepdims=True))
        return E / E.sum(axis=-1, keepdims=True), Q, K, V

    def _heads(self, X: np.ndarray) -> np.ndarray:
        split = X.reshape(*X.shape[:-1], self.n_heads, -1)
        return np.swapaxes(split, -3, -2)  # (..., head, n, d_h)


def integrate(field: Callable[[np.ndarray], np.ndarray], X: np.ndarray, horizon: float, n_steps: int) -> np.ndarray:
    """The path of dX/dt = field(X) by the classical Runge-Kutta method of order 4, shape (n_steps + 1, *X.shape)."""
    check_count(n_steps=n_steps)
    h, path = horizon / n_steps, [np.asarray(X, dtype=float)]
    for _ in range(n_steps):
        X = path[-1]
        k1 = field(X)
        k2 = field(X + h / 2 * k1)
        k3 = field(X + h / 2 * k2)
        k4 = field(X + h * k3)
        path.append(X + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.stack(path)


def _activation(name: str, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The activation and its derivative."""
    if name == "tanh":
        value = np.tanh(a)
        return value, 1 - value**2
    if name == "relu":
        return np.maximum(a, 0.0), (a > 0).astype(float)
    normal = (1 + erf(a / 2**0.5)) / 2  # gelu = a Phi(a)
    return a * normal, normal + a * np.exp(-(a**2) / 2) / (2 * np.pi) ** 0.5


def _merged(heads: np.ndarray) -> np.ndarray:
    """(..., head, n, d_h) back to (..., n, d)."""
    rows = np.swapaxes(heads, -3, -2)
    return rows.reshape(*rows.shape[:-2], -1)


def _t(X: np.ndarray) -> np.ndarray:
    return np.swapaxes(X, -1, -2)
