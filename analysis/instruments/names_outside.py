"""Sites under the names of other libraries: TransformerLens' hooks (2, 3, 4), and stacked arrays ``pattern``, ``scores``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

HOOKS = {
    "hook_resid_pre": "pre",
    "hook_resid_mid": "mid",
    "hook_resid_post": "post",
    "hook_mlp_out": "mlp",
    "attn.hook_q": "q",
    "attn.hook_k": "k",
    "attn.hook_rot_q": "q",
    "attn.hook_rot_k": "k",
    "attn.hook_v": "v",
    "attn.hook_z": "z",
    "attn.hook_result": "heads",
    "attn.hook_attn_scores": "scores",
    "attn.hook_pattern": "pattern",
}
"""TransformerLens' name of a block's activation -> ours. The rotated q and k, where there are some, enter the score."""

SWAPPED = ("q", "k", "v", "z", "heads")
"""Sites whose head and token axes TransformerLens has the other way round."""

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_WHOLE = {"hook_embed": "embed", "ln_final.hook_normalized": "final", "logits": "logits"}


def sites(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Sites of :mod:`attnlab.analysis.instruments.readings` from a cache of TransformerLens, or from arrays by our own names.

    ``pattern`` and ``scores`` of shape (batch, layer, head, query, key) are taken apart. Torch tensors are copied to numpy, half
    precision to float32. Names that are no site (``hook_attn_out``, norms) are left out.
    """
    found: dict[str, np.ndarray] = {}
    rotated = {name.replace("hook_rot_", "hook_") for name in arrays if "hook_rot_" in name}
    for name, given in arrays.items():
        array = as_array(given)
        block = _BLOCK.fullmatch(name)
        if block and block[2] in HOOKS:
            if name in rotated:
                continue
            kind = HOOKS[block[2]]
            found[f"L{block[1]}.{kind}"] = np.swapaxes(array, 1, 2) if kind in SWAPPED else array
        elif name in _WHOLE:
            found[_WHOLE[name]] = array
        elif name in ("pattern", "scores") and array.ndim == 5:
            found |= {f"L{layer}.{name}": array[:, layer] for layer in range(array.shape[1])}
        elif re.fullmatch(r"L\d+\.\w+|embed|final", name):
            found[name] = array
    if not found:
        raise ValueError(
            f"no site among {', '.join(sorted(arrays)[:8]) or 'no arrays'}; call them L0.pattern, ..., or pattern of shape "
            "(batch, layer, head, query, key), or as TransformerLens does"
        )
    return found


def as_array(given: Any) -> np.ndarray:
    """A numpy array of a torch tensor or an array; half precision becomes float32."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) in ("torch.bfloat16", "torch.float16") else given
    made = np.asarray(given)
    return made.astype(np.float32) if made.dtype == np.float16 else made
