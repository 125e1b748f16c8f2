r"""Stacks of layers that are attention, or attention without one of its principles, on tokens with learnt positions.

A layer adds its output to the tokens: :math:`h \leftarrow h + A(h)\, h W_V W_O`, causal, per head. The variants differ in A:

- ``standard``: softmax of :math:`q_i k_j / \sqrt{d_h}`;
- ``approximate``: :math:`f(s) = 1 + s + s^2/2` in the place of the exponential, rows normalised together;
- ``non_approximate``: one score per key, :math:`s_j = \mathrm{SiLU}(h_j W_Q) \cdot k_j / \sqrt{d_h}`, rows softmax over j <= i;
- ``random``: queries and keys from fixed normal embeddings of the positions, passed through the same layers;
- ``fixed``: queries and keys from one fixed sequence of tokens, passed through the same layers;
- ``static``: queries and keys from the embeddings of the tokens, not from the layer below;
- ``mlp``: no mixing, :math:`(\mathrm{SiLU}(h W_g) \circ h W_u) W_d` of as many parameters.

Xue, Moosavi and Aletras 2025 (arXiv 2510.11602), section 3; without norms and feed-forward blocks, so that what a layer can do
is its map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import silu

from attnlab.simulators.ensemble.layout import Parameters

VARIANTS = ("standard", "approximate", "non_approximate", "random", "fixed", "static", "mlp")
SKIP = "skip"


@dataclass(frozen=True)
class Stack:
    """``layers``: a variant per layer. Tokens are vectors of ``n_inputs`` numbers (one-hot, or real), positions ``n_positions``;
    the read-out has ``n_outputs``."""

    layers: tuple[str, ...]
    n_inputs: int
    n_positions: int
    n_outputs: int
    width: int
    n_heads: int

    @property
    def hidden(self) -> int:
        """Width inside an MLP: three matrices of as many parameters as four squares."""
        return max(1, 4 * self.width // 3)

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Normal entries of variance 1/rows; positions and tokens of variance 1."""
        _ = self.embeddings, self.sequence  # before anything is traced
        d = self.width
        shapes = {"token": (self.n_inputs, d), "position": (self.n_positions, d), "read": (d, self.n_outputs)}
        for index, variant in enumerate(self.layers):
            if variant == "mlp":
                shapes |= {f"gate{index}": (d, self.hidden), f"up{index}": (d, self.hidden)}
                shapes |= {f"down{index}": (self.hidden, d)}
            else:
                shapes |= {f"{name}{index}": (d, d) for name in ("query", "key", "value", "out")}
        start = {}
        for name, shape in shapes.items():
            std = 1.0 if name in ("token", "position") else shape[0] ** -0.5
            start[name] = torch.stack([std * torch.randn(shape, generator=each, dtype=dtype) for each in streams])
        return start

    def forward(self, parameters: Parameters, tokens: Tensor, n_last: int, skip: int = -1) -> Tensor:
        """Outputs ``(replica, batch, n_last, n_outputs)`` at the last positions for tokens ``(replica, batch, position,
        n_inputs)``.

        ``skip``: a layer that is left out.
        """
        L = tokens.shape[2]
        e = tokens @ parameters["token"][:, None] + parameters["position"][:, None, :L]
        h, given = e, self._given(parameters, L, e)  # given (replica, 1, position, width)
        for index, variant in enumerate(self.layers):
            if index == skip:
                continue
            count = n_last if index == len(self.layers) - 1 else L
            if variant == "mlp":
                gate, up, down = (parameters[f"{name}{index}"][:, None] for name in ("gate", "up", "down"))
                h = (h + (silu(h @ gate) * (h @ up)) @ down)[:, :, -count:]
                if given is not None:
                    given = given + (silu(given @ gate) * (given @ up)) @ down
                continue
            maps = self._map(parameters, index, variant, h, e, given, count)
            out = self._mixed(parameters, index, maps, h)
            if given is not None:
                seen = self._map(parameters, index, variant, given, given, given, L)
                given = given + self._mixed(parameters, index, seen, given)
            h = h[:, :, -count:] + out
        return h @ parameters["read"][:, None]

    def scores(self, parameters: Parameters, index: int, variant: str, source: Tensor, count: int) -> Tensor:
        """Scores ``(replica, batch, head, query, key)`` of the last ``count`` queries."""
        R, B, L, d = source.shape
        H, size = self.n_heads, d // self.n_heads
        q = source @ parameters[f"query{index}"][:, None]
        k = (source @ parameters[f"key{index}"][:, None]).view(R, B, L, H, size).transpose(2, 3)
        if variant == "non_approximate":
            q = silu(q).view(R, B, L, H, size).transpose(2, 3)
            return ((q * k).sum(-1) / size**0.5)[:, :, :, None].expand(R, B, H, count, L)
        q = q[:, :, -count:].view(R, B, count, H, size).transpose(2, 3)
        return q @ k.mT / size**0.5

    def _map(
        self, parameters: Parameters, index: int, variant: str, h: Tensor, e: Tensor, given: Tensor | None, count: int
    ) -> Tensor:
        source = {"random": given, "fixed": given, "static": e}.get(variant, h)
        s = self.scores(parameters, index, variant, source, count)  # type: ignore[arg-type]
        L = s.shape[-1]
        seen = torch.tril(torch.ones(L, L, dtype=s.dtype))[-count:]
        if variant == "approximate":
            f = (1 + s + s * s / 2) * seen
            return f / f.sum(-1, keepdim=True)
        return torch.softmax(s + (seen - 1) * 1e4, -1)

    def _mixed(self, parameters: Parameters, index: int, maps: Tensor, h: Tensor) -> Tensor:
        R, B, L, d = h.shape
        v = (h @ parameters[f"value{index}"][:, None]).view(R, B, L, self.n_heads, -1).transpose(2, 3)
        out = (maps @ v).transpose(2, 3).reshape(R, B, maps.shape[-2], d)
        return out @ parameters[f"out{index}"][:, None]

    def _given(self, parameters: Parameters, L: int, e: Tensor) -> Tensor | None:
        """What ``random`` and ``fixed`` layers look at in the place of the input; the same in all replicas."""
        if "random" in self.layers:
            return self.embeddings[:L].to(e).expand(len(e), 1, L, self.width)
        if "fixed" in self.layers:
            return (self.sequence[:L].to(e) @ parameters["token"] + parameters["position"][:, :L])[:, None]
        return None

    @cached_property
    def embeddings(self) -> Tensor:
        """Fixed normal embeddings ``(position, width)``. Drawn once: a draw in a traced step would be one of every step."""
        return torch.randn(self.n_positions, self.width, generator=torch.Generator().manual_seed(17))

    @cached_property
    def sequence(self) -> Tensor:
        """A fixed sequence of one-hot tokens ``(position, n_inputs)``."""
        ids = torch.randint(self.n_inputs, (self.n_positions,), generator=torch.Generator().manual_seed(18))
        return torch.nn.functional.one_hot(ids, self.n_inputs)
