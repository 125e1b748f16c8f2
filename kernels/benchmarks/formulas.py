"""Score maps from a formula against the built-in maps that they equal: processor time of one as a ratio of the other's.

``python -m attnlab.kernels.benchmarks.formulas`` prints the table of docs/measured/formulas.md: medians of paired runs, in
alternating order, of the time that the thread was on the processor (other load does not count).
"""

from __future__ import annotations

import statistics
import time

import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores import SCORE_MAPS, Power, ScoreMap, score_map

#: Built-in map, and the formula, divisor and constant that it is.
PAIRS: dict[str, tuple[ScoreMap, tuple[str, str, float]]] = {
    "softmax": (SCORE_MAPS["softmax"], ("exp(s)", "sum", 0.0)),
    "softmax_plus_one": (SCORE_MAPS["softmax_plus_one"], ("exp(s)", "sum", 1.0)),
    "softplus": (SCORE_MAPS["softplus"], ("log(1 + exp(s))", "sum", 0.0)),
    "sigmoid": (SCORE_MAPS["sigmoid"], ("sigmoid(s)", "one", 0.0)),
    "relu": (SCORE_MAPS["relu"], ("relu(s)", "count", 0.0)),
    "relu_power 3": (Power(3, rectified=True), ("relu(s)**3", "sum", 0.0)),
    "power 2": (Power(2), ("s**2", "absolute", 0.0)),
    "signed": (SCORE_MAPS["signed"], ("sign(s) * exp(abs(s))", "absolute", 0.0)),
    "softpick": (SCORE_MAPS["softpick"], ("relu(exp(s) - 1)", "abs(exp(s) - 1)", 1e-6)),
}
CALLS = ("forward", "with gradient", "with second")


def ratios(name: str, dtype: torch.dtype, n_problems: int, n: int, width: int, rounds: int = 15) -> list[float]:
    """Time of the formula over that of the built-in map, for each of ``CALLS``; causal, compiled path, one thread."""
    built_in, (text, divide, plus) = PAIRS[name]
    formula = score_map(text, divide=divide, plus=plus)
    generator = torch.Generator().manual_seed(0)
    shape = n_problems, n, width
    tensors = [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for _ in range(3)]
    return [_ratio(built_in, formula, tensors, what, rounds) for what in CALLS]


def _ratio(built_in: ScoreMap, formula: ScoreMap, tensors: list[torch.Tensor], what: str, rounds: int) -> float:
    for score in (built_in, formula):
        _call(score, tensors, what)
    start = time.thread_time()
    _call(built_in, tensors, what)
    repeat = max(1, int(0.02 / max(time.thread_time() - start, 1e-5)))
    found = []
    for i in range(rounds):
        spent = {}
        for score in (built_in, formula) if i % 2 else (formula, built_in):
            start = time.thread_time()
            for _ in range(repeat):
                _call(score, tensors, what)
            spent[score] = time.thread_time() - start
        found.append(spent[formula] / spent[built_in])
    return statistics.median(found)


def _call(score: ScoreMap, tensors: list[torch.Tensor], what: str) -> None:
    if what == "forward":
        with torch.no_grad():
            attention(*tensors, score=score, mask="causal", path="c")
        return
    o = attention(*tensors, score=score, mask="causal", path="c")
    grads = torch.autograd.grad(o.sum(), tensors, create_graph=what == "with second")
    if what == "with second":
        torch.autograd.grad(sum(g.sum() for g in grads), tensors)


def table() -> str:
    """Rows of docs/measured/formulas.md."""
    lines = [
        "| built-in map | dtype | problems x n x width | " + " | ".join(CALLS) + " |",
        "|---|---|---|" + "---|" * len(CALLS),
    ]
    for dtype in (torch.float32, torch.float64):
        for sizes in ((256, 32, 4), (64, 64, 8)):
            for name in PAIRS:
                cells = " | ".join(f"{x:.2f}" for x in ratios(name, dtype, *sizes))
                lines.append(f"| {name} | {str(dtype)[6:]} | {' x '.join(map(str, sizes))} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table())
