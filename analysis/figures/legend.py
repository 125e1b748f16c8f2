"""Legends: entries of one label shown as one, outside the data where asked, in as many columns as fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

OUTSIDE = {"below": "outside lower center", "above": "outside upper center", "right": "outside right upper"}
INSIDE = (
    "best",
    "upper left",
    "upper center",
    "upper right",
    "center left",
    "center",
    "center right",
    "lower left",
    "lower center",
    "lower right",
)

HANDLE_INCHES = 0.55
LETTER_INCHES = 0.052
"""Room a legend entry takes: its handle with the space around it, and one letter of 8 pt text."""


def panel_legend(axes: Axes, entries: dict[str, list[Any]], where: str) -> None:
    """A legend of one panel; ``where`` is ``"right"``, ``"above"`` or a place inside such as ``"upper left"``."""
    places: dict[str, dict[str, Any]] = {
        "right": {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)},
        "above": {"loc": "lower left", "bbox_to_anchor": (0.0, 1.02), "ncols": 2},
    }
    if where not in places and where not in INSIDE:
        raise ValueError(f"where must be 'right', 'above' or one of {', '.join(INSIDE)}, got {where!r}")
    axes.legend(_handles(entries), list(entries), **places.get(where, {"loc": where}), handler_map=_over())


def shared_legend(figure: Figure, panels: Iterable[dict[str, list[Any]]], where: str, columns: int | None) -> None:
    """A legend of the entries of all panels, each label once, outside the grid."""
    if where not in OUTSIDE:
        raise ValueError(f"where must be one of {', '.join(OUTSIDE)}, got {where!r}")
    entries: dict[str, list[Any]] = {}
    for panel in panels:
        for label, handles in panel.items():
            known = entries.setdefault(label, [])
            kinds = {_kind(handle) for handle in known}
            known += [handle for handle in handles if _kind(handle) not in kinds]  # a line here, points there: both
    if not entries:
        raise ValueError("no panel has a series with a label, so there is nothing for a legend to say")
    if columns is None:
        columns = 1 if where == "right" else _fitting([_length(label) for label in entries], figure.get_figwidth())
    place: Any = OUTSIDE[where]
    figure.legend(_handles(entries), list(entries), loc=place, ncols=columns, handler_map=_over())


def _kind(handle: Any) -> tuple[str, bool]:
    """What a handle shows: its class, and whether it has a marker."""
    return type(handle).__name__, getattr(handle, "get_marker", lambda: None)() not in (None, "None", "", " ")


def _fitting(lengths: list[int], inches: float) -> int:
    """The columns of the legend with the fewest rows that fits a width; entries fill it column by column."""
    for rows in range(1, len(lengths) + 1):
        widest = [max(lengths[start : start + rows]) for start in range(0, len(lengths), rows)]
        if sum(HANDLE_INCHES + LETTER_INCHES * letters for letters in widest) <= inches:
            return len(widest)
    return 1


def _handles(entries: dict[str, list[Any]]) -> list[Any]:
    return [handles[0] if len(handles) == 1 else tuple(handles) for handles in entries.values()]


def _over() -> dict[Any, Any]:
    return {tuple: HandlerTuple(ndivide=1)}


def _length(label: str) -> int:
    """Letters of a label as printed, counting a mathematics command as one."""
    words = label.replace("$", "").replace("{", "").replace("}", "").split("\\")
    return len(words[0]) + sum(1 + max(0, len(word) - len(word.split(" ")[0])) for word in words[1:])
