"""What the ``autograd.Function`` classes of this room share: mapped axes, tangents that are not there, forward mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attnlab.kernels import torch_internals


def pulled_back(function: Callable[..., Any], primals: Sequence[Tensor], cotangents: Any) -> tuple[Tensor, ...]:
    """Reverse-mode derivative, with autocast off: torch would round the products of the pull as well."""
    with torch_internals.full_precision(primals[0].device.type):
        return torch.func.vjp(function, *primals)[1](cotangents)


def lowered(*tensors: Tensor | None) -> bool:
    """Whether a backward pass of plain operations on these tensors may run under an autocast that rounds its products."""
    return (
        torch_internals.autocast_active()
        and torch.is_grad_enabled()
        and not torch_internals.transforms_active()
        and not torch_internals.forward_mode_active()
        and any(x is not None and x.requires_grad for x in tensors)
    )


def is_pure(run: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> bool:
    """Whether ``run``, tried once, draws no random numbers and depends on no other tensor that needs a gradient."""
    device = tensors[0].device
    if device.type not in ("cpu", "cuda"):
        return False
    state = torch.get_rng_state if device.type == "cpu" else functools.partial(torch.cuda.get_rng_state, device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        with torch_internals.full_precision(device.type):
            before = state()
            out = run(*(x.detach() for x in tensors))
            return torch.equal(before, state()) and not any(x.requires_grad for x in out)


class FullPrecision(Function):
    """(run, tensors) -> run(*tensors), a tuple; its derivatives are computed with autocast off too, wherever backward is called.

    Torch runs the derivatives of plain operations under the autocast of the place where backward is called, and rounds their
    products. ``run`` must be a function of the tensors alone. First derivatives come from the same operations, in the same
    order, as without autocast, and are the same bit for bit (where one tensor is given twice, its parts are added in another
    order).
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.run = run
        ctx.save_for_backward(*tensors)
        with torch_internals.full_precision(tensors[0].device.type):
            return run(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        run, tensors = ctx.run, ctx.saved_tensors
        n, wanted = len(tensors), [i for i, need in enumerate(ctx.needs_input_grad[1:]) if need]

        def gradient(*xs):
            own = _apart(xs[:n], wanted)
            with torch.enable_grad():
                out = run(*own)
            return _slopes(out, [own[i] for i in wanted], xs[n:], torch.is_grad_enabled())

        if torch_internals.transforms_active():  # a transform around backward: this class has no rule for it
            return None, *pulled_back(run, tensors, cotangents)
        grads = dict(zip(wanted, FullPrecision.apply(gradient, *tensors, *cotangents), strict=True))
        return None, *(grads.get(i) for i in range(n))


def _apart(tensors: Sequence[Tensor], wanted: Sequence[int]) -> list[Tensor]:
    """The tensors, those that a derivative is wanted of each a variable of its own, also where two are the same tensor."""
    graph = torch.is_grad_enabled()

    def one(i: int, x: Tensor) -> Tensor:
        if graph and x.requires_grad:
            return x.view_as(x)
        return x.detach().requires_grad_(i in wanted)

    return [one(i, x) for i, x in enumerate(tensors)]


def _slopes(
    out: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Tensor], graph: bool
) -> tuple[Tensor, ...]:
    """Reverse-mode derivatives, zeros where nothing depends on a leaf."""
    pairs = [(x, g) for x, g in zip(out, cotangents, strict=True) if x.requires_grad]
    if not pairs:
        return tuple(map(torch.zeros_like, leaves))
    moving, pulled = zip(*pairs, strict=True)
    found = torch.autograd.grad(moving, leaves, pulled, create_graph=graph, allow_unused=True)
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=True))


def mapped_in_front(info: Any, in_dims: Sequence[int | None], args: Sequence[Any]) -> list[Any]:
    """Arguments with the mapped axis in front, and expanded where an argument is not mapped."""
    out = []
    for dim, x in zip(in_dims, args, strict=True):
        if not isinstance(x, Tensor):
            out.append(x)
        elif dim is None:
            out.append(x.expand(info.batch_size, *x.shape))
        else:
            out.append(x.movedim(dim, 0))
    return out


def zeros_where_none(tangents: Sequence[Tensor | None], primals: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Zero tangents where autograd gave none."""
    pairs = zip(tangents, primals, strict=True)
    return [None if x is None else torch.zeros_like(x) if t is None else t for t, x in pairs]


def pushed_forward(function: Callable[..., Any], primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> Any:
    """Forward-mode derivative by two reverse passes: torch does not nest its own forward mode here."""
    with torch_internals.full_precision(primals[0].device.type):
        return _pushed_forward(function, primals, tangents)


def _pushed_forward(function: Callable[..., Any], primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> Any:
    out, pull = torch.func.vjp(function, *primals)
    many = isinstance(out, tuple)
    zero = tuple(map(torch.zeros_like, out)) if many else (torch.zeros_like(out),)
    _, push = torch.func.vjp(lambda *u: pull(u if many else u[0]), *zero)
    found = push(tuple(tangents))
    return found if many else found[0]
