"""``KEY=VALUE`` on the command line: parsed by the type of the setting's field, misspelt keys are errors."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attnlab.papers.lab.errors import UsageError, nearest


def split_tokens(tokens: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Targets and settings: a token with ``=`` is a setting wherever it stands; a key given twice is an error."""
    targets, overrides = [], {}
    for token in tokens:
        key, equals, value = token.partition("=")
        if not equals:
            targets.append(token)
            continue
        if not key.isidentifier():
            raise UsageError(f"bad setting {token!r}: write KEY=VALUE, for example dim=7")
        if key in overrides and overrides[key] != value:
            raise UsageError(f"setting {key!r} is given twice, as {overrides[key]!r} and {value!r}; keep one")
        overrides[key] = value
    return targets, overrides


def apply(setting: Any, overrides: Mapping[str, str]) -> Any:
    """``setting`` with the overrides whose keys it has; the setting's own checks apply."""
    hints = typing.get_type_hints(type(setting))
    known = {f.name for f in dataclasses.fields(setting)}
    changes = {key: _parse(key, value, hints[key]) for key, value in overrides.items() if key in known}
    try:
        return dataclasses.replace(setting, **changes) if changes else setting
    except ValueError as error:
        raise UsageError(str(error)) from error


def check_known(overrides: Iterable[str], settings: Iterable[Any]) -> None:
    """Every key must be a field of at least one setting."""
    known = {f.name for setting in settings for f in dataclasses.fields(setting)}
    for key in overrides:
        if key not in known:
            raise UsageError(f"unknown setting {key!r}{nearest(key, sorted(known))} (no selected item has it)")


def _parse(key: str, text: str, hint: Any) -> Any:
    """``text`` as a value of the annotated type: int, float, bool, str, or a tuple written ``1,2,3`` or ``1,2;3,4``."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        inner = next((a for a in typing.get_args(hint) if a is not Ellipsis), str)
        separator = ";" if typing.get_origin(inner) is tuple else ","
        return tuple(_parse(key, part, inner) for part in text.split(separator) if part.strip())
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if text not in choices:
            raise UsageError(f"{key}={text!r} is not one of {', '.join(map(repr, choices))}")
        return text
    if origin is not None:                                    # a union such as `int | None`
        if text.lower() == "none" and type(None) in typing.get_args(hint):
            return None
        return _parse(key, text, next(a for a in typing.get_args(hint) if a is not type(None)))
    try:
        if hint is bool:
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if hint is int:
            return int(text.replace("_", ""))
        if hint is float:
            return float(text)
    except (ValueError, KeyError):
        raise UsageError(f"{key}={text!r} is not a valid {hint.__name__}") from None
    return text
