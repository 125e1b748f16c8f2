r"""Do the recorded arrays add up: the identities without which no reading of a circuit means anything.

Formula: each identity as a relative gap ||left - right||_F/||right||_F over the real tokens:

.. math:: \text{pre} + \sum_h \text{heads}_h + \text{bias} + \text{mlp} = \text{post}, \qquad A v = z, \qquad
          \Bigl(\sum_c \text{component}_c\Bigr) \odot \sigma\, W_U = \text{logits},

with the final norm's scale sigma taken once, from the whole state. Where norms come *after* attention and MLP (BERT), every
LayerNorm rescales what is before it, and the sums that are exact are those before each norm,

.. math:: \text{pre} + \sum_h \text{heads}_h + \text{bias} = \text{attention\_sum}, \qquad
          \text{mid} + \text{mlp} = \text{mlp\_sum};

parts of the last state are not defined there, and refused. Grouped keys and values are shared by heads h // group.

Null: the identities are exact; a gap is rounding, below the budget of the dtype: 1e-4 where sites are float32, 1e-10 in
float64 (give ``budget=1e-6`` for models whose norm computes in float32 whatever their dtype).

Limit: a missing part of relative norm above the budget always rings; nothing below it does.

Twin: normalising every component by itself (relative error 3.3), and a last state that already is normed (``hidden_states[-1]``).

Sheet: instruments_circuits 2 (I1, I6), ERRATA 10; VISIT.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.readings import Readings

BUDGETS = {4: 1e-4, 8: 1e-10}
"""Largest gap that rounding explains, by bytes per number: depth and width of a model times eps, with room."""

FLOOR = 1e-17  # drawn in place of 0 on the log axis


def measure(readings: Readings, budget: float | None = None) -> dict[str, Reading]:
    """``stream`` and ``values``, whichever the sites allow: the gap (layer,), and p = 0 where it exceeds the budget, else 1.

    ``stream`` needs ``pre``, ``heads``, ``post`` (and takes ``mlp``, ``bias``); with ``attention_sum``, ``mid``, ``mlp`` and
    ``mlp_sum`` it is the larger gap of the two sums before norms. ``values`` needs ``pattern``, ``v``, ``z``.
    """
    made = {}
    if readings.has("pre", "heads", "post"):
        if norms_after(readings):
            made["stream"] = _reading(readings, _gaps_before_norms(readings), "the sums before the norms", budget)
        else:
            made["stream"] = _reading(readings, _stream_gaps(readings), "post", budget)
    if readings.has("pattern", "v", "z"):
        made["values"] = _reading(readings, _value_gaps(readings), "z", budget)
    if not made:
        raise ValueError(
            "no site for an identity: record pre, heads and post of a layer, or pattern, v and z "
            f"(there are {', '.join(sorted(readings.sites)[:8])})"
        )
    return made


def components(readings: Readings) -> tuple[list[str], np.ndarray]:
    """The parts that sum to the state before the final norm: names, and arrays (component, batch, token, dim).

    The embedding, every head and every MLP, in the order of the layers; prompts of one length. Errors: ``ValueError`` where norms
    come after attention and MLP: each rescales all before it, and no part of the last state is one component's.
    """
    if norms_after(readings):
        raise ValueError(
            "norms come after attention and MLP (there is L0.attention_sum): components do not sum to the last state, "
            "each LayerNorm rescales what is before it; read the sums before the norms with measure()"
        )
    names, parts = ["embed"], [_whole(readings, "embed")]
    for layer in readings.layers("heads"):
        heads = _whole(readings, f"L{layer}.heads")
        names += [f"L{layer}.H{h}" for h in range(heads.shape[1])]
        parts += [heads[:, h] for h in range(heads.shape[1])]
        for kind in ("bias", "mlp"):
            if f"L{layer}.{kind}" in readings.sites:
                names.append(f"L{layer}.{kind}")
                parts.append(_whole(readings, f"L{layer}.{kind}"))
    return names, np.stack(parts)


def logits_gap(readings: Readings, unembed: np.ndarray, scale: np.ndarray | None = None) -> float:
    """Relative gap of ``(sum of components * scale) @ unembed`` to ``logits``; ``scale`` of the final norm, (batch, token, 1).

    ``unembed`` (dim, vocabulary) holds the norm's weight. The scale is that of the *whole* state, the same for every component.
    """
    total = components(readings)[1].sum(0)
    made = (total if scale is None else total * scale) @ unembed
    wanted = _whole(readings, "logits")
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Gap per layer on a log axis, under the budget line."""
    plate = Plate(width="single")
    for name, reading in readings.items():
        x, y = np.arange(reading.value.size), np.maximum(reading.value, FLOOR)
        estimate(plate[0], x, y, y, y, name, interval="none: the identities are exact")
        prediction(plate[0], x, reading.limit, f"budget of {name}")
    plate[0].scale(y="log")
    plate[0].labels(x="layer", y="relative gap")
    plate[0].ticks(x=[float(k) for k in x])
    plate.legend("below")
    describe(plate, "How well the recorded arrays add up, layer by layer", seeds="")
    return plate


def _whole(readings: Readings, name: str) -> np.ndarray:
    if len(readings.groups) > 1:
        raise ValueError("components need prompts of one length; read prompts of other lengths apart")
    return readings.array(name, readings.groups[0])


def norms_after(readings: Readings) -> bool:
    """Whether the layers' norms come after attention and MLP, as the sites say."""
    return readings.has("attention_sum") or readings.has("mlp_sum")


def _gaps_before_norms(readings: Readings) -> list[float]:
    found = []
    for layer in readings.layers("heads"):
        pairs = {"attention_sum": ("pre", "bias"), "mlp_sum": ("mid", "mlp")}
        worst = 0.0
        for kind, parts in pairs.items():
            off, size = 0.0, 0.0
            for group in readings.groups:
                wanted = readings.array(f"L{layer}.{kind}", group).astype(np.float64)
                total = np.zeros_like(wanted)
                for part in parts:
                    if part != "bias" or f"L{layer}.bias" in readings.sites:
                        total = total + readings.array(f"L{layer}.{part}", group)
                if kind == "attention_sum":
                    total = total + readings.array(f"L{layer}.heads", group).sum(1, dtype=np.float64)
                off, size = off + float(((total - wanted) ** 2).sum()), size + float((wanted**2).sum())
            worst = max(worst, (off / max(size, np.finfo(float).tiny)) ** 0.5)
        found.append(worst)
    return found


def _stream_gaps(readings: Readings) -> list[float]:
    found = []
    for layer in readings.layers("heads"):
        off, size = 0.0, 0.0
        for group in readings.groups:
            total = readings.array(f"L{layer}.pre", group).astype(np.float64)
            total = total + readings.array(f"L{layer}.heads", group).sum(1, dtype=np.float64)
            for kind in ("bias", "mlp"):
                if f"L{layer}.{kind}" in readings.sites:
                    total = total + readings.array(f"L{layer}.{kind}", group)
            post = readings.array(f"L{layer}.post", group)
            off, size = off + float(((total - post) ** 2).sum()), size + float((post.astype(np.float64) ** 2).sum())
        found.append((off / max(size, np.finfo(float).tiny)) ** 0.5)
    return found


def _value_gaps(readings: Readings) -> list[float]:
    found = []
    for layer in readings.layers("z"):
        off, size = 0.0, 0.0
        for group in readings.groups:
            a = readings.array(f"L{layer}.pattern", group).astype(np.float64)
            v = readings.array(f"L{layer}.v", group)
            if a.shape[1] % v.shape[1]:
                raise ValueError(
                    f"L{layer} has {a.shape[1]} heads and {v.shape[1]} value heads, which do not divide them"
                )
            v = np.repeat(v, a.shape[1] // v.shape[1], axis=1)  # query head h reads value head h // group
            z = readings.array(f"L{layer}.z", group)
            off, size = off + float(((a @ v - z) ** 2).sum()), size + float((z.astype(np.float64) ** 2).sum())
        found.append((off / max(size, np.finfo(float).tiny)) ** 0.5)
    return found


def _reading(readings: Readings, gaps: list[float], kind: str, budget: float | None) -> Reading:
    bytes_per = min(array.dtype.itemsize for array in readings.sites.values())
    within = budget if budget is not None else BUDGETS.get(bytes_per, 16 * float(np.finfo(np.float16).eps))
    value = np.array(gaps)
    none = np.zeros_like(value)
    p = np.where(value > within, 0.0, 1.0)
    assumed = f"exact but for rounding; budget {within:g} relative to {kind}"
    n = readings.n_prompts
    return Reading(value, "", ("layer",), value, value, none, none, p, n, np.full_like(value, within), assumed)


def _world(rng: np.random.Generator, missing: float, dtype: type = np.float64) -> Readings:
    """Two layers that add up but for a part of relative norm ``missing``, orthogonal to the sum."""
    sites: dict[str, np.ndarray] = {}
    n_prompts, n_heads, n_tokens, head_dim, dim = 3, 4, 6, 5, 8
    state: np.ndarray = rng.standard_normal((n_prompts, n_tokens, dim)).astype(dtype)
    sites["embed"] = state
    for layer in range(2):
        a = np.tril(rng.random((n_prompts, n_heads, n_tokens, n_tokens))) + np.eye(n_tokens)
        a = (a / a.sum(-1, keepdims=True)).astype(dtype)
        v: np.ndarray = rng.standard_normal((n_prompts, n_heads, n_tokens, head_dim)).astype(dtype)
        w_o: np.ndarray = rng.standard_normal((n_heads, head_dim, dim)).astype(dtype)
        z = a @ v
        heads = z @ w_o
        mlp: np.ndarray = rng.standard_normal(state.shape).astype(dtype)
        total = state + heads.sum(1) + mlp
        part = rng.standard_normal(total.shape)
        part -= total * float((part * total).sum() / (total**2).sum())
        part *= missing / np.sqrt(1 - missing**2) * np.linalg.norm(total) / np.linalg.norm(part)
        post = (total + part).astype(dtype)
        names = ("pre", "pattern", "v", "z", "heads", "mlp", "post")
        sites |= {f"L{layer}.{k}": x for k, x in zip(names, (state, a, v, z, heads, mlp, post), strict=True)}
        state = post
    return Readings(sites)


def _each_normed_by_itself(rng: np.random.Generator) -> np.ndarray:
    """The rival: every component divided by its own rms, then summed, against the sum divided by its rms; the truth is 0."""
    parts = components(_world(rng, 0.0))[1]

    def normed(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True))

    whole = normed(parts.sum(0))
    return np.atleast_1d(np.linalg.norm(normed(parts).sum(0) - whole) / np.linalg.norm(whole))


def _normed_before(rng: np.random.Generator) -> np.ndarray:
    """The rival: the last state comes normed, as ``hidden_states[-1]`` does."""
    made = _world(rng, 0.0)
    last = made.sites["L1.post"]
    sites = {**made.sites, "L1.post": last / np.sqrt((last**2).mean(-1, keepdims=True))}
    return measure(Readings(sites))["stream"].value[1:]


INSTRUMENT = Instrument(
    measure=measure,
    main="stream",
    needs=("pre", "heads", "post"),
    nulls={"float64": lambda rng: _world(rng, 0.0), "float32": lambda rng: _world(rng, 0.0, np.float32)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(1e-8, 1e-3, 0.1),
    tolerance=1e-14,  # 30 roundings of terms as large as the sum
    limit=BUDGETS[8],
    rivals=(
        Rival("every component normed by itself", "value", _each_normed_by_itself, 0.0),
        Rival("the last state comes normed", "told", _normed_before, 0.0),
    ),
    figure=figure,
    sheet="instruments_circuits 2",
    exact=True,
)
