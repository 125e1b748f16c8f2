r"""Worlds of attention maps with a known law: three without any effect, and the same with an effect of known strength.

All are causal maps of softmax scores, (prompt, layer, head, query, key), every head an independent draw:

* ``"iid scores"``: every score N(0, sd^2): no key is special, to any query.
* ``"column effects"``: a key's own effect N(0, column_sd^2) is added for all queries: some keys please every query, as in q.k.
* ``"random model"``: scores q.k/sqrt(d) of a model drawn anew for every prompt: tokens with a common mean (so keys differ in
  how they please all queries), W_Q and W_K Gaussian.

In all three the columns of a prompt are exchangeable: which of them is called first, or is a target, does not matter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from attnlab.analysis.instruments.readings import Readings, maps

NULLS = ("iid scores", "column effects", "random model")
SD, COLUMN_SD = 1.0, 1.0
"""Sizes of the worlds: of a score, and of a key's effect on all queries."""

_DIM = 8  # of the random model


def scores(
    rng: np.random.Generator, world: str, shape: tuple[int, int, int, int], sd: float = SD, column_sd: float = COLUMN_SD
) -> np.ndarray:
    """Scores of a world without effect, (prompt, layer, head, query, key); ``shape`` is (prompts, layers, heads, tokens)."""
    n_tokens = shape[-1]
    if world not in NULLS:
        raise ValueError(f"world={world!r}; use one of {', '.join(NULLS)}")
    if world == "random model":
        x = rng.standard_normal((*shape, _DIM)) + rng.standard_normal((*shape[:-1], 1, _DIM))
        w_qk = rng.standard_normal((*shape[:-1], _DIM, _DIM)) / _DIM
        return x @ w_qk @ np.swapaxes(x, -1, -2) * (sd / _DIM**0.5)
    made = sd * rng.standard_normal((*shape, n_tokens))
    if world == "column effects":
        made += column_sd * rng.standard_normal((*shape[:-1], 1, n_tokens))
    return made


def null_worlds(shape: tuple[int, int, int, int]) -> dict[str, Callable[[np.random.Generator], Readings]]:
    """The three worlds without an effect, by name: ``draw(rng)`` gives readings of this shape."""

    def draw(rng: np.random.Generator, world: str) -> Readings:
        return read_scores(scores(rng, world, shape))

    return {world: functools.partial(draw, world=world) for world in NULLS}


def read_scores(s: np.ndarray, **given: Any) -> Readings:
    """Readings of causal scores (prompt, layer, head, query, key): the scores and their softmax."""
    return maps(causal_softmax(s), s, **given)


def causal_softmax(s: np.ndarray) -> np.ndarray:
    """Softmax of the last axis over the keys that a query of a causal model sees."""
    seen = np.tri(s.shape[-1], dtype=bool)
    hidden = np.where(seen, s, -np.inf)
    weights = np.exp(hidden - hidden.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def on_targets(s: np.ndarray, targets: np.ndarray, bonus: float) -> np.ndarray:
    """The scores with ``bonus`` added where ``targets`` (query, key) or (prompt, query, key) is True."""
    marked = targets if targets.ndim == 2 else targets[:, None, None]
    return s + bonus * marked


def mixture(rng: np.random.Generator, weight: np.ndarray, n_keys: int, shape: tuple[int, int, int, int]) -> Readings:
    r"""Maps without a mask, :math:`w\, U_k + (1-w)\, U_{n-k}`: mass w evenly on ``n_keys`` keys, the rest evenly on the others.

    ``weight`` (prompt, layer, head); which keys is drawn anew for every row. Entropy of every row:
    h2(w) + w ln k + (1 - w) ln(n - k), exactly.
    """
    n = shape[-1]
    order = rng.random((*shape, n)).argsort(-1)
    w = np.asarray(weight)[..., None, None]
    made = np.where(order < n_keys, w / n_keys, (1 - w) / (n - n_keys))
    return maps(made, visible=np.ones((1, 1, n, n), dtype=bool))
