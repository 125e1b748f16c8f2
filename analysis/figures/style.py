"""How every figure of the lab looks: column widths, type, and colours that also read without colour.

The style is a set of matplotlib rcParams. matplotlib keeps these in one dictionary for the whole process, so no setting
of them is local to a thread. :func:`style` therefore takes a lock, sets them, and puts the caller's own back before it
releases the lock: figures drawn here from several threads wait for each other, and nothing is changed outside the
``with``. It starts from matplotlib's defaults, so a user's matplotlibrc changes no byte of a saved figure.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke

COLUMN_WIDTHS = {"single": 3.4, "double": 7.0}
"""Widths of a figure in inches: one and two columns of a journal page."""

INK = "#1A1A1A"
GREY = "#6B6B6B"
"""Colours of text and axes, and of reference lines."""


@dataclass(frozen=True)
class Look:
    """One series' look: ``colour`` (hex), ``dash`` (on and off in line widths), ``marker``, ``hatch`` of bars."""

    colour: str
    dash: tuple[float, ...]
    marker: str
    hatch: str

    @property
    def line_style(self) -> tuple[int, tuple[float, ...] | None]:
        """The dash as matplotlib takes it."""
        return (0, self.dash or None)


LOOKS = (
    Look("#34459A", (), "o", ""),
    Look("#E46315", (5.0, 1.6), "s", ""),
    Look("#057957", (1.2, 1.4), "^", "/////"),
    Look("#5B1F52", (6.0, 1.5, 1.2, 1.5), "D", "......"),
    Look("#6CB0DC", (9.0, 2.2), "v", "\\\\\\\\\\"),
    Look("#0A0B0C", (3.0, 1.2, 1.0, 1.2, 1.0, 1.2), "P", "xxxxx"),
)
"""Looks of the first six series of a figure.

The colours stay apart for all common kinds of colour vision (CIELAB distance at least 20 under the simulations of
[Machado2009]_ at full severity) and in grey (lightness steps of at least 7); dashes and markers differ as well.
"""

DIVERGING = colormaps["RdBu_r"]
"""Colour map of signed values: blue negative, white zero, red positive. Its ends differ for all colour visions."""

SEQUENTIAL = LinearSegmentedColormap.from_list("paper to navy", ["#FFFFFF", "#C6DBEC", "#7EA9CF", "#3D6FA8", "#12305F"])
"""Colour map of unsigned values: one hue that darkens steadily, so it looks alike in grey and to all colour visions."""

TERRAIN = LinearSegmentedColormap.from_list("light terrain", ["#FFFFFF", "#D5E4F0", "#9DBFDC", "#6695C2"])
"""The light part of it, for contours: the lines of all series stay visible on top, best where values are low."""


def look_of(index: int) -> Look:
    """The look of series number ``index``; beyond the sixth, colours come back with another dash and marker."""
    first, other = LOOKS[index % len(LOOKS)], LOOKS[(index + index // len(LOOKS)) % len(LOOKS)]
    return Look(first.colour, other.dash, other.marker, other.hatch)


def casing(width: float) -> list[AbstractPathEffect]:
    """A white edge, ``width`` points wide in all, that sets a line or a text off from what it crosses."""
    return [Stroke(linewidth=width, foreground="white"), Normal()]


@contextmanager
def style() -> Iterator[None]:
    """The lab's rcParams, for the length of a ``with``; one thread at a time, and a nested one costs nothing."""
    with _LOCK:
        if getattr(_HELD, "depth", 0):
            yield
            return
        _HELD.depth = 1
        try:
            with mpl.rc_context(_parameters()):
                yield
        finally:
            _HELD.depth = 0


_LOCK = threading.RLock()
_HELD = threading.local()


def _parameters() -> Any:
    # the backend is not part of the style, and asking for it would choose one
    defaults: dict[Any, Any] = {
        key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")
    }
    return defaults | {
        # STIX is the Times of matplotlib: it comes with the package, so every machine sets the same glyphs
        "font.family": ["STIXGeneral", "DejaVu Serif"],
        "mathtext.fontset": "stix",
        "font.size": 8.5,
        "axes.titlesize": 9.0,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.fontsize": 8.0,
        "figure.titlesize": 9.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlepad": 5.0,
        "axes.labelpad": 2.5,
        "axes.xmargin": 0.04,
        "axes.ymargin": 0.06,
        "axes.formatter.use_mathtext": True,
        "axes.formatter.useoffset": False,
        "axes.axisbelow": True,
        "xtick.direction": "out",
        "ytick.direction": "out",
        "xtick.major.size": 2.8,
        "ytick.major.size": 2.8,
        "xtick.minor.size": 1.6,
        "ytick.minor.size": 1.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.45,
        "ytick.minor.width": 0.45,
        "xtick.major.pad": 2.2,
        "ytick.major.pad": 2.2,
        "hatch.linewidth": 0.5,
        "lines.linewidth": 1.3,
        "lines.markersize": 4.2,
        "lines.dash_capstyle": "butt",
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.handlelength": 2.6,
        "legend.handletextpad": 0.6,
        "legend.labelspacing": 0.35,
        "legend.columnspacing": 1.5,
        "legend.borderaxespad": 0.3,
        "figure.constrained_layout.h_pad": 0.035,
        "figure.constrained_layout.w_pad": 0.035,
        "figure.constrained_layout.hspace": 0.05,
        "figure.constrained_layout.wspace": 0.04,
        "savefig.dpi": 300,
        "figure.dpi": 100,
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "attnlab",
    }
