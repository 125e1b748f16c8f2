r"""A stack of attention layers in plain numpy whose every intermediate can be read and replaced.

.. math:: x \leftarrow x + \sum_h z_h W_O^h + \mathrm{mlp}(x), \qquad z_h = \mathrm{softmax}(q_h k_h^\top)\, v_h,

causal, without norms; scores carry no 1/sqrt(d): write it into W_Q. ``run`` is the model as instruments see it: a pure function
``run(inputs, sites=(), replace={}) -> {site: array}``. A site is called ``L1.z``, and ``L1.H0.z`` for one head; ``replace``
maps a site to an array or to a function of the array that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.kernels.suggestions import did_you_mean

Replacement = np.ndarray | Callable[[np.ndarray], np.ndarray]

OF_A_LAYER = ("pre", "q", "k", "v", "scores", "pattern", "z", "heads", "mid", "mlp", "post")
PER_HEAD = ("q", "k", "v", "scores", "pattern", "z", "heads")
WHOLE = ("embed", "final", "logits")


@dataclass(frozen=True, eq=False)
class Layer:
    """Heads' W_Q, W_K, W_V (head, dim, head_dim), W_O (head, head_dim, dim), and what the MLP adds to its input, if any."""

    w_q: np.ndarray
    w_k: np.ndarray
    w_v: np.ndarray
    w_o: np.ndarray
    mlp: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class ResidualStack:
    """``embed(tokens (batch, token)) -> (batch, token, dim)``, the layers, and W_U (dim, vocabulary)."""

    embed: Callable[[np.ndarray], np.ndarray]
    layers: tuple[Layer, ...]
    unembed: np.ndarray

    def sites(self) -> tuple[str, ...]:
        """Every site of the model, in the order in which they are computed."""
        inside = [
            f"L{number}.{kind}"
            for number, layer in enumerate(self.layers)
            for kind in OF_A_LAYER
            if kind != "mlp" or layer.mlp is not None
        ]
        return ("embed", *inside, "final", "logits")

    def run(
        self, inputs: np.ndarray, sites: Sequence[str] = (), replace: Mapping[str, Replacement] | None = None
    ) -> dict[str, np.ndarray]:
        """The wanted sites on tokens (batch, token), with others replaced on the way.

        Errors: ``ValueError`` for an unknown site, with the nearest one, and for a replacement of another shape.
        """
        replace = dict(replace or {})
        for name in (*sites, *replace):
            self._check(name)
        found: dict[str, np.ndarray] = {}

        def site(name: str, array: np.ndarray) -> np.ndarray:
            if name in replace:
                array = _put(name, array, replace[name])
            layer, _, kind = name.partition(".")
            heads = (f"{layer}.H{h}.{kind}" for h in range(array.shape[1])) if kind in PER_HEAD else ()
            for head, wanted in enumerate(heads):
                if wanted in replace:
                    array = array.copy()
                    array[:, head] = _put(wanted, array[:, head], replace[wanted])
                if wanted in sites:
                    found[wanted] = array[:, head]
            if name in sites:
                found[name] = array
            return array

        x = site("embed", self.embed(np.asarray(inputs)))
        seen = np.tri(x.shape[1], dtype=bool)
        for number, layer in enumerate(self.layers):
            at = f"L{number}"
            x = site(f"{at}.pre", x)
            q, k, v = (
                site(f"{at}.{kind}", x[:, None] @ w)
                for kind, w in zip("qkv", (layer.w_q, layer.w_k, layer.w_v), strict=True)
            )
            scores = site(f"{at}.scores", np.where(seen, q @ np.swapaxes(k, -1, -2), -np.inf))
            pattern = site(f"{at}.pattern", _softmax(scores))
            z = site(f"{at}.z", pattern @ v)
            heads_out = site(f"{at}.heads", z @ layer.w_o)
            x = site(f"{at}.mid", x + heads_out.sum(1))
            if layer.mlp is not None:
                x = x + site(f"{at}.mlp", layer.mlp(x))
            x = site(f"{at}.post", x)
        x = site("final", x)
        site("logits", x @ self.unembed)
        return found

    def _check(self, name: str) -> None:
        parts = name.split(".")
        whole = f"{parts[0]}.{parts[2]}" if len(parts) == 3 and parts[1][:1] == "H" else name
        known = self.sites()
        fits = whole in known
        if fits and whole != name:
            number = parts[1][1:]
            n_heads = len(self.layers[int(parts[0][1:])].w_q)
            fits = parts[2] in PER_HEAD and number.isdecimal() and int(number) < n_heads
        if not fits:
            raise ValueError(f"unknown site {name!r}{did_you_mean(whole, known)}; sites are {', '.join(known)}")


def _put(name: str, array: np.ndarray, given: Any) -> np.ndarray:
    made = given(array) if callable(given) else np.asarray(given)
    if made.shape != array.shape:
        raise ValueError(f"replace[{name!r}] has shape {made.shape}, the site {array.shape}")
    return made


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
