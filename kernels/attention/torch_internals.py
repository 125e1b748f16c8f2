"""Every name of torch that it does not promise to keep, in one file: what each is for, and what stands in without it.

``tests/kernels/attention/test_torch_internals.py`` checks each against what it is used for. Run it first on a new torch.
"""

from __future__ import annotations

import contextlib
import functools

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

_FLASH = "_scaled_dot_product_flash_attention_for_cpu"

#: Whether a ``torch.func`` transform (grad, vmap, jvp, functionalize) is around the call: one bit of C++ state, 30 ns.
transforms_active = torch._C._are_functorch_transforms_active

#: What ``Function.apply`` does to each tensor before its C++ part: takes off the wrapper of a transform that has ended.
unwrap_if_dead = torch._C._functorch.unwrap_if_dead

#: Whether a tensor is a wrapper of a transform, so that its numbers must not decide anything.
is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor


def plain_tensors() -> contextlib.AbstractContextManager:
    """Inside it new tensors are plain ones, also within transforms: what is kept must not belong to one of them."""
    return torch._C._DisableFuncTorch()


def forward_mode_active() -> bool:
    """Whether a ``forward_ad.dual_level`` is open; torch has a context manager for it and no question."""
    return forward_ad._current_level >= 0


def apply_directly(function: type[Function], *arguments):
    """``function.apply`` without the tens of microseconds in which torch binds arguments to a signature.

    ``Function.apply`` is a Python method that binds, unwraps and calls the C++ method it overrides. Only outside transforms.
    """
    unwrapped = [unwrap_if_dead(x) if isinstance(x, Tensor) else x for x in arguments]
    return super(Function, function).apply(*unwrapped)


@functools.lru_cache(maxsize=1)
def has_flash() -> bool:
    """Whether this torch has its fused CPU attention as operators, forward and backward."""
    return hasattr(torch.ops.aten, _FLASH) and hasattr(torch.ops.aten, _FLASH + "_backward")


@functools.lru_cache(maxsize=1)
def flash_operators():
    """The fused CPU attention, its backward, and ``_unsafe_view``.

    ``F.scaled_dot_product_attention`` hides the log-sum-exp that the backward needs, and takes the unfused way for a mask
    that might need a gradient. The view: a reshape whose tangents do not inherit the wrong strides of the operator's output.
    """
    packets = (getattr(torch.ops.aten, name) for name in (_FLASH, _FLASH + "_backward"))
    return (*(packet.default for packet in packets), torch.ops.aten._unsafe_view.default)
