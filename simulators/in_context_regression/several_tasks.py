"""Several regression tasks in one prompt, each on its own covariates, learnt by one layer of attention.

He, Pan, Chen and Yang 2025 (arXiv 2503.12734), the multi-task section: examples carry one label per task; few
heads are shared by the tasks (superposition), with two heads per task they may split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.in_context_regression.model import AttentionRegressor, attend
from attnlab.simulators.in_context_regression.several_tasks_task import MultiRegressionTask

_CHUNK_NUMBERS = 2**17  # random numbers of one evaluation chunk


@dataclass(frozen=True)
class MultiTaskSetting:
    """``supports``: the covariates (from 0) of each task. The defaults are the paper's but for ``batch`` (256).

    Labels: ``coefficient_std`` is the standard deviation of the map's coefficients, ``noise_std`` the noise of the
    examples' labels relative to their signal; the query's label has no noise. ``init``, ``init_scale``, ``n_records``,
    ``snapshot_steps`` and ``n_test`` are those of ``in_context_regression.Setting``.
    """

    dim: int = 6
    supports: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3), (2, 3, 4, 5))
    n_context: int = 48
    coefficient_std: float = 1.0
    noise_std: float = 0.1**0.5
    n_heads: int = 4
    init: str = "linear"
    init_scale: float = 0.1
    batch: int = 64
    learning_rate: float = 1e-3
    n_steps: int = 20_000
    n_records: int = 100
    snapshot_steps: tuple[int, ...] = (1, 1_000, 2_000, 10_000, 100_000)
    n_test: int = 10_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "dim",
            "n_context",
            "coefficient_std",
            "n_heads",
            "init_scale",
            "batch",
            "learning_rate",
            "n_steps",
            "n_records",
            "n_replicas",
        )
        require_at_least(self, 0, "noise_std", "supports", "snapshot_steps")
        require_at_least(self, 2, "n_test")
        require_one_of(self, "init", ("linear", "small"))
        for support in self.supports:
            if not support or len(set(support)) < len(support) or max(support) >= self.dim:
                raise ValueError(
                    f"supports={self.supports!r} holds {support!r}; use different covariates from 0 to "
                    f"dim - 1 = {self.dim - 1}, at least one per task"
                )
        if not self.supports:
            raise ValueError("supports=() is empty; give at least one task")


@simulation(name="in_context_regression_multitask.train_multitask", block=16, devices=("cpu", "cuda"))
def train_multitask(
    setting: MultiTaskSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Train with Adam and evaluate the final models.

    Along ``steps (replica, record)``: ``loss`` (mean batch loss since the record before, a mean over tasks) and
    those of :func:`observables`. At ``snapshot_steps``: ``KQ (replica, snapshot, head, n, n)`` and
    ``OV (replica, snapshot, head, task, n)``, n = dim + tasks, the last of them final. ``diverged_at (replica,)``.
    From :func:`evaluate`: ``risk``, ``risk_debiased_gd``, ``gap_to_debiased_gd``, ``risk_ridge``, ``(replica, task)``.
    """
    task = MultiRegressionTask(
        setting.dim, setting.supports, setting.n_context, setting.batch, setting.noise_std, setting.coefficient_std
    )
    model = AttentionRegressor(setting.dim, setting.n_heads, len(setting.supports), setting.init, setting.init_scale)
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    snapshots = tuple(sorted({step for step in setting.snapshot_steps if step < setting.n_steps} | {setting.n_steps}))

    def observe(model: AttentionRegressor, parameters: Parameters) -> dict[str, Tensor]:
        found = model.matrices(parameters)
        return observables(found["KQ"], found["OV"], task)

    run = train(
        model,
        task,
        Adam(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device),
        [Record(observe, steps), Record(AttentionRegressor.matrices, snapshots)],
    )
    KQ, OV = (torch.from_numpy(run.records[name][:, -1]) for name in ("KQ", "OV"))
    return (
        {"steps": np.tile(steps, (len(seeds), 1)), "loss": run.loss}
        | run.records
        | {"snapshot_steps": np.tile(snapshots, (len(seeds), 1)), "diverged_at": run.diverged_at}
        | evaluate(KQ, OV, seeds, task, setting.n_test)
    )


def observables(KQ: Tensor, OV: Tensor, task: MultiRegressionTask) -> dict[str, Tensor]:
    """What the paper reads off KQ ``(replica, head, n, n)`` and OV ``(replica, head, task, n)``.

    ``KQ_diagonal (replica, head, dim)``. ``omega (replica, head, task)``: its mean over the support of the task.
    ``mu (replica, head, task)``: entry of OV from the task's label to its output.
    ``effective_diagonal (replica, task, dim)``: diagonal of M_t, the sum over heads of mu_t KQ.
    ``step_size (replica, task)``: its mean over the support. ``projector_distance (replica, task)``: Frobenius distance
    of M_t to step_size times the projector on the support, over the norm of the latter.
    ``zero_sum (replica, task)``: size of the sum of mu_t over the largest size of mu_t.
    """
    d, mask = task.dim, task.mask().to(KQ)
    diagonal = KQ.diagonal(dim1=-2, dim2=-1)[..., :d]
    mu = OV[..., d:].diagonal(dim1=-2, dim2=-1)
    effective = torch.einsum("rht,rhij->rtij", mu, KQ[..., :d, :d])
    effective_diagonal = effective.diagonal(dim1=-2, dim2=-1)
    step = (effective_diagonal * mask.T).sum(-1) / mask.sum(0)
    projector = step[..., None, None] * torch.diag_embed(mask.T)
    return {
        "KQ_diagonal": diagonal,
        "omega": diagonal @ mask / mask.sum(0),
        "mu": mu,
        "effective_diagonal": effective_diagonal,
        "step_size": step,
        "projector_distance": _norm(effective - projector) / _norm(projector),
        "zero_sum": mu.sum(1).abs() / mu.abs().amax(1),
    }


def evaluate(
    KQ: Tensor, OV: Tensor, seeds: Sequence[np.random.SeedSequence], task: MultiRegressionTask, n_test: int
) -> dict[str, np.ndarray]:
    """Mean squared errors ``(replica, task)`` on ``n_test`` fresh sequences, with standard errors (``..._se``).

    ``risk`` of the models; ``risk_debiased_gd`` of debiased gradient descent on each support with the model's own step
    size; ``gap_to_debiased_gd``, the paired difference; ``risk_ridge`` of ridge on each support, the posterior mean.
    """
    step = observables(KQ, OV, task)["step_size"]
    size = max(1, _CHUNK_NUMBERS // replace(task, batch=1).numbers_per_step)
    names = ("risk", "risk_debiased_gd", "gap_to_debiased_gd", "risk_ridge")
    first, second = (np.zeros((len(names), len(seeds), len(task.supports))) for _ in range(2))
    for row, stream in enumerate(generators(seeds, "test")):
        for low in range(0, n_test, size):
            chunk = replace(task, batch=min(size, n_test - low))
            numbers = torch.empty(1, chunk.numbers_per_step, dtype=torch.float64)
            chunk.fill(numbers, stream)
            tokens, query, target = chunk.sequences(numbers)
            own = (attend(KQ[row : row + 1], OV[row : row + 1], tokens, query) - target) ** 2
            descent, ridge = ((other - target) ** 2 for other in _rivals(tokens, query, step[row], task))
            for index, sample in enumerate((own, descent, own - descent, ridge)):
                first[index, row] += sample.sum((0, 1)).numpy()
                second[index, row] += (sample**2).sum((0, 1)).numpy()
    mean = first / n_test
    error = np.sqrt(np.maximum(second / n_test - mean**2, 0) / (n_test - 1))
    return dict(zip(names, mean, strict=True)) | {f"{name}_se": each for name, each in zip(names, error, strict=True)}


def _rivals(tokens: Tensor, query: Tensor, step: Tensor, task: MultiRegressionTask) -> tuple[Tensor, Tensor]:
    """Predictions ``(replica, batch, task)`` of debiased gradient descent and of ridge, each on the task's support."""
    descent, ridge = [], []
    for index, support in enumerate(task.supports):
        x, y, x_query = tokens[..., list(support)], tokens[..., task.dim + index], query[..., list(support)]
        moment = (x.mT @ y[..., None])[..., 0]
        centred = moment - x.mean(-2) * y.sum(-1, keepdim=True)
        descent.append(step[index] * (centred * x_query).sum(-1) / task.n_context)
        k = len(support)
        gram = x.mT @ x + task.noise_std**2 * k * torch.eye(k, dtype=x.dtype)
        ridge.append(((torch.linalg.pinv(gram, hermitian=True) @ moment[..., None])[..., 0] * x_query).sum(-1))
    return torch.stack(descent, dim=-1), torch.stack(ridge, dim=-1)


def _norm(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix)
