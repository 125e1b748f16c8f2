"""Record what torch really does: every operation below autograd is run and written on the tape at the same time.

The function runs on real float64 tensors. Each tensor that depends on the inputs has a shadow, an array of tape numbers
that lies over its storage with the same strides, so views share it and writing in place changes it. What an operation
does with its arguments is taken from torch's own schema: an argument that the exact form does not know must have its
default value, or the statement is not recorded. A branch on a computed value is refused, or, at one point
(``path=True``), noted with the condition under which the same branch is taken.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from attnlab.analysis.exact.arrays import OPAQUE, as_objects, each, lift
from attnlab.analysis.exact.tape import Condition, NotTraceable, Number, Tape
from attnlab.analysis.exact.torch_entries import truncated
from attnlab.analysis.exact.torch_internals import DispatchMode, schema, unwatched

_WHOLE = frozenset(  # operations on whole numbers that are what they are on reals
    (
        "_to_copy add sub rsub mul neg abs sum prod cumsum maximum minimum amax amin clamp clamp_min clamp_max where "
        "masked_fill remainder floor_divide square sign cat stack clone count_nonzero index flip roll tril triu trace dot mv "
        "mm bmm repeat"
    ).split()
)
CONSTANT_SIZE = 64  # operations on constants are recorded up to this many entries; larger ones are computed
_PLUMBING = frozenset(
    (
        "detach alias lift_fresh lift _linalg_check_errors _assert_async squeeze_ unsqueeze_ t_ transpose_ swapaxes_ "
        "swapdims_ detach_ as_strided_"
    ).split()
)
_OUT_OF_TORCH = ("numpy", "tolist", "__array__", "data_ptr", "__reduce_ex__")
_FRESH = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")
_REFUSED = {
    "equal": "torch.equal turns computed values into a bool",
    "is_nonzero": "the statement branches on a computed value",
    "nonzero": "positions of non-zero entries depend on computed values",
    "masked_select": "a boolean mask of computed values selects entries",
}
_HARMLESS = {
    "dtype": (None, torch.float64),
    "layout": (None, torch.strided),
    "device": (None, torch.device("cpu")),
    "pin_memory": (None, False),
    "memory_format": (None, torch.contiguous_format, torch.preserve_format),
    "half_to_float": (False,),
    "non_blocking": (False,),
    "implicit": (False,),
    "check_errors": (False, True),
}


class TorchRecorder(DispatchMode):
    """The mode under which a function runs; ``shadow(t)`` is what the tape knows of a tensor."""

    def __init__(self, tape: Tape, path: bool = False) -> None:
        super().__init__()
        self.tape, self.path = tape, path
        self.conditions: list[tuple[Number, bool]] = []
        self._stores: dict[int, tuple[Any, np.ndarray]] = {}

    def input(self, tensor: torch.Tensor, entries: np.ndarray) -> None:
        """Declare a tensor whose entries are numbers of the tape."""
        self.attach(tensor, entries)

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor depends on the inputs (or is a recorded constant)."""
        return _key(tensor) in self._stores

    def shadow(self, tensor: torch.Tensor) -> np.ndarray:
        """Entries of a tensor: of its store if it has one, else its own numbers."""
        if not self.knows(tensor):
            return as_objects(_numpy(tensor))
        return _window(self._stores[_key(tensor)][1], tensor)

    def attach(self, tensor: torch.Tensor, entries: np.ndarray) -> None:
        """Give a tensor a shadow."""
        if tuple(entries.shape) != tuple(tensor.shape):
            raise NotTraceable(f"an exact form of shape {entries.shape} for a tensor of shape {tuple(tensor.shape)}")
        storage = tensor.untyped_storage()
        store = np.empty(storage.nbytes() // tensor.element_size(), dtype=object)
        self._stores[_key(tensor)] = storage, store
        _window(store, tensor)[...] = entries

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = materialised(args), {k: materialised(v) for k, v in (kwargs or {}).items()}
        name = schema(func).name.removeprefix("aten::")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise NotTraceable(f"{name} draws random numbers")
        tensors = list(_tensors([*args, *kwargs.values()]))
        known = any(self.knows(t) for t in tensors)
        if name == "_local_scalar_dense" and known:
            return self._decided(args[0], func(*args, **kwargs))
        if not known:
            return self._on_constants(func, name, tensors, args, kwargs)
        if name in _REFUSED:
            raise NotTraceable(_REFUSED[name])
        if name in _PLUMBING or name in _FRESH:
            return func(*args, **kwargs)
        if schema(func).is_mutable:
            return self._in_place(func, name, args, kwargs)
        out = materialised(func(*args, **kwargs))
        if any(self.knows(t) and all(t.dtype != s.dtype for s in tensors) for t in _tensors([out])):
            raise NotTraceable(f"{name} sees the digits of a computed value as another type")
        fresh = [t for t in _tensors([out]) if not self.knows(t)]
        if fresh:
            self._record(func, name, args, kwargs, out)
        return out

    def _record(self, func: Any, name: str, args: Any, kwargs: Any, out: Any) -> None:
        entries = self._entries(func, name, args, kwargs)
        outs = list(_tensors([out]))
        found = entries if isinstance(entries, tuple) else (entries,)
        if len(found) != len(outs):
            raise NotTraceable(f"{name} returns {len(outs)} arrays")
        for tensor, part in zip(outs, found, strict=True):
            if self.knows(tensor):
                continue
            part = part if isinstance(part, np.ndarray) else _scalar(part)
            if tensor.dtype == torch.float64:
                part = _numbers(self.tape, part)
            elif tensor.dtype == torch.bool:
                part = _conditions(part, name)
            elif tensor.is_floating_point():
                raise NotTraceable(f"{name} rounds a computed value to {tensor.dtype}")
            elif name in _WHOLE and tensor.dtype == torch.int64:
                part = _whole_numbers(self.tape, part, args[0])
            else:
                opaque = np.empty(tuple(tensor.shape), dtype=object)
                opaque[...] = OPAQUE
                part = opaque
            self.attach(tensor, part)

    def _entries(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        from attnlab.analysis.exact.torch_operations import OPERATIONS

        operation = OPERATIONS.get(name)
        if operation is None:
            raise NotTraceable(f"no exact form of torch's {name}")
        bound = self._bound(func, name, operation, args, kwargs)
        return operation(self.tape, **bound)

    def _bound(self, func: Any, name: str, operation: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
        """Arguments by the names of torch's schema; what the exact form does not know must be harmless or absent."""
        accepted = inspect.signature(operation).parameters
        anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
        bound = {}
        for k, argument in enumerate(schema(func).arguments):
            default = argument.default_value if argument.has_default_value() else None
            value = args[k] if k < len(args) else kwargs.get(argument.name, default)
            if argument.name in accepted or anything:
                bound[argument.name] = self._argument(name, value)
            elif not _same(value, default) and not any(_same(value, v) for v in _HARMLESS.get(argument.name, ())):
                raise NotTraceable(f"no exact form of torch's {name} with {argument.name}={value!r}")
        return bound

    def _argument(self, name: str, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            entries = self.shadow(value)
            if any(x is OPAQUE for x in entries.flat):
                raise NotTraceable(f"{name} uses positions that depend on computed values")
            return entries if value.is_floating_point() or self.knows(value) else _numpy(value)
        if isinstance(value, (list, tuple)):
            return [self._argument(name, v) for v in value]
        return value

    def _in_place(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """The functional form of the operation, written into the shadow of what it changes."""
        written = [
            args[k] if k < len(args) else kwargs.get(a.name)
            for k, a in enumerate(schema(func).arguments)
            if a.alias_info is not None and a.alias_info.is_write
        ]
        if len(written) != 1 or not name.endswith("_"):
            raise NotTraceable(f"no exact form of {name} writing into given arrays")
        target = written[0]
        if target.dtype not in (torch.float64, torch.bool):
            raise NotTraceable(f"{name} rounds a computed value to {target.dtype}")
        entries = self._entries(func, name.rstrip("_"), args, kwargs)
        if not self.knows(target):
            base = as_objects(_numpy(_whole_storage(target)))
            self._stores[_key(target)] = target.untyped_storage(), base
        part = entries if isinstance(entries, np.ndarray) else _scalar(entries)
        part = _numbers(self.tape, part) if target.dtype == torch.float64 else _conditions(part, name)
        window = _window(self._stores[_key(target)][1], target)
        window[...] = np.broadcast_to(part, window.shape)
        return func(*args, **kwargs)

    def _on_constants(self, func: Any, name: str, tensors: list[torch.Tensor], args: Any, kwargs: Any) -> Any:
        """Constants are computed, and recorded as well where that keeps them exact: log(8) is no float."""
        out = materialised(func(*args, **kwargs))
        small = tensors and all(t.dtype == torch.float64 and t.numel() <= CONSTANT_SIZE for t in tensors)
        if small and isinstance(out, torch.Tensor) and out.dtype == torch.float64 and not schema(func).is_mutable:
            if name not in _PLUMBING and not any(_shares(out, t) for t in tensors):
                try:
                    entries = self._entries(func, name, args, kwargs)
                    self.attach(
                        out, _numbers(self.tape, entries if isinstance(entries, np.ndarray) else _scalar(entries))
                    )
                except NotTraceable:
                    pass
        return out

    def _decided(self, tensor: torch.Tensor, value: Any) -> Any:
        (entry,) = self.shadow(tensor).reshape(-1)
        if isinstance(entry, (bool, np.bool_)):
            if bool(entry) != bool(value):
                raise NotTraceable("rounding decides a branch of the statement")
            return value
        if isinstance(entry, Number) and self.tape.value_of(entry) is not None:
            return value
        if not isinstance(entry, Condition) or not self.path:
            what = (
                "branches on a comparison of computed values"
                if isinstance(entry, Condition)
                else ("turns a computed value into a Python number or branches on it")
            )
            raise NotTraceable(f"the statement {what}")
        self.conditions.extend(entry.clauses if value else (~entry).clauses)
        return value


class Unconverted(TorchFunctionMode):
    """Refuses what takes a tensor out of torch: numpy's functions would."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _OUT_OF_TORCH:
            raise TypeError("the statement takes a tensor out of torch")
        return func(*args, **(kwargs or {}))


class _NoConversion(TorchFunctionMode):
    """Refuses what would take a computed value out of torch unseen."""

    def __init__(self, recorder: TorchRecorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _OUT_OF_TORCH and args:
            if isinstance(args[0], torch.Tensor) and self.recorder.knows(args[0]):
                raise NotTraceable("the statement takes a computed value out of torch")
        return func(*(self._known(x) for x in args), **(kwargs or {}))

    def _known(self, x: Any) -> Any:
        """A float32 number of numpy as a tensor that is known as exactly as it is: torch would take its digits."""
        if not isinstance(x, np.floating) or isinstance(x, np.float64):
            return x
        tensor = torch.tensor(float(x), dtype=torch.float64)
        self.recorder.attach(tensor, _numbers(self.recorder.tape, _scalar(x)))
        return tensor


def record_torch(
    function: Callable[[Mapping[str, Any]], torch.Tensor],
    point: Mapping[str, torch.Tensor],
    inputs: Mapping[str, np.ndarray],
    tape: Tape,
    path: bool = False,
) -> tuple[np.ndarray, list[tuple[Number, bool]]]:
    """Entries of ``function(point)`` and the conditions of its branches; ``inputs`` are the tape's numbers for the point.

    Raises :class:`NotTraceable` with the reason if something has no exact form.
    """
    recorder = TorchRecorder(tape, path)
    own = {name: t.detach().clone() for name, t in point.items()}
    for name, entries in inputs.items():
        own[name] = own[name].requires_grad_(True).clone()  # no leaf: a side may write into its own argument
        recorder.input(own[name], entries)
    try:
        with warnings.catch_warnings(), _NoConversion(recorder), recorder:
            warnings.simplefilter("ignore")  # of gradients lost: this run is not the reader's
            result = function(own)
        entries = recorder.shadow(result)
        if any(x is OPAQUE for x in entries.flat):
            raise NotTraceable("a side returns positions or vectors that depend on computed values")
        return entries, recorder.conditions
    except NotTraceable:
        raise
    except (
        TypeError,
        ValueError,
        AttributeError,
        NotImplementedError,
        RuntimeError,
        IndexError,
        ArithmeticError,
        AssertionError,
    ) as error:
        cause = error.__cause__ if isinstance(error.__cause__, NotTraceable) else None
        raise cause or NotTraceable(f"{type(error).__name__}: {error}") from error


def materialised(value: Any) -> Any:
    """The same argument with real zeros for the tensors without memory that forward derivatives pass around."""
    if isinstance(value, torch.Tensor):
        return torch.zeros(value.shape, dtype=value.dtype) if value._is_zerotensor() else value
    return type(value)(materialised(v) for v in value) if isinstance(value, (list, tuple)) else value


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _shares(a: torch.Tensor, b: torch.Tensor) -> bool:
    return _key(a) == _key(b)


def _window(store: np.ndarray, tensor: torch.Tensor) -> np.ndarray:
    """The store seen with the tensor's offset, shape and strides."""
    start = store[tensor.storage_offset() :] if store.size else store
    strides = [s * store.itemsize for s in tensor.stride()]
    return np.lib.stride_tricks.as_strided(start, tuple(tensor.shape), strides, writeable=True)


def _whole_storage(tensor: torch.Tensor) -> torch.Tensor:
    storage = tensor.untyped_storage()
    return torch.empty(0, dtype=tensor.dtype).set_(storage)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    with unwatched():
        if tensor.is_complex():
            raise NotTraceable("the statement computes with complex numbers")
        return tensor.detach().contiguous().numpy()


def _tensors(values: Any) -> Any:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _scalar(x: Any) -> np.ndarray:
    out = np.empty((), dtype=object)
    out[()] = x
    return out


def _numbers(tape: Tape, entries: np.ndarray) -> np.ndarray:
    out = np.empty(entries.shape, dtype=object)
    for index in np.ndindex(entries.shape):
        out[index] = entries[index] if entries[index] is OPAQUE else lift(tape, entries[index])
    return out


def _whole_numbers(tape: Tape, entries: np.ndarray, source: Any) -> np.ndarray:
    """The entries of an int64 tensor as numbers; made from floats, they lose what stands after the point."""
    numbers = _numbers(tape, entries)
    if isinstance(source, torch.Tensor) and source.is_floating_point():
        return each(tape, truncated, numbers)
    return numbers


def _conditions(entries: np.ndarray, name: str) -> np.ndarray:
    out = np.empty(entries.shape, dtype=object)
    for index in np.ndindex(entries.shape):
        x = entries[index]
        if not isinstance(x, (bool, np.bool_, Condition)):
            raise NotTraceable(f"{name} makes conditions of numbers")
        out[index] = bool(x) if not isinstance(x, Condition) else x
    return out


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return a is b
    try:
        return bool(a == b) and (a is None) == (b is None)
    except (TypeError, ValueError):
        return False
