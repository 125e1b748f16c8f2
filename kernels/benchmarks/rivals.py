"""The alternatives that torch compiles: torch.compile of plain attention, and FlexAttention; with the reason where one fails.

Compiling takes 10 to 60 seconds a graph, so few shapes are compared. On CPU FlexAttention has a forward pass only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.benchmarks.attention import BASE, dense_flops, eager, hidden_pairs, tensors
from attnlab.kernels.benchmarks.timing import compare, sgemm_peak

#: (problems, tokens, width, mask)
SHAPES = ((1024, 40, 6, "causal"), (256, 64, 16, "none"))
_FAILURES = (RuntimeError, OSError, ImportError, ValueError, subprocess.SubprocessError)


def compiled_records(
    shapes: Iterable[tuple[int, int, int, str]] = SHAPES,
    rounds: int = 15,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """(records, reasons): both passes and the forward pass alone, against what torch compiles here.

    ``reasons`` lists {"candidate", "pass", "reason"} of what does not run.
    """
    records, reasons, peak = [], [], sgemm_peak()
    sdpa = torch.nn.functional.scaled_dot_product_attention
    for problems, n, d, mask in shapes:
        q, k, v, g = tensors(problems, n, d)
        hidden, causal = hidden_pairs(mask, n, n), mask == "causal"
        plain, flex = torch.compile(eager, dynamic=False), _flex(n, causal)

        free = [x.detach() for x in (q, k, v)]

        def runs(f: Callable[..., Tensor], backward: bool, operands=(q, k, v), free=free, g=g) -> Callable[[], object]:
            return (lambda: torch.autograd.grad(f(*operands), operands, g)) if backward else (lambda: f(*free))

        known = {
            "auto": lambda q, k, v, m=mask: attention(q, k, v, mask=None if m == "none" else m),
            BASE: lambda q, k, v, c=causal: sdpa(q, k, v, is_causal=c),
            "torch eager": lambda q, k, v, h=hidden: eager(q, k, v, h),
        }
        compiled = {"torch.compile": lambda q, k, v, h=hidden, f=plain: f(q, k, v, h), "FlexAttention": flex}
        for passes, backward in (("forward and backward", True), ("forward", False)):
            candidates = {name: runs(f, backward) for name, f in known.items()}
            for name, f in compiled.items():
                say(f"compiling {name}, {passes}, {n} tokens of width {d}")
                reason = failure(runs(f, backward))
                if reason is None:
                    candidates[name] = runs(f, backward)
                else:
                    reasons.append({"candidate": name, "pass": passes, "tokens": n, "width": d, "reason": reason})
            flops = dense_flops(problems, n, n, d) / (1 if backward else 3.5)
            records += compare(
                candidates,
                BASE,
                rounds,
                flops,
                peak,
                problems=problems,
                queries=n,
                tokens=n,
                width=d,
                mask=mask,
                **{"pass": passes},
            )
    return records, reasons


def _flex(n: int, causal: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    made = torch.compile(flex_attention, dynamic=False)
    if not causal:
        return made
    block = create_block_mask(lambda batch, head, i, j: i >= j, None, None, n, n, device="cpu")
    return lambda q, k, v: made(q, k, v, block_mask=block)


def failure(run: Callable[[], object]) -> str | None:
    """None if it runs, else the first line of what it says."""
    try:
        run()
    except _FAILURES as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:200]
    return None
