"""What attention() cannot take is an error that names the argument; what it takes in another dress means the same."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from attnlab.kernels.attention import attention, cpu
from attnlab.kernels.attention.biases import ALiBi, Bias, ForgetGate, RelativePosition
from attnlab.kernels.attention.masks import BlockSparse, Causal, KeySubsample, Mask, Neighbourhood, Window
from attnlab.kernels.attention.problem import Problem, rows_of_mask
from attnlab.kernels.attention.scores import Softmax
from attnlab.kernels.attention.statistics import Mass


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("path", ["auto", "reference"])
def test_tensors_that_are_not_dense_are_refused(path, n, make):
    q, k, v = make(1, (n, 4, 3), (n, 4, 3), (n, 4, 3))
    attention(q, k, v, path=path)  # a plan of the same shapes is no way in
    ragged = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 3)])
    for name, bad in (("q", (q.to_sparse(), k, v)), ("v", (q, k, v.to_sparse())), ("q", (ragged, ragged, ragged))):
        with pytest.raises(ValueError, match=f"{name} is a .* tensor; give a dense one"):
            attention(*bad, path=path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", "a"),
        ("scale", [1.0]),
        ("scale", 1j),
        ("scale", 10**400),
        ("statistics", None),
        ("statistics", 3),
        ("scale", torch.tensor(1j)),
        ("bias", torch.zeros(4, 4, 4)),
        ("mask", torch.ones(4, 4, 4, dtype=torch.bool)),
    ],
    ids=lambda x: str(x)[:30],
)
def test_options_that_do_not_fit_are_named(name, value, make):
    q, k, v = make(2, (9, 4, 3), (9, 4, 3), (9, 4, 3))
    [attention(q, k, v) for _ in range(3)]  # a call that is kept is no way in
    with pytest.raises(ValueError, match=name):
        attention(q, k, v, **{name: value})


@pytest.mark.parametrize(
    ("name", "make_one"),
    [
        ("slopes", lambda: ALiBi(1.0)),
        ("slopes", lambda: ALiBi(torch.ones(2, dtype=torch.int64))),
        ("table", lambda: RelativePosition(torch.zeros(()))),
        ("table", lambda: RelativePosition([0.0])),
        ("log_gates", lambda: ForgetGate(torch.zeros(()))),
        ("log_gates", lambda: ForgetGate([0.0])),
        ("before", lambda: Window(1.5)),
        ("shift", lambda: Causal(0.5)),
        ("keys", lambda: KeySubsample((0.5,))),
        ("keys", lambda: KeySubsample(3)),
        ("size", lambda: Neighbourhood((5,), 1.5)),
    ],
)
def test_parameters_of_masks_and_biases_are_checked_where_they_are_given(name, make_one):
    with pytest.raises(ValueError, match=name):
        make_one()


def test_masks_of_lists_ranges_and_tensors_are_those_of_tuples(make, needs_c):
    q, k, v = make(3, (9, 5, 3), (9, 5, 3), (9, 5, 3))
    right = attention(q, k, v, mask=KeySubsample((0, 2)))
    for keys in ([0, 2], range(0, 3, 2), torch.tensor([0, 2]), np.array([0, 2])):
        assert KeySubsample(keys) == KeySubsample((0, 2))
        assert torch.equal(attention(q, k, v, mask=KeySubsample(keys)), right)
    assert Neighbourhood([5], [3]) == Neighbourhood((5,), (3,))
    assert Window(torch.tensor(2), np.int64(1)) == Window(2, 1)


@dataclass
class FirstKeys(Mask):
    """A mask of the user's own, which can change and has no hash."""

    n: int

    def visible(self, n_queries, n_keys):
        return (torch.arange(n_keys) < self.n).expand(n_queries, n_keys)


@dataclass(frozen=True)
class Table(Mask):
    """One that holds a tensor, and has a hash that does not see its numbers."""

    table: torch.Tensor

    def visible(self, n_queries, n_keys):
        return self.table


@pytest.mark.parametrize("n", [1, 9])
def test_masks_that_can_change_are_read_at_every_call(n, make, needs_c):
    q, k, v = make(4, (n, 4, 3), (n, 4, 3), (n, 4, 3))
    layout, table = torch.tensor([[True, False], [True, True]]), torch.ones(4, 4, dtype=torch.bool).tril()
    first = FirstKeys(2)
    masks = (first, Table(table), Causal() & BlockSparse(layout, 2), Causal() & Table(table), Causal() & first)
    before = [attention(q, k, v, mask=mask) for mask in masks]
    first.n, layout[1, 0], table[3, 0] = 1, False, False
    for mask, old in zip(masks, before, strict=True):
        now = attention(q, k, v, mask=mask)
        assert (now - attention(q, k, v, mask=mask.visible(4, 4), path="reference")).abs().max() < 1e-12
        assert (now - old).abs().max() > 1e-3


@dataclass(frozen=True)
class Told(Mask):
    """A mask of the user's own that answers what it was told, as nested tuples."""

    answer: tuple
    kind: str = "bool"

    def visible(self, n_queries, n_keys):
        return torch.tensor(self.answer, dtype=getattr(torch, self.kind))


@pytest.mark.parametrize("path", ["auto", "c", "reference"])
@pytest.mark.parametrize("answer", [((True, True, False, True),), ((True,), (False,), (True,), (True,))])
def test_an_axis_of_length_one_of_a_users_mask_stands_for_all(answer, path, make, needs_c):
    q, k, v = make(6, (9, 4, 3), (9, 4, 3), (9, 4, 3))
    whole = torch.tensor(answer).expand(4, 4)
    right = attention(q, k, v, mask=whole, path="reference")
    assert (attention(q, k, v, mask=Told(answer), path=path) - right).abs().max() < 1e-12
    both = attention(q, k, v, mask=Causal() & Told(answer), path=path)
    assert (both - attention(q, k, v, mask=whole.tril(), path="reference")).abs().max() < 1e-12


@pytest.mark.parametrize("path", ["auto", "c", "reference"])
@pytest.mark.parametrize(
    "mask",
    [
        Told(((1, 0, 1, 1),) * 4, "uint8"),
        Told(((1.0, 0.0, 1.0, 1.0),) * 4, "float64"),
        Told((True,) * 4),
        Told(((True,) * 3,) * 4),
        Told(((True,) * 4,) * 2),
        Told((((True,) * 4,) * 4,)),
        Causal() & Told(((True,) * 4,) * 4, "int64"),
    ],
    ids=str,
)
def test_what_a_users_mask_may_not_answer_is_refused(mask, path, make):
    q, k, v = make(7, (9, 4, 3), (9, 4, 3), (9, 4, 3))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"mask=Told.*visible\(\) returned .*; it must return a boolean tensor"):
            attention(q, k, v, mask=mask, path=path)


class Given(Bias):
    """A bias of the user's own that answers what it was given, whatever its type."""

    def __init__(self, x):
        self.x = x

    def matrix(self, n_queries, n_keys, like):
        return self.x


@pytest.mark.parametrize("path", ["auto", "c", "reference"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("own", [torch.float32, torch.float64])
def test_a_users_bias_of_another_type_is_converted(own, kind, path, make, needs_c):
    *qkv, bias = make(8, *[(9, 4, 3)] * 3, (4, 4), dtype=own)
    bias = (2 * bias).to(kind)
    found = attention(*qkv, bias=Given(bias), path=path)
    assert found.dtype == own and torch.equal(found, attention(*qkv, bias=bias.to(own), path=path))
    assert torch.equal(attention(*qkv, bias=(Given(bias), None), path=path), found)


@pytest.mark.parametrize(
    "answer",
    [[[0.0] * 4] * 4, torch.ones(4, 4, dtype=torch.bool), torch.zeros(4, 4) * 1j, torch.zeros(4), torch.zeros(3, 4)],
    ids=["list", "boolean", "complex", "one axis", "queries"],
)
def test_what_a_users_bias_may_not_answer_is_refused(answer, make):
    q, k, v = make(9, (9, 4, 3), (9, 4, 3), (9, 4, 3))
    with pytest.raises(ValueError, match=r"bias=.*Given.*matrix\(\) returned .*; it must return a real tensor"):
        attention(q, k, v, bias=Given(answer))


def test_the_compiled_path_reads_tensors_of_one_type(make, needs_c):
    q, k, v, bias = make(10, *[(9, 4, 3)] * 3, (9, 4, 4))
    problem = Problem(1.0, Softmax(), rows_of_mask(None, 4, 4), (), Mass())
    cpu.forward(problem, q, k, v, bias)
    for others in ((k, v, bias.float()), (k.float(), v, bias)):
        with pytest.raises(TypeError, match=r"one type, got torch\.float32 beside q of torch\.float64"):
            cpu.forward(problem, q, *others)


def test_nothing_in_a_tuple_of_biases_adds_nothing(make):
    q, k, v, bias = make(5, (9, 4, 3), (9, 4, 3), (9, 4, 3), (4, 4))
    assert torch.equal(attention(q, k, v, bias=(bias, None)), attention(q, k, v, bias=bias))
    assert torch.equal(attention(q, k, v, bias=(None,)), attention(q, k, v))
