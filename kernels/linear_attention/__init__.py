r"""Causal linear attention with decay in three equal forms: parallel (quadratic), recurrent, and chunked (linear time).

.. math:: o_i = \sum_{j \le i} e^{c_i - c_j}\,(q_i \cdot k_j)\, v_j + e^{c_i} q_i^\top S_0, \qquad
          c_i = \sum_{l \le i} \ln f_l ,

with gates f in [0, 1], one per token, or one decay for all tokens; f = 1 is plain linear attention, and f = 0 (ln f = -infinity)
forgets everything before the token, whatever it is: no NaN of what is forgotten reaches a later token. The recurrent form
keeps the state :math:`S_i = f_i S_{i-1} + k_i v_i^\top`, :math:`o_i = q_i^\top S_i`. The chunked form (Lightning
Attention-2, arXiv 2401.04658) works on blocks of B tokens, the part within a block as a masked product and the part
before it through the state:

.. math:: O_t = [(Q_t K_t^\top) \odot M] V_t + \Lambda Q_t S_{t-1}, \qquad
          S_t = e^{C_B} S_{t-1} + (\mathrm{diag}(e^{C_B - C_r}) K_t)^\top V_t,

C the sums of ln f within the block, M the decays between its tokens. Every exponent is at most 0, so nothing overflows
however long the sequence. All forms are plain tensor operations: derivatives of any order and ``torch.func`` work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.arguments import LOW, autocast_type, checked_tensors, may_ask
from attnlab.kernels.attention.function_pieces import FullPrecision, lowered
from attnlab.kernels.attention.reference import finite, finite_values, lost_values

FORMS = ("chunked", "recurrent", "parallel")


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    log_decay: float | Tensor = 0.0,
    state: Tensor | None = None,
    form: str = "chunked",
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """Output (..., token, d_v) and the state (..., d, d_v) after the last token.

    q, k (..., token, d), v (..., token, d_v), equal leading axes. ``log_decay``: ln f <= 0, a number, or a tensor
    (..., token) that broadcasts to the leading axes and receives gradients. ``state``: S_0, by default zero; passing
    the returned state continues a sequence. There is no scale and no normaliser: put a scale into q; for a normaliser
    append a column of ones to v.
    """
    q, k, v = checked_tensors(q, k, v)
    if q.shape != k.shape or q.shape[:-1] != v.shape[:-1] or q.ndim < 2:
        raise ValueError(
            f"q, k, v have shapes {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}; expected (..., "
            "token, d) twice and (..., token, d_v) with equal leading axes"
        )
    state = _checked_state(state, q, v)
    if q.dtype in LOW:
        state = None if state is None else state.float()
        o, last = linear_attention(
            q.float(), k.float(), v.float(), log_decay=log_decay, state=state, form=form, chunk=chunk
        )
        return o.to(q.dtype), last.to(q.dtype)
    log_f = _log_gates(q, log_decay)
    if form not in FORMS:
        raise ValueError(f"form={form!r} is unknown; use one of {', '.join(FORMS)}")
    if not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk={chunk!r} must be a positive integer")
    if state is None:
        state = q.new_zeros((*q.shape[:-2], q.shape[-1], v.shape[-1]))
    if q.shape[-2] == 0:  # no token: sums over nothing, so that q, k and v have their gradients
        return v + (q.sum(-1, keepdim=True) + k.sum(-1, keepdim=True) + log_f[..., None]), state
    chunk = q.shape[-2] if form == "parallel" else chunk
    if torch_internals.tracing():
        return _in_form(form, q, k, v, log_f, state, chunk)
    if lowered(q, k, v, log_f, state):
        return FullPrecision.apply(lambda *tensors: _in_form(form, *tensors, chunk), q, k, v, log_f, state)
    with torch_internals.mode_of(q, k, v):
        return _in_form(form, q, k, v, log_f, state, chunk)


def _in_form(
    form: str, q: Tensor, k: Tensor, v: Tensor, log_f: Tensor, state: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    with torch.autocast(autocast_type(q), enabled=False):  # the operands are of one type, and the sums keep it
        if form == "recurrent":
            return _recurrent(q, k, v, log_f, state)
        return _chunked(q, k, v, log_f, state, chunk)


def _checked_state(state: Tensor | None, q: Tensor, v: Tensor) -> Tensor | None:
    """The state in the type of q; another type is an error, but for short types and autocast."""
    if state is None:
        return None
    if not isinstance(state, Tensor):
        raise TypeError(f"state must be a tensor (..., d, d_v) or None, got {type(state).__name__}")
    if state.shape != (*q.shape[:-2], q.shape[-1], v.shape[-1]):
        raise ValueError(f"state has shape {tuple(state.shape)}; expected {(*q.shape[:-2], q.shape[-1], v.shape[-1])}")
    if state.dtype == q.dtype or (q.dtype in LOW and state.is_floating_point()):
        return state
    if state.is_floating_point() and torch.is_autocast_enabled(autocast_type(q)):
        return state.to(q.dtype)
    raise ValueError(f"state has dtype {state.dtype} and q {q.dtype}; convert one of them with .to(...)")


def _log_gates(q: Tensor, log_decay: float | Tensor) -> Tensor:
    """ln f of every token, (..., token)."""
    if not isinstance(log_decay, Tensor):
        try:
            fits = bool(log_decay <= 0)
        except (TypeError, ValueError):
            raise ValueError(f"log_decay={log_decay!r} must be a number, or a tensor (..., token)") from None
        if not fits:
            raise ValueError(f"log_decay={log_decay!r} must be at most 0 (a decay in [0, 1])")
        return q.new_full((q.shape[-2],), log_decay).expand(q.shape[:-1])
    if not log_decay.is_floating_point():
        raise ValueError(f"log_decay has dtype {log_decay.dtype}; it must be a floating-point tensor (..., token)")
    if may_ask(log_decay) and bool((log_decay > 0).any()):
        raise ValueError("log_decay has entries above 0; they must be at most 0 (decays in [0, 1])")
    try:
        return log_decay.to(q).expand(q.shape[:-1])
    except RuntimeError:
        raise ValueError(
            f"log_decay has shape {tuple(log_decay.shape)}; it must broadcast to {tuple(q.shape[:-1])} "
            "(leading axes, token)"
        ) from None


def _recurrent(q: Tensor, k: Tensor, v: Tensor, log_f: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for i in range(q.shape[-2]):
        gate = log_f[..., i, None, None]
        kept = torch.where(gate == -torch.inf, 0.0, state)  # 0 times NaN would be NaN
        state = gate.exp() * kept + k[..., i, :, None] * v[..., i, None, :]
        outputs.append((q[..., i, None, :] @ state).squeeze(-2))
    return torch.stack(outputs, -2), state


def _chunked(q: Tensor, k: Tensor, v: Tensor, log_f: Tensor, state: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    outputs = []
    for start in range(0, q.shape[-2], chunk):
        part = slice(start, start + chunk)
        Q, K, V = q[..., part, :], k[..., part, :], v[..., part, :]
        closed = log_f[..., part] == -torch.inf  # counted apart: infinity minus infinity is not a number
        C, n = torch.where(closed, 0.0, log_f[..., part]).cumsum(-1), closed.cumsum(-1)
        gap = C[..., :, None] - C[..., None, :]  # (..., query, key), <= 0 below
        past = torch.ones(gap.shape[-2:], dtype=torch.bool, device=q.device).tril()
        past = past & (n[..., :, None] == n[..., None, :])
        M = torch.where(past, torch.where(past, gap, 0.0).exp(), 0.0)
        outputs.append(_within(Q, K, V, M, past) + _before(Q, C, n == 0, state))
        last = (n == n[..., -1:])[..., None]  # what no closed gate of the block follows
        left = torch.where(last, K, 0.0) * (C[..., -1:] - C).exp()[..., None]
        state = torch.where((n[..., -1] == 0)[..., None, None], state, 0.0) * C[..., -1:, None].exp()
        state = state + left.mT @ torch.where(last, V, 0.0)
    return torch.cat(outputs, -2), state


def _before(Q: Tensor, C: Tensor, remembers: Tensor, state: Tensor) -> Tensor:
    """The part of the outputs that comes from before the block; a query behind a closed gate does not see the state."""
    seen = remembers[..., None].expand(Q.shape)
    Q = torch.where(seen, Q, 0.0)
    if torch_internals.all_finite(state):
        return C.exp()[..., None] * (Q @ state)
    state, lost, infinite = finite_values(state)
    return C.exp()[..., None] * (Q @ state) + lost_values(Q, seen, lost, infinite)


def _within(Q: Tensor, K: Tensor, V: Tensor, M: Tensor, past: Tensor) -> Tensor:
    """The part of the outputs that comes from the block itself; what is not finite counts from its token on, not before."""
    if torch_internals.all_finite(Q, K, V):
        return (Q @ K.mT * M) @ V
    whole = Q.detach() @ K.detach().mT
    (Q, lost_q), (K, lost_k), (V, lost_v, infinite) = finite(Q), finite(K), finite_values(V)
    lost = lost_q.any(-1)[..., :, None] | lost_k.any(-1)[..., None, :]
    S = torch.where(past, (Q @ K.mT + torch.where(lost & past, whole, 0.0)) * M, 0.0)
    return S @ V + lost_values(S, past, lost_v, infinite)
