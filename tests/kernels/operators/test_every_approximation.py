"""Operators that approximate softmax attention: what they declare is true, and whoever could declare it does or says why not."""

import dataclasses

import pytest
import torch

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.listing import members, names, operator_class
from attnlab.kernels.operators.operator import QKV, Approximation, Cache, Sizes

SIZES = Sizes(n=32, d=4, d_v=3, n_heads=2)
APPROXIMATIONS = {
    name: each for name in names() if isinstance(each := operator_class(name).approximates, Approximation)
}
OTHERS = sorted(
    name
    for name, each in members().items()
    if each.kind in ("qkv", "select") and each.approximates is None and not isinstance(each, DotProduct)
)


def error(operator, sizes=SIZES, draws=1):
    """Relative error of the output against softmax attention, Gaussian queries and keys with scores of spread 1/2."""
    q, k = (0.5**0.5 * torch.randn(1, 1, 2, sizes.n, sizes.d, generator=stream, dtype=torch.float64)
            for stream in (torch.Generator().manual_seed(seed) for seed in (1, 2)))  # fmt: skip
    v = torch.randn(1, 1, 2, sizes.n, sizes.d_v, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    exact = DotProduct().apply(QKV(q, k, v), {})
    inputs = Cache(q, k, v) if operator.kind == "select" else QKV(q, k, v)
    uniform, found = operator.facts.n_uniform, []
    for seed in range(draws):
        stream = torch.Generator().manual_seed(seed)
        draw = None if uniform is None else torch.rand(1, uniform(sizes), generator=stream, dtype=torch.float64)
        y = operator.apply(inputs, operator.initialise(sizes, [stream], torch.float64), draw=draw)
        found.append(float((y - exact).square().sum() / exact.square().sum()))
    return (sum(found) / draws) ** 0.5


def test_there_are_some():
    assert len(APPROXIMATIONS) > 8


@pytest.mark.parametrize("name", APPROXIMATIONS)
def test_more_cost_less_error(name):
    sizes = Sizes(n=128, d=4, d_v=3, n_heads=2)
    for label, ladder in APPROXIMATIONS[name].ladders(sizes).items():
        assert all(type(each) is operator_class(name) for each in ladder)
        first, last = error(ladder[0], sizes, draws=4), error(ladder[-1], sizes, draws=4)
        assert last < 0.9 * first, (
            f"{label!r}: the last operator of the ladder errs by {last:.3g}, the first by {first:.3g}"
        )


@pytest.mark.parametrize("name", APPROXIMATIONS)
def test_at_last_it_is_softmax_attention_or_near_it_or_never(name):
    declared = APPROXIMATIONS[name]
    left = error(declared.at_last(SIZES), draws=2)
    reaches = "exact" if left < 1e-12 else "limit" if left < 0.1 else "no"
    assert declared.reaches == reaches, f"{name} declares {declared.reaches!r}, the error left is {left:.3g}"


def reached(operator):
    """The number that makes an operator softmax attention, if one does."""
    for each in dataclasses.fields(operator):
        value = getattr(operator, each.name)
        if isinstance(value, int) and not isinstance(value, bool):
            for number in (1, 2, 99):
                try:
                    if error(dataclasses.replace(operator, **{each.name: number})) < 1e-12:
                        return f"{each.name}={number}"
                except (ValueError, RuntimeError, IndexError):
                    continue  # the operator has no such number
    return None


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_number_makes_softmax_attention_declares_it(name):
    operator = members()[name]
    found = reached(operator)
    assert found is None, f"{name} is softmax attention at {found}: set approximates, or say there why it is none"


def test_the_search_finds_what_is_not_declared():
    assert reached(members()["sparse_selection/moba"]) is not None
