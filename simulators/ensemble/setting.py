"""Settings: frozen dataclasses of plain values, checked when they are made, and changed by ``key=value`` texts.

A simulator's ``Setting`` calls :func:`checked` and the ``require_...`` functions in its ``__post_init__``. Every error
names the field, the value, what was expected and what to do.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import numbers
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from attnlab.kernels.suggestions import did_you_mean

S = TypeVar("S")


def checked(setting: Any) -> None:
    """Hold every field to its annotation: int, float, str, bool or (nested) tuples of these.

    Whole numbers given for float fields become floats, lists become tuples, so that equal settings compare equal. NaN
    and infinity are rejected.

    Errors: ``ValueError`` that names the field.
    """
    hints = field_types(type(setting))
    for name, hint in hints.items():
        object.__setattr__(setting, name, _coerced(name, getattr(setting, name), hint))


def with_named_fields(kind: type[S]) -> type[S]:
    """The dataclass itself; from now on it refuses a field that it lacks with the nearest one and the list of all.

    The settings of every declared simulation are such classes. As a decorator it stands above ``@dataclass``.

    Errors, of the class: ``TypeError``, as Python has it, which says no more than the name.
    """
    made = vars(kind).get("__init__")
    if made is None or hasattr(made, "__wrapped__"):  # inherited, or done before
        return kind
    takes = list(inspect.signature(made).parameters.values())[1:]
    if any(each.kind is each.VAR_KEYWORD for each in takes):
        return kind
    known = [each.name for each in takes]

    @functools.wraps(made)
    def checking(self: Any, *values: Any, **named: Any) -> None:
        for name in named:
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no field {name!r}{did_you_mean(name, known)}; "
                    f"the fields are {', '.join(known)}"
                )
        made(self, *values, **named)

    type.__setattr__(kind, "__init__", checking)
    return kind


def require_at_least(setting: Any, bound: float, *names: str) -> None:
    """Every named field (or every entry of a tuple field) is at least ``bound``."""
    for name in names:
        for value in _entries(getattr(setting, name)):
            if not value >= bound:
                raise ValueError(f"{name}={value!r} is too small; use {name} >= {bound!r}")


def require_positive(setting: Any, *names: str) -> None:
    """Every named field (or every entry of a tuple field) is above zero; a count is at least one."""
    for name in names:
        for value in _entries(getattr(setting, name)):
            if not value > 0:
                raise ValueError(f"{name}={value!r} is not positive; use {name} > 0")


def require_inside(setting: Any, low: float, high: float, *names: str) -> None:
    """Every named field lies strictly between ``low`` and ``high``."""
    for name in names:
        for value in _entries(getattr(setting, name)):
            if not low < value < high:
                raise ValueError(f"{name}={value!r} is out of range; use {low!r} < {name} < {high!r}")


def require_one_of(setting: Any, name: str, choices: Sequence[str]) -> None:
    """The named field is one of the given words."""
    value = getattr(setting, name)
    if value not in choices:
        raise ValueError(
            f"{name}={value!r} is unknown; use one of {', '.join(map(repr, choices))}"
            + did_you_mean(str(value), choices)
        )


def field_types(setting_type: type) -> dict[str, Any]:
    """The fields of a setting class in order, each with its annotated type."""
    hints = typing.get_type_hints(setting_type)
    return {field.name: hints[field.name] for field in fields(setting_type)}


def overridden(setting: S, overrides: Mapping[str, str]) -> S:
    """The setting with fields replaced by values read from text, by the field's type.

    ``"20_000"`` and ``"2e4"`` are whole numbers, ``"10,20"`` and ``"(10, 20)"`` tuples, ``"true"`` is a truth value.

    Errors: ``ValueError`` for an unknown key (with the nearest name), for a text of the wrong kind, and from the
    setting's own checks.
    """
    hints = field_types(type(setting))
    values = {}
    for key, text in overrides.items():
        if key not in hints:
            raise ValueError(
                f"unknown key {key!r} in {type(setting).__name__}{did_you_mean(key, hints)}; "
                f"the keys are {', '.join(hints)}"
            )
        values[key] = parsed(key, text, hints[key])
    return replace(setting, **values)


def parsed(name: str, text: str, hint: Any) -> Any:
    """The value of a text for a field of the given type."""
    if hint is str:
        return text
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name}={text!r} is not a truth value; use true or false")
        return text.lower() == "true"
    try:
        if hint is int:
            return int(text) if not any(mark in text for mark in ".eE") else float(text)
        if hint is float:
            return float(text)
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{name}={text!r} is not {_described(hint)}") from None
    return value if isinstance(value, (tuple, list)) else (value,)


def _coerced(name: str, value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        if not isinstance(value, (tuple, list)):
            raise ValueError(f"{name}={value!r} is not {_described(hint)}")
        kinds = [inner[0]] * len(value) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise ValueError(f"{name}={value!r} has {len(value)} entries; use {len(kinds)}")
        return tuple(_coerced(name, entry, kind) for entry, kind in zip(value, kinds, strict=True))
    if hint is bool or hint is str:
        if not isinstance(value, hint):
            raise ValueError(f"{name}={value!r} is not {_described(hint)}")
        return value
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is not {_described(hint)}")
    if not math.isfinite(value):
        raise ValueError(f"{name}={value!r} is not a finite number; use {_described(hint)}")
    if hint is int and value != int(value):
        raise ValueError(f"{name}={value!r} is not {_described(hint)}; use {int(value)} or {int(value) + 1}")
    return hint(value)


def _described(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return words.get(hint, f"a tuple like {str(hint).replace('typing.', '')}")


def _entries(value: Any) -> Iterable[float]:
    if not isinstance(value, tuple):
        return [value]
    return [entry for part in value for entry in _entries(part)]
