"""Torch's fused CPU attention (flash, tiled over keys) as a path: fast for long contexts and wide heads.

Its operators have no second derivative and no forward mode; ``autograd`` supplies both from ``formulas``. They take
four axes, equal query and value widths (the narrower is padded here), and masks and biases as one additive term without a
gradient. They multiply the weights of hidden keys, which are zero, with whatever those keys hold: where something is
hidden and the answer is not finite, the specification computes it again.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import formulas
from attnlab.kernels.attention.masks import additive
from attnlab.kernels.attention.problem import Problem, Rows, on_device
from attnlab.kernels.attention.reference import attention_reference
from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softmax

_VECTOR = (
    64  # bytes: a row of fewer keys whose logits are all NaN is taken for a row that sees none, and answered with 0
)
KEEP = 1 << 20  # masks of up to so many entries are kept with the problem they belong to, of larger ones the last two


def supports(score: ScoreMap, dtype: torch.dtype) -> bool:
    """Whether the operators cover this score map and dtype."""
    plain = type(score) is Softmax and score.sink is None
    return plain and torch_internals.has_flash() and dtype in (torch.float32, torch.float64)


def forward(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp (which the backward needs)."""
    if takes(problem, q, k, v):
        return directly(problem, q, k, v, bias)
    causal, mask = term(problem, q, bias)
    width, scale = max(q.shape[-1], v.shape[-1]), problem.scale
    query, scale = (q, scale) if scale > 0 else (q * scale, 1.0)  # the operator's own mask wants a positive scale
    operands = (_four(x, width) for x in (query, k, v))
    o, lse = torch_internals.flash_operators()[0](*operands, 0.0, causal, attn_mask=mask, scale=scale)
    o, lse = _shaped(o[..., : v.shape[-1]], (*q.shape[:-1], v.shape[-1])), _shaped(lse, q.shape[:-1])
    return _checked(problem, q, k, v, bias, o), lse


def directly(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """``forward`` of tensors that ``takes`` accepts."""
    causal, mask = term(problem, q, bias)
    o, lse = torch_internals.flash_operators()[0](q, k, v, 0.0, causal, attn_mask=mask, scale=problem.scale)
    return _checked(problem, q, k, v, bias, o), lse


def _checked(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, o: Tensor) -> Tensor:
    """The output, or that of the specification where the operator may have multiplied what is hidden."""
    hides, short = not problem.rows.full or bias is not None, is_short(k)
    if (hides or short) and not torch_internals.all_finite(o, *((q, k) if short else ())):
        with torch.no_grad():
            visible = on_device(problem.rows, q.device)
            return attention_reference(q, k, v, bias, visible, problem.scale, problem.score)[0]
    return o


def backward(
    problem: Problem,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    g: Tensor,
    bias: Tensor | None = None,
    want_bias: bool = False,
) -> tuple[Tensor, ...]:
    """Gradients (dq, dk, dv)."""
    if want_bias:
        raise NotImplementedError("path='sdpa' has no gradient of the bias; use path='auto' or 'reference'")
    operator = torch_internals.flash_operators()[1]
    causal, mask = term(problem, q, bias)
    if takes(problem, q, k, v, g, o):
        grads = operator(g, q, k, v, o, lse, 0.0, causal, attn_mask=mask, scale=problem.scale)
    else:
        width, scale = max(q.shape[-1], v.shape[-1]), problem.scale
        query, scale = (q, scale) if scale > 0 else (q * scale, 1.0)
        four = (_four(x, width) for x in (g, query, k, v, o))
        grads = operator(*four, _rows_of_four(lse), 0.0, causal, attn_mask=mask, scale=scale)
        grads = [_shaped(grad[..., : x.shape[-1]], x.shape) for grad, x in zip(grads, (q, k, v), strict=True)]
        if problem.scale <= 0:
            grads[0] = grads[0] * problem.scale
    if not problem.rows.full or bias is not None:
        if not torch_internals.all_finite(*grads):
            with torch.no_grad():
                grads = formulas.backward(problem, q, k, v, bias, g)[:3]
    return tuple(grads)


def _four(x: Tensor, width: int) -> Tensor:
    """Four axes and a unit stride along the width: the operator reads neighbours in memory whatever the stride says."""
    if x.shape[-1] < width:
        x = torch.nn.functional.pad(x, (0, width - x.shape[-1]))
    x = torch_internals.in_memory(x)
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x.reshape(_lead_of_four(x.shape[:-2]) + x.shape[-2:])


def _rows_of_four(x: Tensor) -> Tensor:
    return x.reshape(_lead_of_four(x.shape[:-1]) + x.shape[-1:])


def _lead_of_four(lead: torch.Size) -> tuple[int, ...]:
    """Two axes for any number of them; the last one stays, so that a bias shared by the others needs no copy."""
    return (lead[:-1].numel(), lead[-1]) if lead else (1, 1)


def is_short(k: Tensor) -> bool:
    """Whether rows are so short that the operator may answer NaN with 0."""
    return k.shape[-2] * k.element_size() < _VECTOR


def term(problem: Problem, like: Tensor, bias: Tensor | None) -> tuple[bool, Tensor | None]:
    """Whether the operator's own causal mask serves, and the additive term where it does not."""
    rows = problem.rows
    if bias is None:
        if rows.full or rows.causal:
            return rows.causal, None
        key = "additive", like.dtype
        if key in problem.kept:
            return False, problem.kept[key]
        if rows.visible.numel() > KEEP:
            return False, _additive(rows, like.dtype)
        problem.kept[key] = _additive.__wrapped__(rows, like.dtype)
        return False, problem.kept[key]
    shared = all(stride == 0 or size == 1 for size, stride in zip(bias.shape[:-2], bias.stride()[:-2], strict=True))
    bias = bias[(0,) * (bias.ndim - 2)] if shared else bias.reshape(_lead_of_four(bias.shape[:-2]) + bias.shape[-2:])
    if bias.stride(-1) != 1 or bias.is_neg():
        bias = bias.contiguous().resolve_neg()
    return False, bias if rows.full else torch.where(rows.visible, bias, -torch.inf)


@functools.lru_cache(maxsize=2)
def _additive(rows: Rows, dtype: torch.dtype) -> Tensor:
    with torch_internals.kept_tensors():
        return additive(rows.visible, rows.visible.new_empty((), dtype=dtype))


def takes(problem: Problem, *tensors: Tensor) -> bool:
    """Whether the operators can take and give the tensors as they are: four axes, unit stride, no forward mode around."""
    width = tensors[0].shape[-1]
    return (
        problem.scale > 0
        and not torch_internals.forward_mode_active()
        and all(x.ndim == 4 and x.stride(-1) == 1 and x.shape[-1] == width for x in tensors)
        and all(torch_internals.in_memory(x) is x for x in tensors)
        and not torch_internals.transforms_active()
    )


def _shaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` in another shape; not by reshape, whose views would carry the wrong layout into forward-mode tangents."""
    return torch_internals.flash_operators()[2](x.contiguous(), shape)
