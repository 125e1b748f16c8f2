"""A training step of the two-layer induction network for an ensemble, side by side with what a user of torch writes.

A step is all of it: new sequences of novel classes, loss, gradient, update with decay. The base stacks the models and
forms queries, keys and values of each token in layer 1, but only the query row of layer 2; "folded" uses the algebra of the
fused step in torch. FLOPs are counted dense, those of the base: three times the matrix products of its forward pass. The
fused step does about a sixth of them at the published size, so it can pass 100 % of sgemm in that count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from attnlab.kernels.benchmarks.timing import compare, sgemm_peak
from attnlab.kernels.induction_step import Law, Optimiser, Shape, State, Stream, train

#: The published size and a small one.
SHAPES = (
    Shape(dim=63, n_context=8, n_positions=65, n_labels=32, batch=128),
    Shape(dim=31, n_context=4, n_positions=33, n_labels=16, batch=128),
)
BASE = "batched, query row"
_RATE, _DECAY, _NOISE, _NOVEL = 0.01, 1e-6, 0.1, 128


def induction_records(
    rounds: int = 9, n_replicas: int = 2, n_steps: int = 16, shapes: Iterable[Shape] = SHAPES
) -> list[dict[str, object]]:
    """``n_steps`` steps of ``n_replicas`` models: fused, all models stacked in torch, and a loop over models in torch."""
    records, peak = [], sgemm_peak()
    for shape in shapes:
        records += compare(
            candidates(shape, n_replicas, n_steps),
            BASE,
            rounds,
            dense_flops(shape) * n_replicas * n_steps,
            peak,
            dim=shape.dim,
            pairs=shape.n_context,
            labels=shape.n_labels,
            batch=shape.batch,
            replicas=n_replicas,
            steps=n_steps,
        )
    return records


def dense_flops(shape: Shape) -> float:
    """Operations of a step of one model in the base: Q1, K1, V1, K2 for each token, five matrices and R once a sequence, and
    the scores and means of layer 1; three times that for forward and backward."""
    n, T = shape.n_embd, shape.n_tokens
    return 3 * 2 * shape.batch * (4 * T * n * n + 5 * n * n + shape.n_labels * n + 2 * T * T * n)


def candidates(shape: Shape, n_replicas: int, n_steps: int) -> dict[str, Callable[[], object]]:
    """What is compared, each making ``n_steps`` steps of all models."""
    state, vectors = start(shape, n_replicas), np.random.default_rng(1)
    labels = vectors.normal(0, shape.dim**-0.5, (n_replicas, shape.n_labels, shape.dim)).astype(np.float32)
    data = Stream(np.arange(n_replicas, dtype=np.uint64), labels, labels, Law(_NOISE, p_novel=1.0, n_novel=_NOVEL))
    made = {"fused": lambda: train(shape, state, n_steps, data=data, optimiser=Optimiser(_RATE, _DECAY), path="c")}
    for form in ("query row", "folded"):
        made[f"batched, {form}"] = _stacked(shape, state, labels, n_steps, form)
        each = [
            _stacked(
                shape,
                State.start({name: a[r : r + 1] for name, a in state.params.items()}),
                labels[r : r + 1],
                n_steps,
                form,
            )
            for r in range(n_replicas)
        ]
        made[f"loop, {form}"] = lambda each=each: [run() for run in each]
    return made


def start(shape: Shape, n_replicas: int) -> State:
    """A state with the published initial variances."""
    rng, n = np.random.default_rng(0), shape.n_embd
    variance = {"W": 2 / n, "b": 1 / n, "R": 1 / n}
    return State.start(
        {
            name: rng.normal(0, variance.get(name[0], 1 / shape.dim) ** 0.5, (n_replicas, *size)).astype(np.float32)
            for name, size in shape.parameter_shapes().items()
        }
    )


def eager_loss(
    shape: Shape, p: dict[str, Tensor], contents: Tensor, start: Tensor, target: Tensor, form: str
) -> Tensor:
    """The loss (replica,) in torch: "query row" or "folded", for contents (replica, batch, token, dim)."""
    place = start[..., None] + torch.arange(shape.n_tokens)
    u = torch.cat([one_hot(place, shape.n_positions).to(contents.dtype), contents], -1)  # (replica, batch, token, n)
    later = torch.ones(shape.n_tokens, shape.n_tokens, dtype=torch.bool).triu(1)
    end = u[:, :, -1]
    if form == "folded":
        first = (_apply(u, p["K1"].mT @ p["Q1"]) @ u.mT).masked_fill(later, -torch.inf).softmax(-1)
        last = end + (first[:, :, -1:] @ u)[:, :, 0] @ p["V1"].mT
        r = (last @ p["Q2"].mT) @ p["K2"]
        scores = u @ r[..., None] + first @ (u @ (r @ p["V1"])[..., None])
        second = scores.softmax(2).mT  # (replica, batch, 1, token)
        x = ((second @ u) + _apply(second @ first @ u, p["V1"]))[:, :, 0]
    else:
        first = (_apply(u, p["Q1"]) @ _apply(u, p["K1"]).mT).masked_fill(later, -torch.inf).softmax(-1)
        v = u + first @ _apply(u, p["V1"])
        last = v[:, :, -1]
        second = ((last @ p["Q2"].mT)[:, :, None] @ _apply(v, p["K2"]).mT).softmax(-1)
        x = (second @ v)[:, :, 0]
    h = last + x @ p["V2"].mT
    for layer, name in enumerate(("W1", "W2", "W3")):
        h = torch.relu(h @ p[name].mT + p["b"][:, layer, None, None])
    logits = h @ p["R"].mT
    return cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)


def _apply(u: Tensor, matrix: Tensor) -> Tensor:
    """Products of one matrix a replica with all tokens, in one call of the library a replica."""
    return (u.flatten(1, 2) @ matrix.mT).view(*u.shape[:3], -1)


def _stacked(shape: Shape, state: State, labels: np.ndarray, n_steps: int, form: str) -> Callable[[], None]:
    """Steps of the stacked models of a state."""
    leaves = {name: torch.from_numpy(a.copy()).requires_grad_() for name, a in state.params.items()}
    vectors = torch.from_numpy(labels)

    def run() -> None:
        for _ in range(n_steps):
            loss = eager_loss(shape, leaves, *_sequences(shape, vectors), form)
            gradient = torch.autograd.grad(loss.sum(), list(leaves.values()))
            with torch.no_grad():
                for p, g in zip(leaves.values(), gradient, strict=True):
                    p.mul_(1 - _DECAY).sub_(g, alpha=_RATE)

    return run


def _sequences(shape: Shape, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Contents, start and target: novel classes only, each once."""
    R, L, D = labels.shape
    B, N = shape.batch, shape.n_context
    label = torch.rand(R, B, L).topk(N).indices
    asked = torch.randint(N, (R, B, 1))
    classes = label + L * torch.randint(_NOVEL // L, (R, B, N))
    classes = torch.cat([classes, classes.gather(2, asked)], 2)
    replica = torch.arange(R)[:, None, None]
    items = torch.randn(R, _NOVEL, D)[replica, classes] + _NOISE * torch.randn(R, B, N + 1, D)
    items = items / (D * (1 + _NOISE**2)) ** 0.5
    pairs = torch.stack([items[:, :, :-1], labels[replica, label]], 3).flatten(2, 3)
    return (
        torch.cat([pairs, items[:, :, -1:]], 2),
        torch.randint(shape.n_positions - shape.n_tokens + 1, (R, B)),
        label.gather(2, asked)[..., 0],
    )
