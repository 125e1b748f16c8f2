"""The table by which ``attention()`` chooses a path: times of the paths on a grid of lengths and widths, and of a call."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.dispatch import DTYPES, FAMILIES, KINDS, PASSES, filled, instruction_set
from attnlab.kernels.benchmarks.timing import paired

WIDTHS = (1, 4, 16, 64, 128)
LENGTHS = (2, 8, 32, 128, 512, 2048)
#: Where the compiled path is this many times slower than the best, it is not timed at greater lengths: it grows as the pairs do.
FAR = 3.0
#: With as many queries as keys greater lengths are not timed: all paths grow as the pairs do.
LONGEST = 512
_SCORES = {"exponential": "sigmoid", "rational": "relu"}
#: Multiply-adds, bytes of operands and problems of a call, where 16 problems take no more.
_WORK, _BYTES, _MOST = 1 << 21, 1 << 26, 2048


def time_table(
    rounds: int = 7,
    widths: tuple[int, ...] = WIDTHS,
    lengths: tuple[int, ...] = LENGTHS,
    families: tuple[str, ...] = FAMILIES,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, object]:
    """The content of ``attention/dispatch.json`` for this machine: medians of ``rounds`` (of three for large calls).

    ``say`` hears of each grid as it is found.
    """
    found: dict = {}
    for family in families:
        for passes in PASSES:
            mine = found.setdefault(family, {}).setdefault(passes, {"fixed": _fixed(family, passes, rounds)})
            for dtype in DTYPES:
                mine[dtype] = {}
                for kind in KINDS:
                    rows = [
                        _row(family, passes, dtype, kind, width, lengths, rounds, mine["fixed"]) for width in widths
                    ]
                    mine[dtype][kind] = {path: [row[path] for row in rows] for path in mine["fixed"]}
                    say(f"{family}, {passes}, {dtype}, {kind}")
    return {"lengths": list(lengths), "widths": list(widths), "times": {instruction_set(): found}}


def _paths(family: str) -> list[str]:
    return ["c", "sdpa", "reference"] if family in ("softmax", "bias", "biases") else ["c", "reference"]


def _fixed(family: str, passes: str, rounds: int) -> dict[str, float]:
    """Nanoseconds of a call that has hardly anything to compute, on each path."""
    runs = {path: _call(family, passes, "float32", "full", 1, 2, 2, 4, path) for path in _paths(family)}
    return {path: round(1e9 * float(np.median(t))) for path, t in paired(runs, 20 * rounds).items()}


def _row(
    family: str,
    passes: str,
    dtype: str,
    kind: str,
    width: int,
    lengths: tuple[int, ...],
    rounds: int,
    fixed: dict[str, float],
) -> dict[str, list[float]]:
    """Binary logarithms of the nanoseconds of a problem, by length."""
    found: dict[str, list[float]] = {path: [] for path in fixed}
    timed, before = list(fixed), 1
    for n in lengths:
        n_q = 1 if kind == "query" else n
        problems = _WORK // (n_q * n * (width + 8)), _BYTES // (2 * n * width * getattr(torch, dtype).itemsize), _MOST
        n_problems = max(1, min(problems) // 16) * 16
        if n_q > LONGEST:
            timed = []
        runs = {path: _call(family, passes, dtype, kind, width, n, n_q, n_problems, path) for path in timed}
        seconds = paired(runs, rounds if n_problems * n_q * n * width < 1 << 24 else 3)
        median = {path: float(np.median(t)) for path, t in seconds.items()}
        for path, t in median.items():  # of what a call costs beyond its fixed part, at least a tenth is the problems'
            computed = filled(n_problems, dtype, instruction_set()) if path == "c" else n_problems
            found[path].append(round(math.log2(max(1e9 * t - fixed[path], 1e8 * t) / computed), 2))
        for path in found.keys() - median.keys():
            found[path].append(round(found[path][-1] + math.log2(n_q * n / before), 2))
        if median.get("c", 0.0) > FAR * min(median.values(), default=0.0):
            timed.remove("c")
        before = n_q * n
    return found


def _call(family, passes, dtype, kind, width, n, n_q, problems, path) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=getattr(torch, dtype))

    lead = (problems // 4, 4)
    q, k, v, g = (normal(*lead, size, width) for size in (n_q, n, n, n_q))
    options: dict = {
        "mask": "causal" if kind == "causal" else None,
        "path": path,
        "score": _SCORES.get(family, "softmax"),
    }
    if family in ("bias", "biases"):
        options["bias"] = normal(n_q, n) if family == "bias" else normal(*lead, n_q, n)
    if family == "statistics":
        options["statistics"] = ("entropy",)
    if passes == "forward":
        return lambda: attention(q, k, v, **options)
    operands = [x.requires_grad_() for x in (q, k, v)]

    def both() -> object:
        answer = attention(q, k, v, **options)
        if family != "statistics":
            return torch.autograd.grad(answer, operands, g)
        o, rows = answer
        return torch.autograd.grad((o, rows["entropy"]), operands, (g, g[..., 0]))

    return both
