"""A training step of in-context regression for an ensemble, side by side with what a user of torch writes.

FLOPs are counted dense, 3.5 times 4 N^2 d a head, whatever a kernel really does: the fused step skips the masked half and
uses the algebra of the one-layer model, so it can pass 100 % of sgemm in that count. ``attnlab bench training`` prints these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.benchmarks.rivals import failure
from attnlab.kernels.benchmarks.timing import compare, paired, sgemm_peak
from attnlab.kernels.compiled import counters
from attnlab.kernels.icl_step import Optimiser, Shape, State, Stream, draw, fused, loss_and_gradient, train

#: (causal, batch, context) of the steps compared.
STEPS = ((True, 256, 40), (True, 16, 40), (True, 16, 12), (False, 256, 40), (False, 16, 40))
#: What varies: the values, and the sizes that stay.
SWEEPS = {
    "replicas": ((1, 4, 16, 64), {"batch": 16, "context": 40}),
    "batch": ((8, 32, 128, 512), {"replicas": 4, "context": 40}),
    "context": ((8, 16, 32, 64, 128), {"replicas": 4, "batch": 16}),
}
BASE = "loop, projections"


def training_records(
    rounds: int = 5, n_replicas: int = 64, steps: Iterable[tuple[bool, int, int]] = STEPS
) -> list[dict[str, object]]:
    """A step (d + 1 = 6, 4 heads): fused and batched against per-model loops in plain torch and with SDPA."""
    records, peak = [], sgemm_peak()
    for causal, batch, context in steps:
        shape, candidates = _candidates(causal, batch, context, n_replicas)
        records += compare(
            candidates,
            BASE,
            rounds,
            _dense_flops(shape, n_replicas),
            peak,
            rows="causal" if causal else "one query, data, Adam",
            batch=batch,
            context=context,
            replicas=n_replicas,
        )
    return records


def size_records(rounds: int = 9, sweeps: dict[str, tuple] | None = None) -> list[dict[str, object]]:
    """Loss and gradient of a causal step as one size varies: the curves of the bench figure."""
    records, peak = [], sgemm_peak()
    for varies, (values, fixed) in (SWEEPS if sweeps is None else sweeps).items():
        for value in values:
            replicas, batch, context = (({**fixed, varies: value})[name] for name in ("replicas", "batch", "context"))
            shape, candidates = _candidates(True, batch, context, replicas)
            candidates = {name: candidates[name] for name in ("fused", "batched", BASE, "loop, folded")}
            records += compare(
                candidates,
                BASE,
                rounds,
                _dense_flops(shape, replicas),
                peak,
                varies=varies,
                rows="causal",
                batch=batch,
                context=context,
                replicas=replicas,
            )
    return records


def compiled_records(
    rounds: int = 9, n_replicas: int = 64, say: Callable[[str], None] = lambda text: None
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """(records, reasons): loss and gradient of all replicas in one graph of torch.compile, causal, batch 16, context 40."""
    shape, candidates = _candidates(True, 16, 40, n_replicas)
    candidates = {name: candidates[name] for name in ("fused", "batched", BASE, "loop, folded")}
    say("compiling the batched step with torch.compile")
    for name, run in _batched(shape, n_replicas).items():
        reason = failure(run)
        if reason is not None:
            return [], [{"candidate": name, "pass": "forward and backward", "reason": reason}]
        candidates[name] = run
    return compare(
        candidates,
        BASE,
        rounds,
        _dense_flops(shape, n_replicas),
        sgemm_peak(),
        rows="causal",
        batch=16,
        context=40,
        replicas=n_replicas,
    ), []


def work_records(steps: Iterable[tuple[bool, int, int]] = STEPS, n_replicas: int = 2) -> list[dict[str, object]]:
    """Counted work of loss and gradient in the fused step."""
    records = []
    for causal, batch, context in steps:
        shape = Shape(dim=5, n_context=context, n_heads=4, batch=batch, causal=causal)
        state = start(shape, n_replicas)
        data = draw(shape, Stream(np.arange(n_replicas, dtype=np.uint64), 0.3), 0, 1)
        with counters.counting() as work:
            loss_and_gradient(shape, state, data, path="c")
        records.append(
            {
                "rows": "causal" if causal else "one query",
                "batch": batch,
                "context": context,
                "replicas": n_replicas,
                "multiply_adds": work.multiply_adds,
                "exponentials": work.exponentials,
                "bytes": work.bytes_read + work.bytes_written,
            }
        )
    return records


def normals_records(rounds: int = 15) -> list[dict[str, object]]:
    """Nanoseconds a standard normal: the counter-based stream against torch's."""
    count, width = 4000, 252
    x = torch.empty(count * width)
    seconds = paired({"stream": lambda: fused.normals(1, 0, count, width), "torch": x.normal_}, rounds)
    raw = fused.time_normals(count, width, rounds)
    ratio = float(np.median(seconds["torch"] / seconds["stream"]))
    best, other = (float(seconds[name].min()) for name in ("stream", "torch"))
    rows = (
        ("stream, reordered for numpy", best, ratio),
        ("stream, in lanes", raw, other / raw),
        ("torch normal_", other, 1.0),
    )
    return [{"candidate": name, "ns_a_number": 1e9 * t / x.numel(), "speed_against_torch": r} for name, t, r in rows]


def start(shape: Shape, n_replicas: int) -> State:
    """A state with uniform random parameters."""
    rng = np.random.default_rng(0)
    return State.start(
        {
            name: (rng.uniform(-1, 1, (n_replicas, *size)) / math.sqrt(size[-1])).astype(np.float32)
            for name, size in shape.parameter_shapes().items()
        }
    )


def eager_loss(shape: Shape, model: list[Tensor], x: Tensor, y: Tensor, form: str) -> Tensor:
    """The loss of one model in torch: "projections" as in a textbook, "folded" products, or "sdpa" after projections."""
    wq, wk, wv, wo = model
    width = shape.dim + 1
    hidden = torch.ones(shape.n_context, shape.n_context, dtype=torch.bool).triu(1) if shape.causal else None
    token = torch.cat([x, y[..., None]], -1)[:, :-1]
    asked, target = (x[:, 1:], y[:, 1:]) if shape.causal else (x[:, -1:], y[:, -1:])
    query = torch.cat([asked, torch.zeros_like(asked[..., :1])], -1)
    if form == "folded":  # key-query and output-value products once a step
        keys, values = wk.mT @ wq / width**0.5, (wv.mT @ wo[..., None])[..., 0]
        s = (query[:, None] @ keys.mT) @ token[:, None].mT  # (batch, head, row, key)
        p = (s if hidden is None else s.masked_fill(hidden, -torch.inf)).softmax(-1)
        prediction = (p @ (token @ values.T).mT[..., None])[..., 0].sum(1)
        return (prediction - target).square().mean()

    def heads(t: Tensor, w: Tensor) -> Tensor:
        return (t @ w.reshape(-1, width).T).unflatten(-1, (shape.n_heads, -1)).transpose(1, 2)

    q, k, v = heads(query, wq), heads(token, wk), heads(token, wv)
    if form == "sdpa":
        o = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=shape.causal, scale=width**-0.5)
    else:
        s = q @ k.mT / width**0.5
        o = (s if hidden is None else s.masked_fill(hidden, -torch.inf)).softmax(-1) @ v
    return ((o * wo[:, None]).sum((-1, 1)) - target).square().mean()


def _dense_flops(shape: Shape, n_replicas: int) -> float:
    return 3.5 * 4 * shape.n_context * shape.n_rows * (shape.dim + 1) * shape.n_heads * shape.batch * n_replicas


def _candidates(causal: bool, batch: int, context: int, n_replicas: int):
    shape = Shape(dim=5, n_context=context, n_heads=4, batch=batch, causal=causal)
    state, stream = start(shape, n_replicas), Stream(np.arange(n_replicas, dtype=np.uint64), 0.3)
    data = draw(shape, stream, 0, 1)
    if causal:  # gradients of given batches, as the loop does
        candidates = {
            "fused": lambda: loss_and_gradient(shape, state, data, path="c"),
            "batched": lambda: loss_and_gradient(shape, state, data, path="reference"),
        }
    else:  # the whole step: new data, gradient, Adam
        candidates = {"fused": lambda: train(shape, state, 1, data=stream, optimiser=Optimiser(1e-3), path="c")}
    for form in ("projections", "sdpa", "folded"):
        candidates[f"loop, {form}"] = _loop(shape, state, data, form, with_data_and_adam=not causal)
    return shape, candidates


def _loop(shape: Shape, state: State, data, form: str, with_data_and_adam: bool) -> Callable[[], None]:
    """What a user writes: one model after the other, plain torch."""
    models = [
        [torch.from_numpy(a[r].copy()).requires_grad_() for a in state.params.values()] for r in range(state.n_replicas)
    ]
    adams = [torch.optim.Adam(model, lr=1e-3) for model in models]
    x, y = torch.from_numpy(data.x[:, 0]), torch.from_numpy(data.y[:, 0])

    def run() -> None:
        for r, model in enumerate(models):
            if not with_data_and_adam:
                torch.autograd.grad(eager_loss(shape, model, x[r], y[r], form), model)
                continue
            new_x = torch.randn(shape.batch, shape.n_context + 1, shape.dim)
            beta = torch.randn(shape.batch, shape.dim, 1) * shape.dim**-0.5
            new_y = (new_x @ beta)[..., 0] + 0.3 * torch.randn(shape.batch, shape.n_context + 1)
            adams[r].zero_grad()
            eager_loss(shape, model, new_x, new_y, form).backward()
            adams[r].step()

    return run


def _batched(shape: Shape, n_replicas: int) -> dict[str, Callable[[], object]]:
    """All models in one graph: ``torch.func.vmap`` of the loss, compiled."""
    state = start(shape, n_replicas)
    data = draw(shape, Stream(np.arange(n_replicas, dtype=np.uint64), 0.3), 0, 1)
    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in state.params.values()]
    x, y = torch.from_numpy(data.x[:, 0]), torch.from_numpy(data.y[:, 0])

    def losses(x: Tensor, y: Tensor, *params: Tensor) -> Tensor:
        return torch.func.vmap(lambda a, b, *p: eager_loss(shape, list(p), a, b, "projections"))(x, y, *params).sum()

    compiled = torch.compile(losses, dynamic=False)
    return {"torch.compile, batched": lambda: torch.autograd.grad(compiled(x, y, *leaves), leaves)}
