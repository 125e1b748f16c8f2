r"""Which path computes a given size: a lookup in ``dispatch.json``, which ``attnlab bench kernels --dispatch FILE`` measures.

The table is committed data: two runs on one machine choose the same path. For each instruction set it holds the time of a
problem on each path on a grid of lengths and widths, and the fixed cost of a call:

.. math:: T = T_\text{fixed} + n\, t(\text{length}, \text{width}),

n the number of problems, on the compiled path rounded up to full lanes. Between the points of the grid log t is linear in
the logarithms of length and width.
"""

from __future__ import annotations

import bisect
import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch

TABLE = Path(__file__).with_name("dispatch.json")
#: What a call asks for: "softmax" alone, with a bias or mask shared by the problems, or with one for each; maps that take an
#: exponential and maps that do not; statistics of rows.
FAMILIES = ("softmax", "bias", "biases", "exponential", "rational", "statistics")
PASSES, KINDS, DTYPES = ("forward", "both"), ("query", "causal", "full"), ("float32", "float64")


@functools.lru_cache(maxsize=1)
def table() -> dict:
    """The committed times: under "times" by instruction set, family and pass, the "fixed" nanoseconds of a call on each path, and
    by dtype, kind and path a row for each of "widths": binary logarithms of the nanoseconds of a problem at the "lengths".
    """
    return json.loads(TABLE.read_text())


@functools.lru_cache(maxsize=1)
def instruction_set() -> str:
    """Which of the measured sets this machine is like: "avx512" or "avx2"."""
    return "avx512" if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else "avx2"


@functools.lru_cache(maxsize=4096)
def choose_path(
    possible: tuple[str, ...],
    family: str,
    passes: str,
    kind: str,
    n_queries: int,
    n_keys: int,
    widths: tuple[int, int],
    n_problems: int,
    dtype: str = "float32",
    instructions: str | None = None,
) -> str:
    """The fastest of the ``possible`` paths ("c", "sdpa", "reference") for one size, by the table.

    ``family``, ``passes``, ``kind``, ``dtype``: one of ``FAMILIES``, ``PASSES``, ``KINDS`` ("query": one query) and ``DTYPES``;
    ``widths``: of heads and values; ``n_problems``: product of the leading axes.
    """
    found, machine = table(), instructions or instruction_set()
    measured = found["times"][machine][family][passes]
    length = max(n_queries, n_keys)

    def time(path: str) -> float:
        rows = measured[dtype][kind].get(path)
        if rows is None:
            return math.inf
        width = max(widths) if path == "sdpa" else sum(widths) / 2  # "sdpa" fills up the narrower of the two
        one = 2.0 ** _between(rows, found["widths"], found["lengths"], width, length)
        computed = filled(n_problems, dtype, machine) if path == "c" else n_problems
        return measured["fixed"][path] + computed * one

    return min(possible, key=time)


def filled(n_problems: int, dtype: str, instructions: str) -> int:
    """The number of problems in full lanes of the compiled path; with AVX-512 twice as many lanes, unless half would be empty."""
    narrow = 32 // getattr(torch, dtype).itemsize
    lanes = 2 * narrow if instructions == "avx512" and n_problems > narrow else narrow
    return -(-n_problems // lanes) * lanes


def _between(
    rows: Sequence[Sequence[float]], widths: Sequence[int], lengths: Sequence[int], width: float, length: float
) -> float:
    """Bilinear in the logarithms of width and length; beyond the grid the value at its edge."""
    i, a = _place(widths, width)
    j, b = _place(lengths, length)
    low, high = rows[i], rows[min(i + 1, len(widths) - 1)]
    k = min(j + 1, len(lengths) - 1)
    return (1 - a) * ((1 - b) * low[j] + b * low[k]) + a * ((1 - b) * high[j] + b * high[k])


def _place(grid: Sequence[int], x: float) -> tuple[int, float]:
    """The point of the grid below x, and how far x is on the way to the next one."""
    i = bisect.bisect_right(grid, x) - 1
    if i < 0:
        return 0, 0.0
    if i >= len(grid) - 1:
        return len(grid) - 1, 0.0
    return i, math.log(x / grid[i]) / math.log(grid[i + 1] / grid[i])
