"""Every name of torch that it does not promise to keep, in one file: what each is for, and what stands in without it.

``tests/kernels/test_torch_internals.py`` checks each against what it is used for. Run it first on a new torch.
``analysis/exact/torch_internals.py`` is the same for analysis/, which imports nothing of kernels/.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_leaves

_FLASH = "_scaled_dot_product_flash_attention_for_cpu"

#: What ``torch.jit.trace`` records into, or None: the question behind ``torch.jit.is_tracing``, without its import.
_jit_traces = torch._C._get_tracing_state

#: Whether a ``torch.func`` transform (grad, vmap, jvp, functionalize) is around the call: one bit of C++ state, 30 ns.
transforms_active = torch._C._are_functorch_transforms_active

#: What ``Function.apply`` does to each tensor before its C++ part: takes off the wrapper of a transform that has ended.
unwrap_if_dead = torch._C._functorch.unwrap_if_dead

#: Whether a tensor is a wrapper of a transform, so that its numbers must not decide anything.
is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor

#: Whether a tensor belongs to the older vmap that ``torch.autograd.grad(..., is_grads_batched=True)`` runs a backward in.
is_batched_gradient = torch._C._functorch.is_legacy_batchedtensor


class DispatchMode(TorchDispatchMode):
    """A mode that sees every operation below autograd: what counts operations and what watches random draws derive from it.

    Torch hides the code of modes from torch.compile, for which the first operation loads all of torch's compiler (two
    seconds). These modes never run in compiled code, and say so.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


#: All tensors and numbers inside nested lists, tuples and dictionaries, as the arguments of an operation are nested.
leaves = tree_leaves

TWISTER_WORDS = 624
"""32-bit words of the state of a CPU generator (Mersenne twister)."""

_HEADER, _RECORD = 24, 5056  # bytes before the words in torch's record (seed, counters), and of the whole


def set_twister(generator: torch.Generator, words: np.ndarray) -> None:
    """Put ``words`` (624 of 32 bits) in place of a CPU generator's state; torch offers 32 bits of seed for 19937 of state.

    Raises ``RuntimeError`` where torch keeps its record otherwise than written down here.
    """
    generator.manual_seed(0)
    record = generator.get_state().numpy().copy()
    if record.size != _RECORD:
        raise RuntimeError(
            f"torch {torch.__version__} keeps generator states of {record.size} bytes, not {_RECORD}; "
            "use a torch version of constraints.txt"
        )
    record[_HEADER : _HEADER + 8 * TWISTER_WORDS].view(np.uint64)[:] = words
    generator.set_state(torch.from_numpy(record))


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Operations in terms of simpler ones, as ``torch.export`` takes them apart; loaded when first asked for."""
    from torch._decomp import core_aten_decompositions

    return core_aten_decompositions()


def dispatches(x: Tensor) -> bool:
    """Whether a tensor is of a subclass that answers operations itself (fake ones, wrappers): no numbers lie at its address."""
    return type(x).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


def without_memory(*tensors: Tensor) -> bool:
    """Whether the numbers of a tensor do not lie at its address: only operations of torch are right."""
    for x in tensors:
        if x.is_meta or (type(x) is not Tensor and dispatches(x)):
            return True
    return False


def mode_of(*tensors: Tensor) -> contextlib.AbstractContextManager:
    """The mode that fake tensors belong to, so that what is made beside them is fake as well; nothing for others."""
    return next((x.fake_mode for x in tensors if hasattr(x, "fake_mode")), contextlib.nullcontext())


@contextlib.contextmanager
def kept_tensors() -> Iterator[None]:
    """Inside it new tensors are plain ones that later calls may use: of no transform, and not of inference mode."""
    with plain_tensors(), torch.inference_mode(False):
        yield


def in_memory(x: Tensor) -> Tensor:
    """The tensor with its numbers where its address says: without the negative bit, and not a zero that stands for many."""
    if x.is_neg():
        return x.resolve_neg()
    return x.clone() if x._is_zerotensor() else x


def plain_tensors() -> contextlib.AbstractContextManager:
    """Inside it new tensors are plain ones, also within transforms: what is kept must not belong to one of them."""
    return torch._C._DisableFuncTorch()


def tracing() -> bool:
    """Whether torch records operations instead of computing, or beside it: numbers must decide nothing.

    torch.compile says so, and so does torch.jit.trace. make_fx, FakeTensorMode, linearize and export put a mode on a stack,
    and those of torch's own have a key there, which modes that only look on (counters, loggers) have not.
    """
    if torch.compiler.is_compiling() or _jit_traces() is not None:
        return True
    return torch._C._len_torch_dispatch_stack() > 0 and any(
        getattr(mode, "_mode_key", None) is not None for mode in _get_current_dispatch_mode_stack()
    )


def transforms_of_a_function() -> bool:
    """Whether an ``autograd.Function`` is right under the transforms around the call.

    One level of forward mode at most, as its ``jvp`` is not itself differentiated in forward mode; no functionalisation.
    """
    keys = [level.key().name for level in torch._C._functorch.get_interpreter_stack() or ()]
    return keys.count("Jvp") <= 1 and all(key in ("Vmap", "Grad", "Jvp") for key in keys)


def all_finite(*tensors: Tensor) -> bool:
    """Whether all numbers are finite, also those inside the wrappers of transforms; False where torch only traces.

    By a sum, which is not finite if a term is not (a sum of large numbers may overflow: then False is a safe answer).
    """
    if tracing():
        return False
    with torch.no_grad(), plain_tensors():
        total = 0.0
        for x in map(_unwrapped, tensors):
            if x.is_meta or dispatches(x) or is_batched_gradient(x):
                return False
            total = total + x.detach().sum()  # one number to wait for
        return math.isfinite(total)


def sums_are_finite(*tensors: Tensor) -> bool:
    """As ``all_finite``, in fewer steps: of plain tensors, outside traces and transforms."""
    total = 0.0
    for x in tensors:
        total += x.detach().sum().item()
    return math.isfinite(total)


def keeps_what_is_saved() -> bool:
    """Whether a graph may keep its inputs: nobody asked, by hooks, to store what is saved elsewhere (checkpoints do)."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is None


def all_true(x: Tensor) -> bool:
    """Whether all entries of a boolean tensor are true, also of one inside the wrappers of transforms."""
    with plain_tensors():
        return bool(_unwrapped(x).all())


def _unwrapped(x: Tensor) -> Tensor:
    """The numbers of all that a transform maps over."""
    while is_wrapped(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x


#: Whether autocast is on for any type of device.
autocast_active = torch._C._is_any_autocast_enabled


def full_precision(device_type: str) -> contextlib.AbstractContextManager:
    """Inside it autocast lowers nothing; free where it is off."""
    if torch._C._is_any_autocast_enabled():
        return torch.autocast(device_type, enabled=False)
    return contextlib.nullcontext()


def forward_mode_active() -> bool:
    """Whether a ``forward_ad.dual_level`` is open; torch has a context manager for it and no question."""
    return forward_ad._current_level >= 0


def apply_directly(function: type[Function], *arguments: Any) -> Any:
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
def flash_operators() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """The fused CPU attention, its backward, and ``_unsafe_view``.

    ``F.scaled_dot_product_attention`` hides the log-sum-exp that the backward needs, and takes the unfused way for a mask
    that might need a gradient. The view: a reshape whose tangents do not inherit the wrong strides of the operator's output.
    """
    packets = (getattr(torch.ops.aten, name) for name in (_FLASH, _FLASH + "_backward"))
    return (*(packet.default for packet in packets), torch.ops.aten._unsafe_view.default)


def softmax_backward(g: Tensor, w: Tensor, out: Tensor) -> Tensor:
    """w (g - sum w g) along the last axis, in one operation, written to ``out``."""
    return torch.ops.aten._softmax_backward_data.out(g, w, -1, g.dtype, grad_input=out)


def constant_when_compiled(function: Callable[[], Any]) -> Callable[[], Any]:
    """As ``torch.compiler.assume_constant_result``, which imports all of torch's compiler (1.2 s) to set this one mark."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
