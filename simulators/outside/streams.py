r"""The residual stream of layers of transformers: what attention and MLP add to it, and the sums before every LayerNorm.

A layer is known by the names of its parts. Where the norms come *before* attention and MLP (GPT-2, Llama),

.. math:: \text{post} = \text{pre} + \sum_h \text{heads}_h + \text{bias} + \text{mlp}.

Where they come *after* (BERT, RoBERTa, MiniLM), two sums are exact and no more: every LayerNorm rescales what is before it,

.. math:: \text{attention\_sum} = \text{pre} + \sum_h \text{heads}_h + \text{bias}, \quad
          \text{mid} = \mathrm{LN}(\text{attention\_sum}), \quad
          \text{mlp\_sum} = \text{mid} + \text{mlp}, \quad \text{post} = \mathrm{LN}(\text{mlp\_sum}).

``heads`` are the columns of the input of W_O times their rows of W_O, so they follow a replaced z. The sums are read as the
input of the LayerNorm, not added up here. Layers with a norm on what is added (Gemma 2), parallel branches, or other names
are refused.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from attnlab.simulators.outside.torch_calls import wide

SUMS = ("attention_sum", "mid", "mlp_sum")  # of layers whose norms come after
KINDS = ("pre", "heads", "bias", "mlp", "post", *SUMS)


@dataclass(frozen=True)
class Layout:
    """Names of W_O and of what the MLP adds within a layer; ``norms``: those after attention and after the MLP, if any."""

    out: str
    mlp: str
    norms: tuple[str, str] | None = None


LAYOUTS = (
    Layout("attention.output.dense", "output.dense", ("attention.output.LayerNorm", "output.LayerNorm")),
    Layout("self_attn.o_proj", "mlp"),
    Layout("attn.c_proj", "mlp"),
)
N_NORMS = 2


def layers_of(model: nn.Module) -> list[tuple[nn.Module, Layout]]:
    """The layers of a model with their layouts, in order. Errors: ``ValueError`` where none is known."""
    found = [(module, layout) for module in model.modules() for layout in LAYOUTS if _fits(module, layout)]
    if not found:
        raise ValueError(
            f"the residual stream of {type(model).__name__} is not known: layers are known by "
            f"{', '.join(f'{each.out} and {each.mlp}' for each in LAYOUTS)}, with {N_NORMS} norms each"
        )
    return found


def kinds_of(layout: Layout, layer: nn.Module) -> tuple[str, ...]:
    """The sites of the stream that such a layer has."""
    has_bias = _part(layer, layout.out).bias is not None
    return tuple(
        kind for kind in KINDS if (kind != "bias" or has_bias) and (kind not in SUMS or layout.norms is not None)
    )


@contextlib.contextmanager
def watched(layers: list[tuple[nn.Module, Layout]], found: list[dict[str, Tensor]]) -> Iterator[None]:
    """While it lasts, every layer's stream is kept in ``found``, a dictionary per layer; hooks are taken off after it."""
    handles = []
    try:
        for layer, layout in layers:
            kept: dict[str, Tensor] = {}
            found.append(kept)
            out = _part(layer, layout.out)
            handles += [
                layer.register_forward_pre_hook(_input(kept, "pre"), with_kwargs=True),
                layer.register_forward_hook(_output(kept, "post")),
                out.register_forward_pre_hook(_input(kept, "of_w_o"), with_kwargs=True),
                _part(layer, layout.mlp).register_forward_hook(_output(kept, "mlp")),
            ]
            if layout.norms is not None:
                first, second = (_part(layer, name) for name in layout.norms)
                handles += [
                    first.register_forward_pre_hook(_input(kept, "attention_sum"), with_kwargs=True),
                    first.register_forward_hook(_output(kept, "mid")),
                    second.register_forward_pre_hook(_input(kept, "mlp_sum"), with_kwargs=True),
                ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def site(kind: str, kept: dict[str, Tensor], layer: nn.Module, layout: Layout, n_heads: int) -> Tensor:
    """One site of a layer's stream, (batch, token, dim), heads (batch, head, token, dim), in float32 at least."""
    if kind not in kinds_of(layout, layer):
        if kind == "bias":
            raise ValueError("W_O has no bias; leave the site bias out")
        raise ValueError(
            f"{kind} is the sum at a norm that comes after; the norms of this layer come before: pre + heads + mlp = post"
        )
    out = _part(layer, layout.out)
    if kind == "bias":
        return wide(out.bias).expand_as(wide(kept["pre"]))
    if kind != "heads":
        return wide(kept[kind])
    given = wide(kept["of_w_o"])
    w_o = wide(out.weight)
    w_o = w_o.T if isinstance(out, nn.Linear) else w_o  # Conv1D of GPT-2 keeps (in, out)
    per_head = given.unflatten(-1, (n_heads, -1)).transpose(1, 2)
    return per_head @ w_o.unflatten(0, (n_heads, -1))


def _fits(module: nn.Module, layout: Layout) -> bool:
    names = (layout.out, layout.mlp, *(layout.norms or ()))
    if any(_part(module, name) is None for name in names):
        return False
    n_norms = sum(
        "norm" in type(each).__name__.lower()
        for name, each in module.named_modules()
        if "q_" not in name and "k_" not in name
    )
    return hasattr(_part(module, layout.out), "bias") and n_norms == N_NORMS


def _part(module: nn.Module, name: str) -> Any:
    return functools.reduce(lambda at, part: getattr(at, part, None), name.split("."), module)


def _input(kept: dict[str, Tensor], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        kept[name] = (args[0] if args else kwargs["hidden_states"]).detach()

    return hook


def _output(kept: dict[str, Tensor], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, out: Any) -> None:
        kept[name] = (out if isinstance(out, Tensor) else out[0]).detach()

    return hook
