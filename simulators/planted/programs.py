r"""Programs compiled to attention weights: each head is one rule "query looks at key, moves a block", written down as matrices.

The residual is tok(V) | pos(T) | out(V) | junk(8), one-hot blocks. A rule gives the key that it names a score bonus of b nats
over all others, and copies the token there into ``out``, which W_U reads (times 10), or into ``junk``, which nothing reads:

* *previous*: position i looks at i - 1;
* *same token*: at every equal token up to itself, so that ``out`` holds its own token: copying, W_V W_O the identity;
* *first*: at position 0; *nowhere*: at all keys alike.

The weight of the named key among n visible ones is :math:`e^b / (e^b + n - 1)`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from attnlab.simulators.planted.planted import Planted, Prompts
from attnlab.simulators.planted.residual_stack import Layer, ResidualStack

JUNK = 8
GAIN = 10.0  # of W_U


def program(
    rules: tuple[tuple[str, str], ...], strength: float = 8.0, n_symbols: int = 12, n_tokens: int = 24
) -> tuple[ResidualStack, tuple[slice, ...]]:
    """One layer whose heads are ``rules``, pairs (where a query looks, block that is written), and its blocks.

    Looks are ``"previous"``, ``"same token"``, ``"first"`` and ``"nowhere"``; blocks ``"out"`` and ``"junk"``.
    Errors: ``ValueError`` for another rule.
    """
    blocks = np.cumsum([0, n_symbols, n_tokens, n_symbols, JUNK])
    tok, pos, out, junk = (slice(a, b) for a, b in itertools.pairwise(blocks))
    dim, width = int(blocks[-1]), max(n_symbols, n_tokens)
    rng = np.random.default_rng(14)
    place = np.eye(n_tokens)

    def looks(where: str) -> tuple[np.ndarray, np.ndarray]:
        w_q, w_k = np.zeros((dim, width)), np.zeros((dim, width))
        if where == "previous":
            w_q[pos, :n_tokens], w_k[pos, :n_tokens] = strength * place, np.eye(n_tokens, k=1)
        elif where == "same token":
            w_q[tok, :n_symbols], w_k[tok, :n_symbols] = strength * np.eye(n_symbols), np.eye(n_symbols)
        elif where == "first":
            w_q[pos, 0], w_k[pos.start, 0] = strength, 1.0
        elif where != "nowhere":
            raise ValueError(f"rule {where!r} is unknown; use previous, same token, first or nowhere")
        return w_q, w_k

    heads = []
    for where, block in rules:
        if block not in ("out", "junk"):
            raise ValueError(f"block {block!r} is unknown; use out or junk")
        w_v, w_o = np.zeros((dim, width)), np.zeros((width, dim))
        w_v[tok, :n_symbols] = np.eye(n_symbols)
        if block == "out":
            w_o[:n_symbols, out] = np.eye(n_symbols)
        else:
            w_o[:n_symbols, junk] = rng.standard_normal((n_symbols, JUNK)) / JUNK**0.5
        heads.append((*looks(where), w_v, w_o))
    w_q, w_k, w_v, w_o = (np.stack(parts) for parts in zip(*heads, strict=True))
    unembed = np.zeros((dim, n_symbols))
    unembed[out] = GAIN * np.eye(n_symbols)

    def embed(tokens: np.ndarray) -> np.ndarray:
        x = np.zeros((*tokens.shape, dim))
        x[..., tok], x[..., pos] = np.eye(n_symbols)[tokens], place[: tokens.shape[1]]
        return x

    return ResidualStack(embed, (Layer(w_q, w_k, w_v, w_o),), unembed), (tok, pos, out, junk)


def compiled(name: str, about: str, rules: tuple[tuple[str, str], ...], back: int, strength: float = 8.0) -> Planted:
    """The program as a planted model: random tokens without a period; the answer is the token ``back`` places before the last."""
    model, _ = program(rules, strength)

    def draw(rng: np.random.Generator, n: int) -> Prompts:
        tokens = rng.integers(12, size=(n, 24))
        return Prompts(tokens, None, tokens[:, -1 - back])

    kinds = {"previous": "previous", "first": "sink"}
    found: dict[str, dict[tuple[int, int], float]] = {}
    for head, (where, _) in enumerate(rules):
        if where in kinds:
            found.setdefault(kinds[where], {})[0, head] = strength
    acting = tuple((0, head) for head, (_, block) in enumerate(rules) if block == "out")
    return Planted(name, about, model, draw, found, acting, first_token="a token like any other")


PLANTED: dict[str, Callable[[], Planted]] = {
    "previous_token": lambda: compiled(
        "previous_token",
        "one compiled head copies the token before, another looks there for nothing, one is a sink for nothing",
        (("previous", "out"), ("previous", "junk"), ("first", "junk"), ("nowhere", "junk")),
        1,
    ),
    "copying": lambda: compiled(
        "copying",
        "one compiled head copies the token it stands on from wherever it is, another looks there for nothing",
        (("same token", "out"), ("same token", "junk"), ("nowhere", "junk")),
        0,
    ),
}
