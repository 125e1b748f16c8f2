r"""All heads at a glance: a panel per head, one colour scale, its readings with interval and null written under it.

Formula: for more than ``cells`` tokens a panel shows blocks of k = ceil(n/cells) tokens: ``block_mean`` and ``block_max``
of the weights of the block's visible cells, (layer, head, row, column), of one prompt.

Null: none of its own; the badges carry the null of the readings that are given.

Limit: a panel of 32 cells shows blocks of n/32 tokens; what happens within a block shows in its maximum only.

Twin: the block means alone, which hide a head with one cell per row (at blocks of 16: mean 1/16, maximum 1), and a colour
scale per panel, under which a uniform head looks like a sharp one.

Sheet: instruments_maps 8; A Multiscale Visualization of Attention in the Transformer Model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.colours import colour_scale
from attnlab.analysis.figures.maps import heat_map
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.readings import Readings

AXES = ("layer", "head", "row", "column")
CELLS = 32


def measure(readings: Readings, prompt: int = 0, cells: int = CELLS) -> dict[str, Reading]:
    """``block_max`` and ``block_mean`` of one prompt's patterns, (layer, head, row, column); NaN-free: blocks unseen are 0."""
    if not 0 <= prompt < readings.n_prompts:
        raise ValueError(f"prompt={prompt!r} must lie in 0 to {readings.n_prompts - 1}")
    if cells < 1:
        raise ValueError(f"cells must be at least 1, got {cells!r}")
    group = next(each for each in readings.groups if prompt in each.prompts)
    at = int(np.flatnonzero(group.prompts == prompt)[0])
    size = math.ceil(group.length / cells)
    made: dict[str, list[np.ndarray]] = {"block_max": [], "block_mean": []}
    for layer in readings.layers("pattern"):
        a = readings.array(f"L{layer}.pattern", group)[at]
        seen = readings.seen(group)
        seen = np.broadcast_to(seen[at if len(seen) > 1 else 0], a.shape)
        made["block_max"].append(_blocks(np.where(seen, a, 0.0), size).max((-3, -1)))
        total = _blocks(np.where(seen, a, 0.0), size).sum((-3, -1))
        made["block_mean"].append(total / np.maximum(_blocks(seen.astype(float), size).sum((-3, -1)), 1))
    return {name: _exact(np.stack(parts).astype(np.float64), size) for name, parts in made.items()}


def figure(readings: Mapping[str, Reading], badges: Mapping[str, Reading] | None = None) -> Plate:
    """Panels layer by layer, one colour scale; ``badges``: readings (layer, head), written as value [low, high] | null."""
    shown = readings["block_max"]
    n_layers, n_heads = shown.value.shape[:2]
    plate = Plate(n_layers, n_heads, width="double", letters=False)
    scale = colour_scale(shown.value, symmetric=False)
    for layer in range(n_layers):
        for head in range(n_heads):
            panel = plate[layer, head]
            heat_map(panel, shown.value[layer, head], "weight", scale=scale, symmetric=False)
            panel.heading(f"L{layer}H{head}")
            lines = [badge(name, each, layer, head) for name, each in (badges or {}).items()]
            panel.labels(x="\n".join(lines), y="")
            panel.axes.xaxis.label.set_fontsize(5)
    describe(plate, f"Every head's weights, {shown.assumptions}; one colour scale", seeds="")
    return plate


def badge(name: str, reading: Reading, layer: int, head: int) -> str:
    """``sink 1.2 [0.9, 1.5] | 0``: value, interval, and the value without the effect."""
    value, low, high, null = (
        float(np.asarray(each)[layer, head]) for each in (reading.value, reading.low, reading.high, reading.null_mean)
    )
    without = f" | {null:.2g}" if math.isfinite(null) else ""
    return f"{name} {value:.2g} [{low:.2g}, {high:.2g}]{without}"


def _blocks(a: np.ndarray, size: int) -> np.ndarray:
    """(..., row block, row, column block, column), the ends filled with zeros."""
    more = -a.shape[-1] % size
    filled = np.pad(a, [(0, 0)] * (a.ndim - 2) + [(0, more), (0, more)])
    count = filled.shape[-1] // size
    return filled.reshape(*a.shape[:-2], count, size, count, size)


def _exact(value: np.ndarray, size: int) -> Reading:
    said = "every cell" if size == 1 else f"maximum of blocks of {size} tokens"
    no = np.full(value.shape, np.nan)
    return Reading(value, "", AXES, value, value, no, no, None, 1, no, said)


_TOKENS, _BLOCK = 64, 16


def _sharp(rng: np.random.Generator, weight: float) -> Readings:
    """One head that gives ``weight`` to its own token and the rest to the first: one cell per row."""
    a = weight * np.eye(_TOKENS)
    a[:, 0] += 1 - weight
    return Readings({"L0.pattern": np.broadcast_to(a, (2, 2, _TOKENS, _TOKENS)).copy()})


def _measured(readings: Readings) -> dict[str, Reading]:
    return measure(readings, cells=min(CELLS, math.ceil(readings.n_tokens / _BLOCK)))


INSTRUMENT = Instrument(
    measure=measure,
    main="block_max",
    needs=("pattern",),
    no_null="a picture tests nothing",
    planted=_sharp,
    truth=lambda strength: strength,
    strengths=(0.25, 0.5, 0.75),
    limit=math.nan,
    rivals=(
        Rival(
            "block means alone", "value", lambda rng: _measured(_sharp(rng, 1.0))["block_mean"].value[0, 0, 1, 1:2], 1.0
        ),
    ),
    figure=figure,
    sheet="instruments_maps 8",
    exact=True,
    where=(slice(None), slice(None), [10, 20, 30], [10, 20, 30]),
)
