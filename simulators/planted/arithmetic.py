r"""Addition modulo p written by hand, (a, b, '=') -> a + b, by two programs with the same answers and different insides.

The residual is tok(p + 1) | pos(3) | first(p) | second(p) | sum(p) | junk(8). Layers are an attention and an MLP each.

* *late*: in layer 2 the head L2H0 moves a to '=', in layer 3 L3H0 moves b, and the MLP of layer 4 adds there. Tokens wait
  until layer 2, and layers {2, 3} are all that '=' needs to see.
* *early*: b's position fetches a in layer 0 (L0H0) and adds in the MLP of layer 1; '=' copies the sum in layer 3 (L3H0).

Each layer has a head of random scores besides, written into junk. The MLP adds by sum[(a + b) mod p] += relu(first_a +
second_b - 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from attnlab.simulators.planted.planted import Planted, Prompts
from attnlab.simulators.planted.residual_stack import Layer, ResidualStack

JUNK = 8
GAIN = 10.0  # of W_U
PROGRAMS = ("late", "early")
N_LAYERS = 6


def arithmetic(program: str = "late", modulus: int = 7, strength: float = 30.0) -> Planted:
    """The planted model; ``strength`` nats make its heads look where they should. Weights of the junk come from a fixed seed.

    Errors: ``ValueError`` for another program and a modulus below 2.
    """
    if program not in PROGRAMS or modulus < 2:
        raise ValueError(
            f"program must be one of {', '.join(PROGRAMS)}, modulus at least 2, got {program!r}, {modulus!r}"
        )
    blocks = np.cumsum([0, modulus + 1, 3, modulus, modulus, modulus, JUNK])
    tok, pos, first, second, total, junk = (slice(a, b) for a, b in itertools.pairwise(blocks))
    word, dim, width = slice(0, modulus), int(blocks[-1]), modulus + 1
    rng = np.random.default_rng(13)

    def head(query: int, key: int, read: slice, write: slice) -> tuple[np.ndarray, ...]:
        """W_Q, W_K, W_V, W_O of a head by which place ``query`` looks at ``key`` and moves a block from there."""
        w_q, w_k, w_v = (np.zeros((dim, width)) for _ in range(3))
        w_q[pos.start + query, 0], w_k[pos.start + key, 0] = strength, 1.0
        w_v[read, :modulus] = np.eye(modulus)
        w_o = np.zeros((width, dim))
        w_o[:modulus, write] = np.eye(modulus)
        return w_q, w_k, w_v, w_o

    def idle() -> tuple[np.ndarray, ...]:
        w_q, w_k, w_v = (np.zeros((dim, width)) for _ in range(3))
        for w in (w_q, w_k, w_v):
            w[tok] = rng.standard_normal((modulus + 1, width)) / width**0.5
        w_o = np.zeros((width, dim))
        w_o[:, junk] = rng.standard_normal((width, JUNK)) / JUNK**0.5
        return w_q, w_k, w_v, w_o

    def adder(left: slice, right: slice) -> Callable[[np.ndarray], np.ndarray]:
        w_in, w_out = np.zeros((dim, modulus**2)), np.zeros((modulus**2, dim))
        for unit, (a, b) in enumerate(itertools.product(range(modulus), repeat=2)):
            w_in[[left.start + a, right.start + b], unit] = 1.0
            w_out[unit, total.start + (a + b) % modulus] = 1.0
        return lambda x: np.maximum(x @ w_in - 1, 0.0) @ w_out

    movers = {
        "late": {2: (2, 0, word, first), 3: (2, 1, word, second)},
        "early": {0: (1, 0, word, first), 3: (2, 1, total, second)},
    }
    adders = {"late": {4: adder(first, second)}, "early": {1: adder(first, word)}}
    layers = []
    for number in range(N_LAYERS):
        moving = movers[program].get(number)
        heads = [head(*moving) if moving else idle(), idle()]
        w_q, w_k, w_v, w_o = (np.stack(parts) for parts in zip(*heads, strict=True))
        layers.append(Layer(w_q, w_k, w_v, w_o, adders[program].get(number)))
    unembed = np.zeros((dim, modulus + 1))
    unembed[total if program == "late" else second, :modulus] = GAIN * np.eye(modulus)
    place = np.eye(3)

    def embed(tokens: np.ndarray) -> np.ndarray:
        x = np.zeros((*tokens.shape, dim))
        x[..., tok] = np.eye(modulus + 1)[tokens]
        x[..., pos] = place[: tokens.shape[1]]
        return x

    def draw(rng: np.random.Generator, n: int) -> Prompts:
        return _prompts(rng.integers(modulus, size=(n, 2)), modulus)

    def corrupt(rng: np.random.Generator, prompts: Prompts) -> np.ndarray:
        made = prompts.tokens.copy()
        made[:, 0] = (made[:, 0] + rng.integers(1, modulus, len(made))) % modulus
        return made

    about = {
        "late": "(a, b, '=') -> a + b, moved to '=' in layers 2 and 3 and added there",
        "early": "(a, b, '=') -> a + b, added at b's place and copied to '=' in layer 3",
    }
    acting = {"late": ((2, 0), (3, 0)), "early": ((0, 0), (3, 0))}
    return Planted(
        f"arithmetic_{program}",
        about[program],
        ResidualStack(embed, tuple(layers), unembed),
        draw,
        {},
        acting[program],
        corrupt,
        "a token like any other",
    )


def every_prompt(modulus: int = 7) -> Prompts:
    """All p^2 prompts with their answers."""
    return _prompts(np.array(list(itertools.product(range(modulus), repeat=2))), modulus)


def _prompts(pairs: np.ndarray, modulus: int) -> Prompts:
    tokens = np.concatenate([pairs, np.full((len(pairs), 1), modulus)], 1)
    return Prompts(tokens, None, pairs.sum(1) % modulus)


PLANTED: dict[str, Callable[[], Planted]] = {
    "arithmetic_late": arithmetic,
    "arithmetic_early": lambda: arithmetic("early"),
}
