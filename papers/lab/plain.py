"""Settings as plain data, for JSON and for comparing them with what was kept."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from attnlab.analysis.verdicts.plain import plain


def plain_setting(setting: Any) -> dict[str, Any]:
    """A setting as JSON has it."""
    return plain(fields_of(setting))


def fields_of(setting: Any) -> dict[str, Any]:
    """The fields of a setting; one that comes from the index is a record already."""
    return setting if isinstance(setting, dict) else dataclasses.asdict(setting)


def as_json(record: Any, encoding: str = "utf-8") -> str:
    """The record as JSON that any reader takes: null for what is not finite, escapes for what ``encoding`` cannot write."""
    text = json.dumps(plain(record), indent=1, allow_nan=False, ensure_ascii=False, default=str)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # also a file name that is no text
        return json.dumps(plain(record), indent=1, allow_nan=False, default=str)
    return text


def in_short(value: Any, most: int = 200) -> str:
    """A value of a setting as people read it: weights and tables longer than ``most`` characters are cut, and that is said."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 40]} … ({len(text)} characters)"


def counted(n: int, noun: str) -> str:
    """``1 claim``, ``2 claims``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
