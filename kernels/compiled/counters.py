"""Counts of what the kernels do, made while they do it: multiply-adds, exponentials, bytes.

Inside ``counting()`` the compiled kernels run in a build that counts in its loops (``TALLY`` in ``lanes.h``; one thread,
slower), and every torch operator that runs is counted by its operands. What is counted:

* ``multiply_adds``: those of products of matrices and vectors (half their FLOPs). In compiled code every lane counts,
  also where a last group of problems leaves lanes idle. Scaling and other work a number is left out.
* ``exponentials``: evaluations of exp, or of a function made of one.
* ``bytes_read``, ``bytes_written``: operands of a call; a compiled kernel's own scratch, which stays in cache, is left out.
* ``unopened``: fused torch operators that ran and do not tell; their work is not in the other numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor

from attnlab.kernels.torch_internals import DispatchMode, leaves

_EXPONENTIALS = {"exp", "expm1", "exp2", "sigmoid", "softplus", "tanh", "_softmax"}
_active: ContextVar[Work | None] = ContextVar("active", default=None)


@dataclass
class Work:
    """What was done inside ``counting()``."""

    multiply_adds: int = 0
    exponentials: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    unopened: set[str] = field(default_factory=set)


@contextmanager
def counting() -> Iterator[Work]:
    """Count what runs inside, also in backward passes: ``with counting() as work: ...``, then ``work.multiply_adds``."""
    work = Work()
    token = _active.set(work)
    try:
        with _Operators(work):
            yield work
    finally:
        _active.reset(token)


def active() -> Work | None:
    """Where the innermost ``counting()`` counts, or None outside."""
    return _active.get()


class _WorkDone(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("multiply_adds", "exponentials", "bytes_read", "bytes_written")]


def collect(built: ctypes.CDLL, work: Work) -> None:
    """Move the counts of a library that was built with COUNT into ``work``."""
    done = _WorkDone.in_dll(built, "work_done")
    for name, _ in _WorkDone._fields_:
        setattr(work, name, getattr(work, name) + getattr(done, name))
        setattr(done, name, 0)


class _Operators(DispatchMode):
    """Counts torch operators as they run."""

    def __init__(self, work: Work):
        from torch.utils.flop_counter import flop_registry  # imports Triton, which not every program needs

        super().__init__()
        self.work, self.flops = work, flop_registry

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        name = function.overloadpacket.__name__
        if "scaled_dot_product" in name:
            self.work.unopened.add(name)
            return out
        inputs = [x for x in leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = [x for x in leaves(out) if isinstance(x, Tensor)]
        memory = {x.untyped_storage().data_ptr() for x in inputs}
        fresh = [x for x in outputs if function._schema.is_mutable or x.untyped_storage().data_ptr() not in memory]
        if not fresh or name.startswith(("empty", "new_empty")):  # a view, or memory that nothing is written to
            return out
        self.work.bytes_read += sum(map(_touched, inputs))
        self.work.bytes_written += sum(map(_touched, fresh))
        if function.overloadpacket in self.flops:
            self.work.multiply_adds += self.flops[function.overloadpacket](*args, **kwargs, out_val=out) // 2
        if name in _EXPONENTIALS:
            self.work.exponentials += sum(x.numel() for x in fresh)
        return out


def _touched(x: Tensor) -> int:
    """Bytes of a tensor; axes that are only repeated in the index count once."""
    count = x.element_size()
    for size, stride in zip(x.shape, x.stride(), strict=True):
        count *= size if stride else min(size, 1)
    return count
