r"""Training one attention layer on in-context linear regression: an ensemble, many steps, one call.

A sequence holds n_context + 1 pairs, :math:`y_l = \beta^\top x_l + \sigma \epsilon_l` with x, epsilon standard normal
and :math:`\beta \sim N(0, I/d)`. With tokens :math:`z_l = (x_l, y_l)` and query :math:`(x_i, 0)`,

.. math:: \hat y_i = \sum_h W_o^{(h)} W_v^{(h)} \sum_{j < i} p^{(h)}_{ij} z_j, \qquad
          p^{(h)}_{i\cdot} = \mathrm{softmax}_j\, z_j^\top W_k^{(h)\top} W_q^{(h)} (x_i, 0) / \sqrt{d + 1},

and the loss is the mean over the batch of :math:`(\hat y_i - y_i)^2` at the last pair (single query), or also over
i = 1 .. n_context (``causal``: every position is a query that sees the pairs before it). A pair may have several labels,
each with an output of its own, and a ``Law`` may correlate the covariates or let a label depend on some of them only.

``train`` runs data generation, forward, loss, backward and optimiser for all replicas in compiled code, or as plain
tensor operations where there is no compiler; fed the same batches the two agree to rounding. Batches come from the
counter-based stream of ``attnlab.kernels.compiled.philox`` or from outside.
"""

from __future__ import annotations

import numpy as np

from attnlab.kernels.icl_step import fused, reference
from attnlab.kernels.icl_step.records import Batches, Law, Optimiser, Shape, State, Stream, replica_seeds

__all__ = [
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


def train(
    shape: Shape, state: State, n_steps: int, *, data: Stream | Batches, optimiser: Optimiser, path: str = "auto"
) -> tuple[State, np.ndarray]:
    """The state after ``n_steps`` more steps, and the loss (replica, step) before each of them.

    A replica whose loss or gradient stops being finite keeps its last finite parameters, has NaN losses after that step
    and the step in ``state.diverged_at``; the others are unaffected. ``state`` is not changed. The result does not
    depend on how a run is cut into calls, nor on which other replicas are in the call.
    """
    if not isinstance(n_steps, (int, np.integer)) or n_steps < 1:
        raise ValueError(f"n_steps={n_steps!r} must be a whole number, at least 1")
    _check_path(path)
    state.check(shape)
    data.check(shape, state, n_steps)
    optimiser.check(state.n_replicas)
    if path == "c" or (path == "auto" and fused.available(shape, state.dtype)):
        return fused.train(shape, state, n_steps, data, optimiser)
    return reference.train(shape, state, n_steps, data, optimiser)


def loss_and_gradient(
    shape: Shape, state: State, data: Stream | Batches, *, path: str = "auto"
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Loss (replica,) and gradient (a dictionary like ``state.params``) on the next batch, without an update."""
    _check_path(path)
    state.check(shape)
    data.check(shape, state, 1)
    if path == "c" or (path == "auto" and fused.available(shape, state.dtype)):
        return fused.loss_and_gradient(shape, state, data)
    return reference.loss_and_gradient(shape, state, data)


def draw(shape: Shape, stream: Stream, first_step: int, n_steps: int, *, path: str = "auto") -> Batches:
    """The batches that ``train`` makes from a stream, in float32."""
    _check_path(path)
    if first_step < 0 or n_steps < 0:
        raise ValueError(f"first_step={first_step!r} and n_steps={n_steps!r} must not be negative")
    if path == "c" or (path == "auto" and fused.available(shape, "float32")):
        return fused.draw(shape, stream, first_step, n_steps)
    return reference.draw(shape, stream, first_step, n_steps)


def _check_path(path: str) -> None:
    if path not in PATHS:
        raise ValueError(f"path={path!r} is unknown; use one of {', '.join(PATHS)}")
