"""What the ``autograd.Function`` classes of this room share: mapped axes, tangents that are not there, forward mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


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
    out, pull = torch.func.vjp(function, *primals)
    many = isinstance(out, tuple)
    zero = tuple(map(torch.zeros_like, out)) if many else (torch.zeros_like(out),)
    _, push = torch.func.vjp(lambda *u: pull(u if many else u[0]), *zero)
    found = push(tuple(tangents))
    return found if many else found[0]
