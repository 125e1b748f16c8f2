"""What the instruments of circuits read on hand-written models and planted sets: simulations that know no prediction.

They stand beside the paper because an instrument belongs to analysis/, which simulators/ may not import.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.instruments.circuits import (
    attribution,
    component_sums,
    head_codes,
    head_overlap,
    lens,
    operator_matrix,
    path_patching,
    window_ablation,
)
from attnlab.analysis.instruments.readings import Readings
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.planted.arithmetic import N_LAYERS, PROGRAMS, arithmetic, every_prompt
from attnlab.simulators.planted.induction import induction
from attnlab.simulators.planted.planted import logit_difference

Arrays = dict[str, np.ndarray]
RECEIVERS = ("logits", "total", "L1.H0.k", "L1.H0.q", "L1.H0.v")
CHUNK = 1000  # heads that are read at once
AT = 3  # the earlier copy whose successor is looked at


@dataclass(frozen=True)
class InductionSetting:
    """Hand-written induction of two layers and four heads each; ``previous``, ``match``: strengths of its two heads in nats."""

    previous: float = 12.0
    match: float = 12.0
    n_tokens: int = 25
    n_prompts: int = 20
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 16, "n_tokens")
        require_at_least(self, 0, "previous", "match")
        require_at_least(self, 2, "n_prompts")
        require_positive(self, "n_replicas")


@simulation(name="instruments_circuits.weights", block=4)
def weights(setting: InductionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Of every prompt, (replica, prompt): weights ``match`` of L1H0 and ``inert`` of its inert twin in ``row``, on the key
    ``position`` that followed the row's token before; ``previous (replica, prompt, token - 1)`` of L0H0 on the token before.

    ``right``: whether the answer is the likeliest word; ``probability`` of it by the lens, (replica, prompt, depth); ``emergence
    (replica,)``; ``whole``, ``apart``: relative gap of the summed components to the logits, normed by the whole state's root
    mean square and each by its own.
    """
    made = induction(n_symbols=12, n_tokens=setting.n_tokens, previous=setting.previous, match=setting.match)
    found: dict[str, list[np.ndarray]] = {}
    every = np.arange(setting.n_prompts)
    kept = [s for s in made.model.sites() if s.rpartition(".")[2] != "mid"]
    for rng in map(np.random.default_rng, seeds):
        prompts = made.draw(rng, setting.n_prompts)
        read = made.model.run(prompts.tokens, kept)
        row = prompts.periods + AT
        states = np.stack([read["L0.pre"][:, -1], read["L1.pre"][:, -1], read["final"][:, -1]], 1)
        seen = lens.measure(lens.Depths(states, made.model.unembed, prompts.answers))["probability"]
        readings = Readings(read)
        parts = component_sums.components(readings)[1]
        size = np.sqrt((parts.sum(0) ** 2).mean(-1, keepdims=True))
        own = np.sqrt((parts**2).mean(-1, keepdims=True))
        normed = (parts.sum(0) / size) @ made.model.unembed
        gaps = [
            np.linalg.norm(total @ made.model.unembed - normed) / np.linalg.norm(normed)
            for total in ((parts / size).sum(0), (parts / np.where(own > 0, own, 1.0)).sum(0))
        ]
        depth = lens.emergence(seen)
        line = {
            "match": read["L1.pattern"][every, 0, row, AT + 1],
            "inert": read["L1.pattern"][every, 1, row, AT + 1],
            "row": row,
            "position": np.full(row.shape, AT + 1),
            "previous": np.diagonal(read["L0.pattern"][:, 0], -1, -2, -1),
            "right": read["logits"][:, -1].argmax(-1) == prompts.answers,
            "probability": seen.values,
            "emergence": np.array(-1 if depth is None else depth),
            "whole": np.array(gaps[0]),
            "apart": np.array(gaps[1]),
        }
        for name, value in line.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(rows) for name, rows in found.items()}


@simulation(name="instruments_circuits.paths", block=2)
def paths(setting: InductionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``effect (replica, receiver, sender)`` of path patching, receivers ``RECEIVERS``, senders layer by layer.

    ``last``: totals with patches at the last position only; ``frozen``: totals with the second layer's patterns kept clean, both
    (replica, sender).
    """
    made = induction(n_symbols=12, n_tokens=setting.n_tokens, previous=setting.previous, match=setting.match)
    senders = [*itertools.product(range(2), range(len(made.model.layers[0].w_q)))]
    found: dict[str, list[np.ndarray]] = {"effect": [], "last": [], "frozen": []}
    for rng in map(np.random.default_rng, seeds):
        prompts = made.draw(rng, setting.n_prompts)
        corrupt, metric = made.corrupt(rng, prompts), logit_difference(prompts.answers)
        asked = path_patching.Pairs(made.model.run, prompts.tokens, corrupt, metric, senders, RECEIVERS)
        found["effect"].append(path_patching.measure(asked)["effect"].value)
        last = path_patching.Pairs(
            made.model.run, prompts.tokens, corrupt, metric, senders, ("total",), positions="last"
        )
        found["last"].append(path_patching.measure(last)["effect"].value[0])
        kept = made.model.run(prompts.tokens, ("L1.pattern",))

        def still(inputs, sites=(), replace=None, kept=kept):
            return made.model.run(inputs, sites, {**kept, **(replace or {})})

        frozen = path_patching.Pairs(still, prompts.tokens, corrupt, metric, senders, ("total",))
        moved = path_patching.measure(frozen)["numerator"].value[0]
        found["frozen"].append(moved)
    return {name: np.stack(rows) for name, rows in found.items()}


@simulation(name="instruments_circuits.attributed", block=2)
def attributed(setting: InductionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Total effect of L0H0 in units of the metric, means over prompts, (replica,): ``exact``, ``path`` of 20 steps and
    ``linear``."""
    made = induction(n_symbols=12, n_tokens=setting.n_tokens, previous=setting.previous, match=setting.match)
    found: dict[str, list[float]] = {"exact": [], "path": [], "linear": []}
    for rng in map(np.random.default_rng, seeds):
        prompts = made.draw(rng, setting.n_prompts)
        corrupt, metric = made.corrupt(rng, prompts), logit_difference(prompts.answers)
        whole = attribution.segments(made.model.run, prompts.tokens, corrupt, metric, [(0, 0)])
        read = attribution.measure(whole)
        for name, values in found.items():
            values.append(float(read[name].value[0]))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class ProgramSetting:
    """Addition modulo ``modulus`` by one of the two hand-written programs, on all p^2 prompts; windows of at most ``most``
    layers."""

    program: str = "late"
    modulus: int = 7
    most: int = 3
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "program", PROGRAMS)
        require_at_least(self, 3, "modulus")
        require_positive(self, "most", "n_replicas")


@simulation(name="instruments_circuits.programs", block=1)
def programs(setting: ProgramSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``accuracy (replica, layer)`` with context-free states before each layer and at the end, ``mean``: with plain means.

    ``windows (replica, window, 1 + most)``: every (wait, layers) that keeps the accuracy, padded with -1; one row of -2 if none
    does.
    """
    made, prompts = arithmetic(setting.program, setting.modulus), every_prompt(setting.modulus)
    asked = window_ablation.Template(
        made.model.run, prompts.tokens, prompts.answers, N_LAYERS, 1 / setting.modulus
    )  # fmt: skip
    accuracy = window_ablation.measure(asked)["accuracy"].value
    plain = []
    for layer in range(N_LAYERS + 1):
        site = f"L{layer}.pre" if layer < N_LAYERS else "final"
        states = made.model.run(prompts.tokens, (site,))[site]
        mean = np.broadcast_to(states.mean(0), states.shape)
        logits = made.model.run(prompts.tokens, ("logits",), {site: mean})["logits"]
        plain.append((logits[:, -1].argmax(-1) == prompts.answers).mean())
    found = window_ablation.windows(asked, setting.most)
    rows = [[wait, *window, *[-1] * (setting.most - len(window))] for wait, window in found]
    rows = rows or [[-2] * (1 + setting.most)]
    n = len(seeds)
    return {
        name: np.stack([np.array(x)] * n) for name, x in (("accuracy", accuracy), ("mean", plain), ("windows", rows))
    }


@dataclass(frozen=True)
class SetSetting:
    """Pairs of random circuits of ``n_first`` and ``n_second`` heads among ``n_layers`` x ``n_heads``; ``late``: only in the
    second half."""

    n_layers: int = 16
    n_heads: int = 24
    n_first: int = 27
    n_second: int = 27
    late: bool = False
    n_pairs: int = 2000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_layers", "n_heads", "n_first", "n_second", "n_pairs", "n_replicas")
        if max(self.n_first, self.n_second) > self.n_layers * self.n_heads // 2:
            raise ValueError(f"circuits of {self.n_first} and {self.n_second} heads do not fit into half the model")


@simulation(name="instruments_circuits.overlaps", block=4)
def overlaps(setting: SetSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``mean`` and ``variance`` over pairs of the number of shared heads, (replica,); ``within``, ``pooled (replica, pair)``:
    whether the p of the law within layers, and of the law without them, is at most 5 %; the first 200 pairs."""
    found: dict[str, list[np.ndarray]] = {"mean": [], "variance": [], "within": [], "pooled": []}
    n = setting.n_layers * setting.n_heads
    start = n // 2 if setting.late else 0
    for rng in map(np.random.default_rng, seeds):
        sets = np.zeros((2, setting.n_pairs, n), dtype=bool)
        for each, size in zip(sets, (setting.n_first, setting.n_second), strict=True):
            chosen = rng.random((setting.n_pairs, n - start)).argpartition(size, axis=-1)[:, :size]
            np.put_along_axis(each, chosen + start, True, axis=-1)
        shaped = sets[:, :200].reshape(2, -1, setting.n_layers, setting.n_heads)
        read = head_overlap.measure(head_overlap.Circuits(shaped[0], shaped[1]))
        common = (sets[0] & sets[1]).sum(-1)
        found["mean"].append(np.array(common.mean()))
        found["variance"].append(np.array(common.var(ddof=1)))
        found["within"].append(read["overlap"].p <= 0.05)
        found["pooled"].append(read["pooled"].p <= 0.05)
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class CodeSetting:
    """``n_heads`` heads whose codes are drawn from ``shares`` on ``n_positive`` and ``n_negative`` prompts alike."""

    shares: tuple[float, ...] = (0.125,) * 8
    n_positive: int = 10
    n_negative: int = 10
    n_heads: int = 1000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_positive", "n_negative", "n_heads", "n_replicas")


@simulation(name="instruments_circuits.codes", block=4)
def codes(setting: CodeSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``score (replica,)``: mean over heads of the share of positive prompts with a code that no negative one has; ``null``:
    that which the instrument states from the codes' frequencies."""
    found: dict[str, list[float]] = {"score": [], "null": []}
    for rng in map(np.random.default_rng, seeds):
        n = setting.n_positive + setting.n_negative
        drawn = rng.choice(len(setting.shares), size=(n, setting.n_heads), p=np.asarray(setting.shares))
        positive = np.arange(n) < setting.n_positive
        some = [
            head_codes.measure(head_codes.Codes(drawn[:, at : at + CHUNK], positive))["score"]
            for at in range(0, setting.n_heads, CHUNK)
        ]
        found["score"].append(float(np.concatenate([read.value for read in some]).mean()))
        found["null"].append(float(np.concatenate([read.null_mean for read in some]).mean()))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class LeakSetting:
    """Causal attention of ``n_tokens`` with ``leak`` times the next input added."""

    leak: float = 1e-6
    n_tokens: int = 16
    dim: int = 8
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 0, "leak")
        require_positive(self, "n_tokens", "dim", "n_replicas")


@simulation(name="instruments_circuits.leaks", block=8)
def leaks(setting: LeakSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``leak (replica,)`` as the instrument reads it, ``published``: sum of differences of prefix and full run, the public
    statistic."""
    found: dict[str, list[float]] = {"leak": [], "published": []}
    for rng in map(np.random.default_rng, seeds):
        x = rng.standard_normal((setting.n_tokens, setting.dim))

        def operator(x: np.ndarray) -> np.ndarray:
            s = np.where(np.tri(len(x), dtype=bool), x @ x.T, -np.inf)
            e = np.exp(s - s.max(-1, keepdims=True))
            y = e / e.sum(-1, keepdims=True) @ x
            y[:-1] += setting.leak * x[1:]
            return y

        read = operator_matrix.measure(operator_matrix.Operators({"leaky": operator}, x[None]))["leak"]
        found["leak"].append(float(read.value[0]))
        half = setting.n_tokens // 2
        found["published"].append(float(np.abs(operator(x[: half + 1])[half] - operator(x)[half]).sum()))
    return {name: np.array(values) for name, values in found.items()}
