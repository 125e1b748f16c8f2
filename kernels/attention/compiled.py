"""Attention while torch traces (``torch.compile``, ``torch.export``, ``make_fx``): an operator it knows, or plain operations.

Dynamo reads Python and cannot look into the kernels, so the maps that they know become one call of the operator
``attnlab::attention``, registered with its shapes and its derivative; when the graph runs it takes the path that the same
call takes outside. Other maps, calls inside ``torch.func`` transforms, other devices than the CPU, and everything in an
exported program, which has to run without this package, are the plain operations of ``reference``.

The derivative of the derivative comes from the reference; graphs of AOTAutograd (inductor) refuse to have one, and
forward mode is refused: the operator has none.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import arguments, cpu, formulas, plain, sdpa
from attnlab.kernels.attention.biases import Bias, as_bias
from attnlab.kernels.attention.direct import direct_or_reference
from attnlab.kernels.attention.masks import Causal, Mask, additive, as_visible
from attnlab.kernels.attention.paths import path_of
from attnlab.kernels.attention.problem import Problem, on_device, rows_of_mask, rows_of_visible
from attnlab.kernels.attention.reference import attention_reference
from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softmax
from attnlab.kernels.attention.scores.registry import score_map
from attnlab.kernels.attention.statistics import OF_COLUMNS, Mass, check_names

#: Statistics of more keys than this are plain operations in a graph.
LONGEST = 256


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    score: str | ScoreMap,
    mask: str | Mask | Tensor | None,
    bias: Bias | Tensor | tuple | None,
    scale: float | Tensor | None,
    statistics: Iterable[str | Mass],
    path: str,
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """As ``operation.attention``, in Python that Dynamo can read."""
    q, k, v = arguments.checked_tensors(q, k, v)
    if path not in arguments.PATHS:
        raise ValueError(f"path={path!r} is unknown; use one of {', '.join(arguments.PATHS)}")
    dtype = q.dtype
    if dtype in arguments.LOW:
        q, k, v = q.float(), k.float(), v.float()
    score = score_map(score)
    arguments.check_shapes(q, k, v)
    n_q, n_k = q.shape[-2], k.shape[-2]
    names, mass = check_names(statistics, n_k)
    bias = as_bias(bias, n_q, n_k, q)
    causal = n_q == n_k and (
        mask == "causal" if isinstance(mask, str) else mask == Causal() if mask is not None else False
    )
    visible = None if mask is None or causal else as_visible(mask, n_q, n_k, q.device).to(q.device)
    arguments.check_matrix("bias", bias, n_q, n_k)
    arguments.check_matrix("mask", visible, n_q, n_k)
    lead = arguments.leading_of_all(q, k, v, bias, visible)
    q, k = score.prepare(q, k)
    q, scale = arguments.scaled(q, scale, score, lead)
    score = score.of_logits()
    if type(score) is Softmax and isinstance(score.sink, Tensor):
        score = Softmax(sink=arguments.aligned_sink(score.sink, lead))
    if n_k == 0:
        found = arguments.no_keys(q, k, v, bias, lead, names, score)
        o, found = found if names else (found, {})
    elif _has_operator(score, q, v, path, names):
        number, parameter = cpu.map_of(score)
        q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))
        if bias is not None:
            bias = bias.expand(*lead, n_q, n_k)
        if visible is not None and visible.ndim > 2:
            visible = visible.expand(*lead, n_q, n_k)
        elif visible is not None:
            visible = visible.expand(n_q, n_k)
        learned = bias is not None and bias.requires_grad and torch.is_grad_enabled()
        options = causal, scale, number, parameter, path, " ".join(names), list(mass.keys), learned
        o, raw, _ = operator(q, k, v, bias, visible, *options)
        found = {name: cpu.named(raw, name) for name in names}
    else:
        if causal:
            visible = torch.ones(n_q, n_k, dtype=torch.bool, device=q.device).tril()
        with torch.autocast(arguments.autocast_type(q), enabled=False):
            careful = torch.compiler.is_compiling() or not plain.only()
            o, found = attention_reference(q, k, v, bias, visible, scale, score, names, mass, careful)
        o = o.expand(*lead, *o.shape[-2:])
        found = {name: x.expand(*lead, x.shape[-1]) for name, x in found.items()}
    o = o.to(dtype)
    return (o, found) if names else o


def _has_operator(score, q: Tensor, v: Tensor, path: str, names: tuple[str, ...]) -> bool:
    """Whether the graph gets the operator; with statistics only where the compiled path computes them, of rows."""
    return (
        torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and not torch_internals.transforms_active()
        and not torch_internals.forward_mode_active()
        and q.device.type == "cpu"
        and path != "reference"
        and cpu.is_built_in(score)
        and not set(names).intersection(OF_COLUMNS)
        and (not names or (max(q.shape[-2], v.shape[-2]) <= LONGEST and max(q.shape[-1], v.shape[-1]) <= cpu.MAX_WIDTH))
        and (not names or path == "c" or _has_compiler())
    )


@torch_internals.constant_when_compiled
def _has_compiler() -> bool:
    return cpu.library(0, torch.float32, 1, 1, 1) is not None


def _call(q, v, bias, visible, causal, scale, number, parameter, path, names, mass, learned):
    """The path, the record and the bias of a call, as outside torch.compile."""
    n_q, n_k = q.shape[-2], 0 if v is None else v.shape[-2]
    score = cpu.score_of(number, parameter)
    if causal:
        rows = rows_of_mask(Causal(), n_q, n_k)
    elif visible is not None and visible.ndim == 2:
        rows, visible = rows_of_visible(visible.clone()), None
    else:
        rows = rows_of_mask(None, n_q, n_k) if visible is None else None
    if torch_internals.forward_mode_active():  # torch would drop the tangents without a word
        raise NotImplementedError("attnlab::attention has no forward mode; call attention() outside torch.compile")
    path = "c" if names else path
    chosen = path_of(path, score, q, v, q.shape[:-2], rows, visible, bias, tuple(names.split()), learned=learned)
    if rows is None:
        bias = additive(visible, q) if bias is None else torch.where(visible, bias, -torch.inf).to(q)
        rows = rows_of_mask(None, n_q, n_k)
    return chosen, Problem(scale, score, rows, tuple(names.split()), Mass(tuple(mass))), bias


@torch.library.custom_op("attnlab::attention", mutates_args=())
def operator(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    visible: Tensor | None,
    causal: bool,
    scale: float,
    number: int,
    parameter: float,
    path: str,
    names: str,
    mass: list[int],
    learned: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, raw statistics (empty if none is wanted), and the record of each row that the fused path's backward needs.

    Leading axes are equal, ``visible`` is (query, key) or has them too; ``number`` and ``parameter`` name a map of ``cpu``,
    ``names`` the statistics, with spaces between. ``learned``: the bias needs a gradient, which no tensor says in here.
    """
    chosen, problem, bias = _call(q, v, bias, visible, causal, scale, number, parameter, path, names, mass, learned)
    raw, record = q.new_empty(0), q.new_zeros(q.shape[:-1])
    if chosen == "c":
        o, raw_found, _ = cpu.forward(problem, q, k, v, bias, with_stats=bool(names))
        raw = raw if raw_found is None else raw_found
    elif chosen == "sdpa":
        o, record = sdpa.forward(problem, q, k, v, bias)
    else:
        visible = on_device(problem.rows, q.device)
        o, _ = direct_or_reference(q, k, v, bias, visible, scale, problem.score)
    return o.contiguous(), raw, record.contiguous()


@operator.register_fake
def _(q, k, v, bias, visible, causal, scale, number, parameter, path, names, mass, learned):
    rows = q.shape[:-1]
    return q.new_empty((*rows, v.shape[-1])), q.new_empty((*rows, len(cpu.RAW)) if names else 0), q.new_empty(rows)


@torch.library.custom_op("attnlab::attention_backward", mutates_args=())
def backward_operator(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    g: Tensor,
    graw: Tensor | None,
    o: Tensor,
    record: Tensor,
    visible: Tensor | None,
    causal: bool,
    scale: float,
    number: int,
    parameter: float,
    path: str,
    names: str,
    mass: list[int],
    learned: bool,
    want_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v and the bias (empty if it is not wanted) for cotangents of output and raw statistics."""
    options = causal, scale, number, parameter, path, names, mass, learned
    chosen, problem, hidden = _call(q, v, bias, visible, *options)
    if chosen == "c":
        grads = cpu.backward(problem, q, k, v, hidden, g, want_bias, graw if names else None)
    elif chosen == "sdpa" and not want_bias:
        grads = sdpa.backward(problem, q, k, v, o, record, g, hidden)
    else:
        grads = formulas.backward(problem, q, k, v, hidden, g)
    grads = [x.contiguous() for x in grads if x is not None]
    return (*grads[:3], grads[3] if want_bias else q.new_empty(0))


@backward_operator.register_fake
def _(
    q, k, v, bias, g, graw, o, record, visible, causal, scale, number, parameter, path, names, mass, learned, want_bias
):
    grads = (x.new_empty(x.shape) for x in (q, k, v))
    return (*grads, q.new_empty((*q.shape[:-1], k.shape[-2]) if want_bias else 0))


def _differentiable(q, k, v, bias, visible, options):
    """The operands as leaves, and output and raw statistics as plain operations on them."""
    causal, scale, number, parameter, _, names, mass, _ = options
    if causal:
        visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    with torch.enable_grad():
        live = [x.detach().requires_grad_() for x in (q, k, v, bias) if x is not None]
        own = live[3] if bias is not None else None
        score, chosen = cpu.score_of(number, parameter), Mass(tuple(mass))
        o, found = direct_or_reference(*live[:3], own, visible, scale, score, tuple(names.split()), chosen)
        raw = o.new_zeros((*o.shape[:-1], len(cpu.RAW))) if names else None
        for name in names.split():
            x = found[name]
            if name == "participation_ratio":
                name, x = "square", torch.where(x == 0, 0.0, 1.0 / torch.where(x == 0, 1.0, x))
            raw = raw + x[..., None] * torch.nn.functional.one_hot(torch.tensor(cpu.RAW.index(name)), len(cpu.RAW)).to(
                x
            )
    return live, o, raw


def _gradient(pairs, live, create_graph=False):
    """Gradients of sum <output, cotangent>, zero where nothing arrives."""
    outputs, cotangents = zip(*pairs, strict=True)
    with torch.enable_grad():
        grads = torch.autograd.grad(outputs, live, cotangents, allow_unused=True, create_graph=create_graph)
    return [torch.zeros_like(x) if grad is None else grad for x, grad in zip(live, grads, strict=True)]


def _keep(ctx, inputs, output):
    q, k, v, bias, visible, *ctx.options = inputs
    o, _, record = output
    ctx.mark_non_differentiable(record)
    ctx.save_for_backward(q, k, v, bias, visible, o, record)


def _backward(ctx, g, graw, _):
    q, k, v, bias, visible, o, record = ctx.saved_tensors
    want = bias is not None and ctx.needs_input_grad[3]
    graw = graw if ctx.options[5] else None
    *grads, db = backward_operator(q, k, v, bias, g, graw, o.detach(), record, visible, *ctx.options, want)
    return *grads, db if want else None, *[None] * 9


def _keep_second(ctx, inputs, output):
    q, k, v, bias, g, graw, _, _, visible, *options, ctx.want_bias = inputs
    ctx.options = options
    ctx.save_for_backward(q, k, v, bias, g, graw, visible)


def _second(ctx, *cotangents):
    """The derivative of the backward operator, by the reference: where torch asks for it (backend "eager")."""
    q, k, v, bias, g, graw, visible = ctx.saved_tensors
    with torch_internals.full_precision(q.device.type):
        return _second_derivatives(ctx, q, k, v, bias, g, graw, visible, cotangents)


def _second_derivatives(ctx, q, k, v, bias, g, graw, visible, cotangents):
    live, o, raw = _differentiable(q, k, v, bias, visible, ctx.options)
    with torch.enable_grad():
        moving = [x.detach().requires_grad_() for x in (g, graw) if x is not None]
        pairs = list(zip((o, raw), moving, strict=False))
        first = _gradient(pairs, live, create_graph=True)
    wanted = cotangents[: 4 if ctx.want_bias else 3]
    again = _gradient([(x, c) for x, c in zip(first, wanted, strict=False) if x.requires_grad], [*live, *moving])
    own = again[: len(live)]
    dbias = own[3] if bias is not None else None
    dg = again[len(live)]
    dgraw = again[len(live) + 1] if graw is not None else None
    return *own[:3], dbias, dg, dgraw, *[None] * 12


operator.register_autograd(_backward, setup_context=_keep)
backward_operator.register_autograd(_second, setup_context=_keep_second)
