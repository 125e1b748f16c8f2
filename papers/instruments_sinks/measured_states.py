"""What the instruments of states read on planted residual streams: secondary sinks, their lifetimes, massive coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.sinks import massive_activations, sink_levels
from attnlab.analysis.instruments.worlds import causal_softmax
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

Arrays = dict[str, np.ndarray]
FIRST, PLANTS, OPPOSITE = 50.0, (7, 13), 21
UPDATES = ("orthogonal", "random")


@dataclass(frozen=True)
class StreamSetting:
    """A stream of ``n_layers`` states per token: layer l adds an update of norm 1 to every token but the first, orthogonal to
    all others before it and to u, or in a random direction.

    The first token is 50 u. At layer ``start`` tokens 7 and 13 get ``written`` u, token 21 gets as much of -u. ``bonus``: the
    component along u of the queries of a head that reads the normed states of layer ``start``.
    """

    dim: int = 128
    n_tokens: int = 24
    n_layers: int = 48
    start: int = 2
    written: float = 8.0
    bonus: float = 6.0
    updates: str = "orthogonal"
    n_prompts: int = 4
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "updates", UPDATES)
        require_at_least(self, OPPOSITE + 2, "n_tokens")
        require_at_least(self, 0, "start", "written")
        require_positive(self, "n_layers", "n_prompts", "n_replicas")
        if self.updates == "orthogonal" and self.dim <= self.n_layers + 1:
            raise ValueError(
                f"dim={self.dim} holds no {self.n_layers} updates orthogonal to each other and to u; use more"
            )


@simulation(name="instruments_sinks.streams", block=4)
def streams(setting: StreamSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``lifetime``, ``began (replica, prompt)`` of token 7 (0 and -1 where it is never found); ``cosine``, at its first layer.

    ``false``: sinks found at tokens without a plant, ``opposite``: how many prompts call token 21 one, signed, and
    ``opposite_unsigned``. ``weights (replica, prompt, 3)`` of the first, of token 7 and of token 13 for the last query of a head
    without noise, and ``alone``, that of the first where nothing is written.
    """
    found: dict[str, list[np.ndarray]] = {}
    n, start = setting.n_tokens, setting.start
    for rng in map(np.random.default_rng, seeds):
        x = _stream(setting, rng)  # (layer, prompt, token, dim)
        bare = x[start].copy()
        x[start:, :, PLANTS, 0] += setting.written
        x[start:, :, OPPOSITE, 0] -= setting.written
        made = Readings({f"L{layer}.post": each for layer, each in enumerate(x)})
        seen = sink_levels.levels(made)
        mine = {level.prompt: level for level in seen if level.position == PLANTS[0]}
        unsigned = np.abs(_units(x[start]) @ _units(x[start])[:, :1].swapaxes(-1, -2))[..., 0] > sink_levels.TAU
        every = range(setting.n_prompts)
        row = {
            "lifetime": np.array([mine[p].lifetime if p in mine else 0 for p in every]),
            "began": np.array([mine[p].start if p in mine else -1 for p in every]),
            "cosine": (_units(x[start]) @ _units(x[start])[:, :1].swapaxes(-1, -2))[:, PLANTS[0], 0],
            "false": np.array([sum(s.prompt == p and s.position not in PLANTS for s in seen) for p in every]),
            "opposite": np.array([sum(s.prompt == p and s.position == OPPOSITE for s in seen) for p in every]),
            "opposite_unsigned": unsigned[:, OPPOSITE].astype(int),
        }
        x[start, :, OPPOSITE] = bare[:, OPPOSITE]  # the head is asked without the opposite state
        a = causal_softmax(setting.bonus * np.broadcast_to(_units(x[start])[:, None, :, 0], (setting.n_prompts, n, n)))
        before = causal_softmax(setting.bonus * np.broadcast_to(_units(bare)[:, None, :, 0], (setting.n_prompts, n, n)))
        row |= {"weights": a[:, -1][:, (0, *PLANTS)], "alone": before[:, -1, 0]}
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class StateSetting:
    """Gaussian states of ``dim``; ``massive``: one coordinate among others of mean square exactly 1."""

    dim: int = 64
    massive: float = 20.0
    n_states: int = 65_536
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 32, "dim")
        require_positive(self, "massive", "n_states", "n_replicas")


@simulation(name="instruments_sinks.coordinates", block=4)
def coordinates(setting: StateSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Of Gaussian states: ``mean`` of phi and its quantiles ``q99``, ``q999``, (replica,); ``planted``: phi of a massive one."""
    found: dict[str, list[float]] = {"mean": [], "q99": [], "q999": [], "planted": []}
    for rng in map(np.random.default_rng, seeds):
        x = rng.standard_normal((setting.n_states, 1, setting.dim))
        phi = massive_activations.measure(Readings({"L0.pre": x}))["phi"].value[:, 0]
        rest = x[0, 0, 1:]
        one = np.concatenate([[setting.massive], rest * np.sqrt(rest.size) / np.linalg.norm(rest)])
        found["planted"].append(massive_activations.measure(Readings({"L0.pre": one[None, None]}))["phi"].value[0, 0])
        found["mean"].append(phi.mean())
        found["q99"].append(np.quantile(phi, 0.99))
        found["q999"].append(np.quantile(phi, 0.999))
    return {name: np.array(values, dtype=float) for name, values in found.items()}


@dataclass(frozen=True)
class CellSetting:
    """Four heads: with or without a massive coordinate of size ``massive`` on the first token, with or without ``bonus`` for
    it."""

    dim: int = 128
    n_tokens: int = 48
    massive: float = 60.0
    bonus: float = 6.0
    score_sd: float = 0.5
    n_replicas: int = 64

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 32, "dim")
        require_at_least(self, 8, "n_tokens")
        require_positive(self, "massive", "bonus", "n_replicas")


@simulation(name="instruments_sinks.cells", block=16)
def cells(setting: CellSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``fires (replica, 4)``: whether the massive instrument rings; ``alpha (replica, 4)``: mean weight of the first token.

    Cells: neither, a massive coordinate that no key reads, a key bias without it, both (the key reads the massive coordinate).
    """
    fires, alpha = [], []
    for rng in map(np.random.default_rng, seeds):
        row = [[], []]
        for big, read in ((False, False), (True, False), (False, True), (True, True)):
            x = rng.standard_normal((1, setting.n_tokens, setting.dim))
            x[:, 0, 5] = setting.massive if big else x[:, 0, 5]
            made = massive_activations.measure(Readings({"L0.pre": x}))["phi"]
            s = setting.score_sd * rng.standard_normal((1, 1, setting.n_tokens, setting.n_tokens))
            if read and big:  # the head reads the normed coordinate, scaled so that a whole one is worth the bonus
                s[..., 0] += setting.bonus * x[0, 0, 5] / np.linalg.norm(x[0, 0])
            elif read:
                s[..., 0] += setting.bonus
            row[0].append(made.p[0, 0] <= 0.05)
            row[1].append(causal_softmax(s)[0, 0, :, 0].mean())
        fires.append(row[0])
        alpha.append(row[1])
    return {"fires": np.array(fires), "alpha": np.array(alpha)}


def _stream(setting: StreamSetting, rng: np.random.Generator) -> np.ndarray:
    """States (layer, prompt, token, dim), u being the first axis: layers + 1 updates have been added after layer 0 the first."""
    shape = (setting.n_layers, setting.n_prompts, setting.n_tokens, setting.dim)
    steps = rng.standard_normal(shape)
    if setting.updates == "orthogonal":
        steps[..., 0] = 0.0
        basis = np.linalg.qr(np.moveaxis(steps, 0, -1)[..., 1:, :])[0]  # orthonormal columns, per prompt and token
        steps[..., 1:] = np.moveaxis(basis, -1, 0)
    else:
        steps /= np.linalg.norm(steps, axis=-1, keepdims=True)
    x = steps.cumsum(0)
    x[:, :, 0] = 0.0
    x[:, :, 0, 0] = FIRST
    return x


def _units(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
