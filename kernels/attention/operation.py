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

import dataclasses
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import autograd, autograd_of_statistics, column_sum, compiled, cpu, direct, plain, seen
from attnlab.kernels.attention.arguments import (
    LOW,
    PATHS,
    aligned_sink,
    by_value,
    check_matrix,
    check_shapes,
    checked_tensors,
    is_compared,
    leading_of_all,
    no_keys,
    scaled,
)
from attnlab.kernels.attention.biases import Bias, as_bias
from attnlab.kernels.attention.function_pieces import FullPrecision, is_pure, lowered
from attnlab.kernels.attention.masks import Causal, Mask, additive, as_visible
from attnlab.kernels.attention.paths import needs_derivative, path_of
from attnlab.kernels.attention.problem import Problem, Rows, on_device, rows_of_mask, rows_of_visible, rows_with_sink
from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softmax
from attnlab.kernels.attention.scores.registry import has_no_tensors, holds_numbers_only, score_map
from attnlab.kernels.attention.statistics import OF_COLUMNS, Mass, check_names


@overload
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    score: str | ScoreMap = ...,
    mask: str | Mask | Tensor | None = ...,
    bias: Bias | Tensor | tuple | None = ...,
    scale: float | Tensor | None = ...,
    statistics: tuple[()] = ...,
    path: str = ...,
) -> Tensor: ...


@overload
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    score: str | ScoreMap = ...,
    mask: str | Mask | Tensor | None = ...,
    bias: Bias | Tensor | tuple | None = ...,
    scale: float | Tensor | None = ...,
    statistics: tuple[str | Mass, *tuple[str | Mass, ...]],
    path: str = ...,
) -> tuple[Tensor, dict[str, Tensor]]: ...


@overload
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    score: str | ScoreMap = ...,
    mask: str | Mask | Tensor | None = ...,
    bias: Bias | Tensor | tuple | None = ...,
    scale: float | Tensor | None = ...,
    statistics: tuple[str | Mass, ...],
    path: str = ...,
) -> Tensor | tuple[Tensor, dict[str, Tensor]]: ...


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

    q (..., query, d), k (..., key, d), v (..., key, d_v): leading axes broadcast; float32 or float64, or on the CPU
    bfloat16 or float16, which are computed in float32 (the output has the type of q, statistics are float32). Autocast
    changes nothing but this: q, k, v may then have different types, and the widest is taken.
    ``score``: a name of ``other_scores.SCORE_MAPS`` or a score-map object with parameters.
    ``mask``: "causal", an object of ``masks``, or a boolean tensor, True where a query sees a key.
    ``bias``: a tensor (..., query, key), an object of ``biases``, or a tuple of them (summed);
    minus infinity hides a key.
    ``scale``: a number (default 1/sqrt(d), 1 for cosine), or a tensor, which receives gradients.
    A tensor scale and a tensor sink are aligned with the first leading axes of the output: shape (replica,) is one per
    replica, (replica, 1, head) one per replica and head. Masks, biases and the parameters of bias objects broadcast from
    the last axis, as tensors do.
    ``statistics``: names of ``statistics.KNOWN``; the answer is then ``(output, {name: (..., query)})``; "column_sum", what
    each key receives, is (..., key).
    ``path``: "auto", or one of "c", "sdpa", "gpu", "reference" to force it (an error if it cannot do the call).

    A row without a visible key has output 0 and passes no gradient. A NaN in a logit that a row sees makes the row NaN; what
    is hidden changes nothing, whatever it is.

    Under ``torch.compile`` the call is one registered operator or plain operations (``compiled``); in an exported or traced
    graph (``torch.export``, ``make_fx``, fake tensors, ``torch.func.linearize``, forward mode in forward mode) it is plain
    operations, whatever the path.
    """
    if torch_internals.tracing():
        return compiled.attention(q, k, v, score, mask, bias, scale, statistics, path)
    if not statistics and statistics is not None:
        known = seen.answer(q, k, v, score, mask, bias, scale, path)
        if known is not None:
            return known
    q, k, v = checked_tensors(q, k, v)
    if torch_internals.without_memory(q, k, v):
        with torch_internals.mode_of(q, k, v):
            return compiled.attention(q, k, v, score, mask, bias, scale, statistics, path)
    q, k, v = (torch_internals.unwrap_if_dead(x) if torch_internals.is_wrapped(x) else x for x in (q, k, v))
    ordinary = not torch_internals.transforms_active() or torch_internals.transforms_of_a_function()
    key = None
    if path == "auto" and plain.only():
        path = "reference"
    derivative = autograd.wanted(q, k, v)
    of_problems = _is_of_problems(mask, q)
    plain_options = _is_plain(bias) and not isinstance(scale, Tensor) and is_compared(score)
    if ordinary and plain_options and (of_problems or by_value(mask)):
        moved = None if bias is None else (bias.shape, bias.dtype, needs_derivative(bias))
        kind = ("a mask for each", mask.shape) if of_problems else mask
        key = q.shape, k.shape, v.shape, q.dtype, q.device, score, kind, scale, path, statistics, derivative, moved
        plan = _known(key)
        if plan is not None:
            if not statistics and not of_problems:
                _remember(plan, q, k, v, score, mask, bias, scale, path)
            as_bias_only = of_problems and bias is None and not torch_internals.forward_mode_active()
            if as_bias_only and plan.path in ("c", "sdpa"):  # a call with a bias may be one that is kept
                hidden = additive(mask, q)
                return attention(q, k, v, score=score, bias=hidden, scale=scale, statistics=statistics, path=plan.path)
            visible = mask.expand(*mask.shape[:-2], q.shape[-2], k.shape[-2]) if of_problems else None
            return _carry_out(plan, q, k, v, None if bias is None else bias.to(q), visible)
    if q.dtype in LOW and q.device.type == "cpu" and path != "gpu":
        return _in_single(q, k, v, score, mask, bias, scale, statistics, path)
    score = score_map(score)
    check_shapes(q, k, v)
    n_q, n_k = q.shape[-2], k.shape[-2]
    names, mass = check_names(statistics, n_k)
    if path not in PATHS:
        raise ValueError(f"path={path!r} is unknown; use one of {', '.join(PATHS)}")
    bias = as_bias(bias, n_q, n_k, q)
    rows, visible = _visibility(mask, n_q, n_k, q.device)
    check_matrix("bias", bias, n_q, n_k)
    lead = leading_of_all(q, k, v, bias, visible)
    q, k = score.prepare(q, k)
    q, scale = scaled(q, scale, score, lead)
    whole, score = score, score.of_logits()
    if type(score) is Softmax and isinstance(score.sink, Tensor):
        score = Softmax(sink=aligned_sink(score.sink, lead))
    if n_k == 0:
        return no_keys(q, k, v, bias, lead, names, score)
    if type(score) is Softmax and isinstance(score.sink, Tensor):
        if path != "reference" and not names and ordinary:
            *other, sinkless = _sink_as_key(score.sink, q, k, v, rows, visible, bias)
            asked = "auto" if path == "sdpa" else path
            wanted = path_of(asked, sinkless, q, other[1], lead, *other[2:], names, derivative)
            if wanted in ("c", "gpu"):
                (k, v, rows, visible, bias), score, key = other, sinkless, None
    derivative = derivative or autograd.wanted(q, bias)  # also of a scale and a bias
    chosen = path_of(path, score, q, v, lead, rows, visible, bias, names, derivative)
    plan = Plan(chosen if ordinary else "reference", Problem(scale, score, rows, names, mass), lead)
    if key is not None and whole is score and type(score).prepare is ScoreMap.prepare:  # a plan prepares nothing
        _keep(key, plan)
    return _carry_out(plan, q, k, v, bias, visible)


@dataclass(frozen=True, eq=False)
class Plan:
    """What was decided for a call: the path, the record that it receives, and the leading axes of the result."""

    path: str
    problem: Problem
    lead: torch.Size


_plans: dict[tuple, Plan] = {}


def _known(key: tuple) -> Plan | None:
    """The plan of an earlier call of the same shapes, types and options, all of which passed the checks."""
    try:
        return _plans.get(key)
    except TypeError:  # an option that cannot be looked up by value
        return None


def _keep(key: tuple, plan: Plan) -> None:
    if isinstance(getattr(plan.problem.score, "sink", None), Tensor):
        return  # a tensor of the caller's: it is not ours to keep
    if len(_plans) >= 512:
        _plans.clear()
    try:
        _plans[key] = plan
    except TypeError:
        return


def _is_plain(bias: object) -> bool:
    """Whether there is no bias, or a tensor of which shape, type and need of a derivative decide everything."""
    return bias is None or (isinstance(bias, Tensor) and bias.layout is torch.strided and not bias.is_nested)


def _remember(plan: Plan, q: Tensor, k: Tensor, v: Tensor, score, mask, bias, scale, path: str) -> None:
    if plan.path in ("c", "sdpa") and plan.lead == q.shape[:-2] and not torch_internals.transforms_active():
        seen.keep(q, k, v, score, mask, bias, scale, path, plan.path, plan.problem)


def _is_of_problems(mask: object, q: Tensor) -> bool:
    """Whether a mask is a boolean tensor with leading axes, of which shape and type decide everything."""
    return (
        type(mask) is Tensor
        and mask.dtype is torch.bool
        and mask.ndim > 2
        and mask.device == q.device
        and mask.layout is torch.strided
        and not torch_internals.transforms_active()
    )


def _carry_out(plan: Plan, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, visible: Tensor | None = None):
    """The call of a plan; ``visible``: what each problem sees, where they differ."""
    problem = plan.problem
    if plan.path == "reference":
        return _on_reference(problem, q, k, v, bias, plan.lead, visible)
    if problem.rows is None:  # problems see different keys: hide them by the bias
        bias = additive(visible, q) if bias is None else torch.where(visible, bias, -torch.inf).to(q)
        if "hidden by the bias" not in problem.kept:
            rows = rows_of_mask(None, q.shape[-2], k.shape[-2])
            problem.kept["hidden by the bias"] = dataclasses.replace(problem, rows=rows, kept={})
        problem = problem.kept["hidden by the bias"]
    return _on_fast_path(plan.path, problem, q, k, v, bias, plan.lead)


def _in_single(q, k, v, score, mask, bias, scale, statistics, path):
    """The same call in float32, and its output in the type of q."""
    options = {"score": score, "mask": mask, "bias": bias, "scale": scale, "statistics": statistics, "path": path}
    found = attention(q.float(), k.float(), v.float(), **options)
    return (found[0].to(q.dtype), found[1]) if statistics else found.to(q.dtype)


def _visibility(mask, n_q: int, n_k: int, device) -> tuple[Rows | None, Tensor | None]:
    """Keys shared by all problems as ``Rows``, or the boolean tensor of a mask that differs between problems."""
    if isinstance(mask, str) and mask == "causal":
        mask = Causal()
    if mask is None or (isinstance(mask, Mask) and by_value(mask)):
        return rows_of_mask(mask, n_q, n_k), None
    visible = as_visible(mask, n_q, n_k, device)
    check_matrix("mask", visible, n_q, n_k)
    visible = visible.expand(*visible.shape[:-2], n_q, n_k)  # an axis of length 1 stands for all keys, or all queries
    if visible.ndim == 2 and not torch_internals.is_wrapped(visible):
        return rows_of_visible(visible.clone()), None  # the caller may change it before the backward pass
    return None, visible


def _sink_as_key(sink: Tensor, q, k, v, rows, visible, bias):
    """A sink with logit b is one more key, seen by every query, of logit b and value zero: k, v, rows, visible, bias, score."""
    column = sink.to(q)
    known = q.new_zeros((1, k.shape[-2])) if bias is None else bias
    lead = torch.broadcast_shapes(column.shape[:-2], known.shape[:-2])
    parts = known.expand(*lead, known.shape[-2], k.shape[-2]), column.expand(*lead, known.shape[-2], 1)
    k, v = (torch.cat([x, x.new_zeros((*x.shape[:-2], 1, x.shape[-1]))], -2) for x in (k, v))
    if visible is not None:
        visible = torch.cat([visible, torch.ones_like(visible[..., :1])], -1)
    return k, v, None if rows is None else rows_with_sink(rows), visible, torch.cat(parts, -1), Softmax()


def _on_reference(problem: Problem, q, k, v, bias, lead, visible):
    visible = on_device(problem.rows, q.device) if visible is None else visible.to(q.device)
    run = direct.direct_or_reference
    if (
        q.device.type == "cpu"
        and has_no_tensors(problem.score)
        and len(lead)
        and q.shape[:-2] == k.shape[:-2] == v.shape[:-2] == lead
    ):
        run = direct.attention_in_chunks
    options = visible, problem.scale, problem.score, problem.names, problem.mass
    if _derivatives_are_lowered(problem.score, q, k, v, bias):
        o, found = _with_exact_derivatives(run, q, k, v, bias, options)
    else:
        with torch_internals.full_precision(q.device.type):
            o, found = run(q, k, v, bias, *options)
    if o.shape[:-2] != lead:
        o = o.expand(*lead, *o.shape[-2:])
    found = {name: x if x.shape[:-1] == lead else x.expand(*lead, x.shape[-1]) for name, x in found.items()}
    return (o, found) if problem.names else o


def _derivatives_are_lowered(score: ScoreMap, *tensors: Tensor | None) -> bool:
    """Whether autocast would round a backward pass, and the map holds no tensor that could not be told apart."""
    sink = getattr(score, "sink", None)
    known = has_no_tensors(score) or type(score) is Softmax or holds_numbers_only(score)
    return known and lowered(*tensors, sink if isinstance(sink, Tensor) else None)


def _with_exact_derivatives(run, q, k, v, bias, options):
    """``run`` with derivatives that autocast does not lower; a sink that is a tensor is one more argument."""
    visible, scale, score, names, mass = options
    sink = score.sink if type(score) is Softmax and isinstance(score.sink, Tensor) else None
    more = [x for x in (bias, sink) if x is not None]

    def plain_run(q, k, v, *more):
        own = list(more)
        moved = own.pop(0) if bias is not None else None
        chosen = score if sink is None else Softmax(sink=own.pop(0))
        o, found = run(q, k, v, moved, visible, scale, chosen, names, mass)
        return (o, *(found[name] for name in names))

    own = has_no_tensors(score) or type(score) is Softmax
    precisely = FullPrecision.apply if own or is_pure(plain_run, q, k, v, *more) else _as_it_is
    o, *rows = precisely(plain_run, q, k, v, *more)
    return o, dict(zip(names, rows, strict=True))


def _as_it_is(run, *tensors: Tensor) -> tuple[Tensor, ...]:
    """``run`` with torch's own derivatives: of a map that reads more than it holds."""
    with torch_internals.full_precision(tensors[0].device.type):
        return run(*tensors)


def _hiding(problem: Problem, device: torch.device) -> Tensor | None:
    """What queries see, on the device, if it may hide a key from all of them."""
    rows = problem.rows
    if rows.visible is None or rows.full or (not rows.visible.is_cuda and bool(rows.visible.any(-2).all())):
        return None
    return on_device(rows, device)


def _without_unseen(problem: Problem, bias: Tensor | None, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """k and v with zeros at the keys that no query sees: the Triton kernels multiply their weights, zeros, with what is there."""
    if "visible" not in problem.kept:  # once for all calls of the problem; nothing is copied where every key is seen
        problem.kept["visible"] = _hiding(problem, v.device)
    visible = problem.kept["visible"]
    finite = None if bias is None else bias != -torch.inf
    if visible is None and finite is None:
        return k, v
    both = finite if visible is None else visible if finite is None else visible & finite
    seen = both.any(-2)[..., None]
    return torch.where(seen, k, k.new_zeros(())), torch.where(seen, v, v.new_zeros(()))


def _on_fast_path(path: str, problem: Problem, q, k, v, bias, lead):
    if path == "gpu":
        k, v = _without_unseen(problem, bias, k, v)
    if not (q.shape[:-2] == k.shape[:-2] == v.shape[:-2] == lead):
        q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))
    if bias is not None:
        bias = bias.expand(*lead, q.shape[-2], k.shape[-2])
    of_rows = [name for name in problem.names if name not in OF_COLUMNS]
    columns = len(of_rows) < len(problem.names)
    if path == "c" and not autograd.wanted(q, k, v, bias):  # all from one pass
        o, raw, sums = cpu.forward(problem, q, k, v, bias, bool(of_rows), columns)
    elif of_rows:
        o, raw, *_ = autograd.apply(autograd_of_statistics.WithStatistics, path, problem, q, k, v, bias)
        sums = column_sum.column_sums(path, problem, q, k, bias) if columns else None
    else:
        o = autograd.apply(autograd.Forward, path, problem, q, k, v, bias)
        o, raw = (o if path == "c" else o[0]), None
        sums = column_sum.column_sums(path, problem, q, k, bias) if columns else None
    if not problem.names:
        return o
    return o, {name: sums if name in OF_COLUMNS else cpu.named(raw, name) for name in problem.names}
