"""Training a prompt vector on given tokens, alone or together with the head that reads it.

Tarzanagh, Li, Zhang and Oymak 2023 (arXiv 2306.13596): f(X) = v^T X^T softmax(K p). Nothing is random: the starts (or data sets)
lie along the second axis of what is returned, and all replicas of a block are copies of one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.optimisers import GradientDescent, NormalisedGradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.max_margin_attention.model import LOSSES, SelectionTask, TokenAttention, tiled

Vectors = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PromptSetting:
    """One prompt for each start. The default: one input of three tokens, six starts, the score of the last token high.

    ``keys``: (input, token, dim); ``scores``: (case, input, token), one case for all starts or one a start; ``starts``: (start,
    dim).
    """

    keys: tuple[Vectors, ...] = (((-0.1, 1.0), (1.0, 0.0), (0.0, 0.0)),)
    scores: tuple[Vectors, ...] = (((1.0, 0.9, 0.9),),)
    starts: Vectors = ((0.0, 1.0), (0.0, 0.5), (0.0, 0.0), (0.0, -0.5), (0.0, -1.0), (0.0, -1.5))
    loss: str = "logistic"
    descent: str = "normalised"
    learning_rate: float = 0.1
    n_steps: int = 1_000
    n_records: int = 60
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "learning_rate", "n_steps", "n_records", "n_replicas")
        require_one_of(self, "loss", LOSSES)
        require_one_of(self, "descent", ("normalised", "plain"))
        keys, scores, starts = (
            _array(name, getattr(self, name), axes) for name, axes in (("keys", 3), ("scores", 3), ("starts", 2))
        )
        if (
            scores.shape[1:] != keys.shape[:2]
            or len(scores) not in (1, len(starts))
            or starts.shape[1] != keys.shape[2]
        ):
            raise ValueError(
                f"keys {keys.shape}, scores {scores.shape} and starts {starts.shape} do not fit: scores are (case, "
                "input, token) with one case, or one per start, and starts have the dimension of the keys"
            )


@simulation(name="max_margin_attention_prompts.prompts", block=16, devices=("cpu", "cuda"))
def prompts(setting: PromptSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train a prompt from each start by full-batch descent in float64.

    Returns ``steps (replica, record)``, ``p (replica, start, record, dim)`` and ``attention (replica, start, input, token)``,
    the final weights.
    """
    keys, scores, starts = (
        torch.tensor(getattr(setting, name), dtype=torch.float64) for name in ("keys", "scores", "starts")
    )
    n = len(starts)
    keys = keys.expand(n, -1, -1, -1).to(device)
    model = TokenAttention(
        keys, torch.ones(*keys.shape[:2], 1, dtype=torch.float64, device=device), start=starts[..., None].to(device)
    )
    normalised = setting.descent == "normalised"
    task = SelectionTask(scores.expand(n, -1, -1).to(device), setting.loss, normalised)
    rule = (NormalisedGradientDescent if normalised else GradientDescent)(setting.learning_rate)
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    run = train_ensemble(
        model,
        task,
        rule,
        [seeds[0]] * n,
        Plan(setting.n_steps, dtype=torch.float64, device=device),
        [Record(TokenAttention.observe, steps), Record(TokenAttention.log_attention, steps[-1:])],
    )
    p, attention = run.records["W"][..., 0], np.exp(run.records["log_attention"][:, 0])
    return {"steps": tiled(steps, len(seeds)), "p": _repeat(p, seeds), "attention": _repeat(attention, seeds)}


@dataclass(frozen=True)
class JointSetting:
    """Head v and prompt p trained together by normalised descent; keys are the tokens. ``prompt_rates``: one run each.

    The default: the paper's three inputs of two tokens, the third being no support vector of the head.
    """

    tokens: tuple[Vectors, ...] = (((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, -1.0)), ((0.0, 0.0), (0.5, 1.5)))
    labels: tuple[float, ...] = (1.0, -1.0, 1.0)
    start_head: tuple[float, ...] = (-1.0, 0.0)
    start_prompt: tuple[float, ...] = (0.0, -1.0)
    head_rate: float = 0.1
    prompt_rates: tuple[float, ...] = (0.1,)
    n_steps: int = 1_000
    n_records: int = 60
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "head_rate", "prompt_rates", "n_steps", "n_records", "n_replicas")
        tokens = _array("tokens", self.tokens, 3)
        if len(self.labels) != len(tokens) or any(
            len(s) != tokens.shape[2] for s in (self.start_head, self.start_prompt)
        ):
            raise ValueError(
                f"tokens {tokens.shape} need as many labels, and starts of their dimension; got {len(self.labels)} "
                f"labels, {len(self.start_head)} and {len(self.start_prompt)} coordinates"
            )


@simulation(name="max_margin_attention_prompts.joint", block=16)
def joint(setting: JointSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    r"""Train v and p together with the logistic loss, both by normalised descent.

    Slopes are sums of terms such as :math:`|\ell'(u_i)|\, s_{it}`, kept as logarithms: in plain double precision the small ones
    are lost, and with them the relaxed direction. Returns ``steps (replica, record)``, ``v`` and ``p (replica, rate, record,
    dim)``.
    """
    X = torch.tensor(setting.tokens, dtype=torch.float64)  # (input, token, dim)
    Y = torch.tensor(setting.labels, dtype=torch.float64)
    rates = torch.tensor(setting.prompt_rates, dtype=torch.float64)[:, None]
    v = torch.tensor(setting.start_head, dtype=torch.float64).repeat(len(rates), 1)
    p = torch.tensor(setting.start_prompt, dtype=torch.float64).repeat(len(rates), 1)
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    kept_v, kept_p = [v.clone()], [p.clone()]
    for step in range(1, setting.n_steps + 1):
        up_v, up_p = joint_ascent(X, Y, v, p)
        v = v + setting.head_rate * up_v
        p = p + rates * up_p
        if step in steps:
            kept_v.append(v.clone())
            kept_p.append(p.clone())
    return {
        "steps": tiled(steps, len(seeds)),
        "v": _repeat(torch.stack(kept_v, 1).numpy(), seeds),
        "p": _repeat(torch.stack(kept_p, 1).numpy(), seeds),
    }


def joint_ascent(X: Tensor, Y: Tensor, v: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Unit directions of steepest descent of the logistic loss in v and in p, each ``(run, dim)``; zero where there is none."""
    log_s = torch.log_softmax(torch.einsum("itd,rd->rit", X, p), -1)
    s = log_s.exp()
    scores = torch.einsum("itd,rd->rit", X, v) * Y[:, None]  # Y v^T x
    u = (s * scores).sum(-1)
    log_slope = torch.nn.functional.logsigmoid(-u)  # (run, input)
    weight = (log_slope - log_slope.amax(-1, keepdim=True)).exp()
    up_v = torch.einsum("ri,i,rit,itd->rd", weight, Y, s, X)
    top = torch.zeros_like(s).scatter_(-1, s.argmax(-1, keepdim=True), 1.0)
    each = (log_s + log_slope[..., None]).masked_fill(top > 0, -torch.inf)
    others = (each - each.amax((-2, -1), keepdim=True)).exp() * (scores - u[..., None])
    up_p = torch.einsum("rit,itd->rd", others - top * others.sum(-1, keepdim=True), X)
    return tuple(up / torch.linalg.vector_norm(up, dim=-1, keepdim=True).clamp_min(1e-30) for up in (up_v, up_p))


def _repeat(array: np.ndarray, seeds: Sequence[np.random.SeedSequence]) -> np.ndarray:
    """The same for every replica."""
    return np.repeat(array[None], len(seeds), axis=0)


def _array(name: str, nested: tuple, axes: int) -> np.ndarray:
    try:
        array = np.array(nested, dtype=np.float64)
    except ValueError:
        array = np.zeros(())
    if array.ndim != axes or 0 in array.shape:
        raise ValueError(
            f"{name}={nested!r} is not a full array with {axes} axes; give every token the same number of coordinates"
        )
    return array
