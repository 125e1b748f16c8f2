r"""A trained model with inert heads: scores frozen at random, read-outs fitted, and some heads' read-outs frozen at 0.

One layer. Head 0 looks at the token before (bonus b), the others have random frozen scores. The values are the tokens, one-hot.
The read-outs W_O of the heads in use are trained to name the token before the query by ridge regression on random prompts,

.. math:: \min_W \sum \bigl\| \textstyle\sum_{h} z_h W_h - \mathrm{onehot}(t_{i-1}) \bigr\|^2 + \rho \|W\|^2,

whose minimum is closed: no seed of an optimiser, no step size. The inert heads have patterns like any other; nothing that they do
reaches the output, exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attnlab.simulators.planted.planted import Planted, Prompts
from attnlab.simulators.planted.residual_stack import Layer, ResidualStack

GAIN = 10.0  # of W_U


def with_inert_heads(
    n_heads: int = 4,
    inert: tuple[int, ...] = (2, 3),
    strength: float = 6.0,
    n_symbols: int = 12,
    n_tokens: int = 24,
    ridge: float = 1.0,
    n_train: int = 200,
) -> Planted:
    """The planted model; scores, training prompts and all else come from a fixed seed. ``inert``: heads that are frozen at 0.

    Errors: ``ValueError`` if head 0, which carries the answer, is inert, or there is no such head.
    """
    if 0 in inert or not set(inert) <= set(range(n_heads)):
        raise ValueError(f"inert={inert!r} must be heads from 1 to {n_heads - 1}; head 0 carries the answer")
    rng = np.random.default_rng(15)
    blocks = n_symbols, n_symbols + n_tokens, 2 * n_symbols + n_tokens
    tok, pos, out = slice(0, blocks[0]), slice(blocks[0], blocks[1]), slice(blocks[1], blocks[2])
    dim, width = blocks[2], max(n_symbols, n_tokens)
    w_q, w_k, w_v = (np.zeros((n_heads, dim, width)) for _ in range(3))
    w_q[0, pos, :n_tokens], w_k[0, pos, :n_tokens] = strength * np.eye(n_tokens), np.eye(n_tokens, k=1)
    for head in range(1, n_heads):
        w_q[head, tok] = 2.0 * rng.standard_normal((n_symbols, width)) / width**0.5
        w_k[head, tok] = rng.standard_normal((n_symbols, width))
    w_v[:, tok, :n_symbols] = np.eye(n_symbols)
    unembed = np.zeros((dim, n_symbols))
    unembed[out] = GAIN * np.eye(n_symbols)
    place = np.eye(n_tokens)

    def embed(tokens: np.ndarray) -> np.ndarray:
        x = np.zeros((*tokens.shape, dim))
        x[..., tok], x[..., pos] = np.eye(n_symbols)[tokens], place[: tokens.shape[1]]
        return x

    used = [head for head in range(n_heads) if head not in inert]
    w_o = np.zeros((n_heads, width, dim))
    untrained = ResidualStack(embed, (Layer(w_q, w_k, w_v, w_o),), unembed)
    tokens = rng.integers(n_symbols, size=(n_train, n_tokens))
    z = untrained.run(tokens, ("L0.z",))["L0.z"][:, used, 1:, :n_symbols]  # (prompt, head, token, symbol)
    features = z.transpose(0, 2, 1, 3).reshape(-1, len(used) * n_symbols)
    answers = np.eye(n_symbols)[tokens[:, :-1]].reshape(-1, n_symbols)
    gram = features.T @ features + ridge * np.eye(features.shape[1])
    fitted = np.linalg.solve(gram, features.T @ answers)
    w_o[used, :n_symbols, out] = fitted.reshape(len(used), n_symbols, n_symbols)

    def draw(rng: np.random.Generator, n: int) -> Prompts:
        made = rng.integers(n_symbols, size=(n, n_tokens))
        return Prompts(made, None, made[:, -2])

    return Planted(
        "trained_with_inert_heads",
        f"frozen scores, trained read-outs that name the token before; heads {', '.join(map(str, inert))} are inert",
        ResidualStack(embed, (Layer(w_q, w_k, w_v, w_o),), unembed),
        draw,
        {"previous": {(0, 0): strength}},
        tuple((0, head) for head in used),
        first_token="a token like any other",
    )


PLANTED: dict[str, Callable[[], Planted]] = {"trained_with_inert_heads": with_inert_heads}
