"""Training of one-layer attention with a linear decoder on classes of sequences, by SGD on sampled sequences or on all.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380). Token l of a class stands at local place l: the common tokens first, then
the class's own. The vocabulary counts the contextual tokens, one id a query and one a next token, and ``n_idle`` more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam, GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, equally_spaced_steps, log_spaced_steps
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import (
    checked,
    require_at_least,
    require_inside,
    require_one_of,
    require_positive,
)
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.token_selection.model import Classes, NextToken, PairwiseLogits


@dataclass(frozen=True)
class Setting:
    """The task (classes, frequencies, lengths), the model's start, and the training.

    ``n_classes`` (K), ``classes_per_query``, ``n_common``, ``n_distinct`` (tokens per class), ``n_idle`` (output ids that never
    occur). ``common_weight``: frequency of a common token relative to the most frequent distinct one. ``profile``:
    ``"linear"``, distinct weights equally spaced from 0.1 to 1; ``"random"``, drawn uniformly on (0.1, 1) for each replica and
    put in order; or ``"independent"``, all weights of each class drawn so, those of common tokens times ``common_weight``.
    ``sequence_length`` (T): tokens of a sequence with its query. ``batch=0`` averages over classes and endless sequences.
    ``decoder_rate`` (eta_Y) and ``attention_rate`` (eta_Z, 0: frozen); ``"adam"`` uses the decoder's rate for both.
    ``start``: logits ``"zero"``, or ``"uniform"`` on (-1, 1) / sqrt(M). ``spacing`` of the records: ``"log"`` or ``"linear"``.
    """

    n_classes: int = 2
    classes_per_query: int = 1
    n_common: int = 10
    n_distinct: int = 10
    n_idle: int = 0
    common_weight: float = 1.0
    profile: str = "linear"
    sequence_length: int = 128
    batch: int = 128
    optimiser: str = "sgd"
    decoder_rate: float = 1.0
    attention_rate: float = 1.0
    momentum: float = 0.0
    start: str = "zero"
    n_steps: int = 100
    n_records: int = 100
    spacing: str = "log"
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "n_classes",
            "classes_per_query",
            "n_distinct",
            "common_weight",
            "decoder_rate",
            "n_steps",
            "n_records",
            "n_replicas",
        )
        require_at_least(self, 0, "n_common", "n_idle", "batch", "attention_rate", "momentum")
        require_at_least(self, 2, "sequence_length")
        require_inside(self, -1, 1, "momentum")
        require_one_of(self, "profile", ("linear", "random", "independent"))
        require_one_of(self, "optimiser", ("sgd", "adam"))
        require_one_of(self, "start", ("zero", "uniform"))
        require_one_of(self, "spacing", ("log", "linear"))
        if self.n_classes % self.classes_per_query:
            raise ValueError(
                f"classes_per_query={self.classes_per_query!r} does not divide n_classes={self.n_classes!r}; "
                "give every query as many classes"
            )
        if self.profile != "linear" and self.batch:
            raise ValueError(
                f"profile={self.profile!r} with batch={self.batch!r}: random frequencies belong to the average over "
                "endless sequences; use batch=0"
            )
        if self.start == "uniform" and not self.attention_rate:
            raise ValueError("start='uniform' needs attention_rate > 0; frozen attention is uniform over occurrences")

    @property
    def vocabulary(self) -> int:
        """M: all output ids."""
        return (
            self.n_common
            + self.n_distinct * self.n_classes
            + self.n_classes // self.classes_per_query
            + self.n_classes
            + self.n_idle
        )


def frequencies(setting: Setting, seeds: Sequence[np.random.SeedSequence]) -> np.ndarray:
    """P(l | n), ``(replica, class, local)``."""
    K, C, D = setting.n_classes, setting.n_common, setting.n_distinct
    weights = np.ones((len(seeds), K, C + D))
    weights[..., C:] = np.linspace(0.1, 1, D)
    if setting.profile != "linear":
        for row, stream in enumerate(generators(seeds, "profile")):
            drawn = 0.1 + 0.9 * torch.rand(K, C + D, generator=stream, dtype=torch.float64).numpy()
            if setting.profile == "random":
                weights[row, :, C:] = np.sort(drawn[0, C:])
            else:
                weights[row] = np.concatenate([drawn[:, :C], np.sort(drawn[:, C:])], axis=1)
    weights[..., :C] *= setting.common_weight
    return weights / weights.sum(-1, keepdims=True)


@simulation(name="token_selection.train_tokens", block=8, devices=("cpu", "cuda"))
def train_tokens(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Training in float64; what is recorded is that of endless sequences, counts replaced by P.

    Returns ``profile (replica, class, local)``, P(l | n), and, along ``steps (replica, record)``: ``loss``, the mean over the
    batches of the updates since the record before, each before its update (recorded at every step, the loss at step s is that
    of the model after s - 1 updates, one before the other records); ``z (replica, record, class, local)``, the attention logits
    of a class's tokens; ``c``, the attention of the same shape; ``residual (replica, record, class)``, 1 - alpha at the next
    token; ``signal``, ``(Y (e_n - alpha_n))_l`` of the shape of c; and ``diverged_at (replica,)``.
    """
    profile = frequencies(setting, seeds)
    classes = Classes(
        setting.n_classes, setting.classes_per_query, setting.n_common, setting.n_distinct, setting.vocabulary
    )
    adam = setting.optimiser == "adam"
    scale = float(adam) or (setting.attention_rate / setting.decoder_rate) ** 0.5
    model = PairwiseLogits(classes, scale, uniform=setting.start == "uniform")
    endless = NextToken(classes, torch.from_numpy(profile), 0, setting.sequence_length - 1)
    task = replace(endless, profile=endless.profile[0, 0], batch=setting.batch) if setting.batch else endless
    optimiser = Adam(setting.decoder_rate) if adam else GradientDescent(setting.decoder_rate, momentum=setting.momentum)
    if setting.spacing == "log":
        steps = log_spaced_steps(setting.n_steps, setting.n_records)
    else:
        steps = equally_spaced_steps(setting.n_steps, setting.n_records)
    run = train(
        model,
        task,
        optimiser,
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=torch.float64, device=device, chunk=len(seeds)),
        [Record(Observe(endless), steps)],
    )
    return (
        {"profile": profile, "steps": np.tile(steps, (len(seeds), 1)), "loss": run.loss}
        | run.records
        | {"diverged_at": run.diverged_at}
    )


@dataclass(frozen=True)
class Observe:
    """What is seen of a model on one endless sequence of each class."""

    task: NextToken

    def __call__(self, model: PairwiseLogits, parameters: Parameters) -> dict[str, Tensor]:
        chosen, log_p = self.task.every_class(parameters)
        c = model.attention(parameters, log_p, chosen)
        alpha = torch.softmax(model.outputs(parameters, c, chosen), dim=-1)  # (replica, class, id)
        residual = -alpha
        residual.scatter_add_(-1, chosen[..., None], torch.ones_like(chosen, dtype=alpha.dtype)[..., None])
        support = model.classes.support
        signal = torch.einsum("rnli,rni->rnl", parameters["Y"][:, support], residual)
        rows = (model.classes.query[:, None] * model.classes.n_tokens + support).flatten()
        z = (model.attention_scale * parameters["Z"]).flatten(1)[:, rows].view(c.shape)
        return {"z": z, "c": c, "residual": residual.gather(-1, chosen[..., None])[..., 0], "signal": signal}
