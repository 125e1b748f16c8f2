"""A CUDA device that is not there: tensors of the CPU that keep CUDA's rules about devices, for tests of simulators.

Inside ``PretendCuda()`` the device "cuda" exists: what is made there or moved there is a ``Pretend`` tensor, which calls its
device cuda:0, computes on the CPU, and raises where CUDA does: operations on tensors of two devices (a CPU number without
axes may meet a CUDA tensor, a CPU index may select from one, a copy may cross), ``numpy()``, a CPU generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda", 0)
META = torch.device(
    "meta"
)  # what C++ sees, so that what it makes beside a tensor is told from what a user makes on the CPU
#: Operations that may cross devices.
COPIES = ("aten.copy_", "aten._to_copy", "aten.copy")
#: Operations whose arguments after the first may be indices of the CPU.
SELECTS = ("aten.index.Tensor",)


class Pretend(Tensor):
    """A tensor that says it is on cuda:0."""

    @staticmethod
    def __new__(cls, inner: Tensor):
        return Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=META,
        )

    def __init__(self, inner: Tensor):
        self.inner = inner

    def __repr__(self):
        return f"Pretend({self.inner!r})"

    @property
    def device(self):
        return CUDA

    @property
    def is_cuda(self):
        return True

    @property
    def is_cpu(self):
        return False

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        flat, _ = tree_flatten((args, kwargs))
        tensors = [x for x in flat if isinstance(x, Tensor)]
        check_devices(str(func), args, tensors)
        generator = kwargs.get("generator") or next((x for x in flat if isinstance(x, torch.Generator)), None)
        if generator is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        wrappers = {id(x.inner): x for x in tensors if isinstance(x, Pretend)}
        found = func(*tree_map(inner, args), **tree_map(inner, kwargs))
        return tree_map(lambda x: wrappers[id(x)] if id(x) in wrappers else wrapped(x), found)


def inner(x):
    return x.inner if isinstance(x, Pretend) else x


def wrapped(x):
    return Pretend(x) if isinstance(x, Tensor) and not isinstance(x, Pretend) else x


def check_devices(name: str, args: tuple, tensors: list[Tensor]) -> None:
    """Raise where CUDA would."""
    theirs = [x for x in tensors if isinstance(x, Pretend)]
    ours = [x for x in tensors if not isinstance(x, Pretend)]
    if name.startswith(COPIES) or not theirs or not ours:
        return
    if name.startswith(SELECTS):
        if isinstance(args[0], Pretend):
            return
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if name.startswith("aten.index_put"):
        self, values = args[0], args[2]
        if isinstance(self, Pretend) and (isinstance(values, Pretend) or values.ndim == 0):
            return
    joins = name.startswith(("aten.cat", "aten.stack"))
    if joins or any(x.ndim for x in ours):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({name})"
        )


class _Factories(TorchDispatchMode):
    """What C++ makes on the device of a Pretend tensor is one, too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == META:
            kwargs["device"] = torch.device("cpu")
            if not any(isinstance(x, Pretend) for x in tree_flatten((args, kwargs))[0]):
                return tree_map(wrapped, func(*args, **kwargs))
        return func(*args, **kwargs)


class _Move(torch.autograd.Function):
    """To the other device, with its gradient moved back."""

    @staticmethod
    def forward(ctx, x, there):
        ctx.there = there
        return Pretend(x.detach().clone()) if there else x.inner.detach().clone()

    @staticmethod
    def backward(ctx, g):
        return _moved(g, not ctx.there), None


def _moved(x, there: bool):
    if isinstance(x, Pretend) == there:
        return x
    return _Move.apply(x, there)


def _is_cuda(device) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class PretendCuda(TorchFunctionMode):
    """The device "cuda" for the time of a ``with`` block; ``used`` says whether anything was put there."""

    def __init__(self):
        super().__init__()
        self.used, self._factories = False, _Factories()

    def __enter__(self):
        self._factories.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._factories.__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if func is Tensor.cpu:
            return _moved(first, False)
        if func is Tensor.cuda:
            return self._there(first)
        if func in (Tensor.numpy, Tensor.__array__) and isinstance(first, Pretend):
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
            )
        if func is Tensor.tolist and isinstance(first, Pretend):
            return first.inner.tolist()
        if func is torch.tensor:  # of numbers that are tensors
            args = tree_map(lambda x: x.inner.item() if isinstance(x, Pretend) and x.ndim == 0 else x, args)
        if func is Tensor.to:
            return self._to(*args, **kwargs)
        if "device" in kwargs and name != "__get__":
            wanted = kwargs["device"]
            if _is_cuda(wanted) and kwargs.get("generator") is not None:
                raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
            kwargs["device"] = None if wanted is None else torch.device("cpu")
            made = func(*args, **kwargs)
            if wanted is None:
                return made
            return self._there(made) if _is_cuda(wanted) else _moved(made, False)
        return func(*args, **kwargs)

    def _there(self, x):
        self.used = True
        return _moved(x, True)

    def _to(self, x, *args, **kwargs):
        device = kwargs.pop("device", None)
        rest = []
        for a in args:
            if isinstance(a, Tensor):
                device, kwargs["dtype"] = a.device, a.dtype
            elif isinstance(a, (str, torch.device)):
                device = a
            else:
                rest.append(a)
        copy = kwargs.pop("copy", False)
        kwargs.pop("non_blocking", None)
        dtype = kwargs.pop("dtype", None) or next((a for a in rest if isinstance(a, torch.dtype)), None)
        out = x if dtype is None or dtype == x.dtype else x.type(dtype)
        if copy and out is x:
            out = x.clone()
        if device is None:
            return out
        return self._there(out) if _is_cuda(device) else _moved(out, False)
