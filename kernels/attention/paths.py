"""Which path a call of attention() takes, and why another one cannot."""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import cpu, gpu, sdpa
from attnlab.kernels.attention.dispatch import choose_path
from attnlab.kernels.attention.problem import Rows
from attnlab.kernels.attention.scores.f_over_g import Linear, Power, ReLU, ScoreMap, Softmax
from attnlab.kernels.attention.statistics import OF_COLUMNS


def path_of(
    path: str,
    score: ScoreMap,
    q: Tensor,
    v: Tensor,
    lead: torch.Size,
    rows: Rows | None,
    visible: Tensor | None,
    bias: Tensor | None,
    names: tuple[str, ...],
    derivative: bool = True,
    learned: bool = False,
) -> str:
    """The path of a call; ``derivative``: whether anything may ask for one; ``learned``: surely of the bias."""
    on_cpu = q.device.type == "cpu"
    widths = q.shape[-1], v.shape[-1]
    can_c = on_cpu and cpu.supports(score, q.dtype, *widths)
    can_sdpa = (
        on_cpu
        and sdpa.supports(score, q.dtype)
        and set(names) <= set(OF_COLUMNS)
        and lead.numel() * q.shape[-2] > 0
        and not (rows is not None and rows.some_empty)
        and (bias is None or not (learned or needs_derivative(bias)))
        and (visible is None or not torch_internals.transforms_active())
    )
    if path == "c" and not can_c:
        raise ValueError(
            f"path='c' cannot do score={score!r} with dtype {q.dtype} on {q.device}, widths {widths} and "
            f"statistics {names}; use path='auto' or 'reference'"
        )
    if path == "sdpa" and not can_sdpa:
        raise ValueError(
            "path='sdpa' does plain softmax on CPU without statistics of rows, with masks that leave every row a key and biases "
            "without a gradient; use path='auto' or 'reference'"
        )
    can_gpu = gpu.supports(score, q.dtype, q.device, *widths)
    if path == "gpu" and not can_gpu:
        raise ValueError(
            f"path='gpu' cannot do score={score!r} with dtype {q.dtype} on {q.device}: it needs triton "
            "and a CUDA device; use path='auto' or 'reference'"
        )
    if path != "auto":
        return path
    if can_gpu and not on_cpu:
        return "gpu"
    possible = ["reference"]
    if can_sdpa:
        possible.append("sdpa")
    if can_c and cpu.library(cpu.map_of(score)[0], q.dtype, *widths, 1) is not None:
        possible.append("c")
    if len(possible) == 1:
        return "reference"
    n_q = q.shape[-2]
    kind = "query" if n_q == 1 else "causal" if rows is not None and rows.causal else "full"
    passes = "both" if derivative else "forward"
    n_problems, name = lead.numel(), str(q.dtype).removeprefix("torch.")
    family = _family(score, rows, visible, bias, names)
    return choose_path(tuple(possible), family, passes, kind, n_q, v.shape[-2], widths, n_problems, name)


def _family(
    score: ScoreMap, rows: Rows | None, visible: Tensor | None, bias: Tensor | None, names: tuple[str, ...]
) -> str:
    """What the call asks for, in the words of the table of speeds."""
    if set(names) - set(OF_COLUMNS):
        return "statistics"
    if type(score) is not Softmax or score.sink is not None:
        return "rational" if type(score) in (Linear, ReLU, Power) else "exponential"
    if visible is not None or (bias is not None and bias.shape[:-2].numel() > 1):
        return "biases"
    return "bias" if bias is not None or (rows is not None and not rows.full and not rows.causal) else "softmax"


def needs_derivative(bias: Tensor) -> bool:
    """Whether anything may ask for a derivative with respect to a bias."""
    return (
        (bias.requires_grad and torch.is_grad_enabled())
        or torch_internals.transforms_active()
        or torch_internals.forward_mode_active()
    )
