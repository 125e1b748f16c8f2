"""The compiled CPU path: sequences in the lanes of a vector (``attention.c``), for the family "f over g".

Tensors are read where they lie: every operand is described by the offset of each problem and two strides, so transposed
heads and broadcast axes need no copy. Results do not depend on the number of threads: a group of lanes is computed
whole, by one thread.
"""

from __future__ import annotations

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels import compiler, counters
from attnlab.kernels.attention.problem import Problem
from attnlab.kernels.attention.scores import (
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

SOURCE = Path(__file__).with_name("attention.c")
MAPS = ("softmax", "softpick", "sigmoid", "linear", "relu", "power", "relu_power", "softplus", "signed")
#: Rows of the array of raw statistics, in the order of the enum in attention.c.
RAW = ("log_sum_exp", "entropy", "max_weight", "square", "logit_mean", "logit_variance", "weighted_logit_mean",
       "weighted_logit_variance", "mass")
MAX_WIDTH = 128
_THREAD_WORK = 1 << 21                    # below so many multiply-adds a second thread costs more than it brings


class _View(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("offset", ctypes.c_void_p), ("row", ctypes.c_int64),
                ("col", ctypes.c_int64)]


_VIEWS = ("q", "k", "v", "bias", "g", "qt", "kt", "vt", "bt", "o", "dq", "dk", "dv", "db", "stats", "dstats")


class _Task(ctypes.Structure):
    _fields_ = [("n_q", ctypes.c_int64), ("n_k", ctypes.c_int64), ("scale", ctypes.c_double),
                ("parameter", ctypes.c_double), ("first", ctypes.c_void_p), ("last", ctypes.c_void_p),
                ("cols", ctypes.c_void_p), ("in_mass", ctypes.c_void_p)] + [(name, _View) for name in _VIEWS]


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
    plain = {Sigmoid: 2, Softplus: 7, Signed: 8}.get(type(score))
    return None if plain is None else (plain, 0.0)


def supports(score: ScoreMap, dtype: torch.dtype, head_dim: int, value_dim: int) -> bool:
    """Whether attention.c has this score map, dtype and widths (a compiler may still be missing)."""
    return (map_of(score) is not None and dtype in (torch.float32, torch.float64)
            and 1 <= head_dim <= MAX_WIDTH and 1 <= value_dim <= MAX_WIDTH)


@functools.lru_cache(maxsize=256)
def library(map_number: int, dtype: torch.dtype, head_dim: int, value_dim: int, order: int, count: bool = False):
    """The build for these compile-time constants, or None without a working compiler; ``count``: one that counts."""
    single = int(dtype == torch.float32)
    built = compiler.load(SOURCE, MAP=map_number, REAL32=single, D=head_dim, DV=value_dim, PASS=order,
                          **({"COUNT": 1} if count else {}))
    if built is None:
        return None
    for name in ("forward", "backward") if order == 1 else ("second",):
        function = getattr(built, name)
        function.argtypes, function.restype = [ctypes.POINTER(_Task), ctypes.c_int64, ctypes.c_int64], None
    return built


def forward(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, with_stats: bool = False):
    """Output, and the array of raw statistics (..., query, 9) or None."""
    call = _Call(problem, q, k, v, bias)
    o = call.output("o", q.shape[-2], v.shape[-1])
    stats = call.output("stats", q.shape[-2], len(RAW)) if with_stats else None
    call.run("forward", 1)
    return o, stats


def backward(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, g: Tensor, want_bias: bool,
             dstats: Tensor | None = None):
    """Gradients (dq, dk, dv, dbias or None) for cotangents of the output and of the raw statistics."""
    call = _Call(problem, q, k, v, bias)
    call.input("g", g)
    if dstats is not None:
        call.input("dstats", dstats)
    out = (call.output("dq", *q.shape[-2:]), call.output("dk", *k.shape[-2:]), call.output("dv", *v.shape[-2:]),
           call.output("db", q.shape[-2], k.shape[-2]) if want_bias else None)
    call.run("backward", 1)
    return out


def second(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, tangents: tuple, g: Tensor | None,
           want_bias: bool = False):
    """As ``formulas.second``: (tangent,) or (tangent, dq, dk, dv, dbias or None)."""
    call = _Call(problem, q, k, v, bias)
    for name, x in zip(("qt", "kt", "vt", "bt"), tangents, strict=True):
        if x is not None:
            call.input(name, x)
    o = call.output("o", q.shape[-2], v.shape[-1])
    if g is None:
        call.run("second", 2)
        return (o,)
    call.input("g", g)
    out = (o, call.output("dq", *q.shape[-2:]), call.output("dk", *k.shape[-2:]), call.output("dv", *v.shape[-2:]),
           call.output("db", q.shape[-2], k.shape[-2]) if want_bias else None)
    call.run("second", 2)
    return out


class _Call:
    """Fills the C record; keeps everything it points to alive until the call has returned."""

    def __init__(self, problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None):
        self.lead, self.like = q.shape[:-2], q
        self.widths = q.shape[-1], v.shape[-1]
        self.n_problems = q.shape[:-2].numel()
        rows = problem.rows
        number, parameter = map_of(problem.score)
        self.map_number, self.keep = number, []
        task = self.task = _Task(n_q=q.shape[-2], n_k=k.shape[-2], scale=problem.scale, parameter=parameter)
        task.first, task.last = rows.first.ctypes.data, rows.last.ctypes.data
        if rows.cols is not None:
            task.cols = rows.cols.ctypes.data
        if "mass" in problem.names:
            in_mass = np.zeros(max(k.shape[-2], 1), dtype=np.uint8)
            in_mass[list(problem.mass.keys)] = 1
            self.keep.append(in_mass)
            task.in_mass = in_mass.ctypes.data
        self.work = self.n_problems * rows.n_pairs * sum(self.widths)
        for name, x in zip("qkv", (q, k, v), strict=True):
            self.input(name, x)
        if bias is not None:
            self.input("bias", bias)

    def input(self, name: str, x: Tensor) -> None:
        offset = _offsets(tuple(x.shape[:-2]), x.stride()[:-2])
        self.keep += [x, offset]
        setattr(self.task, name, _View(x.data_ptr(), offset.ctypes.data, x.stride(-2), x.stride(-1)))

    def output(self, name: str, rows: int, cols: int) -> Tensor:
        x = torch.empty((*self.lead, rows, cols), dtype=self.like.dtype, device=self.like.device)
        self.input(name, x)
        return x

    def run(self, function: str, order: int) -> None:
        counter = counters.active()
        built = library(self.map_number, self.like.dtype, *self.widths, order, counter is not None)
        if built is None:
            raise RuntimeError("path='c' needs a working C compiler; see attnlab.kernels.compiler.compiler_report()")
        if counter is not None:
            getattr(built, function)(self.task, 0, self.n_problems)
            counters.collect(built, counter)
            return
        call, lanes = getattr(built, function), 8 if self.like.dtype == torch.float32 else 4
        groups = -(-self.n_problems // lanes)
        threads = min(torch.get_num_threads(), groups) if self.work > _THREAD_WORK else 1
        if threads <= 1:
            call(self.task, 0, self.n_problems)
            return
        cuts = [min(lanes * (groups * i // threads), self.n_problems) for i in range(threads)] + [self.n_problems]
        list(_pool(threads).map(lambda i: call(self.task, cuts[i], cuts[i + 1]), range(threads)))


@functools.lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="attention")


@functools.lru_cache(maxsize=64)
def _offsets(sizes: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Offset of every problem, in numbers, in row-major order of the leading axes."""
    total = np.zeros(1, dtype=np.int64)
    for size, stride in zip(sizes, strides, strict=True):
        total = (total[:, None] + np.arange(size, dtype=np.int64) * stride).reshape(-1)
    return np.ascontiguousarray(total)
