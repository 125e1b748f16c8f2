"""Side-by-side timings of the kernels against torch, as plain records: paired, alternating, medians and ratios.

Every candidate of a comparison runs once a round, in turn, so that a busy machine slows all of them alike; ratios are
medians of the ratios within a round. ``sgemm_peak`` and ``copy_bandwidth`` are measured in the same run. FLOPs are
counted dense, 4 N^2 d a head forward and 2.5 times that backward, whether or not a mask lets a kernel skip half.

``attnlab bench kernels`` prints ``attention_records``, ``attnlab bench training`` ``training_records``;
``crossover_table`` measures the data of ``attention/dispatch.json``.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels import compiler
from attnlab.kernels.attention import attention
from attnlab.kernels.icl_step import Optimiser, Shape, State, Stream, draw, fused, loss_and_gradient, train

#: (problems, tokens, head width) of the laboratory's models.
SHAPES = ((1024, 8, 2), (1024, 16, 4), (1024, 40, 6), (512, 64, 8), (256, 64, 16), (128, 128, 16), (32, 256, 32),
          (8, 1024, 64))


def paired(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each candidate in each round; one call of each comes first and is not counted.

    On one thread these are seconds of processor time, which a busy machine does not stretch; else of the wall clock.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for run in candidates.values():
        run()
    seconds = {name: np.empty(rounds) for name in candidates}
    for i in range(rounds):
        for name, run in candidates.items():
            start = clock()
            run()
            seconds[name][i] = clock() - start
    return seconds


def machine() -> dict[str, object]:
    """What the timings were made on."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        name = next((value.strip() for key, value in fields.items() if key.strip() == "model name"), name)
    except OSError:
        pass
    report = compiler.compiler_report()
    return {"cpu": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "compiler": report["version"],
            "sgemm_gflops": sgemm_peak(), "copy_gb_per_s": copy_bandwidth()}


def sgemm_peak(n: int = 1024, rounds: int = 7) -> float:
    """Best rate of a square float32 product in GFLOP/s, on torch's threads."""
    a = torch.ones(n, n)
    return 2 * n**3 / float(paired({"sgemm": lambda: a @ a}, rounds)["sgemm"].min()) / 1e9


def copy_bandwidth(megabytes: int = 256, rounds: int = 5) -> float:
    """Best rate of a copy in GB/s, bytes read and written."""
    a, b = torch.ones(megabytes << 18), torch.empty(megabytes << 18)
    return 2 * a.numel() * 4 / float(paired({"copy": lambda: b.copy_(a)}, rounds)["copy"].min()) / 1e9


def attention_records(shapes: Iterable[tuple[int, int, int]] = SHAPES, rounds: int = 9) -> list[dict[str, object]]:
    """Forward and backward of softmax attention: compiled, SDPA, plain tensor operations, and what "auto" takes."""
    records, peak = [], sgemm_peak()
    for problems, n, d in shapes:
        q, k, v, g = _tensors(problems, n, d)
        for mask in (None, "causal"):
            candidates = {path: _step(q, k, v, g, mask, path) for path in ("c", "sdpa", "auto")}
            candidates["torch sdpa"] = _torch_sdpa(q, k, v, g, mask)
            if problems * n * n <= 1 << 21:
                candidates["torch eager"] = _torch_eager(q, k, v, g, mask)
            flops = 3.5 * 4 * problems * n * n * d
            records += _compare(candidates, "torch sdpa", rounds, flops, peak, problems=problems, tokens=n, width=d,
                                mask=mask or "none")
    return records


def query_records(rounds: int = 15) -> list[dict[str, object]]:
    """One query a problem, forward and backward: the hot case of in-context tasks."""
    records, peak = [], sgemm_peak()
    for problems, n, d in ((4096, 40, 6), (4096, 12, 6), (1024, 200, 8), (256, 1000, 16)):
        q, k, v, g = _tensors(problems, n, d, n_q=1)
        candidates = {path: _step(q, k, v, g, None, path) for path in ("c", "sdpa", "auto")}
        candidates["torch sdpa"] = _torch_sdpa(q, k, v, g, None)
        candidates["torch eager"] = _torch_eager(q, k, v, g, None)
        records += _compare(candidates, "torch sdpa", rounds, 3.5 * 4 * problems * n * d, peak, problems=problems,
                            tokens=n, width=d, mask="one query")
    return records


def training_records(rounds: int = 5, n_replicas: int = 64) -> list[dict[str, object]]:
    """A step of in-context regression (d + 1 = 6, 4 heads) for an ensemble: fused against per-model loops of torch."""
    records, peak = [], sgemm_peak()
    for causal, batch, context in ((True, 256, 40), (True, 16, 40), (True, 16, 12), (False, 256, 40), (False, 16, 40)):
        shape = Shape(dim=5, n_context=context, n_heads=4, batch=batch, causal=causal)
        state, stream = _start(shape, n_replicas), Stream(np.arange(n_replicas, dtype=np.uint64), 0.3)
        data = draw(shape, stream, 0, 1)
        flops = 3.5 * 4 * context * shape.n_rows * (shape.dim + 1) * shape.n_heads * batch * n_replicas
        base = "loop, projections"
        if causal:                                            # gradients of given batches, as the loop does
            candidates = {"fused": lambda s=shape, a=state, b=data: loss_and_gradient(s, a, b, path="c"),
                          "batched": lambda s=shape, a=state, b=data: loss_and_gradient(s, a, b, path="reference")}
        else:                                                 # the whole step: new data, gradient, Adam
            candidates = {"fused": lambda s=shape, a=state, b=stream: train(s, a, 1, data=b, optimiser=Optimiser(1e-3),
                                                                            path="c")}
        for name, folded in ((base, False), ("loop, folded", True)):
            candidates[name] = _loop(shape, state, data, folded, with_data_and_adam=not causal)
        records += _compare(candidates, base, rounds, flops, peak, rows="causal" if causal else "one query, data, Adam",
                            batch=batch, context=context, replicas=n_replicas)
    return records


def normals_records(rounds: int = 15) -> list[dict[str, object]]:
    """Nanoseconds a standard normal: the counter-based stream against torch's."""
    count, width = 4000, 252
    x = torch.empty(count * width)
    seconds = paired({"stream": lambda: fused.normals(1, 0, count, width), "torch": x.normal_}, rounds)
    raw = fused.time_normals(count, width, rounds)
    ratio = float(np.median(seconds["torch"] / seconds["stream"]))
    best, other = (float(seconds[name].min()) for name in ("stream", "torch"))
    rows = (("stream, reordered for numpy", best, ratio), ("stream, in lanes", raw, other / raw),
            ("torch normal_", other, 1.0))
    return [{"candidate": name, "ns_a_number": 1e9 * t / x.numel(), "speed_against_torch": r} for name, t, r in rows]


def crossover_table(rounds: int = 7, widths: tuple[int, ...] = (2, 4, 8, 16, 32)) -> dict[str, object]:
    """The data of ``attention/dispatch.json``: the longest context at which the compiled path is not slower.

    Lengths double from 8; a length counts if the compiled path's median is not larger. The search stops after two
    lengths that do not.
    """
    found: dict[str, dict[str, list[list[int]]]] = {"softmax": {}, "other": {}}
    for family, score, rival in (("softmax", "softmax", "sdpa"), ("other", "relu", "reference")):
        for kind in ("query", "causal", "full"):
            rows = []
            for width in widths:
                longest, failures, n = 0, 0, 8
                while n <= (4096 if kind == "query" else 1024) and failures < 2:
                    n_q = 1 if kind == "query" else n
                    problems = max(8, min(1024, (1 << 18) // (n * n_q) // 8 * 8))
                    q, k, v, g = _tensors(problems, n, width, n_q)
                    mask = "causal" if kind == "causal" else None
                    seconds = paired({path: _step(q, k, v, g, mask, path, score) for path in ("c", rival)}, rounds)
                    faster = np.median(seconds[rival]) >= np.median(seconds["c"])
                    longest, failures, n = (n, 0, 2 * n) if faster else (longest, failures + 1, 2 * n)
                rows.append([width, longest])
            found[family][kind] = rows
    return {"min_problems": 4, **found}


def markdown(records: list[dict[str, object]]) -> str:
    """Records as a table, in the order of their fields."""
    heads = list(records[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for record in records:
        cells = [f"{x:.3g}" if isinstance(x, float) else str(x) for x in record.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _compare(candidates, base: str, rounds: int, flops: float, peak: float, **sizes) -> list[dict[str, object]]:
    seconds = paired(candidates, rounds)
    return [{**sizes, "candidate": name, "best_ms": 1e3 * float(t.min()), "median_ms": 1e3 * float(np.median(t)),
             "speed_against_base": float(np.median(seconds[base] / t)), "dense_gflops": flops / float(t.min()) / 1e9,
             "share_of_sgemm": flops / float(t.min()) / 1e9 / peak} for name, t in seconds.items()]


def _tensors(problems: int, n: int, d: int, n_q: int | None = None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (n if n_q is None else n_q, n, n, n if n_q is None else n_q)
    made = [torch.randn(problems // 4, 4, size, d, generator=generator) for size in sizes]
    return [x.requires_grad_() for x in made[:3]] + made[3:]


def _step(q, k, v, g, mask, path, score="softmax"):
    return lambda: torch.autograd.grad(attention(q, k, v, mask=mask, path=path, score=score), (q, k, v), g)


def _torch_sdpa(q, k, v, g, mask):
    call = torch.nn.functional.scaled_dot_product_attention
    return lambda: torch.autograd.grad(call(q, k, v, is_causal=mask == "causal"), (q, k, v), g)


def _torch_eager(q, k, v, g, mask):
    hidden = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1) if mask == "causal" else None

    def run():
        s = q @ k.mT / math.sqrt(q.shape[-1])
        if hidden is not None:
            s = s.masked_fill(hidden, -torch.inf)
        return torch.autograd.grad(s.softmax(-1) @ v, (q, k, v), g)

    return run


def _start(shape: Shape, n_replicas: int) -> State:
    rng = np.random.default_rng(0)
    return State.start({name: (rng.uniform(-1, 1, (n_replicas, *size)) / math.sqrt(size[-1])).astype(np.float32)
                        for name, size in shape.parameter_shapes().items()})


def _loop(shape: Shape, state: State, data, folded: bool, with_data_and_adam: bool) -> Callable[[], None]:
    """What a user writes: one model after the other, plain torch."""
    models = [[torch.from_numpy(a[r].copy()).requires_grad_() for a in state.params.values()]
              for r in range(state.n_replicas)]
    adams = [torch.optim.Adam(model, lr=1e-3) for model in models]
    x, y = torch.from_numpy(data.x[:, 0]), torch.from_numpy(data.y[:, 0])
    hidden = torch.ones(shape.n_context, shape.n_context, dtype=torch.bool).triu(1) if shape.causal else None

    def run() -> None:
        for r, model in enumerate(models):
            if not with_data_and_adam:
                torch.autograd.grad(_eager_loss(shape, model, x[r], y[r], hidden, folded), model)
                continue
            new_x = torch.randn(shape.batch, shape.n_context + 1, shape.dim)
            beta = torch.randn(shape.batch, shape.dim, 1) * shape.dim**-0.5
            new_y = (new_x @ beta)[..., 0] + 0.3 * torch.randn(shape.batch, shape.n_context + 1)
            adams[r].zero_grad()
            _eager_loss(shape, model, new_x, new_y, hidden, folded).backward()
            adams[r].step()

    return run


def _eager_loss(shape: Shape, model: list[Tensor], x: Tensor, y: Tensor, hidden: Tensor | None, folded: bool) -> Tensor:
    wq, wk, wv, wo = model
    width = shape.dim + 1
    token = torch.cat([x, y[..., None]], -1)[:, :-1]
    asked, target = (x[:, 1:], y[:, 1:]) if shape.causal else (x[:, -1:], y[:, -1:])
    query = torch.cat([asked, torch.zeros_like(asked[..., :1])], -1)
    if folded:                                                 # key-query and output-value products once a step
        keys, values = wk.mT @ wq / width**0.5, (wv.mT @ wo[..., None])[..., 0]
        s = (query[:, None] @ keys.mT) @ token[:, None].mT                               # (batch, head, row, key)
        p = (s if hidden is None else s.masked_fill(hidden, -torch.inf)).softmax(-1)
        prediction = (p @ (token @ values.T).mT[..., None])[..., 0].sum(1)
    else:
        def heads(t: Tensor, w: Tensor) -> Tensor:
            return (t @ w.reshape(-1, width).T).unflatten(-1, (shape.n_heads, -1)).transpose(1, 2)
        q, k, v = heads(query, wq), heads(token, wk), heads(token, wv)
        s = q @ k.mT / width**0.5
        p = (s if hidden is None else s.masked_fill(hidden, -torch.inf)).softmax(-1)
        prediction = ((p @ v) * wo[:, None]).sum((-1, 1))
    return (prediction - target).square().mean()
