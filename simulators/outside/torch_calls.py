r"""Any torch module as a model that instruments read: its calls of attention are watched, no hook name is needed.

Layer i is the i-th call of ``scaled_dot_product_attention`` while the model runs, also of those within
``multi_head_attention_forward``. From its arguments the weights are computed again,

.. math:: A = \mathrm{softmax}(c\, q k^\top + m), \qquad \text{checked by } A v = z,

where query head h reads key head h // group. What cannot be computed again is refused: scores that are capped or biased after the
call, learned sinks (A v differs from z), dropout, decoding with a cache, and models that call no such function (eager,
compiled, or
external kernels).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from attnlab.kernels.suggestions import did_you_mean

Replacement = np.ndarray | Callable[[np.ndarray], np.ndarray]

ATTENTION = F.scaled_dot_product_attention
KINDS = ("q", "k", "v", "scores", "pattern", "z")
ALL = slice(None)
HIDDEN = -1e4  # a mask that adds this or less hides a key: e^-10000 is 0 in every dtype
WITHIN = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 4 * 2.0**-10, torch.bfloat16: 4 * 2.0**-7}
"""Largest difference of A v and z, relative to the largest entry of z: 4 eps in half precision."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of attention: q (B, H, T, d), k, v (B, H or fewer, T, d), mask (bool or additive, None: all seen), scale, z.

    ``softcap`` c makes scores c tanh(s/c); ``sinks`` (head,) are logits that take a share of every row and give no value;
    ``causal`` stands for a causal mask that is not kept; ``budget``: of A v = z, None: by the dtype of q (:data:`WITHIN`).
    ``stream(kind)``: a site of the residual stream around the call, where the adapter knows the layer.
    Arrays of q and k alone have no z, and nothing to be checked by.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scale: float
    z: Tensor | None
    softcap: float | None = None
    sinks: Tensor | None = None
    causal: bool = False
    budget: float | None = None
    stream: Callable[[str], Tensor] | None = None

    def scores(self, rows: slice = ALL) -> Tensor:
        """Scores of some queries with the mask, -inf on hidden keys, (B, H, rows, T); in float32 at least."""
        q, k = wide(self.q[:, :, rows]), wide(self.per_head(self.k))
        s = self.scale * q @ k.mT
        s = s if self.softcap is None else self.softcap * torch.tanh(s / self.softcap)
        if self.mask is not None and self.mask.dtype != torch.bool:
            s = s + (self.mask if self.mask.shape[-2] == 1 else self.mask[..., rows, :]).to(s.dtype)
        if self.mask is None and not self.causal:
            return s
        return s.masked_fill(~self.visible(rows), -torch.inf)

    def visible(self, rows: slice = ALL) -> Tensor:
        """Which keys some queries may see, (B or 1, H or 1, rows, T)."""
        n_q, n_k = self.q.shape[-2], self.k.shape[-2]
        if self.mask is None:
            places = torch.arange(n_q, device=self.q.device)[rows, None]
            if not self.causal:
                return torch.ones(1, 1, len(places), n_k, dtype=torch.bool, device=self.q.device)
            return (torch.arange(n_k, device=self.q.device) <= places)[None, None]
        seen = self.mask if self.mask.dtype == torch.bool else self.mask > HIDDEN
        seen = seen.reshape((1,) * (4 - seen.ndim) + seen.shape)
        return seen.expand(*seen.shape[:2], n_q, n_k)[:, :, rows]

    def weights(self) -> Tensor:
        """The pattern, (B, H, T, T); a row that sees no key is zero. Errors: ``ValueError`` where A v is not z."""
        a = self.weights_of()
        self.check(a @ wide(self.per_head(self.v)), a.sum(-1, keepdim=True) > 0)
        return a

    def weights_of(self, rows: slice = ALL) -> Tensor:
        """The weights of some queries, (B, H, rows, T), not checked; a row that sees no key is zero, one of NaN stays NaN."""
        s = self.scores(rows)
        none = torch.isneginf(s).all(-1, keepdim=True)
        if self.sinks is not None:
            s = torch.cat([s, self.sinks.to(s).view(1, -1, 1, 1).expand(*s.shape[:-1], 1)], -1)
        return torch.where(none, 0.0, torch.softmax(s.detach(), -1)[..., : self.k.shape[-2]])

    def check(self, made: Tensor, rows: Tensor) -> None:
        """``ValueError`` unless the head outputs that were ``made`` again are z, on the ``rows`` that see a key.

        A row that sees none has no law: libraries give it zero, the mean, or NaN.
        """
        if self.z is None:
            return
        z, within = wide(self.z), WITHIN[self.q.dtype] if self.budget is None else self.budget
        off = torch.where(rows, made - z, 0.0).abs().max()
        gap = float(off / torch.where(rows, z, 0.0).abs().max().clamp_min(torch.finfo(z.dtype).tiny))
        if not gap <= within:
            raise ValueError(
                f"A v differs from the head outputs by {gap:.2g} of their size (budget {within:.1g}): softcap, "
                "sinks or a bias in the scores? This layer cannot be computed again from its arguments"
            )

    def per_head(self, x: Tensor) -> Tensor:
        """Keys or values once per query head: query head h reads head h // group."""
        return x.repeat_interleave(self.q.shape[1] // x.shape[1], 1)


class Calls(TorchFunctionMode):
    """Every attention call while a model runs; ``replace[i]`` edits the head outputs z (B, H, T, d) of call i."""

    def __init__(self, replace: Mapping[int, Callable[[Tensor], Tensor]] | None = None) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.replace = dict(replace or {})

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is F.multi_head_attention_forward:
            return self._multi_head(function, args, kwargs)
        return self._watched(*args, **kwargs) if function is ATTENTION else function(*args, **kwargs)

    def _watched(self, *args: Any, **kwargs: Any) -> Tensor:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, args, strict=False)) | kwargs
        q, k, v, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
        number = len(self.calls)
        if q.ndim != 4 or q.shape[-2] != k.shape[-2]:
            raise ValueError(
                f"attention call {number} has queries {tuple(q.shape)} and keys {tuple(k.shape)}; whole sequences are read: "
                "no cache (use_cache=False), no cross attention"
            )
        if given.get("dropout_p"):
            raise ValueError(
                f"attention call {number} drops weights (dropout_p={given['dropout_p']}); call model.eval() first"
            )
        z = ATTENTION(*args, **kwargs)
        scale = given.get("scale")
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        self.calls.append(Call(q, k, v, mask, scale, z, causal=bool(given.get("is_causal"))))
        return self.replace[number](z) if number in self.replace else z

    def _multi_head(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The same function on its path through ``scaled_dot_product_attention``; weights that were asked for are ours.

        A mode is off while it handles a function, so the call within is watched by name, for as long as this function runs.
        """
        wanted, averaged = kwargs.get("need_weights", True), kwargs.get("average_attn_weights", True)
        F.scaled_dot_product_attention = self._watched
        try:
            out, _ = function(*args, **{**kwargs, "need_weights": False})
        finally:
            F.scaled_dot_product_attention = ATTENTION
        if not wanted:
            return out, None
        weights = self.calls[-1].weights().to(out.dtype)
        return out, weights.mean(1) if averaged else weights


class TorchModel:
    """``model(inputs, sites=(), replace={})``: a torch module, or a function that runs one, as instruments read it.

    ``forward(inputs)`` returns the output (batch, token, ...), a tensor or something with ``logits``. Sites are ``L0.q``, ``.k``,
    ``.v``, ``.scores``, ``.pattern``, ``.z`` of every attention call, and ``logits``; ``z`` alone can be replaced, also of
    one head
    (``L0.H2.z``). Nothing is left behind on the module. Runs without gradients.
    """

    kinds: tuple[str, ...] = KINDS

    def __init__(self, forward: Callable[[Any], Any]) -> None:
        if hasattr(forward, "_orig_mod"):
            raise ValueError(
                "the model is compiled by torch.compile, whose kernels cannot be watched; give the module itself"
            )
        self.forward = forward
        self._needs_eval()

    def __call__(
        self, inputs: Any, sites: Sequence[str] = (), replace: Mapping[str, Replacement] | None = None
    ) -> dict[str, np.ndarray]:
        """The wanted sites. Errors: ``ValueError`` for unknown ones, and for layers that cannot be computed again."""
        edits = {name: self._parsed(name) for name in replace or {}}
        for name, (_, kind, _) in edits.items():
            if kind != "z":
                raise ValueError(f"replace[{name!r}]: only z can be replaced in a torch module, for example 'L0.z'")
        changes: dict[int, Callable[[Tensor], Tensor]] = {}
        for name, (layer, _, head) in edits.items():
            changes[layer] = _edit((replace or {})[name], head, changes.get(layer), name)
        self._needs_eval()
        wanted = {self._parsed(name)[1] for name in sites if name != "logits"}
        out, calls = self._run(inputs, changes, wanted)
        found = {}
        for name in sites:
            if name == "logits":
                found[name] = array_of(out)
                continue
            layer, kind, head = self._parsed(name)
            if layer >= len(calls):
                raise ValueError(
                    f"unknown site {name!r}: the model made {len(calls)} attention calls, L0 to L{len(calls) - 1}"
                )
            array = _site(calls[layer], kind, changes.get(layer))
            found[name] = array if head is None else array[:, head]
        if late := [layer for layer in changes if layer >= len(calls)]:
            raise ValueError(f"replace: the model made {len(calls)} attention calls, there is no L{late[0]}")
        return found

    def calls(self, inputs: Any) -> list[Call]:
        """The calls of attention that the model makes, with their arguments; no map."""
        return self._run(inputs, {})[1]

    def real(self, inputs: Any) -> np.ndarray | None:
        """Which tokens are real, (batch, token), where the inputs say it; a torch module's do not."""
        return None

    def n_layers(self, inputs: Any) -> int:
        """How many calls of attention the model makes."""
        return len(self._run(inputs, {})[1])

    def predicts(self, inputs: Any) -> bool:
        """Whether the output is one law per token: (batch, token, classes) from a model that says ``logits`` or is a tensor."""
        out, calls = self._run(inputs, {})
        return out.ndim == 3 and tuple(out.shape[:2]) == (calls[0].q.shape[0], calls[0].q.shape[2])

    def visible(self, inputs: Any) -> np.ndarray:
        """Which keys the queries of the first layer may see, (batch or 1, head or 1, T, T); all layers must agree.

        A layer of another mask (local attention) is an error: read its layers apart, with their own ``visible``.
        """
        _, calls = self._run(inputs, {})
        first = calls[0].visible()
        for number, call in enumerate(calls):
            if not torch.equal(
                call.visible().expand(*call.q.shape[:2], -1, -1), first.expand(*call.q.shape[:2], -1, -1)
            ):
                raise ValueError(
                    f"layers have different masks (L0 and L{number}); read them apart, each with its own visible="
                )
        return array_of(first)

    def _run(
        self, inputs: Any, changes: Mapping[int, Callable[[Tensor], Tensor]], wanted: Collection[str] = ()
    ) -> tuple[Any, list[Call]]:
        with torch.no_grad(), Calls(changes) as watched:
            out = self.forward(inputs)
        if not watched.calls:
            raise ValueError(
                "the model made no call of scaled_dot_product_attention: eager attention, a compiled model or an external "
                "kernel; ask for its sdpa attention"
            )
        return getattr(out, "logits", out), watched.calls

    def _needs_eval(self) -> None:
        """``ValueError`` where the module or a part of it trains: dropout would act on what is read, another draw on each run."""
        if getattr(self.forward, "training", False):
            raise ValueError("the module is in training mode, so dropout may act; call .eval() first")
        parts = self.forward.named_modules() if isinstance(self.forward, torch.nn.Module) else ()
        for name, part in parts:
            if part.training and "dropout" in type(part).__name__.lower() and getattr(part, "p", 1.0) > 0:
                raise ValueError(f"{name} drops (p={getattr(part, 'p', '?')}) in training mode; call .eval() first")

    def _parsed(self, name: str) -> tuple[int, str, int | None]:
        parts = name.split(".")
        fits = len(parts) in (2, 3) and parts[0][:1] == "L" and parts[0][1:].isdecimal() and parts[-1] in self.kinds
        per_head = parts[-1] in (*KINDS, "heads")
        fits = fits and (len(parts) == 2 or (per_head and parts[1][:1] == "H" and parts[1][1:].isdecimal()))
        if not fits:
            known = [f"L0.{kind}" for kind in self.kinds]
            raise ValueError(
                f"unknown site {name!r}{did_you_mean(name, known)}; sites are {', '.join(known)}, ..., logits"
            )
        return int(parts[0][1:]), parts[-1], int(parts[1][1:]) if len(parts) == 3 else None


def _site(call: Call, kind: str, change: Callable[[Tensor], Tensor] | None) -> np.ndarray:
    if kind == "pattern":
        return array_of(call.weights())
    if kind == "scores":
        return array_of(call.scores())
    if kind == "z" and change is not None:
        return array_of(change(call.z))
    if kind not in KINDS:
        return array_of(call.stream(kind))
    return array_of(getattr(call, kind))


def _edit(
    given: Replacement, head: int | None, before: Callable[[Tensor], Tensor] | None, name: str
) -> Callable[[Tensor], Tensor]:
    def edit(z: Tensor) -> Tensor:
        z = z if before is None else before(z)
        old = z if head is None else z[:, head]
        made = given(array_of(old)) if callable(given) else np.asarray(given)
        if made.shape != tuple(old.shape):
            raise ValueError(f"replace[{name!r}] has shape {made.shape}, the site {tuple(old.shape)}")
        new = torch.as_tensor(np.ascontiguousarray(made)).to(device=z.device, dtype=z.dtype)
        if head is None:
            return new
        whole = z.clone()
        whole[:, head] = new
        return whole

    return edit


def wide(x: Tensor) -> Tensor:
    """Float32 for half precision, else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def array_of(x: Tensor) -> np.ndarray:
    """The numbers of a tensor, in float32 at least."""
    return wide(x.detach()).cpu().numpy()
