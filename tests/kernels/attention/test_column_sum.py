"""What each key receives: the sums over queries, on every path, with derivatives, against sums written out in Python."""

import math

import pytest
import torch

from attnlab.kernels.attention import attention, cpu, paths
from attnlab.kernels.attention.masks import Window

EPS = torch.finfo(torch.float64).eps
PATHS = ("c", "sdpa", "reference")


def columns(q, k, v, **options):
    return attention(q, k, v, statistics=("column_sum",), **options)[1]["column_sum"]


def by_hand(q, k, scale, seen, bias):
    """Softmax of one problem, its weights summed by column, in Python numbers."""
    sums = [0.0] * len(k)
    for i, query in enumerate(q.tolist()):
        s = {
            j: scale * math.fsum(a * b for a, b in zip(query, key, strict=True)) + bias[i][j]
            for j, key in enumerate(k.tolist())
            if seen[i][j]
        }
        z = math.fsum(math.exp(x) for x in s.values())
        for j, x in s.items():
            sums[j] += math.exp(x) / z
    return sums


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("derivative", [False, True])
def test_sums_over_queries_of_shared_keys_are_those_written_out(path, derivative, make, needs_c):
    """Two query heads read one key head; a window hides keys; a bias that differs between query heads."""
    q, k, v, bias = make(1, (2, 3, 2, 9, 3), (2, 3, 1, 9, 3), (2, 3, 1, 9, 2), (2, 9, 9))
    leaf = q.clone().requires_grad_(derivative)
    found = columns(leaf, k, v, mask=Window(3, 1), bias=bias, scale=0.7, path=path)
    assert found.shape == (2, 3, 2, 9) and found.requires_grad == derivative
    seen = Window(3, 1).visible(9, 9).tolist()
    for r, h, g in ((0, 0, 0), (0, 2, 1), (1, 1, 0), (1, 2, 1)):
        want = by_hand(q[r, h, g], k[r, h, 0], 0.7, seen, bias[g].tolist())
        # at most 5 terms a column, each of a dozen roundings of numbers below 1
        assert (found[r, h, g] - q.new_tensor(want)).abs().max() < 100 * EPS
        twin = by_hand(q[r, h, g], k[r, h, 0], 0.7, seen, bias[1 - g].tolist())
        assert (found[r, h, g] - q.new_tensor(twin)).abs().max() > 1e-3  # the bias of the other head


@pytest.mark.parametrize(
    "score", ["softmax_plus_one", "softpick", "sigmoid", "linear", "relu", "power", "signed", "sparsemax"]
)
@pytest.mark.parametrize("mask", [None, "causal"])
def test_all_columns_together_are_all_rows_together(score, mask, make, needs_c):
    """For any map; where weights have signs, sums of their sizes are another number."""
    q, k, v = make(2, (9, 6, 3), (9, 7, 3), (9, 7, 2))
    k = k[:, :6] if mask else k
    v = v[:, : k.shape[1]]
    for path in ("auto", "reference", *(("c",) if score != "sparsemax" else ())):
        _, found = attention(q, k, v, mask=mask, score=score, path=path, statistics=("column_sum", "row_sum"))
        assert list(found) == ["column_sum", "row_sum"] and found["column_sum"].shape == k.shape[:2]
        total = found["row_sum"].sum(-1)
        assert (found["column_sum"].sum(-1) - total).abs().max() < 200 * EPS * (1 + found["column_sum"].abs().max())
        eye = torch.eye(k.shape[1], dtype=q.dtype).expand(9, -1, -1)
        weights = attention(q, k, eye, mask=mask, score=score, path="reference")
        assert (found["column_sum"] - weights.sum(-2)).abs().max() < 200 * EPS * (1 + weights.abs().sum(-2).max())
        if score in ("linear", "signed"):
            assert (found["column_sum"] - weights.abs().sum(-2)).abs().max() > 0.01


@pytest.mark.parametrize("path", PATHS)
def test_gradient_is_that_of_softmax_with_the_cotangent_for_values(path, make, needs_c):
    r"""d <x, c> / d s_ij = W_ij (x_j - sum_l W_il x_l): written out; the twin forgets the normaliser."""
    q, k, v, x = make(3, (3, 5, 4), (3, 6, 4), (3, 6, 2), (3, 6))
    q.requires_grad_(), k.requires_grad_()
    got = torch.autograd.grad((columns(q, k, v, path=path, scale=0.5) * x).sum(), (q, k))
    with torch.no_grad():
        w = torch.softmax(0.5 * q @ k.mT, -1)
        x = x[:, None]
        ds = w * (x - (w * x).sum(-1, keepdim=True))
        for found, want, twin in (
            (got[0], 0.5 * ds @ k, 0.5 * (w * x) @ k),
            (got[1], 0.5 * ds.mT @ q, 0.5 * (w * x).mT @ q),
        ):
            assert (found - want).abs().max() < 100 * EPS and (found - twin).abs().max() > 1e-2


@pytest.mark.sampled(4)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_second_derivatives_and_forward_mode(path, score, make, needs_c):
    if path == "sdpa" and score != "softmax":
        pytest.skip("torch's fused attention is softmax alone")
    q, k, v, bias = make(4, (2, 3, 2), (2, 3, 2), (2, 3, 1), (3, 3))
    leaves = [x.requires_grad_() for x in (q, k, *(() if path == "sdpa" else (bias,)))]

    def both(q, k, *bias):
        o, found = attention(
            q, k, v, mask="causal", score=score, bias=bias[0] if bias else None, path=path, statistics=("column_sum",)
        )
        return found["column_sum"].sin() + o.sum(-1)

    assert torch.autograd.gradcheck(both, leaves, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(both, leaves)


@pytest.mark.parametrize("path", ["c", "reference"])
def test_what_is_hidden_receives_nothing_and_what_is_lost_is_lost(path, make, needs_c):
    """A key that nobody sees, even one that is not a number; a query that sees none; a logit that is not a number."""
    q, k, v = make(5, (2, 4, 3), (2, 5, 3), (2, 5, 2))
    k[:, 3] = torch.nan
    seen = torch.ones(4, 5, dtype=torch.bool)
    seen[:, 3], seen[2] = False, False
    whole = columns(q, k, v, mask=seen, path=path)
    assert bool((whole[:, 3] == 0).all()) and (whole.sum(-1) - 3).abs().max() < 100 * EPS
    q[0, 1], seen[1, 0] = torch.nan, False  # a row of which one key is hidden: it loses the columns that it sees
    lost = columns(q, k, v, mask=seen, path=path).isnan()
    assert lost[0].tolist() == [False, True, True, False, True] and not lost[1].any()


@pytest.mark.parametrize("path", ["c", "sdpa", "reference"])
def test_without_keys_or_queries_there_is_nothing_to_receive(path, make, needs_c):
    q, k, v = make(6, (2, 3, 4), (2, 5, 4), (2, 5, 2))
    assert columns(q, k[:, :0], v[:, :0], path="auto").shape == (2, 0)
    if path != "sdpa":
        assert columns(q[:, :0], k, v, path=path).tolist() == [[0.0] * 5] * 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_types_sum_in_float32(dtype, make):
    """The sums of 300 queries, to float32's rounding of the same numbers: a sum in the short type itself would lose them."""
    q, k, v = make(7, (2, 4, 300, 4), (2, 4, 8, 4), (2, 4, 8, 2), dtype=dtype)
    found = columns(q, k, v)
    right = columns(q.double(), k.double(), v.double(), path="reference")
    # a running sum below 64: 300 roundings of half a unit of float32, which is 64 eps there
    assert found.dtype == torch.float32 and (found - right).abs().max() < 300 * 32 * torch.finfo(torch.float32).eps
    short = torch.softmax(0.5 * q @ k.mT, -1).sum(-2)
    assert (short - right).abs().max() > 8 * torch.finfo(dtype).eps  # half a half unit between 32 and 64


def test_other_statistics_are_refused_by_the_fused_path_and_names_are_suggested(make):
    q, k, v = make(8, (2, 3, 4), (2, 5, 4), (2, 5, 2))
    with pytest.raises(ValueError, match="without statistics of rows"):
        attention(q, k, v, path="sdpa", statistics=("column_sum", "entropy"))
    with pytest.raises(ValueError, match="did you mean 'column_sum'"):
        attention(q, k, v, statistics=("colum_sum",))


def test_statistics_are_looked_up_with_and_without_derivatives(make, monkeypatch, needs_c):
    """1024 keys in heads of width 64 are faster compiled where nothing asks for a derivative; with one there is another row."""
    taken, asked, forward, choose = [], [], cpu.forward, paths.choose_path
    monkeypatch.setattr(cpu, "forward", lambda *args, **more: taken.append("c") or forward(*args, **more))
    monkeypatch.setattr(paths, "choose_path", lambda *args: asked.append(args[1:3]) or choose(*args))
    q = make(9, (8, 1024, 64), dtype=torch.float32)
    attention(q, q, q, mask="causal", statistics=("entropy", "column_sum"))
    assert taken == ["c"] and asked == [("statistics", "forward")]
    attention(q.requires_grad_(), q, q, mask="causal", statistics=("entropy",))
    assert asked[1:] == [("statistics", "both")]
