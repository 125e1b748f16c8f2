"""The risk of trained regressors on fresh sequences, and of the estimators they are compared with on the same data.

Pairing removes most of the noise: the risks of a trained model and of debiased gradient descent differ by a fraction of
a per cent, and the squared error of either is heavy-tailed in the query. The query's own noise is averaged exactly (no
prediction depends on it): a risk is the mean squared distance to the noiseless label plus the noise variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.in_context_regression.model import attend
from attnlab.simulators.tasks.regression import RegressionTask, Sequences

RIVALS = ("debiased_gd", "plain_gd", "preconditioned_gd", "ridge")
_CHUNK_NUMBERS = 2**17  # random numbers of one evaluation chunk, so that its arrays stay in the cache


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate on: ``n_test`` fresh sequences per replica of the task's law, prompts of each of ``lengths``."""

    task: RegressionTask
    n_test: int
    lengths: tuple[int, ...]


def evaluate(
    KQ: Tensor, OV: Tensor, seeds: Sequence[np.random.SeedSequence], evaluation: Evaluation
) -> dict[str, np.ndarray]:
    """Risks of the models KQ ``(replica, head, n, n)``, OV ``(replica, head, 1, n)`` and of their rivals.

    At the task's own prompt length, per replica, each a mean over the test sequences with its standard error
    (``..._se``): ``risk``, ``risk_RIVAL``, ``gap_to_RIVAL`` (risk minus the rival's, paired), ``distance_to_RIVAL``
    (mean squared distance of the predictions); ``correlation_with_RIVAL`` of the predictions; and
    ``distance_debiased_to_plain`` of the two rivals from each other. At each length:
    ``risk_by_length``, ``risk_RIVAL_by_length``, ``gap_to_RIVAL_by_length``, ``(replica, length)``; shorter prompts are
    the beginnings of the longest, so that lengths are paired, too.

    The rivals (see :func:`rivals`) take their step size sum mu omega, or matrix sum mu KQ, from the model itself.

    Only the model's own risk is a plain average; nothing is averaged given the attention weights, because the model's
    scores may depend on the labels.
    """
    task, own = evaluation.task, evaluation.task.n_context
    lengths = sorted({*evaluation.lengths, own})
    size = max(1, _CHUNK_NUMBERS // replace(task, batch=1, n_context=lengths[-1]).numbers_per_step)
    moments = {length: _Moments(len(seeds)) for length in lengths}
    for row, stream in enumerate(random_streams.generators(seeds, "test")):
        for low in range(0, evaluation.n_test, size):
            chunk = replace(
                task.part(slice(row, row + 1)), batch=min(size, evaluation.n_test - low), n_context=lengths[-1]
            )
            numbers = torch.empty(1, chunk.numbers_per_step, dtype=torch.float64)
            chunk.fill(numbers, stream)
            batch = chunk.sequences(numbers.to(KQ.device))
            for length in lengths:
                short = replace(batch, tokens=batch.tokens[:, :, :length])
                moments[length].add(
                    row,
                    batch.signal,
                    attend(KQ[row : row + 1], OV[row : row + 1], short.tokens, short.query)[..., 0],
                    rivals(KQ[row : row + 1], OV[row : row + 1], short, chunk.noise_std),
                )
    std = np.broadcast_to(np.asarray(task.noise_std, dtype=np.float64), len(seeds))
    result = moments[own].summary(std**2)
    by_length = [moments[length].summary(std**2) for length in evaluation.lengths]
    names = ["risk"] + [f"{kind}_{rival}" for rival in RIVALS for kind in ("risk", "gap_to")]
    curves = {
        f"{name}_by_length{end}": np.stack([each[f"{name}{end}"] for each in by_length], axis=1)
        for name in names
        for end in ("", "_se")
    }
    tiled = np.tile(np.array(evaluation.lengths), (len(seeds), 1))
    return result | {"test_lengths": tiled} | curves


def rivals(KQ: Tensor, OV: Tensor, batch: Sequences, noise_std: float | Sequence[float]) -> list[Tensor]:
    r"""Predictions ``(replica, batch)`` of the estimators a trained model is compared with, in the order of ``RIVALS``.

    .. math:: \frac{\eta}{L}\sum_l y_l (x_l - \bar x)^T x_q, \qquad \frac{\eta}{L}\sum_l y_l x_l^T x_q, \qquad
        \frac{1}{L}\sum_l y_l (x_l - \bar x)^T M x_q, \qquad x_q^T (X^T X + \sigma^2 d I)^{-1} X^T y

    Debiased and plain gradient descent with :math:`\eta = \sum_h \mu_h \omega_h`, debiased gradient descent
    preconditioned by :math:`M = \sum_h \mu_h KQ_h` (upper left block), and ridge, the posterior mean.
    """
    d = batch.query.shape[-1]
    x, y = batch.tokens[..., :d], batch.tokens[..., d]
    L = y.shape[-1]
    block, mu = KQ[..., :d, :d], OV[:, :, 0, -1]
    matrix = (mu[..., None, None] * block).sum(1)  # (replica, dim, dim)
    step = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None]  # (replica, 1)
    moment = (x.mT @ y[..., None])[..., 0]  # (replica, batch, dim): X^T y
    centred = moment - x.mean(-2) * y.sum(-1, keepdim=True)
    std = torch.as_tensor(noise_std, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
    gram = x.mT @ x + std**2 * d * torch.eye(d, dtype=x.dtype, device=x.device)
    beta = _solve(gram, moment)
    return [
        step * (centred * batch.query).sum(-1) / L,
        step * (moment * batch.query).sum(-1) / L,
        (centred * (batch.query @ matrix.mT)).sum(-1) / L,
        (beta * batch.query).sum(-1),
    ]


class _Moments:
    """Running sums over test sequences: squared errors, their differences, and products of predictions."""

    def __init__(self, n_replicas: int) -> None:
        self.sums: dict[str, np.ndarray] = {}
        self.counts = np.zeros(n_replicas)

    def add(self, row: int, signal: Tensor, prediction: Tensor, others: list[Tensor]) -> None:
        own = (prediction - signal) ** 2
        samples = {"risk": own, "own": prediction}
        for rival, other in zip(RIVALS, others, strict=True):
            error = (other - signal) ** 2
            samples |= {
                f"risk_{rival}": error,
                f"gap_to_{rival}": own - error,
                f"distance_to_{rival}": (prediction - other) ** 2,
                rival: other,
            }
            self._sum(f"product.{rival}", row, prediction * other)
        samples["distance_debiased_to_plain"] = (others[0] - others[1]) ** 2
        for name, values in samples.items():
            self._sum(name, row, values)
            self._sum(f"square.{name}", row, values**2)
        self.counts[row] += signal.numel()

    def _sum(self, name: str, row: int, values: Tensor) -> None:
        self.sums.setdefault(name, np.zeros(len(self.counts)))[row] += float(values.sum())

    def summary(self, noise2: np.ndarray) -> dict[str, np.ndarray]:
        mean = {name: total / self.counts for name, total in self.sums.items()}
        variance = {name: mean[f"square.{name}"] - mean[name] ** 2 for name in mean if f"square.{name}" in mean}
        result = {}
        for name in variance:
            if name == "risk" or name.startswith(("risk_", "gap_to_", "distance_")):
                result[name] = mean[name] + noise2 * name.startswith("risk")
                result[f"{name}_se"] = np.sqrt(np.maximum(variance[name], 0) / (self.counts - 1))
        for rival in RIVALS:
            with np.errstate(invalid="ignore", divide="ignore"):
                covariance = mean[f"product.{rival}"] - mean["own"] * mean[rival]
                result[f"correlation_with_{rival}"] = covariance / np.sqrt(variance["own"] * variance[rival])
        return result


def _solve(gram: Tensor, moment: Tensor) -> Tensor:
    """Solutions of symmetric systems; of least norm where the system is singular (no noise and few examples)."""
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed.any():
        return (torch.linalg.pinv(gram, hermitian=True) @ moment[..., None])[..., 0]
    return torch.cholesky_solve(moment[..., None], factor)[..., 0]
