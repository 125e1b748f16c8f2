"""The induction step as plain tensor operations: the specification of the fused one, and the fallback."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from attnlab.kernels.compiled.philox import philox_normals, philox_words
from attnlab.kernels.induction_step.records import WORD, Batches, Law, Optimiser, Shape, State, Stream

_SEQUENCE_BLOCKS = 2**31  # blocks of words, and sequence numbers of novel classes, begin here


def logits(shape: Shape, params: dict[str, Tensor], contents: Tensor, start: Tensor) -> Tensor:
    """Logits (replica, batch, label) for contents (replica, batch, token, dim) from position ``start (replica, batch)``.

    Queries, keys and values are formed for each token; in the second layer only for the query row, the last token.
    """
    place = start[..., None] + torch.arange(shape.n_tokens)
    u = torch.cat([one_hot(place, shape.n_positions).to(contents.dtype), contents], -1)  # (replica, batch, token, n)
    p = {name: value[:, None] for name, value in params.items()}
    later = torch.ones(shape.n_tokens, shape.n_tokens, dtype=torch.bool).triu(1)
    scores = (u @ p["Q1"].mT) @ (u @ p["K1"].mT).mT  # (replica, batch, query, key)
    v = u + scores.masked_fill(later, -torch.inf).softmax(-1) @ (u @ p["V1"].mT)
    last = v[:, :, -1:]
    second = ((last @ p["Q2"].mT) @ (v @ p["K2"].mT).mT).softmax(-1)  # (replica, batch, 1, key)
    h = (last + second @ (v @ p["V2"].mT))[:, :, 0]
    for layer, name in enumerate(("W1", "W2", "W3")):
        h = torch.relu(h @ params[name].mT + params["b"][:, layer, None, None])
    return h @ params["R"].mT


def loss(shape: Shape, params: dict[str, Tensor], batch: Batches) -> Tensor:
    """Mean cross-entropy (replica,) of a batch of one step."""
    contents, start, target = tokens(shape, batch, next(iter(params.values())).dtype)
    found = logits(shape, params, contents, start)
    return cross_entropy(found.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)


def tokens(shape: Shape, batch: Batches, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Contents (replica, batch, token, dim), start and target (replica, batch) of a batch of one step."""
    items, labels = (torch.from_numpy(np.ascontiguousarray(a)).to(dtype) for a in (batch.items[:, 0], batch.labels))
    number, target, start = (
        torch.from_numpy(a[:, 0].astype(np.int64)) for a in (batch.label, batch.target, batch.start)
    )
    vectors = labels[torch.arange(len(labels))[:, None, None], number]  # (replica, batch, pair, dim)
    pairs = torch.stack([items[:, :, :-1], vectors], 3).flatten(2, 3)
    return torch.cat([pairs, items[:, :, -1:]], 2), start, target


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The same numbers as tensors; torch takes no negative strides."""
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}


def loss_and_gradient(shape: Shape, state: State, data: Stream | Batches) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Loss (replica,) and gradient on the next batch."""
    value, gradient = _gradient(shape, _tensors(state.params), _batch(shape, state, data, 0))
    return value.double().numpy(), {name: g.numpy() for name, g in gradient.items()}


def train(
    shape: Shape, state: State, n_steps: int, data: Stream | Batches, optimiser: Optimiser
) -> tuple[State, np.ndarray]:
    """As ``induction_step.train``."""
    params = {name: torch.from_numpy(a.copy()) for name, a in state.params.items()}
    diverged_at, losses = state.diverged_at.copy(), np.full((state.n_replicas, n_steps), np.nan)
    rates, decays = (torch.from_numpy(x) for x in optimiser.each(state.n_replicas))
    for t in range(n_steps):
        value, gradient = _gradient(shape, params, _batch(shape, state, data, t))
        finite = torch.isfinite(value)
        for g in gradient.values():
            finite &= torch.isfinite(g).flatten(1).all(1)
        alive = finite & (torch.from_numpy(diverged_at) < 0)
        losses[:, t] = np.where(diverged_at < 0, value.numpy(), np.nan)
        diverged_at[(diverged_at < 0) & ~finite.numpy()] = state.step + t
        for name, p in params.items():
            keep, rate, decay = (
                x.to(p.dtype if x.is_floating_point() else x.dtype).reshape(-1, *[1] * (p.ndim - 1))
                for x in (alive, rates, decays)
            )
            p -= torch.where(keep, decay * p + rate * gradient[name], 0.0)
    return State({name: p.numpy() for name, p in params.items()}, state.step + n_steps, diverged_at), losses


def draw(shape: Shape, stream: Stream, first_step: int, n_steps: int) -> tuple[Batches, np.ndarray]:
    """Batches of the stream in float32, and the class of each item and target; novel classes count from K on."""
    N, D, law, K = shape.n_context, shape.dim, stream.law, stream.classes.shape[1]
    first = (len(stream.seeds), n_steps, shape.batch)
    items, chosen = np.empty((*first, N + 1, D), np.float32), np.empty((*first, N + 1), np.int64)
    start, shrink = np.empty(first, np.int32), 1 / (1 + law.within_class_noise**2) ** 0.5
    for r, seed in enumerate(stream.seeds):
        for t in range(n_steps):
            step = first_step + t
            chosen[r, t], start[r, t] = _choices(shape, law, K, int(seed), step)
            means = stream.classes[r].astype(np.float64)
            if law.p_novel:
                new = philox_normals(int(seed), step, law.n_novel, D, first_sequence=_SEQUENCE_BLOCKS)
                means = np.concatenate([means, new / D**0.5])
            noise = philox_normals(int(seed), step, shape.batch, (N + 1) * D).reshape(-1, N + 1, D) / D**0.5
            items[r, t] = (means[chosen[r, t]] + law.within_class_noise * noise) * shrink
    label = np.where(chosen < K, chosen, chosen - K) + law.label_shift
    label = (label % shape.n_labels).astype(np.int32)
    return Batches(items, label[..., :-1].copy(), label[..., -1].copy(), start, stream.labels), chosen


def _choices(shape: Shape, law: Law, n_classes: int, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Class of each item and target (batch, n_context + 1), and the start of the window (batch,), sequence by sequence."""
    N, L, distinct = shape.n_context, shape.n_labels, shape.n_context // law.burstiness
    n_words = 4 + max(2 * distinct + N, N + 1)
    counter = np.zeros((shape.batch, -(-n_words // 4), 4), np.uint64)
    counter[..., 0] = _SEQUENCE_BLOCKS + np.arange(counter.shape[1])
    counter[..., 1] = np.arange(shape.batch)[:, None]
    counter[..., 2], counter[..., 3] = step & 0xFFFFFFFF, step >> 32
    words = philox_words(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(shape.batch, -1).astype(object)
    below = law.rank_below(n_classes)

    def by_rank(word):
        return int(np.searchsorted(below, int(word), side="right"))

    chosen = np.empty((shape.batch, N + 1), np.int64)
    for s, w in enumerate(words):
        novel = w[0] < int(law.p_novel * WORD)
        if not (novel or w[1] < int(law.p_bursty * WORD)):
            chosen[s] = [by_rank(x) for x in w[4 : 5 + N]]
            continue
        count, labels, order = (
            law.n_novel if novel else n_classes,
            list(range(L)),
            [i // law.burstiness for i in range(N)],
        )
        for c in range(distinct):
            at = c + (w[4 + c] * (L - c)) // WORD
            labels[c], labels[at] = labels[at], labels[c]
        classes = [
            labels[c] + L * (x * (count // L) // WORD) if novel or law.distinct_labels else by_rank(x)
            for c, x in enumerate(w[4 + distinct : 4 + 2 * distinct])
        ]
        for i in range(N - 1, -1, -1):
            at = w[4 + 2 * distinct + i] * (i + 1) // WORD
            order[i], order[at] = order[at], order[i]
        chosen[s] = np.array([*(classes[c] for c in order), classes[w[3] * distinct // WORD]]) + (
            n_classes if novel else 0
        )
    return chosen, (words[:, 2] * (shape.n_positions - shape.n_tokens + 1) // WORD).astype(np.int32)


def _batch(shape: Shape, state: State, data: Stream | Batches, t: int) -> Batches:
    return data.at(t) if isinstance(data, Batches) else draw(shape, data, state.step + t, 1)[0]


def _gradient(shape: Shape, params: dict[str, Tensor], batch: Batches):
    leaves = {name: a.detach().requires_grad_() for name, a in params.items()}
    value = loss(shape, leaves, batch)
    gradient = torch.autograd.grad(value.sum(), list(leaves.values()))
    return value.detach(), dict(zip(leaves, gradient, strict=True))
