"""Attention in plain tensor operations only: for whoever traces a model and takes its operations apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_only: ContextVar[bool] = ContextVar("plain_formulas", default=False)
only = _only.get


@contextmanager
def plain_formulas() -> Iterator[None]:
    """Inside, ``attention(..., path="auto")`` gives its specification, whatever the size, for finite numbers only."""
    token = _only.set(True)
    try:
        yield
    finally:
        _only.reset(token)
