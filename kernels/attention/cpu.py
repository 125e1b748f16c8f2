"""The compiled CPU path: sequences in the lanes of a vector (``attention.c``), for the family "f over g".

Tensors are read where they lie: every operand is described by the offset of each problem and two strides, so transposed
heads and broadcast axes need no copy. Results do not depend on the number of threads: a group of lanes is computed
whole, by one thread.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.problem import Problem
from attnlab.kernels.attention.scores.f_over_g import (
    Linear,
    Power,
    ReLU,
    ScoreMap,
    Sigmoid,
    Signed,
    Softmax,
    Softpick,
    Softplus,
)
from attnlab.kernels.attention.scores.formula import generated
from attnlab.kernels.attention.scores.formula.map import FormulaMap
from attnlab.kernels.compiled import compiler, counters
from attnlab.kernels.compiled.threads import carried_out, run_parts

SOURCE = Path(__file__).with_name("attention.c")
MAPS = ("softmax", "softpick", "sigmoid", "linear", "relu", "power", "relu_power", "softplus", "signed")
#: Rows of the array of raw statistics, in the order of the enum in attention.c.
RAW = (
    "log_sum_exp",
    "entropy",
    "max_weight",
    "square",
    "logit_mean",
    "logit_variance",
    "weighted_logit_mean",
    "weighted_logit_variance",
    "row_sum",
    "mass",
)
MAX_WIDTH = 128
_THREAD_WORK = 1 << 21  # below so many multiply-adds a second thread costs more than it brings
_CACHE = 5 << 19  # operands of 16 problems past so many bytes leave the cache: 8 lanes are faster


#: The record ``task`` of score_maps.h: sizes, scale, parameter, four pointers, and (base, offset, row, col) of each view.
_TASK = struct.Struct("@2q2d4Q64q")
_NONE = (0, 0, 0, 0)
_POINTER = struct.Struct("@Q").pack_into
_FIRST_VIEW, _VIEW = 64, 32  # bytes before the views in the record, and of each
#: Which views of the record a kernel reads, and which it writes.
_READS = {"forward": (0, 1, 2, 3), "backward": (0, 1, 2, 3, 4, 15), "second": tuple(range(9))}
_WRITES = {"forward": (9, 12, 14), "backward": (10, 11, 12, 13), "second": (9, 10, 11, 12, 13)}
_KEPT = 64  # ways to lie that a problem remembers
MANY = 2048  # problems, past which what is kept of a call is too large to keep much of it


def map_of(score: ScoreMap) -> tuple[int, float] | None:
    """Number and parameter of a score map in attention.c, or None if it has no compiled form."""
    if type(score) is Softmax:
        if isinstance(score.sink, Tensor):
            return None
        return 0, -np.inf if score.sink is None else float(score.sink)
    if type(score) is Softpick:
        return 1, score.eps
    if type(score) is Power:
        return (6 if score.rectified else 5), float(score.power)
    if type(score) in (Linear, ReLU):
        return (4 if type(score) is ReLU else 3), float(score.divide == "count")
    if type(score) is FormulaMap:
        return generated.number_of(score), score.parameter
    plain = {Sigmoid: 2, Softplus: 7, Signed: 8}.get(type(score))
    return None if plain is None else (plain, 0.0)


def named(raw: Tensor, name: str) -> Tensor:
    """One statistic of the array that the kernels write."""
    if name != "participation_ratio":
        return raw[..., RAW.index(name)]
    square = raw[..., RAW.index("square")]
    return torch.where(square == 0, 0.0, 1.0 / torch.where(square == 0, 1.0, square))


def is_built_in(score: ScoreMap) -> bool:
    """Whether ``score_of`` can make the map again from its number and parameter."""
    return type(score) in (Softpick, Power, Linear, ReLU, Sigmoid, Softplus, Signed) or (
        type(score) is Softmax and not isinstance(score.sink, Tensor)
    )


def score_of(number: int, parameter: float) -> ScoreMap:
    """The inverse of ``map_of`` for the maps that are built in."""
    name = MAPS[number]
    if name == "softmax":
        return Softmax(None if parameter == -np.inf else parameter)
    if name == "softpick":
        return Softpick(parameter)
    if name in ("power", "relu_power"):
        return Power(int(parameter), rectified=name == "relu_power")
    if name in ("linear", "relu"):
        return (Linear if name == "linear" else ReLU)("count" if parameter else "one")
    return {"sigmoid": Sigmoid, "softplus": Softplus, "signed": Signed}[name]()


def supports(score: ScoreMap, dtype: torch.dtype, head_dim: int, value_dim: int) -> bool:
    """Whether attention.c has this score map, dtype and widths (a compiler may still be missing)."""
    return (
        map_of(score) is not None
        and dtype in (torch.float32, torch.float64)
        and 1 <= head_dim <= MAX_WIDTH
        and 1 <= value_dim <= MAX_WIDTH
    )


@functools.lru_cache(maxsize=256)
def library(
    map_number: int,
    dtype: torch.dtype,
    head_dim: int,
    value_dim: int,
    order: int,
    count: bool = False,
    sink: bool = False,
    narrow: bool = False,
) -> ctypes.CDLL | None:
    """The build for these compile-time constants, or None without a working compiler.

    ``count``: one that counts; ``sink``: one for the statistics of softmax with a sink; ``narrow``: one with vectors of 32
    bytes also where the machine has longer ones.
    """
    single = int(dtype == torch.float32)
    built = compiler.load(
        SOURCE,
        generated.c_header(map_number),
        MAP=min(map_number, generated.FIRST),
        REAL32=single,
        D=head_dim,
        DV=value_dim,
        PASS=order,
        **{name: 1 for name, wanted in (("COUNT", count), ("SINK", sink), ("NARROW", narrow)) if wanted},
    )
    if built is None:
        return None
    for name in ("forward", "backward") if order == 1 else ("second",):
        function = getattr(built, name)
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64], ctypes.c_int
    return built


@functools.lru_cache(maxsize=512)
def is_narrow(n_problems: int, n_q: int, n_k: int, dtype: torch.dtype, head_dim: int, value_dim: int) -> bool:
    """Whether half the lanes are better with AVX-512: they would be empty, or the operands of all leave the cache."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    numbers = 2 * n_k * (head_dim + value_dim) + n_q * (2 * head_dim + value_dim) + 7 * n_k
    return n_problems <= 32 // dtype.itemsize or 64 * numbers > _CACHE


def n_lanes(built: ctypes.CDLL) -> int:
    """How many problems a build computes together."""
    return ctypes.c_int64.in_dll(built, "lanes").value


def forward(
    problem: Problem,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    with_stats: bool = False,
    with_columns: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Output, the array of raw statistics (..., query, 10) or None, and the sums over queries (..., key) or None."""
    rows = q.shape[:-1]
    o = q.new_empty((*rows, v.shape[-1]))
    stats = q.new_empty((*rows, len(RAW))) if with_stats else None
    columns = k.new_empty((*k.shape[:-1], 1)) if with_columns else None
    _run("forward", 1, problem, (q, k, v, bias), (o, columns, stats))
    return o, stats, None if columns is None else columns.squeeze(-1)


def backward(
    problem: Problem,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    g: Tensor,
    want_bias: bool,
    dstats: Tensor | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients (dq, dk, dv, dbias or None) for cotangents of the output and of the raw statistics."""
    out = _gradients(q, k, v, want_bias)
    _run("backward", 1, problem, (q, k, v, bias, g, dstats), out)
    return out


def second(
    problem: Problem,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    tangents: tuple,
    g: Tensor | None,
    want_bias: bool = False,
) -> tuple[Tensor | None, ...]:
    """As ``formulas.second``: (tangent,) or (tangent, dq, dk, dv, dbias or None)."""
    o = q.new_empty((*q.shape[:-1], v.shape[-1]))
    out = (None,) * 4 if g is None else _gradients(q, k, v, want_bias)
    _run("second", 2, problem, (q, k, v, bias, g, *tangents), (o, *out))
    return (o,) if g is None else (o, *out)


def _gradients(q: Tensor, k: Tensor, v: Tensor, want_bias: bool) -> tuple[Tensor | None, ...]:
    """Room for dq, dk, dv, and dbias if wanted."""
    return (
        *(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v)),
        q.new_empty((*q.shape[:-1], k.shape[-2])) if want_bias else None,
    )


def _layout(shape: torch.Size, strides: tuple[int, ...]) -> tuple[np.ndarray, int, int, int]:
    """Offset of every problem, in numbers, in row-major order of the leading axes; its address, and the last two strides."""
    return (_few_offsets if shape[:-2].numel() <= MANY else _many_offsets)(shape, strides)


def _offsets(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[np.ndarray, int, int, int]:
    total = np.zeros(1, dtype=np.int64)
    for size, stride in zip(shape[:-2], strides[:-2], strict=True):
        total = (total[:, None] + np.arange(size, dtype=np.int64) * stride).reshape(-1)
    total = np.ascontiguousarray(total)
    return total, total.ctypes.data, strides[-2], strides[-1]


_few_offsets = functools.lru_cache(maxsize=1024)(_offsets)
_many_offsets = functools.lru_cache(maxsize=16)(_offsets)  # as large as the tensors of short sequences: keep few


@dataclass(frozen=True, eq=False)
class _Fixed:
    """What the record says of every call of a problem, and its number of pairs."""

    map_number: int
    sink: bool
    numbers: tuple[float, ...]
    in_mass: np.ndarray | None
    pairs: int


def _fixed(problem: Problem, n_k: int) -> _Fixed:
    found = problem.kept.get("c")
    if found is None:
        number, parameter = map_of(problem.score)
        rows, in_mass = problem.rows, None
        if "mass" in problem.names:
            in_mass = np.zeros(max(n_k, 1), dtype=np.uint8)
            in_mass[list(problem.mass.keys)] = 1
        pointers = (x.ctypes.data if x is not None else 0 for x in (rows.first, rows.last, rows.cols, in_mass))
        sink = bool(problem.names) and number == 0 and parameter > -np.inf
        found = problem.kept["c"] = _Fixed(number, sink, (problem.scale, parameter, *pointers), in_mass, rows.n_pairs)
    return found


@dataclass(frozen=True, eq=False)
class Ready:
    """A call of tensors that lie in one way, but for where: the record without its pointers, and the parts of the work."""

    call: Callable[[int, int, int], int]
    built: ctypes.CDLL
    record: bytes
    places: tuple[int, ...]  # of the pointers in the record
    keep: tuple[np.ndarray, ...]  # the offsets that the record points to
    n_problems: int
    groups: int  # of lanes, or 1 where a second thread does not pay
    free: list[tuple[bytearray, int]]  # copies of the record that no call is using, and their addresses

    def carry_out(self, addresses: Sequence[int]) -> None:
        """The kernel on tensors at these addresses, what it reads before what it writes."""
        try:
            mine = self.free.pop()
        except IndexError:
            mine = _with_address(self.record)
        record, task = mine
        for place, address in zip(self.places, addresses, strict=True):
            _POINTER(record, place, address)
        threads = 1 if self.groups <= 1 else min(torch.get_num_threads(), self.groups)
        if threads <= 1:
            carried_out(self.call, task, 0, self.n_problems)
        else:
            lanes, n = n_lanes(self.built), self.n_problems
            cuts = [min(lanes * (self.groups * i // threads), n) for i in range(threads)] + [n]
            run_parts(functools.partial(carried_out, self.call, task), cuts)
        self.free.append(mine)


def _with_address(record: bytes) -> tuple[bytearray, int]:
    own = bytearray(record)
    return own, ctypes.addressof(ctypes.c_char.from_buffer(own))


def _run(
    function: str, order: int, problem: Problem, reads: tuple[Tensor | None, ...], writes: tuple[Tensor | None, ...]
) -> None:
    """A kernel on tensors in the order of ``_READS`` and ``_WRITES``; what it writes is new, and lies in row-major order."""
    if not reads[0].numel():  # no queries, or no problems: nothing is received
        for x in writes:
            if x is not None:
                x.zero_()
        return
    for x in reads:
        if x is not None and (x.is_neg() or x._is_zerotensor()):
            reads = tuple(x if x is None else torch_internals.in_memory(x) for x in reads)
            break
    counter = counters.active()
    ready = ready_for(function, order, problem, reads, writes, counter is not None)
    present = [x for x in (*reads, *writes) if x is not None]
    addresses = [x.data_ptr() for x in present]
    if not all(addresses):
        for x in present:
            if x.numel() and not x.data_ptr():
                raise ValueError(
                    f"path='c' cannot read a tensor without memory ({type(x).__name__}); use path='reference'"
                )
    ready.carry_out(addresses)
    if counter is not None:
        counters.collect(ready.built, counter)


def ready_for(
    function: str,
    order: int,
    problem: Problem,
    reads: tuple[Tensor | None, ...],
    writes: tuple[Tensor | None, ...],
    count: bool = False,
) -> Ready:
    """What is kept of a call of tensors that lie like these, or is worked out now."""
    dtype = reads[0].dtype
    lies: list[Any] = [function, count, dtype]
    for x in reads:
        if x is None:
            lies.append(None)
        elif x.dtype is not dtype:  # the kernel would read its memory as other numbers
            raise TypeError(
                f"path='c' reads tensors of one type, got {x.dtype} beside q of {dtype}; convert with .to(q)"
            )
        else:
            lies += x.shape, x.stride()
    lies += [x is None for x in writes]
    key = tuple(lies)
    ready = problem.kept.get(key)
    if ready is None:
        ready = _prepare(function, order, problem, reads, writes, count)
        if ready.n_problems <= MANY:
            if len(problem.kept) > _KEPT:
                problem.kept.clear()
            problem.kept[key] = ready
    return ready


def _prepare(
    function: str,
    order: int,
    problem: Problem,
    reads: tuple[Tensor | None, ...],
    writes: tuple[Tensor | None, ...],
    count: bool,
) -> Ready:
    q, k, v, *_ = reads
    n_problems, n_q, n_k = q.shape[:-2].numel(), q.shape[-2], k.shape[-2]
    widths, fixed = (q.shape[-1], v.shape[-1]), _fixed(problem, n_k)
    narrow = is_narrow(n_problems, n_q, n_k, q.dtype, *widths)
    built = library(fixed.map_number, q.dtype, *widths, order, count, fixed.sink, narrow)
    if built is None:
        raise RuntimeError(
            "path='c' needs a working C compiler; see attnlab.kernels.compiled.compiler.compiler_report()"
        )
    views, places, keep = [_NONE] * 16, [], []
    for place, x in zip((*_READS[function], *_WRITES[function]), (*reads, *writes), strict=True):
        if x is not None:
            offsets, *lies = _layout(x.shape, x.stride())
            views[place] = 0, *lies
            places.append(_FIRST_VIEW + _VIEW * place)
            keep.append(offsets)
    record = _TASK.pack(n_q, n_k, *fixed.numbers, *(number for view in views for number in view))
    work = n_problems * fixed.pairs * sum(widths)
    groups = -(-n_problems // n_lanes(built)) if work > _THREAD_WORK and not count else 1
    return Ready(getattr(built, function), built, record, tuple(places), tuple(keep), n_problems, groups, [])
