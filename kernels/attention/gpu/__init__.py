"""The Triton path: fused forward and recomputing backward on GPU, for the family "f over g", biases and statistics included.

float32 and float64 at full precision, bfloat16 and float16 with float32 accumulators. Second derivatives and forward
mode come from ``formulas``. Triton is the optional extra ``gpu``; without it this path does not exist. With
``TRITON_INTERPRET=1`` set before triton is imported the same kernels run on CPU tensors, slowly, for tests.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import types
import weakref
from pathlib import Path

import torch
from torch import Tensor

from attnlab.kernels.attention import cpu
from attnlab.kernels.attention.cpu import map_of
from attnlab.kernels.attention.problem import Problem, Rows
from attnlab.kernels.attention.scores.f_over_g import ScoreMap
from attnlab.kernels.attention.scores.formula import generated

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
MAX_WIDTH = 128


def interpreting() -> bool:
    """Whether triton was told to run kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.lru_cache(maxsize=1)
def available() -> bool:
    """Whether triton is installed and there is something to run it on."""
    return importlib.util.find_spec("triton") is not None and (torch.cuda.is_available() or interpreting())


def supports(score: ScoreMap, dtype: torch.dtype, device: torch.device, head_dim: int, value_dim: int) -> bool:
    """Whether the kernels cover this score map, dtype, device and widths."""
    return (
        map_of(score) is not None
        and dtype in DTYPES
        and available()
        and max(head_dim, value_dim) <= MAX_WIDTH
        and (device.type == "cuda" or interpreting())
    )


def tiles(dtype: torch.dtype, width: int, statistics: bool = False) -> dict[str, tuple[int, int]]:
    """(queries, keys) of a tile in each kernel: sizes that compile without spills for sm_80 and sm_90."""
    if dtype in (torch.bfloat16, torch.float16):
        return {"forward": (32, 32), "dq": (32, 32), "dkv": (32, 32)}
    if dtype == torch.float64:
        return {"forward": (16, 16), "dq": (16, 16 if statistics else 32), "dkv": (16, 16)}
    return {"forward": (16, 32 if width <= 64 else 16), "dq": (16, 32), "dkv": (16, 32 if width <= 16 else 16)}


def is_packed(dtype: torch.dtype, n_q: int, n_k: int, width: int) -> bool:
    """Whether problems share programs: a product would be seven eighths padding, and gathered rows fit the registers."""
    return width <= (8 if dtype == torch.float64 else 16) and min(n_q, 16) * min(n_k, 16) <= 32


def packed_tiles(dtype: torch.dtype, n_q: int, n_k: int) -> dict[str, tuple[int, int]]:
    """(queries, keys) of a tile in each kernel where problems share it: all rows at hand, and the columns of one problem."""
    room = 128 if dtype == torch.float64 else 256
    of_keys, of_queries = (min(32, 1 << (max(n, 1) - 1).bit_length()) for n in (n_k, n_q))
    queries, keys = min(128, room // of_keys), min(128, room // of_queries)
    return {"forward": (queries, of_keys), "dq": (queries, of_keys), "dkv": (of_queries, keys)}


def padded(width: int, least: int = 16) -> int:
    """The width that a product runs at: a power of two of at least ``least``."""
    return max(least, 1 << (width - 1).bit_length())


def constants(
    problem: Problem,
    dtype: torch.dtype,
    n_q: int,
    n_k: int,
    head_dim: int,
    value_dim: int,
    kernel: str,
    bias: bool = False,
    want_bias: bool = False,
    statistics: bool = False,
) -> dict[str, object]:
    """Compile-time arguments of one kernel; ``bias``: there is one, ``want_bias``: with its gradient."""
    import triton.language as tl

    low = {torch.float32: tl.float32, torch.float64: tl.float64, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
    rows, width = problem.rows, max(head_dim, value_dim)
    packed = is_packed(dtype, n_q, n_k, width)
    queries, keys = (packed_tiles(dtype, n_q, n_k) if packed else tiles(dtype, width, statistics))[kernel]
    least = 1 if packed else 32 if statistics and dtype == torch.float64 else 16  # 16 spills eight bytes there
    number, parameter = map_of(problem.score)
    more = {"WANT_DB": want_bias} if kernel == "dq" else {}
    return {
        "D": head_dim,
        "DV": value_dim,
        "DP": padded(head_dim, least),
        "DVP": padded(value_dim, least),
        "BM": queries,
        "BN": keys,
        "MAP": min(number, generated.FIRST),
        "P": int(parameter) if number in (5, 6) else 1,
        "BIAS": bias,
        "STATS": statistics,
        **more,
        "CAUSAL": rows.causal,
        "MASKED": not (rows.full or rows.causal),
        "PACKED": packed,
        "LOW": low[dtype],
        "ACC": tl.float64 if dtype == torch.float64 else tl.float32,
        "EMULATE": interpreting() and dtype in (torch.bfloat16, torch.float16),
    }


#: Programs of one launch: the first axis of a grid is the only one that goes beyond 65,535.
MOST_PROGRAMS = 2**31 - 1


def grid(fixed: dict[str, object], kernel: str, n_problems: int, n_q: int, n_k: int) -> tuple[int]:
    """Programs of a launch: blocks of rows of each problem, one problem after the other, or of the rows of all problems."""
    n, block = (n_k, fixed["BN"]) if kernel == "dkv" else (n_q, fixed["BM"])
    programs = -(-n * n_problems // block) if fixed["PACKED"] else -(-n // block) * n_problems
    if programs > MOST_PROGRAMS:
        raise ValueError(
            f"attention over {n_problems} problems of {n_q} queries and {n_k} keys needs {programs} programs on the GPU; at "
            f"most {MOST_PROGRAMS} can be launched, cut the leading axes into parts"
        )
    return (programs,)


def kernels_of(score: ScoreMap) -> types.ModuleType:
    """The module of kernels for a score map: one for all built-in maps, and a copy with its own functions for every formula."""
    return _kernels(map_of(score)[0])


@functools.lru_cache(maxsize=64)
def _kernels(number: int) -> types.ModuleType:
    from attnlab.kernels.attention.gpu import kernels

    if number < generated.FIRST:
        return kernels
    copy = types.ModuleType(f"{kernels.__name__}_{number}")
    file = Path(kernels.__file__)
    exec(compile(file.read_text(), str(file), "exec"), copy.__dict__)
    vars(copy).update(generated.triton_functions(number))
    return copy


def forward(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Output, and (level, 1/Z) of every row (..., query, 2), which the backward needs."""
    return _forward(problem, q, k, v, bias, False)[:2]


def forward_with_statistics(
    problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, raw statistics (..., query, 10), and (level, 1/Z, T, count, key of the largest weight) of every row."""
    o, rows, record = _forward(problem, q, k, v, bias, True)
    record = record.movedim(0, -1)
    return o, record[..., : len(cpu.RAW)].contiguous(), torch.cat([rows, record[..., len(cpu.RAW) :]], -1)


def _forward(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, statistics: bool):
    from attnlab.kernels.attention.gpu import statistics as gpu_statistics

    gpu_kernels = kernels_of(problem.score)
    lead, n_q, n_k, widths = q.shape[:-2], q.shape[-2], k.shape[-2], (q.shape[-1], v.shape[-1])
    o, rows = q.new_empty((*lead, n_q, widths[1])), q.new_empty((2, *lead, n_q), dtype=_accumulator(q.dtype))
    record = rows.new_empty((len(gpu_statistics.RECORD), *lead, n_q)) if statistics else rows
    fixed = constants(problem, q.dtype, n_q, n_k, *widths, "forward", bias is not None, statistics=statistics)
    if o.numel():
        operands = (
            q.contiguous(),
            k.contiguous(),
            v.contiguous(),
            _bias(bias, q),
            _mask(problem, q),
            _scalars(problem, q),
        )
        chosen = _chosen(problem, n_k, q.dtype, q.device, statistics)
        sizes = lead.numel(), n_q, n_k
        launch = gpu_kernels.forward_kernel[grid(fixed, "forward", *sizes)]
        launch(*operands, o, rows[0], rows[1], chosen, record, *sizes, **fixed)
    return o, torch.stack([rows[0], rows[1]], -1), record


def backward(
    problem: Problem,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    rows: Tensor,
    g: Tensor,
    bias: Tensor | None = None,
    want_bias: bool = False,
    statistics: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """Gradients (dq, dk, dv), and that of the bias if wanted; ``statistics``: the raw ones and their cotangents."""
    from attnlab.kernels.attention.gpu import statistics as gpu_statistics

    gpu_kernels = kernels_of(problem.score)
    lead, n_q, n_k, widths = q.shape[:-2], q.shape[-2], k.shape[-2], (q.shape[-1], v.shape[-1])
    q, k, v, g = (x.contiguous() for x in (q, k, v, g))
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    m, u, *rest = (x.contiguous() for x in rows.unbind(-1))
    delta = (o.to(m.dtype) * g.to(m.dtype)).sum(-1)
    db = q.new_zeros((*lead, n_q, n_k)) if want_bias else None
    slopes = m
    if statistics is not None:
        raw, cotangents = statistics
        slopes = gpu_statistics.coefficients(
            torch.cat([raw.movedim(-1, 0), torch.stack(rest)]), u, cotangents.movedim(-1, 0)
        )
    shared = (
        q,
        k,
        v,
        g,
        _bias(bias, q),
        _mask(problem, q),
        _scalars(problem, q),
        m,
        u,
        delta,
        _chosen(problem, n_k, q.dtype, q.device, statistics is not None),
        slopes,
    )
    passes = (
        ("dq", gpu_kernels.dq_kernel, (dq, q if db is None else db), n_q),
        ("dkv", gpu_kernels.dkv_kernel, (dk, dv), n_k),
    )
    for name, kernel, out, n in passes:
        fixed = constants(
            problem, q.dtype, n_q, n_k, *widths, name, bias is not None, want_bias, statistics is not None
        )
        if n:
            sizes = lead.numel(), n_q, n_k
            kernel[grid(fixed, name, *sizes)](*shared, *out, *sizes, **fixed)
    return (dq, dk, dv, db) if want_bias else (dq, dk, dv)


def flag_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type of masks: Triton cannot build a float64 product of anything that a shorter type was loaded for."""
    return torch.int64 if dtype == torch.float64 else torch.uint8


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is being recorded: what is made meanwhile belongs to the graph and is not kept for other calls."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _kept(make, device: torch.device, *key) -> Tensor:
    """``make(device, *key)``, once per device and value."""
    if _capturing(device):
        return make(device, *key)
    return _once(make, device, *key)


@functools.lru_cache(maxsize=1024)
def _once(make, device: torch.device, *key) -> Tensor:
    return make(device, *key)


def _scalars(problem: Problem, like: Tensor) -> Tensor:
    """Scale and the map's parameter, exact in the accumulator type."""
    return _kept(_numbers, like.device, _accumulator(like.dtype), problem.scale, map_of(problem.score)[1])


def _numbers(device: torch.device, dtype: torch.dtype, *values: float) -> Tensor:
    """A vector of numbers, written on the device: nothing is copied to it, so that a graph can record the call."""
    made = torch.empty(len(values), dtype=dtype, device=device)
    for i, value in enumerate(values):
        made[i].fill_(value)
    return made


def _chosen(problem: Problem, n_k: int, dtype: torch.dtype, device: torch.device, statistics: bool) -> Tensor:
    """Which keys the statistic "mass" counts."""
    keys = problem.mass.keys if "mass" in problem.names else ()
    return _kept(_flags, device, flag_dtype(dtype), n_k if statistics else 1, keys)


def _flags(device: torch.device, dtype: torch.dtype, n: int, keys: tuple[int, ...]) -> Tensor:
    made = torch.zeros(n, dtype=dtype, device=device)
    for key in keys:
        made[key].fill_(1)
    return made


def _bias(bias: Tensor | None, like: Tensor) -> Tensor:
    return like if bias is None else bias.contiguous()  # without a bias any pointer will do: it is not read


def _mask(problem: Problem, like: Tensor) -> Tensor:
    """The boolean matrix that all problems share, copied to the device once for all calls with the same rows."""
    rows, flags = problem.rows, flag_dtype(like.dtype)
    if rows.full or rows.causal:
        return _kept(_flags, like.device, flags, 1, ())
    if rows.visible.is_cuda:
        return rows.visible.to(flags).contiguous()
    known = _masks.setdefault(rows, {})
    key = like.device, flags
    if key not in known:
        if _capturing(like.device):
            raise RuntimeError(
                "a mask is not on the device yet while a CUDA graph is being captured: run the call once before the capture"
            )
        known[key] = rows.visible.to(device=like.device, dtype=flags).contiguous()
    return known[key]


_masks: weakref.WeakKeyDictionary[Rows, dict[tuple, Tensor]] = weakref.WeakKeyDictionary()
