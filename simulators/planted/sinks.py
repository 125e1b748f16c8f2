r"""Attention sinks written by hand: chosen heads give the first token a score bonus of b nats over random content scores.

The residual is content(dim) | first(1) | one(1): ``first`` marks BOS, ``one`` is 1 everywhere. A head's score is

.. math:: s_{ij} = b\, \mathrm{one}_i\, \mathrm{first}_j + \sigma\, q(c_i) \cdot k(c_j)/\sqrt d,

with Gaussian q, k and contents of unit variance per coordinate. BOS has no content of its own, so these sinks do nothing (no-op).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from attnlab.simulators.planted.planted import Planted, Prompts
from attnlab.simulators.planted.residual_stack import Layer, ResidualStack

STRENGTHS = {(0, 1): 3.0, (1, 2): 4.0, (1, 3): 2.5}
"""(layer, head) -> bonus in nats."""


def sinks(
    strengths: Mapping[tuple[int, int], float] = STRENGTHS,
    n_layers: int = 2,
    n_heads: int = 4,
    n_symbols: int = 40,
    n_tokens: int = 32,
    score_sd: float = 0.7,
) -> Planted:
    """The planted model; contents and weights come from a fixed seed, prompts are BOS and random tokens."""
    dim, rng = 16, np.random.default_rng(12)
    content, first, one = slice(0, dim), dim, dim + 1
    contents = rng.standard_normal((n_symbols + 1, dim))
    contents[0] = 0.0 if strengths else contents[0]

    def embed(tokens: np.ndarray) -> np.ndarray:
        x = np.zeros((*tokens.shape, dim + 2))
        x[..., content] = contents[tokens]
        x[..., first] = tokens == 0
        x[..., one] = 1.0
        return x

    layers = []
    for layer in range(n_layers):
        w_q, w_k, w_v = (np.zeros((n_heads, dim + 2, dim + 1)) for _ in range(3))
        w_o = np.zeros((n_heads, dim + 1, dim + 2))
        for head in range(n_heads):
            w_q[head, content, :dim] = score_sd * rng.standard_normal((dim, dim)) / dim**0.5
            w_k[head, content, :dim] = rng.standard_normal((dim, dim)) / dim
            w_q[head, one, dim] = strengths.get((layer, head), 0.0)
            w_k[head, first, dim] = 1.0
            w_v[head, content, :dim] = np.eye(dim)
            w_o[head, :dim, content] = 0.1 * rng.standard_normal((dim, dim)) / dim**0.5
        layers.append(Layer(w_q, w_k, w_v, w_o))
    unembed = np.zeros((dim + 2, n_symbols + 1))
    unembed[content] = rng.standard_normal((dim, n_symbols + 1))

    def draw(rng: np.random.Generator, n: int) -> Prompts:
        tokens = rng.integers(1, n_symbols + 1, (n, n_tokens))
        tokens[:, 0] = 0
        return Prompts(tokens)

    about = "random heads, three of which give the first token a score bonus" if strengths else "random heads, no sink"
    name = "sinks" if strengths else "random_heads"
    model = ResidualStack(embed, tuple(layers), unembed)
    return Planted(name, about, model, draw, {"sink": dict(strengths)}, first_token="BOS")


def uniform() -> Planted:
    """Heads whose scores are all 0: every reading's null."""
    made = sinks({}, score_sd=0.0)
    return Planted("uniform", "heads whose scores are all 0", made.model, made.draw, {}, first_token="BOS")


PLANTED: dict[str, Callable[[], Planted]] = {"sinks": sinks, "random_heads": lambda: sinks({}), "uniform": uniform}
