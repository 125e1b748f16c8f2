r"""What each key receives and how the first key stands, per layer, from queries and keys: no map is kept.

Of one call of attention, on the real tokens of every prompt (n of them; positions count from the first real token, padding is 0):

========================  =================================================================================================
``received``              :math:`\sum_i A_{ij}` over the queries, (batch, head, key)
``received_late``         the mean of A_ij over the last n // 4 queries
``late_scores``           the mean score over these queries, of the keys that they all see, else 0; nats
``first_weight``          :math:`A_{i0}`, (batch, head, query)
``first_lead``            :math:`S_{i0} - \operatorname{mean}_{0 < j,\ \text{visible}} S_{ij}`, nats; 0 where no other key is seen
========================  =================================================================================================

Plain softmax under a mask, with learned sinks too, runs on the fused kernels, ``attention(..., statistics=("column_sum",))``; the
first key's weight is the output at a value that is 1 there and 0 elsewhere, and mean scores are products with mean keys,

.. math:: \operatorname{mean}_j S_{ij} = \sigma\, q_i \cdot \operatorname{mean}_j k_j,

so no map of a head is made: what grows as n^2 is the mask alone, once for all prompts and heads. Capped scores and additive
biases are read in chunks of :data:`CHUNK` queries. Either way the outputs must be those that the model computed, A v = z within
the budget of :mod:`~attnlab.simulators.outside.torch_calls`, or the layer is refused; as it is where ``real`` hides keys that
the model saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention.operation import attention
from attnlab.kernels.attention.scores.f_over_g import Softmax
from attnlab.simulators.outside.torch_calls import HIDDEN, WITHIN, Call, TorchModel, array_of, wide

KINDS = ("received", "received_late", "late_scores", "first_weight", "first_lead")
LATE = 4  # the last n // LATE queries
CHUNK = 256  # queries at once where the fused path does not apply


def sites_of_model(model: TorchModel, inputs: Any, real: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """``L0.received``, ... of every attention call of a model on some inputs, for ``Readings``; no map is made.

    ``real`` (batch, token): None takes what the inputs say (the attention mask of transformers), else all tokens.
    """
    real = model.real(inputs) if real is None else real
    found = {}
    for layer, call in enumerate(model.calls(inputs)):
        found |= {f"L{layer}.{name}": array for name, array in sink_sites(call, real).items()}
    return found


def sites_of_arrays(
    sites: Mapping[str, np.ndarray | Tensor],
    *,
    causal: bool = True,
    visible: np.ndarray | None = None,
    scale: float | None = None,
    real: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The same from queries ``L0.q`` (batch, head, token, head_dim) and keys ``L0.k`` of all layers that are given.

    ``visible`` (batch or 1, head or 1, query, key) stands for the causal mask where it is given; ``scale``: None is
    1/sqrt(head_dim). Errors: ``ValueError`` for a layer without its keys, numbers that are not finite, integers, or heads that
    do not divide.
    """
    layers = sorted(
        int(name[1:-2]) for name in sites if name[:1] == "L" and name.endswith(".q") and name[1:-2].isdecimal()
    )
    if not layers:
        raise ValueError(f"no site 'L0.q' among {', '.join(sorted(sites)[:8])}; give queries and keys")
    mask = None if visible is None else torch.as_tensor(np.ascontiguousarray(visible, dtype=bool))
    found = {}
    for layer in layers:
        if f"L{layer}.k" not in sites:
            raise ValueError(f"there are queries L{layer}.q and no keys L{layer}.k")
        q, k = (_checked(f"L{layer}.{kind}", sites[f"L{layer}.{kind}"]) for kind in "qk")
        if q.shape[0] != k.shape[0] or q.shape[2:] != k.shape[2:] or q.shape[1] % k.shape[1]:
            raise ValueError(
                f"L{layer}: queries {tuple(q.shape)} and keys {tuple(k.shape)} must have the same batch, token and head_dim, "
                "and key heads that divide the query heads"
            )
        rate = q.shape[-1] ** -0.5 if scale is None else scale
        call = Call(q, k, k, mask, rate, None, causal=causal and mask is None)
        found |= {f"L{layer}.{name}": array for name, array in sink_sites(call, real).items()}
    return found


def _checked(name: str, given: np.ndarray | Tensor) -> Tensor:
    x = torch.as_tensor(given if isinstance(given, Tensor) else np.ascontiguousarray(given)).detach()
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"{name} must be a float array (batch, head, token, head_dim), got {x.dtype} {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} has entries that are not finite; a model that diverged?")
    return x


@torch.no_grad()
def sink_sites(call: Call, real: np.ndarray | None = None, fused: bool | None = None) -> dict[str, np.ndarray]:
    """The sites above of one call, each (batch, head, token), float32 at least; ``real`` (batch, token), None: all real.

    ``fused``: None chooses; False reads in chunks. Errors: ``ValueError`` where A v is not z, a prompt has fewer than 4 real
    tokens or padding between them, or ``fused=True`` meets a capped or biased score.
    """
    batch, n_heads, n_tokens = call.q.shape[:3]
    kept = np.ones((batch, n_tokens), dtype=bool) if real is None else np.asarray(real, dtype=bool)
    if kept.shape != (batch, n_tokens):
        raise ValueError(f"real has shape {kept.shape}, the call has (batch, token) = {(batch, n_tokens)}")
    found = {name: np.zeros((batch, n_heads, n_tokens), array_of(wide(call.q[:0])).dtype) for name in KINDS}
    for prompts, at in _groups(kept):
        part = _taken(call, prompts, at)
        plain = call.softcap is None and not _biased(part)
        if fused and not plain:
            raise ValueError("capped or biased scores have no fused path; leave fused out")
        read = _fused(part) if (plain if fused is None else fused) else _in_chunks(part)
        for name, array in read.items():
            found[name][prompts[:, None], :, at] = array_of(array).swapaxes(1, 2)
    return found


def _groups(kept: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Prompts of equal length: their indices (prompt,), and the positions of their real tokens (prompt, n)."""
    lengths = kept.sum(1)
    first = kept.argmax(1)
    for n in np.unique(lengths):
        prompts = np.flatnonzero(lengths == n)
        at = first[prompts][:, None] + np.arange(n)
        if n < LATE:
            raise ValueError(f"prompt {prompts[0]} has {n} real tokens; at least {LATE} are read")
        whole = np.take_along_axis(kept[prompts], np.minimum(at, kept.shape[1] - 1), 1).all(1)
        if not whole.all():
            raise ValueError(
                f"prompt {prompts[~whole][0]} has padding between its tokens; padding may stand left and right only"
            )
        yield prompts, at


def _taken(call: Call, prompts: np.ndarray, at: np.ndarray) -> Call:
    """The call on the real tokens of some prompts, keys and values once per query head."""
    if len(prompts) == call.q.shape[0] and at.shape[1] == call.q.shape[2]:
        mask = call.mask
        q, k, v, z = call.q, call.per_head(call.k), call.per_head(call.v), call.z
    else:
        b, t = (torch.as_tensor(x, device=call.q.device)[:, None] for x in (prompts[:, None], at))
        q, k, v, z = (
            None if x is None else x[b, torch.arange(x.shape[1], device=x.device)[None, :, None], t]
            for x in (call.q, call.per_head(call.k), call.per_head(call.v), call.z)
        )
        mask = call.mask
        if mask is not None:
            mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
            mask = mask.expand(call.q.shape[0], -1, *call.q.shape[2:3], call.k.shape[2])
            heads = torch.arange(mask.shape[1], device=mask.device)[None, :, None, None]
            mask = mask[b[..., None], heads, t[..., None], t[:, :, None]]
    within = WITHIN[call.q.dtype] if call.budget is None else call.budget
    q, k, v, z = (None if x is None else wide(x) for x in (q, k, v, z))
    return Call(q, k, v, mask, call.scale, z, call.softcap, call.sinks, call.causal, within)


def _biased(call: Call) -> bool:
    """Whether a mask adds something to scores that are seen."""
    if call.mask is None or call.mask.dtype == torch.bool:
        return False
    return bool(((call.mask > HIDDEN) & (call.mask != 0)).any())


def _fused(call: Call) -> dict[str, Tensor]:
    q, k, v = call.q, call.k, call.v
    n, rows = q.shape[2], q.shape[2] // LATE
    seen = None if call.mask is None else call.visible()
    if seen is not None and bool((seen == torch.ones(n, n, dtype=torch.bool, device=q.device).tril()).all()):
        seen, causal = None, True  # eager attention of transformers gives its causal mask as a tensor
    else:
        causal = call.causal
    score = "softmax" if call.sinks is None else Softmax(sink=call.sinks.to(q)[None])
    mask, late_mask = ("causal", "causal") if causal else (seen, None if seen is None else seen[..., -rows:, :])
    first = torch.zeros_like(v[..., :1])
    first[:, :, 0] = 1.0
    given = {"score": score, "scale": call.scale, "statistics": ("column_sum",)}
    z, whole = attention(q, k, torch.cat([v, first], -1), mask=mask, **given)
    any_key = torch.ones((), dtype=torch.bool, device=q.device) if seen is None else seen.any(-1, keepdim=True)
    call.check(z[..., :-1], any_key)
    _, late = attention(q[:, :, -rows:], k, first, mask=late_mask, **given)
    others, all_see_first, alone = _mean_of_others(k, seen, causal)
    lead = call.scale * (q * (k[:, :, :1] - others)).sum(-1)
    lead = torch.where(all_see_first & ~alone, lead, 0.0)
    common = _seen_by_all(k, rows, seen, causal)
    return {
        "received": whole["column_sum"],
        "received_late": late["column_sum"] / rows,
        "late_scores": torch.where(common, call.scale * (q[:, :, -rows:].mean(2, keepdim=True) * k).sum(-1), 0.0),
        "first_weight": z[..., -1],
        "first_lead": lead,
    }


def _mean_of_others(k: Tensor, seen: Tensor | None, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of the keys but the first that each query sees, (..., query, d), whether it sees the first, and none other."""
    n = k.shape[2]
    yes = torch.ones(n, dtype=torch.bool, device=k.device)
    if seen is not None:
        of_others = seen[..., 1:].to(k)
        count = of_others.sum(-1)
        return of_others @ k[:, :, 1:] / count.clamp_min(1)[..., None], seen[..., 0], count == 0
    if not causal:
        return k[:, :, 1:].mean(2, keepdim=True), yes, ~yes
    count = torch.arange(n, device=k.device)
    return (k.cumsum(2) - k[:, :, :1]) / count.clamp_min(1).to(k)[:, None], yes, count == 0


def _seen_by_all(k: Tensor, rows: int, seen: Tensor | None, causal: bool) -> Tensor:
    """Which keys all of the last ``rows`` queries see, (..., key)."""
    if seen is not None:
        return seen[..., -rows:, :].all(-2)
    n = k.shape[2]
    return torch.arange(n, device=k.device) <= (n - rows if causal else n)


def _in_chunks(call: Call) -> dict[str, Tensor]:
    """The same from the weights of :data:`CHUNK` queries at a time."""
    n, rows = call.q.shape[2], call.q.shape[2] // LATE
    found = {name: call.q.new_zeros(call.q.shape[:3]) for name in KINDS}
    common, z, see = torch.ones((), dtype=torch.bool, device=call.q.device), [], []
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        s, a = call.scores(part), call.weights_of(part)
        seen = torch.isfinite(s)
        z.append(a @ call.v)
        see.append(seen.any(-1, keepdim=True))
        s = torch.where(seen, s, 0.0)
        found["received"] += a.sum(2)
        found["first_weight"][:, :, part] = a[..., 0]
        count = seen[..., 1:].sum(-1)
        lead = s[..., 0] - s[..., 1:].sum(-1) / count.clamp_min(1)
        found["first_lead"][:, :, part] = torch.where(seen[..., 0] & (count > 0), lead, 0.0)
        late = torch.arange(part.start, part.stop, device=s.device) >= n - rows
        if late.any():
            found["received_late"] += a[:, :, late].sum(2) / rows
            found["late_scores"] += s[:, :, late].sum(2) / rows
            common = common & seen[:, :, late].all(2)
    found["late_scores"] = torch.where(common, found["late_scores"], 0.0)
    call.check(torch.cat(z, 2), torch.cat(see, 2))
    return found
