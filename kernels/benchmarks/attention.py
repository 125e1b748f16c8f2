"""Attention side by side with torch, as plain records: the laboratory's shapes, every size varied alone, counted work.

FLOPs are counted dense, 4 N^2 d a head forward and 2.5 times that backward, whether or not a mask lets a kernel skip
half. ``attnlab bench kernels`` prints these records; ``speeds`` measures the data of ``attention/dispatch.json``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.benchmarks.timing import compare, sgemm_peak
from attnlab.kernels.compiled import counters
from attnlab.kernels.linear_attention import linear_attention

#: (problems, tokens, head width) of the laboratory's models.
SHAPES = (
    (1024, 8, 2),
    (1024, 16, 4),
    (1024, 40, 6),
    (512, 64, 8),
    (256, 64, 16),
    (128, 128, 16),
    (32, 256, 32),
    (8, 1024, 64),
)
#: Calls so small that their fixed cost shows.
SMALLEST = ((4, 16, 4), (16, 16, 4), (64, 16, 4), (256, 16, 4), (64, 40, 6), (4, 64, 64))
#: (problems, keys, head width) of in-context tasks with one query a problem.
QUERY_SHAPES = ((4096, 40, 6), (4096, 12, 6), (1024, 200, 8), (256, 1000, 16))
#: What varies: the values, and the sizes that stay.
SWEEPS = {
    "problems": ((8, 32, 128, 512, 2048), {"tokens": 40, "width": 6}),
    "tokens": ((8, 16, 32, 64, 128, 256), {"problems": 64, "width": 8}),
    "width": ((2, 4, 8, 16, 32, 64), {"problems": 64, "tokens": 64}),
}
#: Lengths at which linear and softmax attention are compared, and (problems, width) there.
LENGTHS, LONG = (64, 256, 1024, 4096), (8, 16)
BASE = "torch sdpa"


def attention_records(shapes: Iterable[tuple[int, int, int]] = SHAPES, rounds: int = 9) -> list[dict[str, object]]:
    """Forward and backward of softmax attention: compiled, fused, what "auto" takes, SDPA, plain tensor operations."""
    records, peak = [], sgemm_peak()
    for problems, n, d in shapes:
        for mask in ("none", "causal"):
            candidates = _candidates(tensors(problems, n, d), mask)
            if problems * n * n > 1 << 21:
                candidates.pop("torch eager")
            records += compare(
                candidates,
                BASE,
                rounds,
                dense_flops(problems, n, n, d),
                peak,
                problems=problems,
                queries=n,
                tokens=n,
                width=d,
                mask=mask,
            )
    return records


def query_records(shapes: Iterable[tuple[int, int, int]] = QUERY_SHAPES, rounds: int = 15) -> list[dict[str, object]]:
    """One query a problem, forward and backward: the hot case of in-context tasks."""
    records, peak = [], sgemm_peak()
    for problems, n, d in shapes:
        records += compare(
            _candidates(tensors(problems, n, d, n_q=1), "none"),
            BASE,
            rounds,
            dense_flops(problems, 1, n, d),
            peak,
            problems=problems,
            queries=1,
            tokens=n,
            width=d,
            mask="none",
        )
    return records


def size_records(sweeps: dict[str, tuple] | None = None, rounds: int = 9) -> list[dict[str, object]]:
    """Causal attention, forward and backward, as one size varies and the others stay: the curves of the bench figure."""
    records, peak = [], sgemm_peak()
    for varies, (values, fixed) in (SWEEPS if sweeps is None else sweeps).items():
        for value in values:
            problems, n, d = (({**fixed, varies: value})[name] for name in ("problems", "tokens", "width"))
            candidates = _candidates(tensors(problems, n, d), "causal")
            candidates = {name: candidates[name] for name in ("c", BASE, "torch eager")}
            records += compare(
                candidates,
                BASE,
                rounds,
                dense_flops(problems, n, n, d),
                peak,
                varies=varies,
                problems=problems,
                queries=n,
                tokens=n,
                width=d,
                mask="causal",
            )
    return records


def linear_records(lengths: Iterable[int] = LENGTHS, rounds: int = 9) -> list[dict[str, object]]:
    """Causal linear and softmax attention, forward and backward, as the length grows: where linear time pays."""
    records, peak = [], sgemm_peak()
    problems, d = LONG
    for n in lengths:
        q, k, v, g = tensors(problems, n, d)
        candidates = {
            name: made for name, made in _candidates([q, k, v, g], "causal").items() if name in ("auto", BASE)
        }
        for form in ("chunked", "parallel"):
            candidates[f"linear, {form}"] = lambda form=form, q=q, k=k, v=v, g=g: torch.autograd.grad(
                linear_attention(q, k, v, form=form)[0], (q, k, v), g
            )
        records += compare(
            candidates,
            BASE,
            rounds,
            dense_flops(problems, n, n, d),
            peak,
            problems=problems,
            tokens=n,
            width=d,
            mask="causal",
        )
    return records


def work_records(
    shapes: Iterable[tuple[int, int, int, int]] = ((64, 40, 40, 6), (64, 1, 40, 6), (64, 64, 64, 16)),
) -> list[dict[str, object]]:
    """Counted multiply-adds, exponentials and bytes of each pass of the compiled and the plain path.

    Shapes are (problems, queries, keys, width), problems a multiple of 16 lanes.
    """
    records = []
    for problems, n_q, n, d in shapes:
        for mask in ("none",) if n_q != n else ("none", "causal"):
            for path in ("c", "reference"):
                q, k, v, g = tensors(problems, n, d, n_q)
                step(q, k, v, g, mask, path)()  # builds and caches
                with counters.counting() as forward:
                    o = attention(q, k, v, mask=_mask(mask), path=path)
                with counters.counting() as backward:
                    torch.autograd.grad(o, (q, k, v), g)
                records += [
                    {
                        "problems": problems,
                        "queries": n_q,
                        "tokens": n,
                        "width": d,
                        "mask": mask,
                        "path": path,
                        "pass": name,
                        "multiply_adds": work.multiply_adds,
                        "exponentials": work.exponentials,
                        "bytes": work.bytes_read + work.bytes_written,
                    }
                    for name, work in (("forward", forward), ("backward", backward))
                ]
    return records


def dense_flops(problems: int, n_q: int, n: int, d: int) -> float:
    """Forward and backward in the usual convention, 3.5 times 4 N_q N_k d."""
    return 3.5 * 4 * problems * n_q * n * d


def tensors(problems: int, n: int, d: int, n_q: int | None = None) -> list[Tensor]:
    """q, k, v with gradients and the cotangent of the output, (problems/4, 4, position, width)."""
    generator = torch.Generator().manual_seed(0)
    sizes = (n if n_q is None else n_q, n, n, n if n_q is None else n_q)
    made = [torch.randn(problems // 4, 4, size, d, generator=generator) for size in sizes]
    return [x.requires_grad_() for x in made[:3]] + made[3:]


def step(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, mask: str, path: str, score: str = "softmax"
) -> Callable[[], object]:
    """Forward and backward of this package's attention on a path."""
    return lambda: torch.autograd.grad(attention(q, k, v, mask=_mask(mask), path=path, score=score), (q, k, v), g)


def eager(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """What a user writes in plain torch."""
    s = q @ k.mT / math.sqrt(q.shape[-1])
    if hidden is not None:
        s = s.masked_fill(hidden, -torch.inf)
    return s.softmax(-1) @ v


def hidden_pairs(mask: str, n_q: int, n: int) -> Tensor | None:
    """True where a causal mask hides a key, or None."""
    return torch.ones(n_q, n, dtype=torch.bool).triu(1) if mask == "causal" else None


def _mask(mask: str) -> str | None:
    return None if mask == "none" else mask


def _candidates(operands: list[Tensor], mask: str) -> dict[str, Callable[[], object]]:
    q, k, v, g = operands
    sdpa = torch.nn.functional.scaled_dot_product_attention
    hidden = hidden_pairs(mask, q.shape[-2], k.shape[-2])
    paths = {path: step(q, k, v, g, mask, path) for path in ("c", "sdpa", "auto")}
    return {
        **paths,
        BASE: lambda: torch.autograd.grad(sdpa(q, k, v, is_causal=mask == "causal"), (q, k, v), g),
        "torch eager": lambda: torch.autograd.grad(eager(q, k, v, hidden), (q, k, v), g),
    }
