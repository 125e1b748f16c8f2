"""Masks and biases against their definitions, written as loops."""

import math

import pytest
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.biases import ALiBi, ForgetGate, RelativePosition
from attnlab.kernels.attention.masks import BlockSparse, Causal, KeySubsample, Neighbourhood, Window
from attnlab.kernels.attention.scores.f_over_g import Softmax

EPS = torch.finfo(torch.float64).eps


def pairs(visible):
    return {(i, j) for i, j in visible.nonzero().tolist()}


def test_causal_lets_the_last_query_see_every_key():
    assert pairs(Causal().visible(3, 5)) == {(i, j) for i in range(3) for j in range(5) if j <= i + 2}
    assert pairs(Causal(shift=0).visible(3, 5)) == {(i, j) for i in range(3) for j in range(5) if j <= i}
    assert pairs(Causal(shift=-1).visible(3, 3)) == {(1, 0), (2, 0), (2, 1)}


def test_window_counts_steps_of_the_dilation():
    seen = pairs(Window(before=2, after=1, dilation=3).visible(12, 12))
    assert seen == {(i, i + 3 * t) for i in range(12) for t in (-2, -1, 0, 1) if 0 <= i + 3 * t < 12}


@pytest.mark.parametrize(("n", "size", "dilation"), [(7, 3, 1), (10, 4, 1), (11, 3, 2), (12, 2, 5), (6, 6, 1)])
def test_every_query_of_a_neighbourhood_sees_exactly_its_nearest_keys(n, size, dilation):
    visible = Neighbourhood((n,), size, dilation).visible(n, n)
    for i in range(n):
        comb = [j for j in range(n) if j % dilation == i % dilation]
        middle = comb.index(i)
        start = min(max(middle - size // 2, 0), len(comb) - size)
        assert visible[i].nonzero().flatten().tolist() == comb[start : start + size]


def test_two_dimensional_neighbourhood_is_a_product_of_lines():
    rows, columns = Neighbourhood((4,), 3).visible(4, 4), Neighbourhood((5,), 2, 2).visible(5, 5)
    grid = Neighbourhood((4, 5), (3, 2), (1, 2)).visible(20, 20)
    for a in range(20):
        for b in range(20):
            assert grid[a, b] == (rows[a // 5, b // 5] & columns[a % 5, b % 5])
    assert bool((grid.sum(1) == 6).all())


def test_stride_gives_a_group_the_window_of_its_middle():
    plain = Neighbourhood((12,), 5).visible(12, 12)
    strided = Neighbourhood((12,), 5, stride=4).visible(12, 12)
    for i in range(12):
        assert torch.equal(strided[i], plain[(i // 4) * 4 + 2])


def test_stride_counts_along_the_comb_of_a_dilation():
    both = Neighbourhood((13,), 3, dilation=2, stride=2).visible(13, 13)
    for residue, length in ((0, 7), (1, 6)):
        comb = both[residue::2, residue::2]
        assert torch.equal(comb, Neighbourhood((length,), 3, stride=2).visible(length, length))
    assert not both[0::2, 1::2].any() and not both[1::2, 0::2].any()


def test_blocks_and_subsamples():
    layout = torch.tensor([[True, False], [True, True]])
    seen = pairs(BlockSparse(layout, 3).visible(5, 4))
    assert seen == {(i, j) for i in range(5) for j in range(4) if layout[i // 3, j // 3]}
    assert pairs((KeySubsample((0, 3)) & Causal()).visible(4, 4)) == {
        (i, j) for i in range(4) for j in (0, 3) if j <= i
    }


@pytest.mark.parametrize(
    "mask",
    [
        "causal",
        Window(2, 1),
        Window(4, 0, 2),
        Neighbourhood((12,), 3),
        Neighbourhood((3, 4), 3),
        KeySubsample((1, 5)),
        BlockSparse(torch.eye(3, dtype=torch.bool), 4),
        Causal() & KeySubsample((3, 4)),
    ],
    ids=str,
)
def test_compiled_path_visits_exactly_the_visible_keys(mask, make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(1, (2, 12, 3), (2, 12, 3), (2, 12, 2)))
    values = [attention(q, k, v, mask=mask, path=path) for path in ("c", "reference")]
    assert (values[0] - values[1]).abs().max() < 40 * EPS * v.abs().max()
    grads = [torch.autograd.grad(o.sin().sum(), (q, k, v)) for o in values]
    for a, b in zip(*grads, strict=True):
        assert (a - b).abs().max() < 200 * EPS


def test_relative_position_table_and_its_gradient(make, needs_c):
    q, k, v, table = make(2, (2, 3, 5, 3), (2, 3, 5, 3), (2, 3, 5, 2), (3, 5))
    table.requires_grad_()
    slopes = []
    for path in ("c", "reference"):
        o = attention(q, k, v, bias=RelativePosition(table), path=path)
        slopes.append(torch.autograd.grad(o.square().sum(), table)[0])
    assert (slopes[0] - slopes[1]).abs().max() < 200 * EPS * slopes[1].abs().max()
    by_hand = torch.tensor(
        [[[table[h, min(max(j - i, -2), 2) + 2] for j in range(5)] for i in range(5)] for h in range(3)]
    )
    assert (attention(q, k, v, bias=by_hand) - o).abs().max() < 40 * EPS * v.abs().max()


def test_constant_forget_gate_is_alibi(make, needs_c):
    q, k, v = make(3, (2, 3, 6, 3), (2, 3, 6, 3), (2, 3, 6, 2))
    gates = torch.tensor([0.9, 0.5, 0.99], dtype=torch.float64)
    alibi = attention(q, k, v, mask="causal", bias=ALiBi(-gates.log()), path="reference")
    for path in ("c", "reference"):
        forget = attention(q, k, v, mask="causal", bias=ForgetGate(gates.log()[:, None].expand(3, 6)), path=path)
        assert (forget - alibi).abs().max() < 200 * EPS * v.abs().max()
    twin = attention(q, k, v, mask="causal", bias=ALiBi(-0.9 * gates.log()))
    assert (twin - alibi).abs().max() > 1e-3


def test_gradient_of_the_forget_gate_is_a_sum_over_the_pairs_it_separates(make, needs_c):
    """d/d ln f_t = sum over i >= t > j of ds_ij, ds taken as the gradient of a plain bias."""
    q, k, v, x = make(4, (2, 6, 3), (2, 6, 3), (2, 6, 2), (2, 6))
    log_gates = torch.nn.functional.logsigmoid(x).requires_grad_()
    bias = ForgetGate(log_gates)
    matrix = bias.matrix(6, 6, q).detach().requires_grad_()
    for path in ("c", "reference"):
        (slope,) = torch.autograd.grad(attention(q, k, v, mask="causal", bias=bias, path=path).sin().sum(), log_gates)
        (ds,) = torch.autograd.grad(attention(q, k, v, mask="causal", bias=matrix, path=path).sin().sum(), matrix)
        for t in range(6):
            assert (slope[:, t] - ds[:, t:, :t].sum((1, 2))).abs().max() < 200 * EPS


def test_forget_gate_equals_the_recurrence_of_gated_sums(make):
    """Unnormalised weights of the past are multiplied by f_i at step i."""
    q, k, v, x = make(5, (6, 3), (6, 3), (6, 2), (6,))
    f = torch.sigmoid(x)
    past = torch.zeros(0, dtype=torch.float64)
    out = []
    for i in range(6):
        past = torch.cat([past * f[i], torch.ones(1, dtype=torch.float64)])
        w = past * torch.exp(q[i] @ k[: i + 1].T / math.sqrt(3))
        out.append(w @ v[: i + 1] / w.sum())
    o = attention(q, k, v, mask="causal", bias=ForgetGate(f.log()))
    assert (o - torch.stack(out)).abs().max() < 200 * EPS * v.abs().max()


def test_biases_add_up(make, needs_c):
    q, k, v, table, plain = make(6, (2, 3, 5, 3), (2, 3, 5, 3), (2, 3, 5, 2), (3, 5), (5, 5))
    slopes = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    parts = (RelativePosition(table), ALiBi(slopes), plain)
    whole = sum(part if isinstance(part, torch.Tensor) else part.matrix(5, 5, q) for part in parts)
    assert torch.equal(attention(q, k, v, bias=parts), attention(q, k, v, bias=whole))
    o = attention(q, k, v, bias=plain[:, :1], path="c")  # a column of biases broadcasts
    assert (o - attention(q, k, v)).abs().max() < 40 * EPS * v.abs().max()  # softmax ignores a shift of its row


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Window(-1), "before >= 0"),
        (lambda: Neighbourhood((5,), 6), "size*dilation <= length"),
        (lambda: Neighbourhood((2, 2, 2), 1), "one or two axes"),
        (lambda: BlockSparse(torch.ones(2, 2), 1), "boolean matrix"),
        (lambda: BlockSparse(torch.ones(2, 2, dtype=torch.bool), 4).visible(20, 8), "does not cover"),
        (lambda: Neighbourhood((2, 3), 2).visible(5, 5), "6 tokens"),
        (lambda: RelativePosition(torch.ones(4)), "odd last"),
        (lambda: ForgetGate(torch.ones(3)).matrix(4, 4, torch.ones(1)), "3 tokens"),
    ],
)
def test_bad_masks_and_biases_say_what_was_expected(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert message in str(error.value)


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("score", ["softmax", "relu", "linear", "sigmoid", "sink"])
def test_an_axis_of_one_in_a_mask_stands_for_all(score, n, make, needs_c):
    """Also where the visible keys are counted, and where a sink becomes one more key."""
    score = Softmax(sink=torch.zeros(n, dtype=torch.float64)) if score == "sink" else score
    q, k, v = make(7, (n, 4, 3), (n, 5, 3), (n, 5, 2))
    column, row = torch.tensor([[True], [False], [True], [True]]), torch.tensor([[True, False, True, True, False]])
    for mask in (column, column.expand(n, 4, 1), row, row.expand(n, 1, 5), torch.ones(1, 1, dtype=torch.bool)):
        whole = mask.expand(n, 4, 5).clone()
        right = attention(q, k, v, score=score, path="reference", bias=torch.where(whole, 0.0, -torch.inf).double())
        for path in ("auto", "reference"):
            assert (attention(q, k, v, score=score, mask=mask, path=path) - right).abs().max() < 1e-12
