r"""Models of the transformers library as instruments read them, with what never reaches a call of attention: caps and sinks.

For as long as the model runs, its attention function is one that calls the function in use and keeps the arguments, so the output
is the same to the bit. With the layer's ``softcap`` c and learned sinks s_h the weights are computed again,

.. math:: A_{ij} = \frac{e^{S_{ij}}}{e^{s_h} + \sum_l e^{S_{il}}}, \qquad
          S_{ij} = c \tanh(\sigma\, q_i \cdot k_j / c) + m_{ij},

and checked by A v = z. Needs transformers 5 (``pip install "attnlab[models]"``), which is imported inside functions only.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.outside import streams
from attnlab.simulators.outside.torch_calls import KINDS, Call, TorchModel

NAME = "attnlab"  # under which the watching function stands in the library's table, while a model runs
READ = ("eager", "sdpa")


class TransformersModel(TorchModel):
    """A model of transformers; ``inputs`` is a mapping such as ``{"input_ids": ..., "attention_mask": ...}`` or token ids.

    Sites and replacements are those of :class:`~attnlab.simulators.outside.torch_calls.TorchModel`, and the residual stream where
    the layers are known (:mod:`~attnlab.simulators.outside.streams`): ``L0.pre``, ``.heads``, ``.bias``, ``.mlp``, ``.post``, and
    of norms that come after (BERT) ``.attention_sum``, ``.mid``, ``.mlp_sum``. Where a decoder's prompts are
    padded, positions count from the first real token (without ``position_ids`` a left-padded GPT-2 is off by 7 in its logits).
    ``logits`` are the model's, or its last hidden state where it has none.
    """

    kinds: tuple[str, ...] = (*KINDS, *streams.KINDS)

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model = model
        if (way := model.config._attn_implementation) not in READ:
            raise ValueError(
                f"attention implementation {way!r} keeps no arguments that can be read; load with {READ[0]!r}"
            )

    def mass(self, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The row sums of recorded patterns that learned sinks take a share of, for ``Readings(mass=...)``."""
        sums = {name: array.sum(-1) for name, array in found.items() if name.endswith("pattern")}
        return {name: total for name, total in sums.items() if total.max() < 1 - 1e-3}

    def real(self, inputs: Any) -> np.ndarray | None:
        """Which tokens are real, (batch, token): the attention mask, None where there is none."""
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        return None if mask is None else np.asarray(mask).astype(bool)

    def streams(self) -> tuple[str, ...]:
        """The kinds of sites of the residual stream that every layer has; none where the layers are not known."""
        try:
            layers = streams.layers_of(self.model)
        except ValueError:
            return ()
        each = [streams.kinds_of(layout, layer) for layer, layout in layers]
        return tuple(kind for kind in streams.KINDS if all(kind in kinds for kinds in each))

    def predicts(self, inputs: Any) -> bool:
        """Whether the model has logits for every token, of the vocabulary."""
        return self.model.get_output_embeddings() is not None and super().predicts(inputs)

    def _run(
        self, inputs: Any, changes: Mapping[int, Callable[[Tensor], Tensor]], wanted: Collection[str] = ()
    ) -> tuple[Any, list[Call]]:
        given = dict(inputs) if isinstance(inputs, Mapping) else {"input_ids": inputs}
        given = {name: torch.as_tensor(value) for name, value in given.items()}
        accepted = inspect.signature(self.model.forward).parameters
        padding = given.get("attention_mask")
        if padding is not None and not bool(padding.bool().all()) and "position_ids" in accepted:
            given.setdefault("position_ids", (padding.long().cumsum(-1) - 1).clamp_min(0))
        if "use_cache" in accepted or "kwargs" in accepted:
            given["use_cache"] = False
        calls: list[Call] = []
        layers = streams.layers_of(self.model) if set(wanted) & set(streams.KINDS) else []
        kept: list[dict[str, Tensor]] = []
        with torch.no_grad(), _watched(self.model, calls, changes), streams.watched(layers, kept):
            out = self.model(**given)
        if not calls:
            raise ValueError(
                f"{type(self.model).__name__} does not use the library's table of attention functions; wrap it in "
                "TorchModel, which watches calls of scaled_dot_product_attention"
            )
        if layers and len(layers) != len(calls):
            raise ValueError(
                f"the residual stream is not known: {len(calls)} attention calls in {len(layers)} layers of known parts"
            )
        calls = (
            [
                replace(
                    call,
                    stream=functools.partial(
                        streams.site, kept=each, layer=layer, layout=layout, n_heads=call.q.shape[1]
                    ),
                )
                for call, each, (layer, layout) in zip(calls, kept, layers, strict=True)
            ]
            if layers
            else calls
        )
        return out.logits if hasattr(out, "logits") else out.last_hidden_state, calls


def saved_model(folder: str | Path) -> TransformersModel:
    """The model saved in a folder: safetensors, in float32, eager attention, in eval mode; never the network.

    A language model with its output where the folder holds one (causal or masked), else the bare model. Errors: ``ValueError``
    where transformers is missing (with the line that installs it), or the folder holds no such model.
    """
    try:
        import transformers
    except ImportError:
        raise ValueError('reading a saved model needs transformers: pip install "attnlab[models]"') from None
    path = Path(folder)
    if not (path / "config.json").exists():
        raise ValueError(f"{path} has no config.json: give the folder that save_pretrained wrote")
    config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
    written = " ".join(config.architectures or [])
    kind = "AutoModelForCausalLM" if "CausalLM" in written or "LMHead" in written else "AutoModel"
    kind = "AutoModelForMaskedLM" if "MaskedLM" in written else kind
    try:
        model = getattr(transformers, kind).from_pretrained(
            path, local_files_only=True, use_safetensors=True, dtype=torch.float32, attn_implementation="eager"
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"cannot load {path} from its safetensors: {error}") from error
    return TransformersModel(model.eval())


@contextlib.contextmanager
def _watched(model: Any, calls: list[Call], changes: Mapping[int, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """While it lasts, every attention call of the model is kept in ``calls``; tables and configs are put back after it."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    ways = {key: config._attn_implementation for key, config in configs.items()}
    base = model.config._attn_implementation

    def function(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *args: Any, **kwargs: Any) -> Any:
        home = sys.modules[type(module).__module__]
        inner = getattr(home, "eager_attention_forward", None) if base == "eager" else ALL_ATTENTION_FUNCTIONS[base]
        if inner is None:
            raise ValueError(f"{type(module).__name__} has no eager attention of the library's form; load with sdpa")
        if q.shape[-2] != k.shape[-2] or q.shape[1] % k.shape[1]:
            raise ValueError(
                f"queries {tuple(q.shape)} and keys {tuple(k.shape)}: whole sequences are read, without a cache"
            )
        if kwargs.get("dropout"):
            raise ValueError(f"layer {len(calls)} drops weights (dropout={kwargs['dropout']}); call model.eval() first")
        out, weights = inner(module, q, k, v, mask, *args, **kwargs)
        causal = kwargs.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        causal = bool(mask is None and causal and base == "sdpa")
        scale = kwargs.get("scaling")
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        number, z = len(calls), out.transpose(1, 2)
        sinks = kwargs.get("s_aux")
        sinks = None if sinks is None else sinks.detach()
        calls.append(Call(q, k, v, mask, scale, z, kwargs.get("softcap"), sinks, causal))
        if number in changes:
            out = changes[number](z).transpose(1, 2).contiguous()
        return out, weights

    ALL_ATTENTION_FUNCTIONS[NAME] = function
    # the library looks for a mask's maker in the table of the class alone, and leaves the mask out where it finds none
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS[base])
    try:
        for config in configs.values():
            config._attn_implementation = NAME
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = ways[key]
        del ALL_ATTENTION_FUNCTIONS[NAME]
        ALL_MASK_ATTENTION_FUNCTIONS._global_mapping.pop(NAME, None)
