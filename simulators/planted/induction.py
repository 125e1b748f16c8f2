r"""Induction written by hand: a head that finds the previous token, and one that looks for what followed the same token before.

The residual is a row of one-hot blocks tok(V) | pos(T) | prev(V) | out(V) | junk(8). With strengths in nats:

* L0H0: position i looks at i - 1 with score ``previous``; W_V W_O copies tok into prev.
* L1H0: a query's tok looks at equal prev with score ``match``; W_V W_O copies tok into out, which W_U reads (times 10).
* L1H1, the inert twin: the scores of L1H0, written into junk: the same pattern, no effect.
* the other heads: random scores, written into junk.

Weights that follow: previous token :math:`w_i = e^{b_0}/(e^{b_0} + i)`, right match :math:`e^{b_1 w}/(e^{b_1 w} + i)` in row i.
A first token BOS is mandatory: without it position 0 looks at itself and writes its own token as the previous one, a false match.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from attnlab.simulators.planted.planted import Planted, Prompts
from attnlab.simulators.planted.residual_stack import Layer, ResidualStack

JUNK = 8
BOS = 0
GAIN = 10.0  # of W_U


def induction(
    n_symbols: int = 12,
    n_tokens: int = 25,
    previous: float = 12.0,
    match: float = 12.0,
    n_inert: int = 2,
    bos: bool = True,
) -> Planted:
    """The planted model on ``n_symbols`` tokens beside BOS; ``n_inert``: heads of random scores beside L1's two,
    with one more in L0, from a fixed seed.

    Prompts are BOS (if ``bos``) and random different tokens that repeat with a period drawn per prompt, between a third and a
    half of the length, so that one or two earlier copies are there.
    """
    if n_tokens < 8 or n_symbols < n_tokens // 2:
        raise ValueError(f"n_tokens={n_tokens} must be at least 8 and n_symbols={n_symbols} at least half of it")
    vocabulary = n_symbols + 1
    blocks = np.cumsum([0, vocabulary, n_tokens, vocabulary, vocabulary, JUNK])
    tok, pos, prev, out, junk = (slice(a, b) for a, b in itertools.pairwise(blocks))
    dim, width = int(blocks[-1]), max(vocabulary, n_tokens)
    rng = np.random.default_rng(11)

    def into(block: slice, scale: float = 1.0, shift: int = 0) -> np.ndarray:
        """(dim, width): reads a block, with its entries moved by ``shift``."""
        w, size = np.zeros((dim, width)), block.stop - block.start
        w[block, :size] = scale * np.eye(size, k=shift)
        return w

    def noise(scale: float) -> np.ndarray:
        w = np.zeros((dim, width))
        w[tok] = scale * rng.standard_normal((vocabulary, width)) / width**0.5
        return w

    def spill() -> np.ndarray:
        w = np.zeros((width, dim))
        w[:, junk] = rng.standard_normal((width, JUNK)) / JUNK**0.5
        return w

    inert = [(noise(2.0), noise(1.0), into(tok), spill()) for _ in range(2 * n_inert + 1)]
    finder = (into(pos, previous), into(pos, shift=1), into(tok), into(prev).T)
    matcher = (into(tok, match), into(prev), into(tok), into(out).T)
    twin = (into(tok, match), into(prev), into(tok), spill())
    layers = tuple(_layer(heads) for heads in ([finder, *inert[: n_inert + 1]], [matcher, twin, *inert[n_inert + 1 :]]))
    unembed = np.zeros((dim, vocabulary))
    unembed[out] = GAIN * np.eye(vocabulary)
    place = np.eye(n_tokens)

    def embed(tokens: np.ndarray) -> np.ndarray:
        x = np.zeros((*tokens.shape, dim))
        x[..., tok] = np.eye(vocabulary)[tokens]
        x[..., pos] = place[: tokens.shape[1]]
        return x

    def draw(rng: np.random.Generator, n: int) -> Prompts:
        room = n_tokens - bos
        periods = rng.integers(room // 3 + 1, room // 2 + 1, n)
        order = rng.random((n, n_symbols)).argsort(1)[:, : room // 2] + 1
        tokens = np.take_along_axis(order, np.arange(room)[None] % periods[:, None], 1)
        tokens = np.concatenate([np.full((n, 1), BOS), tokens], 1) if bos else tokens
        answers = tokens[np.arange(n), n_tokens - periods]
        return Prompts(tokens, periods, answers)

    name = "induction" if bos else "induction_without_bos"
    found = {"previous": {(0, 0): previous}, "induction": {(1, 0): match, (1, 1): match}}
    return Planted(
        name,
        f"two hand-written layers that look up what followed a token before{'' if bos else ', without a first token BOS'}",
        ResidualStack(embed, layers, unembed),
        draw,
        found,
        ((0, 0), (1, 0)),
        lambda rng, prompts: moved(rng, prompts, int(bos)),
        "BOS" if bos else "a token like any other",
    )


def _layer(heads: Sequence[tuple[np.ndarray, ...]]) -> Layer:
    """The layer of some heads, each W_Q, W_K, W_V, W_O."""
    w_q, w_k, w_v, w_o = (np.stack(parts) for parts in zip(*heads, strict=True))
    return Layer(w_q, w_k, w_v, w_o)


def moved(rng: np.random.Generator, prompts: Prompts, first: int) -> np.ndarray:
    """The prompts with the runs before the last token's permuted: its earlier copies move, and another token follows them.

    The tokens of the period are permuted, in every earlier run the same way, until both the place of the last token in it and its
    successor have changed. ``first``: how many tokens at the start stay (BOS).
    """
    made = prompts.tokens.copy()
    n_tokens = made.shape[1]
    for row, period in enumerate(prompts.periods):
        query, answer = made[row, -1], prompts.answers[row]
        base = made[row, first : first + period]
        old = int(np.flatnonzero(base == query)[0])
        while True:
            new = rng.permutation(base)
            at = int(np.flatnonzero(new == query)[0])
            if at != old and new[(at + 1) % period] != answer and at + 1 < period:
                break
        last_run = first + (n_tokens - 1 - first) // period * period
        made[row, first:last_run] = new[np.arange(last_run - first) % period]
    return made


PLANTED: dict[str, Callable[[], Planted]] = {
    "induction": induction,
    "induction_without_bos": lambda: induction(bos=False, n_tokens=24),
}
