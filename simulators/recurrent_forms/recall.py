"""Recall of one of several pairs by one layer of attention, trained: softmax, and linear forms that differ in features and
normaliser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, elu

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation

FORMS = ("softmax", "linear", "signed", "positive")


@dataclass(frozen=True)
class RecallSetting:
    """``n_pairs`` pairs of one of ``n_keys`` keys and ``n_keys`` values; then one of the keys is asked for.

    Queries and keys have ``n_state`` numbers, values ``value_dim``; tables of all are learnt by Adam with ``rate``. ``form``:
    "softmax"; "linear", features elu + 1 over their sum; "signed", plain products over e^(w_key + b); "positive", features "
    "elu + 1
    over e^(w_key + b). The bias b starts at ln ``n_pairs``. ``n_test`` fresh prompts test.
    """

    form: str = "linear"
    n_state: int = 4
    n_pairs: int = 12
    n_keys: int = 32
    value_dim: int = 16
    n_steps: int = 600
    batch: int = 96
    rate: float = 0.005
    n_test: int = 1000
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_state", "n_pairs", "value_dim", "n_steps", "batch", "rate", "n_test", "n_replicas")
        if self.form not in FORMS:
            raise ValueError(f"form={self.form!r} is unknown; use one of {', '.join(map(repr, FORMS))}")
        if self.n_pairs > self.n_keys:
            raise ValueError(f"n_pairs={self.n_pairs} must be at most n_keys={self.n_keys}: keys of a prompt differ")


@simulation(
    name="recurrent_forms.recall",
    block=8,
    reads=("form", "n_state", "n_pairs", "n_keys", "value_dim", "n_steps", "batch", "rate", "n_test"),
)
def recall(setting: RecallSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``accuracy (replica,)`` on fresh prompts, ``start`` before training, ``rescaled`` with every normaliser replaced by 1."""
    rngs = [np.random.default_rng(seed) for seed in seeds]
    shapes = {
        "query": (setting.n_keys, setting.n_state),
        "key": (setting.n_keys, setting.n_state),
        "value": (setting.n_keys, setting.value_dim),
        "read": (setting.value_dim, setting.n_keys),
        "normaliser": (setting.n_keys,),
    }
    parameters = {}
    for name, shape in shapes.items():
        width = 1.0 if name in ("query", "key", "value") else setting.value_dim**0.5
        drawn = np.stack([rng.standard_normal(shape) / width for rng in rngs])
        if name == "normaliser":
            drawn = np.full_like(drawn, np.log(setting.n_pairs))
        parameters[name] = torch.tensor(drawn, dtype=torch.float32, requires_grad=True)
    tests = _prompts(setting, rngs, setting.n_test)
    start = _accuracy(setting, parameters, tests)
    optimiser = torch.optim.Adam(list(parameters.values()), lr=setting.rate)
    for _ in range(setting.n_steps):
        keys, values, asked, answer = _prompts(setting, rngs, setting.batch)
        logits = _logits(setting, parameters, keys, values, asked)
        loss = cross_entropy(logits.flatten(0, 1), answer.flatten()) * len(rngs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {
        "accuracy": _accuracy(setting, parameters, tests),
        "start": start,
        "rescaled": _accuracy(setting, parameters, tests, rescaled=True),
    }


def _prompts(setting: RecallSetting, rngs: Sequence[np.random.Generator], count: int) -> tuple[Tensor, ...]:
    """Keys and values (replica, prompt, pair), the key asked for and its value (replica, prompt)."""
    keys, values, where = [], [], []
    for rng in rngs:
        keys.append(np.argsort(rng.random((count, setting.n_keys)), axis=1)[:, : setting.n_pairs])
        values.append(rng.integers(setting.n_keys, size=(count, setting.n_pairs)))
        where.append(rng.integers(setting.n_pairs, size=(count, 1)))
    k, v, at = (torch.from_numpy(np.stack(x)) for x in (keys, values, where))
    return k, v, k.gather(2, at)[..., 0], v.gather(2, at)[..., 0]


def _logits(
    setting: RecallSetting,
    parameters: dict[str, Tensor],
    keys: Tensor,
    values: Tensor,
    asked: Tensor,
    rescaled: bool = False,
) -> Tensor:
    """(replica, prompt, value)."""
    rows = torch.arange(len(keys))[:, None]
    q, k = parameters["query"][rows, asked], parameters["key"][rows[..., None], keys]  # (r, p, n), (r, p, pair, n)
    if setting.form in ("linear", "positive"):
        q, k = elu(q) + 1, elu(k) + 1
    scores = (k @ q[..., None])[..., 0]
    if setting.form == "softmax":
        weights = (scores / setting.n_state**0.5).softmax(-1)
    elif rescaled:
        weights = scores
    elif setting.form == "linear":
        weights = scores / scores.sum(-1, keepdim=True)
    else:
        weights = scores * torch.exp(-parameters["normaliser"][rows, asked])[..., None]
    read = (parameters["value"] @ parameters["read"])[rows[..., None], values]  # (r, p, pair, value)
    return (weights[..., None, :] @ read)[..., 0, :]


@torch.no_grad()
def _accuracy(
    setting: RecallSetting, parameters: dict[str, Tensor], tests: tuple[Tensor, ...], rescaled: bool = False
) -> np.ndarray:
    keys, values, asked, answer = tests
    found = []
    for part in torch.arange(answer.shape[1]).split(500):
        logits = _logits(setting, parameters, keys[:, part], values[:, part], asked[:, part], rescaled)
        found.append((logits.argmax(-1) == answer[:, part]).double())
    return torch.cat(found, 1).mean(1).numpy()
