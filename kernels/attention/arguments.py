"""What attention() checks of its arguments, and how it reads those that are aligned with leading axes."""

from __future__ import annotations

import dataclasses
import functools
import sys

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.masks import Mask
from attnlab.kernels.attention.scores.f_over_g import ScoreMap
from attnlab.kernels.attention.statistics import OF_COLUMNS

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
#: Types that are computed in float32 on the CPU.
LOW = (torch.bfloat16, torch.float16)
#: The largest finite number: whole numbers may be larger.
LARGEST = sys.float_info.max
PATHS = ("auto", "c", "sdpa", "gpu", "reference")


def by_value(mask: str | Mask | Tensor | None) -> bool:
    """Whether a mask is one that equal masks can stand for: no tensor, and no object that holds one, however deep."""
    if mask is None or isinstance(mask, str):
        return True
    if not isinstance(mask, Mask) or type(mask).__hash__ in (None, object.__hash__):
        return False
    return is_compared(mask) and all(
        _is_value(getattr(mask, name)) for name in getattr(mask, "__dataclass_fields__", ())
    )


def is_compared(x: object) -> bool:
    """Whether ``==`` sees all that a mask or a score map holds, however deep, so that equal ones can stand for each other."""
    if isinstance(x, tuple):
        return all(map(is_compared, x))
    if not isinstance(x, (Mask, ScoreMap)):
        return True
    compared, others = _compared(type(x))
    if compared is None:
        return True
    return not others and vars(x).keys() <= compared and all(is_compared(getattr(x, name)) for name in compared)


@functools.lru_cache(maxsize=256)
def _compared(kind: type) -> tuple[frozenset[str] | None, bool]:
    """The fields that ``==`` compares (None: it asks for the same object), and whether the class has others."""
    owner = next(base for base in kind.__mro__ if "__eq__" in vars(base))
    if owner is object:
        return None, False
    own, all_of_them = (dataclasses.fields(x) if dataclasses.is_dataclass(x) else () for x in (owner, kind))
    compared = frozenset(field.name for field in own if field.compare)
    slots = (vars(base).get("__slots__", ()) for base in kind.__mro__)
    names = {name for part in slots for name in ((part,) if isinstance(part, str) else part)}
    names |= {field.name for field in all_of_them}
    return compared, not names - {"__dict__", "__weakref__"} <= compared


def _is_value(x: object) -> bool:
    """Whether a part of a mask is a number, a name or a tuple of such: it is equal only to what means the same."""
    if isinstance(x, Mask):
        return by_value(x)
    if isinstance(x, (tuple, frozenset)):
        return all(map(_is_value, x))
    return x is None or isinstance(x, (int, float, str))


def autocast_type(x: Tensor) -> str:
    """The type of device whose autocast speaks of a tensor; there is none for tensors without numbers."""
    return "cpu" if x.is_meta else x.device.type


def checked_tensors(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the plan of an earlier call does not vouch for: tensors of one type on one device."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a tensor (..., position, width), got {type(x).__name__}")
        if x.layout is not torch.strided or x.is_nested:
            kind = "nested" if x.is_nested else str(x.layout)
            raise ValueError(
                f"{name} is a {kind} tensor; give a dense one, x.to_dense() or torch.nested.to_padded_tensor(x, 0)"
            )
    if not q.device == k.device == v.device:
        raise ValueError(f"q, k, v are on {q.device}, {k.device}, {v.device}; move them to one device")
    if not q.dtype == k.dtype == v.dtype and torch.is_autocast_enabled(autocast_type(q)):
        widest = functools.reduce(torch.promote_types, (q.dtype, k.dtype, v.dtype))
        q, k, v = q.to(widest), k.to(widest), v.to(widest)
    if not q.dtype == k.dtype == v.dtype or q.dtype not in DTYPES:
        raise ValueError(
            f"q, k, v have dtypes {q.dtype}, {k.dtype}, {v.dtype}; they must be one floating-point dtype of "
            "float32, float64, bfloat16 and float16, convert them with .to(...)"
        )
    return q, k, v


def check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim < 2 or x.shape[-1] == 0:
            raise ValueError(f"{name} has shape {tuple(x.shape)}; expected (..., position, width >= 1)")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"q has width {q.shape[-1]} and k has width {k.shape[-1]}; they must be equally wide")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"k has {k.shape[-2]} keys and v has {v.shape[-2]} values; every key needs one value")
    try:
        leading(q, k, v)
    except RuntimeError:
        raise ValueError(
            f"the leading axes of q {tuple(q.shape[:-2])}, k {tuple(k.shape[:-2])} and v "
            f"{tuple(v.shape[:-2])} do not broadcast"
        ) from None


def leading(*tensors: Tensor) -> torch.Size:
    """The common leading axes; equal ones, the usual case, take no time."""
    first, *others = (x.shape[:-2] for x in tensors)
    return first if all(shape == first for shape in others) else torch.broadcast_shapes(first, *others)


def leading_of_all(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, visible: Tensor | None) -> torch.Size:
    """The leading axes of the output: those of q, k, v, bias and mask together."""
    try:
        return leading(q, k, v, *(x for x in (bias, visible) if x is not None))
    except RuntimeError:
        shapes = {"q": q, "k": k, "v": v, "bias": bias, "mask": visible}
        told = ", ".join(f"{name} {tuple(x.shape[:-2])}" for name, x in shapes.items() if x is not None)
        raise ValueError(f"the leading axes do not broadcast: {told}") from None


def scaled(q: Tensor, scale: float | Tensor | None, score: ScoreMap, lead: torch.Size) -> tuple[Tensor, float]:
    """A tensor scale goes into the queries, where it has its gradient; a number stays a number."""
    if scale is None:
        return q, score.default_scale(q.shape[-1])
    if not isinstance(scale, Tensor):
        try:
            finite = -LARGEST <= scale <= LARGEST  # also of a number that torch.compile has made a symbol
        except (TypeError, ValueError):
            raise ValueError(f"scale={scale!r} must be a real number or a tensor") from None
        if not finite:
            raise ValueError(f"scale={scale!r} must be finite, of a size that a floating-point number has")
        return q, float(scale)
    if scale.is_complex():
        raise ValueError(f"scale has dtype {scale.dtype}; it must be real")
    if may_ask(scale) and not bool(torch.isfinite(scale).all()):
        raise ValueError("scale has entries that are not finite")
    return q * aligned("scale", scale, lead).to(q), 1.0


def may_ask(x: Tensor) -> bool:
    """Whether the numbers of a tensor may be looked at: not while something traces, maps or captures."""
    return (
        not torch_internals.tracing()
        and not torch_internals.is_wrapped(x)
        and not x.is_meta
        and not torch_internals.dispatches(x)
        and not (x.is_cuda and torch.cuda.is_current_stream_capturing())
    )


def aligned_sink(sink: Tensor, lead: torch.Size) -> Tensor:
    """A tensor sink, aligned; a logit of plus infinity, beside which nothing has a weight, is refused."""
    if not sink.is_floating_point():
        raise ValueError(f"sink has dtype {sink.dtype}; it must be a floating-point tensor")
    if may_ask(sink) and bool((sink == torch.inf).any()):
        raise ValueError("sink has entries of plus infinity; a sink's logit must be finite, or minus infinity for none")
    return aligned("sink", sink, lead)


def aligned(name: str, x: Tensor, lead: torch.Size) -> Tensor:
    """Numbers that belong to the first leading axes of the output, with two more axes for query and key (or width)."""
    if x.ndim > len(lead):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} but the output has only {len(lead)} leading axes {tuple(lead)}; a tensor "
            f"{name} is aligned with the first of them"
        )
    if any(a not in (1, b) for a, b in zip(x.shape, lead, strict=False)):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; expected 1 or the first of the leading axes {tuple(lead)}"
        )
    return x.reshape(x.shape + (1,) * (len(lead) + 2 - x.ndim))


def no_keys(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, lead: torch.Size, names: tuple[str, ...], score: ScoreMap
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """What rows without any key give: zeros (for the log-normaliser, that of an empty sum), with gradients of zero."""
    zero = _zeros_of(q[..., :1]).expand(*lead, q.shape[-2], 1)
    zero = zero + (k.sum() + v.sum())  # sums over nothing, so that k and v have their gradients
    if bias is not None:
        zero = zero + _zeros_of(bias).sum()
    if isinstance(getattr(score, "sink", None), Tensor):
        zero = zero + _zeros_of(score.sink).sum().to(zero)
    found = {name: zero.squeeze(-1) if name not in OF_COLUMNS else zero.sum(-2)[..., :0] for name in names}
    if "log_sum_exp" in found:
        nothing = zero.expand(*lead, q.shape[-2], 1)[..., :0]
        log_z = score.weights(nothing, torch.ones_like(nothing, dtype=torch.bool))[1]
        found["log_sum_exp"] = found["log_sum_exp"] + log_z
    o = zero.expand(*lead, q.shape[-2], v.shape[-1]).clone()
    return (o, found) if names else o


def _zeros_of(x: Tensor) -> Tensor:
    """Zeros with a gradient of zero for x, whatever is there."""
    return torch.where(torch.zeros_like(x, dtype=torch.bool), x, 0.0)


def check_matrix(name: str, x: Tensor | None, n_q: int, n_k: int) -> None:
    if x is not None and (x.ndim < 2 or x.shape[-2] not in (1, n_q) or x.shape[-1] not in (1, n_k)):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; expected (..., {n_q} queries, {n_k} keys), leading axes that broadcast with "
            "those of q, k and v"
        )
