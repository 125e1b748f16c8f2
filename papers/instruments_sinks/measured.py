"""What the instruments of sinks read on planted maps: simulations that run an instrument, and know no prediction.

They stand beside the paper because an instrument belongs to analysis/, which simulators/ may not import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.instruments.maps import target_contrast
from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.sinks import hidden_sinks, redistribution, removal, sink_strength
from attnlab.analysis.instruments.worlds import NULLS, causal_softmax, read_scores, scores
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

LEVEL = 0.05
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class MapSetting:
    """Causal maps of ``n_tokens`` in a world of ``analysis.instruments.worlds``, the first column with ``bonus`` more score.

    ``sd`` of a score, ``column_sd`` of a key's effect on all queries; ``first_noise``: whether the first key's own score is
    noisy. A replica is ``n_prompts`` maps.
    """

    world: str = "iid scores"
    n_tokens: int = 32
    sd: float = 1.0
    column_sd: float = 1.0
    bonus: float = 0.0
    first_noise: bool = True
    n_prompts: int = 256
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "world", NULLS)
        require_at_least(self, 0, "sd", "column_sd")
        require_at_least(self, 8, "n_tokens")
        require_positive(self, "n_prompts", "n_replicas")


@simulation(name="instruments_sinks.strengths", block=4)
def strengths(setting: MapSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Means over the maps of a replica, (replica,): ``alpha``, ``without_self``, ``last`` and ``contrast`` of the first column.

    ``alpha_sd``: spread of alpha over maps. ``middle``: mean weight of column T/2 over the rows that see it. ``inverted``: the
    bonus at which the flat law has the mean alpha. ``above``: the share of maps with alpha > 5/T.
    """
    found: dict[str, list[float]] = {}
    n = setting.n_tokens
    for rng in map(np.random.default_rng, seeds):
        readings = read_scores(_scores(setting, rng, (setting.n_prompts, 1, 1, n)))
        made = sink_strength.measure(readings)
        alpha = made["alpha"].values[:, 0, 0]
        column = readings.sites["L0.pattern"][:, 0, n // 2 :, n // 2]
        row = {name: float(made[name].value[0, 0]) for name in ("alpha", "without_self", "last")}
        row |= {"contrast": float(made["strength"].value[0, 0]), "alpha_sd": float(alpha.std(ddof=1))}
        row |= {"middle": float(column.mean()), "above": float((alpha > 5 / n).mean())}
        row["inverted"] = float(target_contrast.by_inversion(readings)[0, 0])
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class HeadSetting:
    """Heads of ``n_prompts`` maps each, tested at 5 %; worlds as in :class:`MapSetting`. ``bonus`` on column ``column``."""

    world: str = "column effects"
    n_tokens: int = 24
    sd: float = 0.0
    column_sd: float = 1.0
    bonus: float = 0.0
    column: int = 0
    n_prompts: int = 8
    n_heads: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "world", NULLS)
        require_at_least(self, 0, "sd", "column_sd", "column")
        require_positive(self, "n_prompts", "n_heads", "n_replicas")


@simulation(name="instruments_sinks.ranks", block=4)
def ranks(setting: HeadSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``found (replica, head)``: whether the rank test calls the first column a sink."""
    shape = (setting.n_prompts, 1, setting.n_heads, setting.n_tokens)
    rows = [sink_strength.measure(read_scores(_head_scores(setting, np.random.default_rng(s), shape))) for s in seeds]
    return {"found": np.stack([row["strength"].p[0] <= LEVEL for row in rows])}


@simulation(name="instruments_sinks.permuted", block=4)
def permuted(setting: HeadSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``found (replica, head)``: the same by the rival that permutes rows of one map, in a world of columns without sinks."""
    rows = [sink_strength.by_permuted_rows(np.random.default_rng(seed)) for seed in seeds]
    return {"found": np.stack(rows) <= LEVEL}


@simulation(name="instruments_sinks.outliers", block=4)
def outliers(setting: HeadSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Every map by itself, (replica, map): ``found`` some sink column, ``right``: it is ``column``, ``above``: some column's mean
    weight over its rows exceeds 5/T, columns with 8 rows and more."""
    found: dict[str, list[np.ndarray]] = {"found": [], "right": [], "above": []}
    n = setting.n_tokens
    for rng in map(np.random.default_rng, seeds):
        s = _head_scores(setting, rng, (1, 1, setting.n_heads, n))
        readings = read_scores(s)
        made = hidden_sinks.measure(readings)
        hit = made["score"].p[0, 0] <= LEVEL
        means = readings.sites["L0.pattern"][0].sum(-2) / (n - np.arange(n))
        found["found"].append(hit)
        found["right"].append(hit & (made["column"].value[0, 0] == setting.column))
        found["above"].append((means[:, 1 : n - 8] > 5 / n).any(-1))
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class MovedSetting:
    """Maps with a sink of ``bonus`` on the first key and ones of ``hidden`` on keys 5 and 11; values of ``dim``, the sinks' zero
    or moved by ``harm`` along one axis. ``keep``: the share that sinks keep."""

    n_tokens: int = 24
    bonus: float = 4.0
    hidden: float = 2.5
    dim: int = 8
    harm: float = 3.0
    keep: float = 0.4
    n_prompts: int = 8
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 13, "n_tokens")
        require_positive(self, "dim", "n_prompts", "n_replicas")


SINKS = (5, 11)


@simulation(name="instruments_sinks.moved", block=8)
def moved(setting: MovedSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """The last row of every map, (replica, prompt): before and after the two hidden sinks keep the share ``keep``.

    ``rows``: sum after; ``returned``: share of the released mass on the first key; ``first``, ``sinks``: weight of the first and
    of the sinks before; ``ratio``: sinks' mass after over before; ``distance``: of the output from that of the rest, ``apart``
    of the sinks' mean value from it; ``gain``: norm of output after over before, sinks of value 0.
    """
    found: dict[str, list[np.ndarray]] = {}
    for rng in map(np.random.default_rng, seeds):
        n, dim = setting.n_tokens, setting.dim
        s = scores(rng, "iid scores", (setting.n_prompts, 1, 1, n))
        s[..., 0] += setting.bonus
        s[..., SINKS] += setting.hidden
        a = causal_softmax(s)[:, 0, 0, -1]  # (prompt, key)
        hit = np.isin(np.arange(n), SINKS)
        new = redistribution.redistribute(a, np.broadcast_to(hit, a.shape), setting.keep)
        v = rng.standard_normal((setting.n_prompts, n, dim))
        w, rest = (a * hit).sum(-1), (a * ~hit)
        o_rest = np.einsum("pk,pkd->pd", rest, v) / rest.sum(-1)[:, None]
        v_sink = np.einsum("pk,pkd->pd", a * hit, v) / w[:, None]
        o = np.einsum("pk,pkd->pd", new, v)
        idle = np.where(hit[:, None], 0.0, v)
        norms = [np.linalg.norm(np.einsum("pk,pkd->pd", each, idle), axis=-1) for each in (new, a)]
        row = {
            "rows": new.sum(-1),
            "returned": (new - a)[:, 0] / ((a - new) * hit).sum(-1),
            "first": a[:, 0],
            "sinks": w,
            "ratio": (new * hit).sum(-1) / w,
            "distance": np.linalg.norm(o - o_rest, axis=-1),
            "apart": np.linalg.norm(v_sink - o_rest, axis=-1),
            "gain": norms[0] / norms[1],
        }
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(rows) for name, rows in found.items()}


@simulation(name="instruments_sinks.removed", block=8)
def removed(setting: MovedSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """The first key removed from every row, (replica, prompt): ``move`` and ``turn`` as the instrument reads them for a sink
    whose value is moved by ``harm``, ``idle_turn`` for one of value 0; ``knocked``: the mean over rows of the squared distance
    of the output with the key masked before the softmax, per removed mass; ``from_output``: that of the key's value from the
    whole output."""
    found: dict[str, list[np.ndarray]] = {}
    for rng in map(np.random.default_rng, seeds):
        n, dim = setting.n_tokens, setting.dim
        s = scores(rng, "iid scores", (setting.n_prompts, 1, 1, n))
        s[..., 0] += setting.bonus
        v = rng.standard_normal((setting.n_prompts, 1, n, dim))
        v[..., 0, 0] += setting.harm
        idle = v.copy()
        idle[..., 0, :] = 0.0
        a = causal_softmax(s)
        made, still = (removal.measure(maps_with_values(a, each)) for each in (v, idle))
        cut = s[:, 0, :, 1:, 1:].copy()
        o = a[:, 0] @ v
        knocked = causal_softmax(cut) @ v[:, :, 1:]
        square = ((knocked - o[:, :, 1:]) ** 2).sum(-1) / a[:, 0, :, 1:, 0] ** 2
        row = {"move": made["move"].values[:, 0, 0], "turn": made["turn"].values[:, 0, 0]}
        row |= {"idle_turn": still["turn"].values[:, 0, 0], "knocked": square[:, 0].mean(-1)}
        row["from_output"] = ((v[:, 0, :1] - o[:, 0, 1:]) ** 2).sum(-1).mean(-1)
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(rows) for name, rows in found.items()}


def maps_with_values(a: np.ndarray, v: np.ndarray) -> Readings:
    """Readings of one layer: maps (prompt, 1, head, query, key) and values (prompt, head, key, dim)."""
    return Readings({"L0.pattern": a[:, 0], "L0.v": v})


def _scores(setting: MapSetting, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> np.ndarray:
    s = scores(rng, setting.world, shape, setting.sd, setting.column_sd)
    if not setting.first_noise:
        s[..., 0] = 0.0
    s[..., 0] += setting.bonus
    return s


def _head_scores(setting: HeadSetting, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> np.ndarray:
    s = scores(rng, setting.world, shape, setting.sd, setting.column_sd)
    s[..., setting.column] += setting.bonus
    return s
