"""The fixed model of the matrix: two layers of width 16 with four heads, any operator of the atlas as their mixer.

A layer is x <- x + mixer(norm(x)), x <- x + mlp(norm(x)), the norms by root mean square with a learnt gain, the perceptron with
GELU. Operators on queries, keys and values get projections; others have parameters of their own. Mixer and perceptron have
8 d_model^2 weights together, so that a heavier mixer gets a narrower perceptron (of at least four neurons).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, gelu

from attnlab.kernels.operators.operator import QKV, Cache, Grid, Heads, Operator, Parameters, Sizes, Tokens, normal

HEADS, WIDTH, LAYERS = 4, 4, 2  # d = d_v = WIDTH
D_MODEL = HEADS * WIDTH
WEIGHTS = 8 * D_MODEL**2  # of mixer and perceptron in a layer
EPSILON = 1e-6


@dataclass
class MatrixModel:
    """The model of one operator on one shape of task.

    ``fields``: how many symbols each field of a token has (their embeddings add up); ``n_features``: real numbers per token;
    ``n_outputs``: numbers read out per token; ``length``: longest sequence; ``positions``: a learnt table for that length;
    ``shape``: rows and columns of a grid, None for sequences. ``frozen``: parameters that operators declare as not trained,
    (replica, ...) by name, drawn by :meth:`with_frozen`.
    """

    operator: Operator
    fields: tuple[int, ...]
    n_features: int
    n_outputs: int
    length: int
    positions: bool
    causal: bool
    shape: tuple[int, int] | None = None
    frozen: Parameters = field(default_factory=dict)

    @property
    def sizes(self) -> Sizes:
        """What the operator is built for."""
        return Sizes(self.length, WIDTH, WIDTH, HEADS, shape=self.shape or (1, self.length))

    @property
    def n_uniform(self) -> int:
        """Uniform numbers that one pass takes."""
        draws = self.operator.facts.n_uniform
        return 0 if draws is None else LAYERS * draws(self.sizes)

    def part(self, rows: slice) -> MatrixModel:
        made = copy.copy(self)
        made.frozen = {name: value[rows] for name, value in self.frozen.items()}
        return made

    def with_frozen(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> MatrixModel:
        """The model with its frozen parameters, drawn as :meth:`initialise` draws them from the same streams."""
        made = copy.copy(self)
        made.frozen = {name: value for name, value in self._all(streams, dtype).items() if self._is_frozen(name)}
        return made

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {name: value for name, value in self._all(streams, dtype).items() if not self._is_frozen(name)}

    def hidden(self, mixer: Parameters) -> int:
        """Neurons of the perceptron beside a mixer with these parameters."""
        used = sum(math.prod(value.shape[1:]) for value in mixer.values())
        return max(4, (WEIGHTS - used) // (2 * D_MODEL))

    def _all(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D, made = D_MODEL, {}
        for index, count in enumerate(self.fields):
            made[f"symbols{index}"] = normal(streams, (count + 1, D), 1.0, dtype)
        if self.n_features:
            made["features"] = normal(streams, (self.n_features, D), self.n_features**-0.5, dtype)
        if self.positions:
            made["positions"] = normal(streams, (self.length, D), 1.0, dtype)
        for layer in range(LAYERS):
            mixer = self.operator.initialise(self.sizes, streams, dtype)
            if self.operator.kind in ("qkv", "select"):
                mixer["into_heads"] = normal(streams, (D, 3 * D), D**-0.5, dtype)
                mixer["out_of_heads"] = normal(streams, (D, D), D**-0.5, dtype)
            width = self.hidden(mixer)
            made |= {f"mixer{layer}.{name}": value for name, value in mixer.items()}
            made |= {
                f"up{layer}": normal(streams, (D, width), D**-0.5, dtype),
                f"up_bias{layer}": torch.zeros(len(streams), width, dtype=dtype),
                f"down{layer}": normal(streams, (width, D), width**-0.5, dtype),
                f"gain{layer}": torch.ones(len(streams), 2, D, dtype=dtype),
            }
        made["out_gain"] = torch.ones(len(streams), D, dtype=dtype)
        made["out"] = normal(streams, (D, self.n_outputs), D**-0.5, dtype)
        made["out_bias"] = torch.zeros(len(streams), self.n_outputs, dtype=dtype)
        return made

    def _is_frozen(self, name: str) -> bool:
        head, _, own = name.partition(".")
        return head.startswith("mixer") and own in self.operator.frozen_parameters

    def __call__(
        self, parameters: Parameters, symbols: Tensor | None, features: Tensor | None, draw: Tensor | None = None
    ) -> Tensor:
        """What is read out at every token, (replica, batch, n, n_outputs).

        symbols (replica, batch, n, field) codes as real numbers (the largest: none); features (replica, batch, n, f).
        """
        given = symbols if symbols is not None else features
        if given is None:
            raise ValueError("symbols=None and features=None; give at least one of them")
        x = torch.zeros(*given.shape[:-1], D_MODEL, dtype=given.dtype)
        for index in range(len(self.fields) if symbols is not None else 0):
            x = x + _embedded(symbols[..., index], parameters[f"symbols{index}"])  # type: ignore[index]
        if features is not None:
            x = x + linear(features, parameters["features"])
        if self.positions:
            x = x + parameters["positions"][:, None, : x.shape[-2]]
        for layer in range(LAYERS):
            gain = parameters[f"gain{layer}"][:, None, None]
            x = x + self._mix(layer, parameters, _norm(x) * gain[..., 0, :], draw)
            inner = linear(_norm(x) * gain[..., 1, :], parameters[f"up{layer}"])
            inner = gelu(inner + parameters[f"up_bias{layer}"][:, None, None], approximate="tanh")
            x = x + linear(inner, parameters[f"down{layer}"])
        x = _norm(x) * parameters["out_gain"][:, None, None]
        return linear(x, parameters["out"]) + parameters["out_bias"][:, None, None]

    def _mix(self, layer: int, parameters: Parameters, x: Tensor, draw: Tensor | None) -> Tensor:
        prefix, operator = f"mixer{layer}.", self.operator
        own = {
            name.removeprefix(prefix): value
            for name, value in (*parameters.items(), *self.frozen.items())
            if name.startswith(prefix)
        }
        if draw is not None:
            draw = draw.chunk(LAYERS, -1)[layer]
        if operator.kind not in ("qkv", "select"):
            return self._kept(operator.apply(self._given(x), own, causal=self.causal, draw=draw), x)
        R, B, n, _ = x.shape
        heads = linear(x, own.pop("into_heads")).view(R, B, n, 3, HEADS, WIDTH)
        q, k, v = heads.permute(3, 0, 1, 4, 2, 5)  # (replica, batch, head, n, width)
        out = own.pop("out_of_heads")
        inputs: Any = QKV(q, k, v) if operator.kind == "qkv" else Cache(q, k, v, 0)
        mixed = operator.apply(inputs, own, causal=self.causal, draw=draw)
        return linear(self._kept(mixed, q).transpose(2, 3).reshape(R, B, n, D_MODEL), out)

    def _kept(self, y: Tensor, x: Tensor) -> Tensor:
        if y.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"{type(self.operator).__name__} gives {y.shape[-2]} outputs for {x.shape[-2]} tokens")
        return y

    def _given(self, x: Tensor) -> Any:
        if self.operator.kind == "grid":
            shape = self.shape if self.shape and math.prod(self.shape) == x.shape[-2] else (1, x.shape[-2])
            return Grid(x, shape)
        if self.operator.kind == "heads":
            return Heads(x, self.operator.inner_operator())  # type: ignore[attr-defined]
        return Tokens(x)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Tokens (replica, batch, n, D) through ``weight`` (replica, D, E), one product per replica."""
    return (x.flatten(1, 2) @ weight).view(*x.shape[:-1], weight.shape[-1])


def _embedded(codes: Tensor, table: Tensor) -> Tensor:
    """Rows of a table (replica, symbol, D) for codes (replica, batch, n), given as real numbers."""
    first = len(table[0]) * torch.arange(len(table))
    return embedding(codes.long() + first[:, None, None], table.flatten(0, 1))


def _norm(x: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
