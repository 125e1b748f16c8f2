r"""Sinks turned down and their mass given back: the two published rules as exact maps of attention, and how much they move.

Formula: of a row with sink columns S, keep the share ``keep`` of every sink's weight; the rest, Omega = (1 - keep) sum_S A, goes

* ``rule="rest"`` (ACT) to all other keys in proportion to their weights: they gain the factor 1 + Omega/sum_{not S} A;
* ``rule="receivers"`` (VAR) to the given receivers that are no sinks, likewise.

``moved`` is the mean of Omega over the rows that see a sink and something to give to. Row sums stay what they were.

Null: none: the map is exact. What returns to the first token under ACT is its share of the rest, a_0/(1 - a_S): where it is
a sink that
was not named, most of the mass.

Limit: rounding, 8 n eps per row.

Twin: turning down without giving back, after which rows sum to 1 - Omega. Output law: ||o' - o_rest|| = keep w ||v_S - o_rest||.

Sheet: instruments_sinks 4 and 5; VAR (Visual Attention Sink), ACT (Unveiling and Harnessing Hidden Attention Sinks).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.readings import Group, Readings, maps
from attnlab.analysis.instruments.targets import Targets, first_token

AXES = ("prompt", "layer", "head")
KEEP = 0.4
RULES = ("rest", "receivers")


def redistribute(
    a: np.ndarray, sinks: np.ndarray, keep: float = KEEP, receivers: np.ndarray | None = None
) -> np.ndarray:
    """New weights of the shape of ``a`` (..., query, key); ``sinks`` and ``receivers`` (..., query, key) bool, None: all others.

    Rows without a sink stay as they are. Errors: ``ValueError`` for ``keep`` outside [0, 1], and for rows with a sink whose
    receivers hold no mass: what is released there has nowhere to go (0/0).
    """
    if not 0 <= keep <= 1:
        raise ValueError(f"keep must lie in [0, 1], got {keep!r}")
    others = ~sinks if receivers is None else receivers & ~sinks
    released = (1 - keep) * (a * sinks).sum(-1, keepdims=True)
    there = (a * others).sum(-1, keepdims=True)
    if ((released > 0) & (there == 0)).any():
        where = tuple(int(i) for i in np.argwhere((released > 0) & (there == 0))[0][:-1])
        raise ValueError(
            f"row {where} releases mass that no receiver can take in proportion: they hold none; leave the row out"
        )
    gain = 1 + np.divide(released, there, out=np.zeros_like(there), where=there > 0)
    return np.where(sinks, keep * a, np.where(others, gain * a, a))


def measure(readings: Readings, sinks: Targets = first_token, keep: float = KEEP) -> dict[str, Reading]:
    """``moved`` mass and ``back``, the share of it that lands on the first token: (prompt, layer, head), rule "rest".

    Rows that see sinks only (the first row of a sink on the first token) are left out.
    """

    def of_layer(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        hit = np.broadcast_to(sinks(readings, group)[:, None] & seen, a.shape)
        used = (hit.any(-1) & ((a * ~hit).sum(-1) > 0))[..., None]
        new = np.where(used, redistribute(np.where(used, a, 0.0), hit, keep), a)
        rows = np.maximum(used[..., 0].sum(-1), 1)
        moved = ((a - new) * hit).sum((-1, -2)) / rows
        landed = ((new - a)[..., 0] * ~hit[..., 0]).sum(-1) / rows
        return {"moved": moved, "back": np.divide(landed, moved, out=np.zeros_like(moved), where=moved > 0)}

    found = readings.each_layer("pattern", of_layer)
    no, n = np.full(found["moved"].shape, np.nan), readings.n_prompts
    return {k: Reading(v, "", AXES, v, v, no, no, None, n, no, "exact") for k, v in found.items()}


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Mass moved by head, mean over prompts."""
    value = readings["moved"].value.mean(0).ravel()
    plate, x = Plate(width="single"), np.arange(value.size)
    estimate(plate[0], x, value, value, value, "moved", interval="none: the map is exact")
    plate[0].labels(x="layer, heads side by side", y="mass moved per row")
    describe(plate, f"Attention mass that turning sinks down to {KEEP:g} moves, mean over prompts", seeds="")
    return plate


_N = 12


def _world(rng: np.random.Generator, weight: float) -> Readings:
    """Every row but the first gives ``weight`` to the first token, the rest at random to the others that it sees."""
    rest = np.tril(rng.random((3, 2, 2, _N, _N)) + 0.1)
    rest[..., 0] = 0
    rest[..., 0, 0] = 1
    rest /= rest.sum(-1, keepdims=True)
    a = (1 - weight) * rest
    a[..., 0] += weight
    return maps(a)


def _not_given_back(rng: np.random.Generator) -> np.ndarray:
    """The rival: row sums after turning down alone; the truth is 1."""
    a = _world(rng, 0.6).sites["L0.pattern"].copy()
    a[..., 0] *= KEEP
    return a.sum(-1)[..., 1:].ravel()


INSTRUMENT = Instrument(
    measure=measure,
    main="moved",
    needs=("pattern",),
    no_null="an exact map tests nothing",
    planted=_world,
    truth=lambda strength: (1 - KEEP) * strength,
    strengths=(0.1, 0.5, 0.9),
    tolerance=8 * _N * 2.3e-16,
    limit=math.nan,
    rivals=(Rival("turned down and not given back", "value", _not_given_back, 1.0),),
    figure=figure,
    sheet="instruments_sinks 4, 5",
    exact=True,
    invariances=("heads", "padding"),
)
