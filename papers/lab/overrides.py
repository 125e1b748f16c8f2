"""``KEY=VALUE`` on the command line: a token with ``=`` is a setting wherever it stands; misspelt keys are errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attnlab.papers.lab.errors import UsageError, nearest
from attnlab.simulators.ensemble.setting import overridden


def split_tokens(tokens: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Targets and settings among the tokens; a key given twice with two values is an error."""
    targets: list[str] = []
    overrides: dict[str, str] = {}
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
    """``setting`` with the overrides whose keys it has, parsed by type; the setting's own checks apply."""
    known = known_fields(setting)
    try:
        return overridden(setting, {key: value for key, value in overrides.items() if key in known})
    except ValueError as error:
        raise UsageError(str(error)) from error


def known_fields(setting: Any) -> set[str]:
    """The keys that an override of ``setting`` can have."""
    return {field.name for field in dataclasses.fields(setting)}


def check_known(overrides: Iterable[str], settings: Iterable[Any]) -> None:
    """Every key must be a field of at least one setting."""
    known = set().union(*map(known_fields, settings))
    for key in overrides:
        if key not in known:
            raise UsageError(f"unknown setting {key!r}{nearest(key, sorted(known))} (no selected item has it)")
