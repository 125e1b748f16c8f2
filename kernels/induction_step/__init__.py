r"""Training a two-layer attention-only network on in-context classification: an ensemble, many steps, one call.

Tokens :math:`u_i` = (one-hot position, content), i = 1 .. T = 2 n_context + 1: items and their labels in turn, then the
target. With causal softmax attention, no division by :math:`\sqrt n`, and matrices acting on columns,

.. math:: v_i = u_i + V_1 \sum_{j \le i} p^{(1)}_{ij} u_j, \qquad w = v_T + V_2 \sum_{j \le T} p^{(2)}_{Tj} v_j, \qquad
          p^{(m)}_{ij} \propto \exp\bigl((K_m a_j) \cdot (Q_m a_i)\bigr), \quad a = u, v,

and logits :math:`R h_3`, :math:`h_k = \mathrm{relu}(W_k h_{k-1} + b_k)`, :math:`h_0 = w`; the loss is the cross-entropy of
the target's label, the update :math:`p \leftarrow (1 - \text{decay})\, p - \text{rate}\cdot g`.

``train`` runs data generation, forward, loss, backward and update of all replicas in compiled code, or as plain tensor
operations where there is no compiler; fed the same batches the two agree to rounding. ``STREAM`` names the definition of
the batches. Reference: Reddy 2024 (arXiv 2312.03002), section 2.
"""

from __future__ import annotations

import numpy as np

from attnlab.kernels.compiled import philox
from attnlab.kernels.induction_step import fused, reference
from attnlab.kernels.induction_step.records import Batches, Law, Optimiser, Shape, State, Stream, replica_seeds

__all__ = [
    "STREAM",
    "Batches",
    "Law",
    "Optimiser",
    "Shape",
    "State",
    "Stream",
    "draw",
    "loss_and_gradient",
    "replica_seeds",
    "train",
]

PATHS = ("auto", "c", "reference")
STREAM = f"induction-sequences/1 on {philox.STREAM}"


def train(
    shape: Shape, state: State, n_steps: int, *, data: Stream | Batches, optimiser: Optimiser, path: str = "auto"
) -> tuple[State, np.ndarray]:
    """The state after ``n_steps`` more steps, and the loss (replica, step) before each of them.

    A replica whose loss or gradient stops being finite keeps its last finite parameters, has NaN losses after that step
    and the step in ``state.diverged_at``; the others are unaffected. ``state`` is not changed. The result does not
    depend on how a run is cut into calls, nor on which other replicas are in the call.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps={n_steps!r} must be at least 1")
    optimiser.check(state.n_replicas)
    return _path(shape, state, data, n_steps, path).train(shape, state, n_steps, data, optimiser)


def loss_and_gradient(
    shape: Shape, state: State, data: Stream | Batches, *, path: str = "auto"
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Loss (replica,) and gradient (a dictionary like ``state.params``) on the next batch, without an update."""
    return _path(shape, state, data, 1, path).loss_and_gradient(shape, state, data)


def draw(
    shape: Shape, stream: Stream, first_step: int, n_steps: int, *, path: str = "auto"
) -> tuple[Batches, np.ndarray]:
    """The batches that ``train`` makes from a stream, in float32, and the class of each item and target
    (replica, step, batch, n_context + 1); novel classes count from the number of classes on."""
    stream.check(shape, len(stream.seeds))
    return _chosen(path, "float32").draw(shape, stream, first_step, n_steps)


def _path(shape: Shape, state: State, data: Stream | Batches, n_steps: int, path: str):
    state.check(shape)
    data.check(shape, state.n_replicas) if isinstance(data, Stream) else data.check(shape, state.n_replicas, n_steps)
    return _chosen(path, state.dtype)


def _chosen(path: str, dtype: str):
    if path not in PATHS:
        raise ValueError(f"path={path!r} is unknown; use one of {', '.join(PATHS)}")
    return fused if path == "c" or (path == "auto" and fused.available(dtype)) else reference
