"""Averages, filters and extractors: kernels, how influence fades across chunks, ranks of taps, copies, far tokens, variance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import gelu, one_hot

from attnlab.kernels.operators.convolutions import causal_depthwise
from attnlab.kernels.operators.gates_and_memory.extractor import Extractor
from attnlab.kernels.operators.gates_and_memory.local_filtering import LocalFiltering
from attnlab.kernels.operators.gates_and_memory.mega import Mega
from attnlab.kernels.operators.gates_and_memory.previous_token_mean import PreviousTokenMean
from attnlab.kernels.operators.operator import Sizes, Tokens
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation

#: Factor on one-hot features at which softmax selects; epsilon beside which the tokens' size does not count in a norm.
SELECTS, LEVEL = 20.0, 1e14


@dataclass(frozen=True)
class AverageSetting:
    """Mega's average of lines of ``n_tokens`` numbers with ``expansion`` states, gates as at its start."""

    n_tokens: int = 24
    expansion: int = 3
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "expansion", "n_replicas")


@simulation(name="gates_and_memory.averages", block=8)
def averages(setting: AverageSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """One channel: ``operator`` (replica, token) by the operator's taps, ``recurrence`` token by token.

    ``line`` (replica, token) is the input; ``input_gate``, ``damping``, ``expand``, ``contract`` (replica, state), ``skip``.
    """
    names = ("input_gate", "damping", "expand", "contract")
    found: dict[str, list] = {name: [] for name in ("operator", "recurrence", "line", "skip", *names)}
    n, operator = setting.n_tokens, Mega(expansion=setting.expansion)
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=1, d_v=1), [stream], torch.float64)
        x = torch.randn(1, 1, n, 1, generator=stream, dtype=torch.float64)
        p, delta = (own[name][0, 0].sigmoid().numpy() for name in names[:2])
        beta, gamma = (own[name][0, 0].numpy() for name in names[2:])
        omega, line = own["skip"].item(), x.flatten().numpy()
        state, y = np.zeros(setting.expansion), []
        for value in line:
            state = p * beta * value + (1 - p * delta) * state
            y.append((gamma * state).sum() / math.sqrt(setting.expansion) + omega * value)
        found["operator"].append(causal_depthwise(x, operator.kernel(own, n)).flatten().numpy())
        found["recurrence"].append(np.array(y))
        for name, value in zip(("line", "skip", *names), (line, omega, p, delta, beta, gamma), strict=True):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class FadingSetting:
    """Mega in chunks of ``chunk`` tokens, all channels with one ``input_gate`` and one ``damping`` (both after the sigmoid)."""

    input_gate: float = 0.5
    damping: float = 0.5
    chunk: int = 4
    n_chunks: int = 5
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_inside(self, 0, 1, "input_gate", "damping")
        require_positive(self, "chunk", "n_replicas")
        require_at_least(self, 3, "n_chunks")


@simulation(name="gates_and_memory.fadings", block=8)
def fadings(setting: FadingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``factor`` (replica, token): Jacobian of the last output by a token over that by the next one, before the last chunk.

    ``half`` (replica,): lag at which the taps are half the first one, between taps by a straight line in their logarithm.
    """
    c = setting.chunk
    n, operator = c * setting.n_chunks, Mega(chunk=c, expansion=1)
    found: dict[str, list] = {"factor": [], "half": []}
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=2, d_v=2, n_heads=2), [stream], torch.float64)
        for name in ("input_gate", "damping"):
            share = getattr(setting, name)
            own[name] = torch.full_like(own[name], math.log(share / (1 - share)))
        x = torch.randn(n, 4, generator=stream, dtype=torch.float64)

        def last(tokens: torch.Tensor, own: dict = own) -> torch.Tensor:
            return operator.apply(Tokens(tokens[None, None]), own)[0, 0, -1]

        J = torch.autograd.functional.jacobian(last, x).transpose(0, 1)[: n - c].flatten(1)  # (token, D * D)
        found["factor"].append(((J[:-1] * J[1:]).sum(-1) / J[1:].square().sum(-1)).numpy())
        still = dict(own, skip=torch.zeros_like(own["skip"]))
        log_taps = operator.kernel(still, 4 * n)[0, 0].abs().log().numpy()
        found["half"].append(np.interp(math.log(2), log_taps[0] - log_taps, np.arange(4.0 * n)))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class FilterSetting:
    """Localized filters of random weights on tokens of ``width`` (even)."""

    width: int = 12
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 2, "width")
        if self.width % 2:
            raise ValueError(f"width={self.width!r} must be even: the first filter halves it")


@simulation(name="gates_and_memory.filters", block=8)
def filters(setting: FilterSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``rank`` (replica, lag): of the Jacobian of the filtered token by the token ``lag`` places before, 0 to 4 and 1 ahead.

    The token itself is taken off at lag 0, and the norm has an epsilon that makes it a constant. ``numbers``: in the filters.
    """
    D, n, operator = setting.width, 8, LocalFiltering(epsilon=LEVEL)
    found: dict[str, list] = {"rank": [], "numbers": []}
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=D, d_v=D), [stream], torch.float64)
        x = torch.randn(n, D, generator=stream, dtype=torch.float64)

        def filtered(tokens: torch.Tensor, own: dict = own) -> torch.Tensor:
            return LEVEL**0.5 * operator.filtered(tokens[None, None], own)[0, 0, 5]

        J = torch.autograd.functional.jacobian(filtered, x)  # (D, token, D)
        J[:, 5] -= torch.eye(D, dtype=torch.float64)
        values = torch.linalg.svdvals(J.transpose(0, 1))
        found["rank"].append([int((values[5 - lag] > 1e-9).sum()) for lag in (0, 1, 2, 3, 4, -1)])
        found["numbers"].append(sum(x.numel() for name, x in own.items() if name.startswith(("first", "second"))))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class CopySetting:
    """Random texts of ``n_tokens`` letters from ``vocabulary``: copy what followed the last ``suffix`` letters before."""

    vocabulary: int = 12
    n_tokens: int = 60
    suffix: int = 1
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_replicas")
        require_at_least(self, 2, "vocabulary")
        if self.suffix not in (1, 2):
            raise ValueError(f"suffix={self.suffix!r} must be 1 or 2: the filters see two tokens back")


@simulation(name="gates_and_memory.copies", block=8)
def copies(setting: CopySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``right`` (replica,): share of cases that one constructed layer copies; ``without``: keys from the letter itself.

    ``short``: the layer that compares one letter less. A case: the suffix stood once before, and was not followed by the
    last letter. ``cases``: their number.
    """
    found: dict[str, list] = {name: [] for name in ("right", "without", "short", "cases")}
    for stream in random_streams.generators(seeds, "data"):
        text = torch.randint(setting.vocabulary, (setting.n_tokens,), generator=stream)
        cases = _cases(text.tolist(), setting.suffix)
        for name, seen in (("right", setting.suffix), ("without", 0), ("short", setting.suffix - 1)):
            y = _copied(text, setting.vocabulary, seen)
            found[name].append(np.mean([y[t].item() == answer for t, answer in cases]) if cases else np.nan)
        found["cases"].append(len(cases))
    return {name: np.array(values) for name, values in found.items()}


def _cases(text: list[int], suffix: int) -> list[tuple[int, int]]:
    """Places whose suffix ended once before, with the letter that followed there, unless it is the last letter."""
    found = []
    for t in range(suffix, len(text)):
        own = text[t - suffix + 1 : t + 1]
        ends = [i for i in range(suffix - 1, t) if text[i - suffix + 1 : i + 1] == own]
        if len(ends) == 1 and text[ends[0] + 1] != text[t]:
            found.append((t, text[ends[0] + 1]))
    return found


def _copied(text: torch.Tensor, V: int, seen: int) -> torch.Tensor:
    """Letters that one layer returns whose keys show the ``seen`` letters before (0: the letter itself)."""
    D, n = 4 * V, len(text)
    x = torch.zeros(1, 1, n, D, dtype=torch.float64)
    x[..., :V] = one_hot(text, V)
    eye, operator = torch.eye(V, dtype=torch.float64), LocalFiltering()
    own = operator.initialise(Sizes(n=n, d=D, d_v=D), [torch.Generator()], torch.float64)
    own = {name: 0 * p for name, p in own.items()}
    own["gain"] += 1
    own["first_before"][0, :V, :V] = eye  # the half-width channel carries the letter before
    own["second_now"][0, :V, V : 2 * V] = eye
    own["second_before"][0, :V, 2 * V : 3 * V] = eye
    for name, first in (("query", 0), ("key", V if seen else 0)):
        for block in range(max(seen, 1)):  # letter block of the query against the same one of a place earlier
            rows = slice(first + block * V, first + (block + 1) * V)
            own[name][0, 0, rows, block * V : (block + 1) * V] = SELECTS * eye
    own["value"][0, 0, :V, :V] = eye
    own["out"][0, 0, :V, :V] = eye
    return operator.apply(Tokens(x), own, causal=True)[0, 0, :, :V].argmax(-1)


@dataclass(frozen=True)
class NeighbourSetting:
    """Mixers of the token, its predecessor and perhaps the mean, up to ``n_layers`` layers on ``n_tokens`` tokens."""

    n_tokens: int = 12
    n_layers: int = 4
    width: int = 3
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_layers", "width", "n_replicas")
        require_at_least(self, 4, "n_tokens")


@simulation(name="gates_and_memory.neighbours", block=8)
def neighbours(
    setting: NeighbourSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``seen`` (replica, layers): tokens with influence on the last output of 1, 2, ... layers without the mean.

    ``far`` (replica, token, D, D): Jacobian of one layer with the mean by each far token; ``by_mean`` (replica, D, D): by the
    mean alone.
    """
    n, D, operator = setting.n_tokens, setting.width, PreviousTokenMean()
    found: dict[str, list] = {"seen": [], "far": [], "by_mean": []}
    jacobian = torch.autograd.functional.jacobian
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=D, d_v=D), [stream], torch.float64)
        x = torch.randn(n, D, generator=stream, dtype=torch.float64)
        blind = {name: p.clone() for name, p in own.items()}
        blind["into_hidden"][:, 2 * D :] = 0
        seen = []
        for depth in range(1, setting.n_layers + 1):

            def deep(tokens: torch.Tensor, depth: int = depth, blind: dict = blind) -> torch.Tensor:
                for _ in range(depth):
                    tokens = operator.apply(Tokens(tokens[None, None]), blind)[0, 0]
                return tokens[-1]

            seen.append(int((jacobian(deep, x).abs().amax((0, 2)) > 0).sum()))
        found["seen"].append(seen)

        def once(tokens: torch.Tensor, own: dict = own) -> torch.Tensor:
            return operator.apply(Tokens(tokens[None, None]), own)[0, 0, -1]

        def of_mean(mean: torch.Tensor, own: dict = own, x: torch.Tensor = x) -> torch.Tensor:
            hidden = gelu(torch.cat([x[-1], x[-2], mean]) @ own["into_hidden"][0])
            return hidden @ own["out_of_hidden"][0]

        found["far"].append(jacobian(once, x).transpose(0, 1)[: n - 2].numpy())
        found["by_mean"].append(jacobian(of_mean, x.mean(0)).numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class ExtractSetting:
    """Extractors of equal weights on tokens that share a part: ``correlation`` rho; read after ``lengths`` tokens."""

    correlation: float = 0.5
    lengths: tuple[int, ...] = (2, 8, 32)
    n_draws: int = 500
    n_replicas: int = 48

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "lengths", "n_draws", "n_replicas")
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"correlation={self.correlation!r} must be in [0, 1]")


@simulation(name="gates_and_memory.extracted", block=8)
def extracted(setting: ExtractSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``square`` (replica, length): mean square of what is extracted, the gate held at 1 by a channel of ones.

    ``both``, ``apart`` (replica, D): output for the sum of two pasts, and from the outputs for each and for none, the last
    token alike; random weights.
    """
    rho, n = setting.correlation, max(setting.lengths)
    operator = Extractor()
    even = {"lag": torch.ones(1, 2, n, dtype=torch.float64), "gate": torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]).double()}
    found: dict[str, list] = {name: [] for name in ("square", "both", "apart")}
    for stream in random_streams.generators(seeds, "data"):
        shared = torch.randn(setting.n_draws, 1, generator=stream, dtype=torch.float64)
        single = torch.randn(setting.n_draws, n, generator=stream, dtype=torch.float64)
        x = rho**0.5 * shared + (1 - rho) ** 0.5 * single
        y = operator.apply(Tokens(torch.stack([x, torch.ones_like(x)], -1)[None]), even)[0, :, :, 0]
        found["square"].append([y[:, t - 1].square().mean().item() for t in setting.lengths])
        own = operator.initialise(Sizes(n=6, d=3, d_v=3), [stream], torch.float64)
        pasts = torch.randn(2, 6, 3, generator=stream, dtype=torch.float64)
        pasts[1, -1] = pasts[0, -1]
        none = pasts[0].clone()
        none[:-1] = 0
        outputs = [operator.apply(Tokens(z[None, None]), own)[0, 0, -1] for z in (pasts.sum(0) - none, *pasts, none)]
        found["both"].append(outputs[0].numpy())
        found["apart"].append((outputs[1] + outputs[2] - outputs[3]).numpy())
    return {name: np.array(values) for name, values in found.items()}
