"""Every operation that can be generated, alone, against autograd in float64; and what is refused, by its name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from attnlab.kernels.generated.graph import Refused
from attnlab.kernels.generated.rules.registry import RULES
from attnlab.kernels.generated.step import text_of

sys.path.insert(0, str(Path(__file__).parent))
from made import known, made

TOLERANCE = 1e-12  # a few thousand roundings of numbers of order one


def total(x):
    return x.flatten(1).sum(1)


def weighted(x):
    """A sum with weights that tell every element from the others."""
    flat = x.to(torch.float64).flatten(1)
    return (flat * torch.linspace(1, 2, flat.shape[1], dtype=torch.float64)).sum(1)


def places(o):
    """Whole numbers 0 to 5 from data, ``(replica, 7)``."""
    return (o["u"] * 6).long().clamp(0, 5)


def rows(p, o):
    """Three rows of a stack of tables, of each replica from its own."""
    return places(o)[:, :3].clamp_max(3) + p["a"].shape[1] * torch.arange(len(p["a"]))[:, None]


CASES = {
    "mul": lambda p, o: weighted(p["a"] * o["x"] * 3),
    "exp": lambda p, o: weighted(torch.exp(p["a"])),
    "log": lambda p, o: weighted(torch.log(p["a"] ** 2 + 0.1)),
    "log1p": lambda p, o: weighted(torch.log1p(p["a"] ** 2)),
    "tanh": lambda p, o: weighted(torch.tanh(p["a"])),
    "sqrt": lambda p, o: weighted(torch.sqrt(p["a"] ** 2 + 1)),
    "neg": lambda p, o: weighted(-p["a"] * o["x"]),
    "abs": lambda p, o: weighted(p["a"].abs()),
    "sign": lambda p, o: weighted(p["a"].abs() * o["x"].sign()),
    "eq": lambda p, o: weighted(p["a"] * (places(o)[:, :5] == 2)[:, None]),
    "ne": lambda p, o: weighted(p["a"] * (places(o)[:, :5] != 2)[:, None]),
    "lt": lambda p, o: weighted(p["a"] * (p["a"] < o["x"])),
    "le": lambda p, o: weighted(p["a"] * (p["a"] <= o["x"])),
    "gt": lambda p, o: weighted(p["a"] * (p["a"] > 0.1)),
    "ge": lambda p, o: weighted(p["a"] * (p["a"] >= o["x"])),
    "minimum": lambda p, o: weighted(torch.minimum(p["a"], o["x"])),
    "maximum": lambda p, o: weighted(torch.maximum(p["a"], o["x"])),
    "logical_and": lambda p, o: weighted(p["a"] * torch.logical_and(o["x"] > 0, o["x"] < 1)),
    "bitwise_and": lambda p, o: weighted(p["a"] * ((o["x"] > 0) & (o["x"] < 1))),
    "logical_or": lambda p, o: weighted(p["a"] * torch.logical_or(o["x"] > 1, o["x"] < 0)),
    "bitwise_or": lambda p, o: weighted(p["a"] * ((o["x"] > 1) | (o["x"] < 0))),
    "logical_not": lambda p, o: weighted(p["a"] * torch.logical_not(o["x"] > 1)),
    "bitwise_not": lambda p, o: weighted(p["a"] * ~(o["x"] > 1)),
    "add": lambda p, o: weighted(torch.add(p["a"], o["x"], alpha=2) * p["a"]),
    "sub": lambda p, o: weighted(torch.sub(p["a"], o["x"], alpha=2) * p["a"] - (1 - p["a"])),
    "div": lambda p, o: weighted(o["x"] / (p["a"] ** 2 + 1) + p["a"] / 7 + torch.div(49 * o["x"], 49, rounding_mode="floor")),
    "remainder": lambda p, o: weighted(p["a"] * (places(o)[:, :5] % 4)[:, None] * torch.remainder(o["x"], 0.7)),
    "reciprocal": lambda p, o: weighted(torch.reciprocal(p["a"] ** 2 + 1)),
    "rsqrt": lambda p, o: weighted(torch.rsqrt(p["a"] ** 2 + 1)),
    "pow": lambda p, o: weighted(p["a"] ** 3 + (p["a"] ** 2 + 1) ** -0.5 + (p["a"] ** 2 + 1) ** -1.0),
    "relu": lambda p, o: weighted(torch.relu(p["a"] * o["x"])),
    "elu": lambda p, o: weighted(F.elu(p["a"] * o["x"])),
    "sigmoid": lambda p, o: weighted(torch.sigmoid(p["a"])),
    "gelu": lambda p, o: weighted(F.gelu(3 * p["a"] * o["x"], approximate="tanh")),
    "clamp": lambda p, o: weighted(p["a"].clamp(-0.4, 0.6)),
    "where": lambda p, o: weighted(torch.where(o["x"] > 0, p["a"], o["x"]) + torch.where(p["a"] > 0, 1.0, p["a"] ** 2)),
    "_to_copy": lambda p, o: weighted(p["a"] * (o["x"] * 3).int().double() * (o["x"] > 0).double()),
    "full_like": lambda p, o: weighted(p["a"] * torch.full_like(p["a"], 1.5)),
    "alias": lambda p, o: weighted(p["a"][(slice(None),)] * 2.0),
    "clone": lambda p, o: weighted(p["a"].clone() ** 2),
    "copy": lambda p, o: weighted(torch.zeros_like(p["a"]).copy_(o["x"]) * p["a"]),
    "view": lambda p, o: weighted(p["a"].reshape(len(p["a"]), 2, -1) * o["x"].reshape(len(p["a"]), 2, 10)),
    "permute": lambda p, o: weighted(p["a"].transpose(1, 2).reshape(len(p["a"]), 2, -1) * o["x"].reshape(len(p["a"]), 2, 10)),
    "expand": lambda p, o: weighted(p["b"][:, None].expand(-1, 4, -1) * o["x"]),
    "unsqueeze": lambda p, o: weighted(p["b"][:, None] * p["b"][:, :, None]),
    "squeeze": lambda p, o: weighted(p["a"][:, :1].squeeze(1) * p["b"]),
    "select": lambda p, o: weighted(p["a"][:, 2] * p["a"][:, :, -1].sum(1, keepdim=True)),
    "slice": lambda p, o: weighted(p["a"][:, 1:3, :4] * o["x"][:, ::2, 1:]),
    "split_with_sizes": lambda p, o: weighted(torch.cat([each**k for k, each in enumerate(p["a"].split([1, 1, 2], 1), 1)], 1)),
    "flip": lambda p, o: weighted(p["a"].flip(1) * o["x"]),
    "cat": lambda p, o: weighted(torch.cat([p["a"], o["x"] * p["a"]], 2).tanh() @ torch.cat([p["a"], p["a"]], 2).mT),
    "constant_pad_nd": lambda p, o: weighted(F.pad(p["a"], (1, -2, -1, 2)) ** 2 * F.pad(o["x"], (0, -1, 0, 1))),
    "slice_scatter": lambda p, o: weighted(torch.slice_scatter(o["x"], p["a"][:, :2] ** 2, 1, 1, 3) * p["a"]),
    "select_scatter": lambda p, o: weighted(torch.select_scatter(o["x"], p["b"], 1, 2) * p["a"]),
    "slice_backward": lambda p, o: weighted((p["a"][:, :, 1:4] ** 2) * (p["a"][:, :, 2:])),
    "select_backward": lambda p, o: weighted(p["a"][:, 0] ** 2 * p["a"][:, 3] + p["a"][:, 1]),
    "sum": lambda p, o: weighted(p["a"].sum((1, 2))[:, None] * p["a"].sum(2) + (p["a"] > 0).sum(2)),
    "mean": lambda p, o: weighted(p["a"].mean(1) * p["a"].mean((1, 2), keepdim=True)[..., 0]),
    "amax": lambda p, o: weighted(p["a"].amax(2) * o["x"].amax(2)),
    "amin": lambda p, o: weighted(p["a"].amin(2) * o["x"].amin(2)),
    "argmax": lambda p, o: weighted(p["b"][:, None] * o["x"].argmax(2)[..., None]),
    "argmin": lambda p, o: weighted(p["b"][:, None] * (o["x"] * 2).int().argmin(2)[..., None]),
    "max": lambda p, o: weighted(o["x"].max(2).values * p["a"].sum(2) * o["x"].max(2).indices),
    "linalg_vector_norm": lambda p, o: weighted(torch.linalg.vector_norm(p["a"], dim=2) * p["a"].norm(dim=(1, 2))[:, None]),
    "bmm": lambda p, o: weighted(p["a"] @ o["x"].mT @ p["a"]),
    "mm": lambda p, o: weighted(p["b"] @ torch.linspace(0, 1, 15, dtype=torch.float64).view(5, 3)),
    "_softmax": lambda p, o: weighted(torch.softmax(p["a"], 1) * o["x"]),
    "_softmax_backward_data": lambda p, o: weighted(torch.softmax(p["a"] * o["x"], -1) ** 2),
    "_log_softmax": lambda p, o: weighted(torch.log_softmax(p["a"], 1) * o["x"]),
    "_log_softmax_backward_data": lambda p, o: F.cross_entropy(p["a"], places(o)[:, :5] % 4, reduction="none").mean(1),
    "cumsum": lambda p, o: weighted(p["a"].cumsum(1).tanh() * p["a"].cumsum(2)),
    "gather": lambda p, o: weighted(p["b"].gather(1, places(o).clamp_max(4)) ** 2),
    "index": lambda p, o: weighted(o["x"][torch.arange(len(o["x"]))[:, None], places(o)[:, :3].clamp_max(3)] * p["a"][:, :3]),
    "embedding": lambda p, o: weighted(F.embedding(rows(p, o), p["a"].flatten(0, 1)) ** 2),
    "scatter": lambda p, o: weighted(torch.zeros_like(p["b"]).scatter(1, places(o)[:, :3] % 5, 1.5) * p["b"]),
    "scatter_add": lambda p, o: weighted(p["b"].scatter_add(1, places(o) % 5, o["u"] * p["b"].sum(1, keepdim=True)) ** 2),
    "index_put": lambda p, o: weighted(p["a"][:, torch.tensor([0, 2, 2, 1])] ** 2),
    "sort": lambda p, o: weighted(o["u"].sort(-1).values[:, :5] * p["b"] * o["u"].argsort(-1, descending=True)[:, :5]),
    "topk": lambda p, o: weighted(o["u"].topk(3, largest=False).indices * p["b"][:, :3] * o["u"].topk(3).values),
}  # fmt: skip


def tensors(n=5, dtype=torch.float64):
    rng = torch.Generator().manual_seed(7)
    parameters = {
        "a": torch.randn(n, 4, 5, generator=rng, dtype=torch.float64),
        "b": torch.randn(n, 5, generator=rng, dtype=torch.float64),
    }
    others = {
        "x": torch.randn(n, 4, 5, generator=rng, dtype=torch.float64),
        "u": torch.rand(n, 7, generator=rng, dtype=torch.float64),
    }
    return tuple({name: each.to(dtype) for name, each in group.items()} for group in (parameters, others))


@pytest.fixture(scope="module")
def found(needs_c):
    """Of each case: the loss and gradients that are generated and known, and whether its rule was used.

    A dozen cases are one step: each has parameters of its own, and a factor whose gradient is the case's loss.
    """
    results = {}
    names = list(CASES)
    for low in range(0, len(names), 12):
        group = names[low : low + 12]
        own, others = tensors()
        parameters = {f"{each} {name}": value for name in group for each, value in own.items()}
        parameters |= {f"s {name}": torch.ones(5, dtype=torch.float64) for name in group}
        used: set[str] = set()

        def loss(p, o, group=group, used=used):
            total = 0.0
            for name in group:
                rule = RULES[name]
                RULES[name] = lambda *a, n=name, r=rule, **k: used.add(n) or r(*a, **k)
            for name in group:
                total = total + p[f"s {name}"] * CASES[name]({each: p[f"{each} {name}"] for each in ("a", "b")}, o)
            return total

        rules = dict(RULES)
        try:
            _, gradient = made(loss, parameters, others)
        finally:
            RULES.update(rules)
        for name in group:
            value, slope = known(CASES[name], *tensors())
            results[name] = (
                gradient[f"s {name}"],
                {each: gradient[f"{each} {name}"] for each in own},
                value,
                slope,
                name in used,
            )
    return results


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CASES)
def test_an_operation_and_its_gradient_are_those_of_torch(needs_c, found, name):
    loss, gradient, expected, slope, used = found[name]
    assert used, f"the case does not reach the rule of {name}"
    scale = 1 + float(expected.abs().max())
    torch.testing.assert_close(loss, expected, rtol=TOLERANCE, atol=TOLERANCE * scale)
    for each in slope:
        scale = 1 + float(slope[each].abs().max())
        torch.testing.assert_close(gradient[each], slope[each], rtol=10 * TOLERANCE, atol=10 * TOLERANCE * scale)


def test_every_rule_has_its_case():
    assert set(RULES) == set(CASES)


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (lambda p, o: weighted(torch.special.i0(p["b"])), "operation aten::i0"),
        (lambda p, o: weighted(torch.fft.fft(p["b"]).abs()), "operation aten::_fft"),
        (lambda p, o: weighted(p["b"] ** 1.7), "operation aten::pow with exponent 1.7"),
        (lambda p, o: weighted(F.gelu(p["b"])), "operation aten::gelu with approximate='none'"),
        (lambda p, o: weighted(F.pad(p["b"], (1, 0), value=2.0)), "operation aten::constant_pad_nd with value 2"),
        (lambda p, o: weighted(p["b"].float().double()), "in torch.float32 among torch.float64"),
        (lambda p, o: total(p["b"]) if p["b"].sum() > 0 else -total(p["b"]), "tracing failed"),
        (lambda p, o: weighted(p["b"] * torch.arange(2**24, 2**24 + 5)), "do not fit into real numbers"),
    ],
)
def test_what_is_unknown_is_refused_by_name(loss, reason):
    parameters, others = tensors(1)
    with pytest.raises(Refused, match=reason):
        text_of(loss, parameters, others, "", 0)


def test_large_models_are_refused():
    with pytest.raises(Refused, match="100001 parameters in a replica, more than 100000"):
        text_of(lambda p, o: total(p["w"]), {"w": torch.zeros(1, 100_001)}, {}, "", 0)
