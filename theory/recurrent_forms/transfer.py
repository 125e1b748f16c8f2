r"""One recurrence, :math:`h_i = A_i h_{i-1} + B_i u_i`, :math:`y_i = C_i h_i`, with diagonal :math:`A_i`, and who has which
coefficients.

For one channel of the input, :math:`h \in R^n`. Decays, gains and reads are arrays (position, state). Unrolled, :math:`y =
\Phi u`.
Sieber, Amo Alonso, Didier, Zeilinger and Orvieto 2024 (arXiv 2405.15731).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from attnlab.theory.checks import check_positive


class Coefficients(NamedTuple):
    """``decay`` A, ``gain`` B and ``read`` C, each (position, state). The first decay meets an empty state and does not
    matter."""

    decay: np.ndarray
    gain: np.ndarray
    read: np.ndarray


def transfer_matrix(coefficients: Coefficients) -> np.ndarray:
    r"""The map from inputs to outputs, (position i, position j), 0 above the diagonal.

    .. math:: \Phi_{ij} = \sum_n C_{in} \Big( \prod_{m=j+1}^{i} A_{mn} \Big) B_{jn}, \qquad j \le i

    Decays must be positive; products are taken as differences of cumulative logarithms.
    """
    A, B, C = (np.asarray(x, dtype=np.float64) for x in coefficients)
    check_positive(decay=A)
    log = np.cumsum(np.log(A), axis=0)
    kept = np.exp(
        np.minimum(log[:, None] - log[None], 700.0)
    )  # entries above the diagonal may be large, and are dropped
    return np.tril(np.einsum("in,ijn,jn->ij", C, kept, B))


def linear_attention(queries: ArrayLike, keys: ArrayLike) -> Coefficients:
    r"""Features phi(q), psi(k) and the sum of weights as normaliser.

    .. math:: A_i = \eta_{i-1} / \eta_i, \quad B_i = \psi(k_i) / \eta_i, \quad C_i = \phi(q_i), \qquad
              \eta_i = \phi(q_i) \cdot \sum_{j \le i} \psi(k_j)

    ``queries`` and ``keys`` are the features, (position, state). Equation for linear attention in the framework.
    """
    q, k = np.asarray(queries, dtype=np.float64), np.asarray(keys, dtype=np.float64)
    return _normalised(q, k, np.einsum("in,in->i", q, np.cumsum(k, axis=0)))


def normalised_attention(queries: ArrayLike, keys: ArrayLike, log_normaliser: ArrayLike) -> Coefficients:
    r"""The same with a normaliser of its own, :math:`\eta_i = e^{w \cdot u_i}`; ``log_normaliser`` (position,)."""
    q, k = np.asarray(queries, dtype=np.float64), np.asarray(keys, dtype=np.float64)
    return _normalised(q, k, np.exp(np.asarray(log_normaliser, dtype=np.float64)))


def selective(steps: ArrayLike, rates: ArrayLike, inputs: ArrayLike, outputs: ArrayLike) -> Coefficients:
    r"""Selective state space model: :math:`A_i = e^{-\Delta_i a}`, :math:`B_i = \Delta_i b_i`, :math:`C_i = c_i`.

    ``steps`` Delta (position,), positive; ``rates`` a: one number for all states (SSD), or one each (S6).
    """
    step, a = np.asarray(steps, dtype=np.float64)[:, None], np.asarray(rates, dtype=np.float64)
    check_positive(steps=step)
    b, c = np.asarray(inputs, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    return Coefficients(np.broadcast_to(np.exp(-step * a), b.shape), step * b, c)


def gated_recurrence(forget: ArrayLike, write: ArrayLike, output: ArrayLike) -> Coefficients:
    r"""Quasi-LSTM, one state: gates :math:`\sigma(f_i), \sigma(w_i), \sigma(o_i)` from logits (position,)."""
    f, w, o = (special.expit(np.asarray(x, dtype=np.float64))[:, None] for x in (forget, write, output))
    return Coefficients(f, w, o)


def coupled_selective(normaliser: ArrayLike, queries: ArrayLike, keys: ArrayLike, rate: float) -> Coefficients:
    r"""The selective model with reads phi(q) that equals linear attention with normaliser eta.

    .. math:: \Delta_i = \frac1a \ln \frac{\eta_i}{\eta_{i-1}}, \qquad b_i = \frac{\psi(k_i)}{\eta_i \Delta_i}

    With reads phi(q) it is the only one: equal maps give :math:`B_i = \psi(k_i) / \eta_i` from the diagonal and
    :math:`A_i = \eta_{i-1} / \eta_i` from the entry beside it, wherever :math:`\phi \cdot \psi \ne 0`. So it exists if and only
    if eta increases. ``normaliser`` (position,); the first step is 1 by choice.
    """
    eta, k = np.asarray(normaliser, dtype=np.float64), np.asarray(keys, dtype=np.float64)
    check_positive(normaliser=eta, rate=rate)
    if np.any(np.diff(eta) <= 0):
        at = int(np.argmax(np.diff(eta) <= 0)) + 1
        raise ValueError(
            f"normaliser must increase, but falls from {eta[at - 1]!r} to {eta[at]!r} at position {at}: its decay exceeds 1, "
            "as that of no selective model does; use regauged, whose reads carry the normaliser"
        )
    steps = np.append(1.0, np.diff(np.log(eta)) / rate)
    return selective(steps, rate, k / (eta * steps)[:, None], np.asarray(queries, dtype=np.float64))


def regauged(coefficients: Coefficients, gauge: ArrayLike) -> Coefficients:
    r"""The same map from other coefficients: :math:`A_i g_i / g_{i-1},\; B_i g_i,\; C_i / g_i` for any positive g (position,).

    Why: :math:`h_i' = g_i h_i` is the state. With free reads every decay serves every map: equality of maps fixes
    :math:`C_i (\prod A) B_j` only.
    """
    g = np.asarray(gauge, dtype=np.float64)[:, None]
    check_positive(gauge=g)
    A, B, C = coefficients
    return Coefficients(A * g / np.concatenate([g[:1], g[:-1]]), B * g, C / g)


def _normalised(q: np.ndarray, k: np.ndarray, eta: np.ndarray) -> Coefficients:
    check_positive(normaliser=eta)
    ratio = np.append(1.0, eta[:-1] / eta[1:])[:, None]
    return Coefficients(np.broadcast_to(ratio, k.shape), k / eta[:, None], q)
