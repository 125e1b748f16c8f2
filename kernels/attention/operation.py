r"""One attention operation for every model of the laboratory.

``attention(q, k, v)`` computes :math:`o = W v`, W = score map(scale q k^T + bias on the visible keys), over any leading
axes (replica, batch, head, ...), on the fastest path that the committed table ``dispatch.json`` names for the size:

* ``"c"``: compiled kernels with sequences in the lanes of a vector, for short contexts and narrow heads;
* ``"sdpa"``: torch's fused attention, for long contexts and wide heads (softmax only);
* ``"gpu"``: Triton kernels, on CUDA devices, for the family "f over g";
* ``"reference"``: plain tensor operations; the specification, and the path of score maps without a compiled form.

First and second derivatives, forward mode, ``torch.func`` transforms and ``gradgradcheck`` work on all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.kernels.attention import autograd, cpu, gpu, plain, sdpa, torch_internals
from attnlab.kernels.attention.biases import Bias, as_bias
from attnlab.kernels.attention.dispatch import choose_path
from attnlab.kernels.attention.masks import Causal, Mask, as_visible
from attnlab.kernels.attention.problem import Problem, Rows, rows_of_mask, rows_of_visible, rows_with_sink
from attnlab.kernels.attention.reference import attention_in_chunks, attention_reference
from attnlab.kernels.attention.scores import score_map
from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softmax
from attnlab.kernels.attention.statistics import Mass, check_names

PATHS = ("auto", "c", "sdpa", "gpu", "reference")


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    score: str | ScoreMap = "softmax",
    mask: str | Mask | Tensor | None = None,
    bias: Bias | Tensor | tuple | None = None,
    scale: float | Tensor | None = None,
    statistics: tuple[str | Mass, ...] = (),
    path: str = "auto",
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    r"""Attention with any score map, mask, bias and scale: the output, and the statistics of every row if asked for.

    .. math:: o_i = \sum_j W_{ij} v_j, \qquad W_{ij} = f(s_{ij}) / \bigl(c_i + \textstyle\sum_l g(s_{il})\bigr), \qquad
              s_{ij} = \text{scale}\; q_i \cdot k_j + \text{bias}_{ij}.

    q (..., query, d), k (..., key, d), v (..., key, d_v): leading axes broadcast; float32 or float64.
    ``score``: a name of ``other_scores.SCORE_MAPS`` or a score-map object with parameters.
    ``mask``: "causal", an object of ``masks``, or a boolean tensor, True where a query sees a key.
    ``bias``: a tensor (..., query, key), an object of ``biases``, or a tuple of them (summed);
    minus infinity hides a key.
    ``scale``: a number (default 1/sqrt(d), 1 for cosine), or a tensor aligned with the first leading axes of q: shape
    (replica,) is one scale a replica, (replica, 1, head) one a replica and head; it receives gradients.
    ``statistics``: names of ``statistics.NAMES``; the answer is then ``(output, {name: (..., query)})``.
    ``path``: "auto", or one of "c", "sdpa", "gpu", "reference" to force it (an error if it cannot do the call).

    A row without a visible key has output 0 and passes no gradient.
    """
    key = None
    if path == "auto" and plain.only():
        path = "reference"
    _check_tensors(q, k, v)
    if bias is None and not statistics and not isinstance(scale, Tensor) and _by_value(mask):
        key = q.shape, k.shape, v.shape, q.dtype, q.device, score, mask, scale, path
        plan = _known(key)
        if plan is not None:
            return _carry_out(plan, q, k, v, None)
    score = score_map(score)
    _check_shapes(q, k, v)
    n_q, n_k = q.shape[-2], k.shape[-2]
    names, mass = check_names(statistics, n_k)
    q, k = score.prepare(q, k)
    q, scale = _scaled(q, scale, score)
    whole, score = score, score.of_logits()
    bias = as_bias(bias, n_q, n_k, q)
    rows, visible = _visibility(mask, n_q, n_k, q.device)
    lead = _leading(q, k, v, *(x for x in (bias, visible) if x is not None))
    _check_matrix("bias", bias, lead, n_q, n_k)
    _check_matrix("mask", visible, lead, n_q, n_k)
    if path not in PATHS:
        raise ValueError(f"path={path!r} is unknown; use one of {', '.join(PATHS)}")
    if type(score) is Softmax and isinstance(score.sink, Tensor) and path != "reference" and not names:
        *other, sinkless = _sink_as_key(score.sink, q, k, v, rows, visible, bias)
        wanted = _path("auto" if path == "sdpa" else path, sinkless, q, other[1], lead, *other[2:], names)
        if wanted in ("c", "gpu"):
            (k, v, rows, visible, bias), score, key = other, sinkless, None
    chosen = _path(path, score, q, v, lead, rows, visible, bias, names)
    plan = Plan(chosen, Problem(scale, score, rows, visible, names, mass), lead)
    if key is not None and whole is score:
        _keep(key, plan)
    return _carry_out(plan, q, k, v, bias)


@dataclass(frozen=True, eq=False)
class Plan:
    """What was decided for a call: the path, the record that it receives, and the leading axes of the result."""

    path: str
    problem: Problem
    lead: torch.Size


def _by_value(mask) -> bool:
    """Whether a mask is one that equal masks can stand for: no tensor, and no object that holds one."""
    return (
        mask is None or isinstance(mask, str) or (isinstance(mask, Mask) and type(mask).__hash__ is not object.__hash__)
    )


_plans: dict[tuple, Plan] = {}


def _known(key: tuple) -> Plan | None:
    """The plan of an earlier call of the same shapes, types and options, all of which passed the checks."""
    try:
        return _plans.get(key)
    except TypeError:  # an option that cannot be looked up by value
        return None


def _keep(key: tuple, plan: Plan) -> None:
    problem = plan.problem
    if problem.visible is not None or isinstance(getattr(problem.score, "sink", None), Tensor):
        return  # tensors of the caller's: they are not ours to keep
    if len(_plans) >= 512:
        _plans.clear()
    try:
        _plans[key] = plan
    except TypeError:
        return


def _carry_out(plan: Plan, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None):
    if plan.path == "reference":
        return _on_reference(plan.problem, q, k, v, bias, plan.lead)
    return _on_fast_path(plan.path, plan.problem, q, k, v, bias, plan.lead)


def _check_tensors(q: Tensor, k: Tensor, v: Tensor) -> None:
    """What the plan of an earlier call does not vouch for."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a tensor (..., position, width), got {type(x).__name__}")
    if not q.dtype == k.dtype == v.dtype or not q.is_floating_point():
        raise ValueError(
            f"q, k, v have dtypes {q.dtype}, {k.dtype}, {v.dtype}; they must be one floating-point "
            "dtype, convert them with .to(...)"
        )
    if not q.device == k.device == v.device:
        raise ValueError(f"q, k, v are on {q.device}, {k.device}, {v.device}; move them to one device")


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim < 2 or x.shape[-1] == 0:
            raise ValueError(f"{name} has shape {tuple(x.shape)}; expected (..., position, width >= 1)")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"q has width {q.shape[-1]} and k has width {k.shape[-1]}; they must be equally wide")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"k has {k.shape[-2]} keys and v has {v.shape[-2]} values; every key needs one value")
    try:
        _leading(q, k, v)
    except RuntimeError:
        raise ValueError(
            f"the leading axes of q {tuple(q.shape[:-2])}, k {tuple(k.shape[:-2])} and v "
            f"{tuple(v.shape[:-2])} do not broadcast"
        ) from None


def _leading(*tensors: Tensor) -> torch.Size:
    """The common leading axes; equal ones, the usual case, take no time."""
    first, *others = {x.shape[:-2] for x in tensors}
    return torch.broadcast_shapes(first, *others) if others else first


def _scaled(q: Tensor, scale: float | Tensor | None, score: ScoreMap) -> tuple[Tensor, float]:
    """A tensor scale goes into the queries, where it has its gradient; a number stays a number."""
    if scale is None:
        return q, score.default_scale(q.shape[-1])
    if not isinstance(scale, Tensor):
        if not math.isfinite(scale):
            raise ValueError(f"scale={scale!r} must be finite")
        return q, float(scale)
    if scale.ndim > q.ndim - 2 and scale.ndim > 0:
        raise ValueError(
            f"scale has shape {tuple(scale.shape)} but q has only {q.ndim - 2} leading axes "
            f"{tuple(q.shape[:-2])}; a tensor scale is aligned with the first of them"
        )
    if not torch_internals.is_wrapped(scale) and not bool(torch.isfinite(scale).all()):
        raise ValueError("scale has entries that are not finite")
    return q * scale.to(q).reshape(scale.shape + (1,) * (q.ndim - scale.ndim)), 1.0


def _visibility(mask, n_q: int, n_k: int, device) -> tuple[Rows | None, Tensor | None]:
    """Keys shared by all problems as ``Rows``, or the boolean tensor of a mask that differs between problems."""
    if isinstance(mask, str) and mask == "causal":
        mask = Causal()
    if mask is None or (isinstance(mask, Mask) and _by_value(mask)):
        return rows_of_mask(mask, n_q, n_k), None
    visible = as_visible(mask, n_q, n_k, device)
    if visible.shape == (n_q, n_k) and not torch_internals.is_wrapped(visible):
        return rows_of_visible(visible), None
    return None, visible


def _sink_as_key(sink: Tensor, q, k, v, rows, visible, bias):
    """A sink with logit b is one more key, seen by every query, of logit b and value zero: k, v, rows, visible, bias, score."""
    column = sink.to(q).reshape(sink.shape + (1,) * (q.ndim - sink.ndim))
    known = q.new_zeros((1, k.shape[-2])) if bias is None else bias
    lead = torch.broadcast_shapes(column.shape[:-2], known.shape[:-2])
    parts = known.expand(*lead, known.shape[-2], k.shape[-2]), column.expand(*lead, known.shape[-2], 1)
    k, v = (torch.cat([x, x.new_zeros((*x.shape[:-2], 1, x.shape[-1]))], -2) for x in (k, v))
    if visible is not None:
        visible = torch.cat([visible, torch.ones_like(visible[..., :1])], -1)
    return k, v, None if rows is None else rows_with_sink(rows), visible, torch.cat(parts, -1), Softmax()


def _check_matrix(name: str, x: Tensor | None, lead: torch.Size, n_q: int, n_k: int) -> None:
    if x is not None and (x.ndim < 2 or x.shape[-2] not in (1, n_q) or x.shape[-1] not in (1, n_k)):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; expected (..., {n_q} queries, {n_k} keys), leading axes "
            f"broadcasting to {tuple(lead)}"
        )


def _path(path: str, score, q, v, lead, rows, visible, bias, names) -> str:
    on_cpu = q.device.type == "cpu"
    widths = q.shape[-1], v.shape[-1]
    can_c = on_cpu and cpu.supports(score, q.dtype, *widths)
    can_sdpa = (
        on_cpu
        and sdpa.supports(score, q.dtype, *widths)
        and bias is None
        and not names
        and rows is not None
        and not rows.some_empty
        and rows.last.size > 0
    )
    if path == "c" and not can_c:
        raise ValueError(
            f"path='c' cannot do score={score!r} with dtype {q.dtype} on {q.device}, widths {widths} and "
            f"statistics {names}; use path='auto' or 'reference'"
        )
    if path == "sdpa" and not can_sdpa:
        raise ValueError(
            "path='sdpa' does plain softmax on CPU with equal widths, a shared mask without empty rows, "
            "no bias and no statistics; use path='auto' or 'reference'"
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
    if can_c:
        n_q = q.shape[-2]
        kind = "query" if n_q == 1 else "causal" if rows is not None and rows.causal else "full"
        wanted = choose_path(kind, can_sdpa, n_q, v.shape[-2], max(widths), lead.numel())
        if wanted == "c" and cpu.library(cpu.map_of(score)[0], q.dtype, *widths, 1) is not None:
            return "c"
    return "sdpa" if can_sdpa else "reference"


def _on_reference(problem: Problem, q, k, v, bias, lead):
    visible = problem.visible if problem.rows is None else problem.rows.visible
    visible = None if visible is None else visible.to(q.device)
    own_tensor = isinstance(getattr(problem.score, "sink", None), Tensor)
    run = attention_reference
    if q.device.type == "cpu" and not own_tensor and len(lead) and q.shape[:-2] == k.shape[:-2] == v.shape[:-2] == lead:
        run = attention_in_chunks
    o, found = run(q, k, v, bias, visible, problem.scale, problem.score, problem.names, problem.mass)
    o = o.expand(*lead, *o.shape[-2:]) if o.shape[:-2] != lead else o
    return (o, found) if problem.names else o


def _on_fast_path(path: str, problem: Problem, q, k, v, bias, lead):
    if problem.rows is None:  # problems see different keys: hide them by the bias
        hidden = torch.where(problem.visible, 0.0, -torch.inf).to(q)
        bias = hidden if bias is None else bias + hidden
        rows = rows_of_mask(None, q.shape[-2], k.shape[-2])
        problem = Problem(problem.scale, problem.score, rows, None, problem.names, problem.mass)
    if not (q.shape[:-2] == k.shape[:-2] == v.shape[:-2] == lead):
        q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))
    if bias is not None:
        bias = bias.expand(*lead, q.shape[-2], k.shape[-2])
    if not problem.names:
        o = autograd.apply(autograd.Forward, path, problem, q, k, v, bias)
        return o if path == "c" else o[0]
    o, raw, *_ = autograd.WithStatistics.apply(path, problem, q, k, v, bias)
    found = {}
    for name in problem.names:
        if name == "participation_ratio":
            square = raw[..., cpu.RAW.index("square")]
            found[name] = torch.where(square > 0, 1.0 / torch.where(square > 0, square, 1.0), 0.0)
        else:
            found[name] = raw[..., cpu.RAW.index(name)]
    return o, found
