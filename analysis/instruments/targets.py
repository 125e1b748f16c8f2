"""Where a head may look: sets of keys per query, (prompt or 1, query, key), on the real tokens of a group of prompts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attnlab.analysis.instruments.readings import Group, Readings

Targets = Callable[[Readings, Group], np.ndarray]


def own_token(readings: Readings, group: Group) -> np.ndarray:
    """The query's own position."""
    return np.eye(group.length, dtype=bool)[None]


def first_token(readings: Readings, group: Group) -> np.ndarray:
    """The first real token."""
    made = np.zeros((1, group.length, group.length), dtype=bool)
    made[..., 0] = True
    return made


def previous_token(readings: Readings, group: Group) -> np.ndarray:
    """The token before the query."""
    return np.eye(group.length, k=-1, dtype=bool)[None]


def next_token(readings: Readings, group: Group) -> np.ndarray:
    """The token after the query, where no mask hides it."""
    return np.eye(group.length, k=1, dtype=bool)[None]


def offset(k: int) -> Targets:
    """The token ``k`` positions before the query."""
    return lambda readings, group: np.eye(group.length, k=-k, dtype=bool)[None]


def earlier_copy(readings: Readings, group: Group) -> np.ndarray:
    """The query's own token one period earlier, on prompts that repeat."""
    return _periods_back(readings, group, 0)


def after_earlier_copy(readings: Readings, group: Group) -> np.ndarray:
    """The token after the query's earlier copy: what followed it last time, ``i - P + 1``."""
    return _periods_back(readings, group, 1)


def same_token(readings: Readings, group: Group) -> np.ndarray:
    """Every earlier position that holds the query's token."""
    if readings.tokens is None:
        raise ValueError("same_token needs the prompts: give tokens= (batch, token) with the readings")
    tokens = readings.tokens
    tokens = tokens if group.at is None else np.take_along_axis(tokens[group.prompts], group.at, 1)
    return (tokens[:, :, None] == tokens[:, None, :]) & np.tri(group.length, k=-1, dtype=bool)


def _periods_back(readings: Readings, group: Group, later: int) -> np.ndarray:
    if readings.periods is None:
        raise ValueError("this target needs prompts that repeat: give periods= (batch,), the period of each prompt")
    i = np.arange(group.length)
    period = np.asarray(readings.periods)[group.prompts][:, None, None]
    return (i[None, :, None] >= period) & (i[None, None, :] == i[None, :, None] - period + later)
