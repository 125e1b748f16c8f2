"""Run by test_gpu.py in a process of its own with TRITON_INTERPRET=1: values and derivatives of the Triton kernels.

The interpreter runs no GPU: it does not model races, tf32 or limits. Those are for gpu_compiled.py and for hardware.
"""

import math
import os

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

assert os.environ.get("TRITON_INTERPRET") == "1"
pytest.importorskip("triton")

from attnlab.kernels.attention import attention, gpu  # noqa: E402
from attnlab.kernels.attention.error_budget import combinations, worst_over_cases  # noqa: E402
from attnlab.kernels.attention.masks import Window  # noqa: E402
from attnlab.kernels.attention.scores import SCORE_MAPS, score_map  # noqa: E402
from attnlab.kernels.attention.scores.f_over_g import Power  # noqa: E402
from attnlab.kernels.attention.statistics import NAMES, Mass  # noqa: E402

EPS = torch.finfo(torch.float64).eps

MAPS = [
    "softmax",
    "softmax_plus_one",
    "softpick",
    "sigmoid",
    "linear",
    "relu",
    "power",
    "relu_power",
    "softplus",
    "signed",
]


def tensors(dtype, *shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def both(q, k, v, **options):
    """Output and gradients of the Triton path, and of the float64 reference on the same numbers."""
    results = []
    for path, wide in (("gpu", False), ("reference", True)):
        leaves = [(x.double() if wide else x).detach().requires_grad_() for x in (q, k, v)]
        o = attention(*leaves, path=path, **options)
        results.append([o, *torch.autograd.grad(o.double().sin().sum(), leaves)])
    return zip(*results, strict=True)


@pytest.mark.parametrize(
    "dtype", [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("score", MAPS)
def test_values_and_gradients_over_several_ragged_tiles(score, dtype):
    """n = 40 is 2.5 tiles of 16; roundings of sums of 40 terms and two derivatives: 4 (n + d + 8) eps per unit of size."""
    q, k, v = tensors(dtype, (2, 40, 3), (2, 40, 3), (2, 40, 5))
    for got, want in both(q, k, v, score=score, mask="causal"):
        assert (got - want).abs().max() < 4 * 51 * torch.finfo(dtype).eps * (1 + want.abs().max())


@pytest.mark.parametrize("width", [1, 2, 5, 16, 33])
def test_any_head_width(width):
    q, k, v = tensors(torch.float32, (3, 9, width), (3, 7, width), (3, 7, 2))
    for got, want in both(q, k, v):
        assert (got - want).abs().max() < 4 * (15 + width) * torch.finfo(torch.float32).eps * (1 + want.abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bit_types_are_as_good_as_the_unfused_ones(dtype):
    """At most twice the error of the same formulas in plain tensor operations of that type, plus 2 ulp."""
    q, k, v = tensors(dtype, (2, 40, 16), (2, 40, 16), (2, 40, 16))
    plain = attention(*(x.detach() for x in (q, k, v)), path="reference")
    (got, want), *_ = both(q, k, v)
    allowed = 2 * (plain.double() - want).abs().max() + 2 * torch.finfo(dtype).eps * want.abs().max()
    assert (got - want).abs().max() < allowed


@pytest.mark.parametrize(
    "mask",
    [Window(2, 1), torch.eye(12, dtype=torch.bool).roll(1, 0) & (torch.arange(12) > 3)[:, None], None],
    ids=["window", "empty rows", "none"],
)
def test_masks_and_empty_rows(mask):
    q, k, v = tensors(torch.float64, (2, 12, 3), (2, 12, 3), (2, 12, 2))
    for score in ("softmax", "relu", "softpick"):
        for got, want in both(q, k, v, score=score, mask=mask):
            assert (got - want).abs().max() < 1e-13


@pytest.mark.parametrize("n", [3, 16])
def test_a_problem_that_is_not_finite_leaves_the_others_alone(n):
    """Also where problems share a program: a diverged replica says nothing of the next. With derivatives."""
    q, k, v = tensors(torch.float64, (4, n, 2), (4, n, 2), (4, n, 2))
    broken = v.detach().clone()
    broken[1] = torch.nan
    found = []
    for x in (broken.requires_grad_(), v):
        o = attention(q, k, x, path="gpu")
        found.append((o, *torch.autograd.grad(o.sin().sum(), (q, k, x))))
    good = [0, 2, 3]
    for got, want in zip(*found, strict=True):
        assert torch.equal(got[good], want[good])
    assert bool(found[0][0][1].isnan().all())


@pytest.mark.parametrize(
    ("score", "n_q", "n_k", "mask"),
    [
        ("softmax", 1, 40, None),
        *(pytest.param(score, 1, 40, None, marks=pytest.mark.slow) for score in MAPS[1:]),
        ("softmax", 5, 5, "causal"),
        pytest.param("softpick", 2, 37, Window(3, 20), marks=pytest.mark.slow),
        ("linear", 40, 1, None),
        ("softmax", 1, 1, None),
        ("relu", 5, 6, None),
    ],
    ids=str,
)
def test_problems_that_share_a_program(score, n_q, n_k, mask):
    """Rows of 2 x 7 problems, in blocks that end within one; random weights for every statistic; a bias that hides keys."""
    q, k, v, b = tensors(torch.float64, (2, 7, n_q, 3), (2, 7, n_k, 3), (2, 7, n_k, 5), (n_q, n_k))
    assert gpu.is_packed(q.dtype, n_q, n_k, 5)
    hide = torch.rand(n_q, n_k, generator=torch.Generator().manual_seed(2)) < 0.2
    leaves = q, k, v, b.detach().masked_fill(hide, -torch.inf).requires_grad_()
    weights = torch.randn(len(NAMES), 2, 7, n_q, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = []
    for path in ("gpu", "reference"):
        plain = attention(q, k, v, mask=mask, score=score, path=path)
        o, rows = attention(
            q, k, v, bias=leaves[3], mask=mask, score=score, path=path, statistics=(*NAMES[:-1], Mass((0,)))
        )
        values = torch.stack([torch.where(x > -torch.inf, x, 0.0) for x in (rows[name] for name in NAMES)])
        found.append(
            [
                plain,
                o,
                *rows.values(),
                *torch.autograd.grad(plain.sin().sum(), (q, k, v)),
                *torch.autograd.grad(o.sin().sum() + (weights * values).sum(), leaves),
            ]
        )
    for i, (got, want) in enumerate(zip(*found, strict=True)):
        assert bool(((got == want) | ((got - want).abs() < 2000 * EPS * (1 + want.abs().max()))).all()), i


@pytest.mark.parametrize(("n_q", "score"), [(20, "softmax"), (20, "sigmoid"), (2, "softmax")])
def test_sums_of_columns_and_their_gradients(n_q, score):
    """Tiles of keys that no query of the first block sees, problems that share a program, and a bias with its gradient."""
    leaves = tensors(torch.float64, (2, n_q, 3), (2, 20, 3), (2, 20, 2), (n_q, 20))
    found = []
    for path in ("gpu", "reference"):
        o, sums = attention(
            *leaves[:3], bias=leaves[3], mask="causal", score=score, path=path, statistics=("column_sum", "entropy")
        )
        grads = torch.autograd.grad(o.sin().sum() + sums["column_sum"].sin().sum(), leaves)
        found.append([sums["column_sum"], *grads])
    for got, want in zip(*found, strict=True):
        assert (got - want).abs().max() < 2000 * EPS * (1 + want.abs().max())


def test_one_query_and_rectangular_causal():
    for n_q in (1, 5):
        q, k, v = tensors(torch.float64, (2, n_q, 3), (2, 9, 3), (2, 9, 2))
        for got, want in both(q, k, v):
            assert (got - want).abs().max() < 1e-13


def test_huge_logits_give_the_value_of_the_largest_alone():
    q, k, v = tensors(torch.float64, (2, 6, 3), (2, 6, 3), (2, 6, 2))
    s = q @ k.mT  # the logits but for a factor: the order and the signs count
    largest, farthest = s.argmax(-1), s.abs().argmax(-1)
    chosen = torch.take_along_dim(v, largest[..., None], -2)
    expected = {
        "softmax": chosen,
        "softpick": chosen * (s.amax(-1, keepdim=True) > 0),
        "signed": torch.take_along_dim(v, farthest[..., None], -2)
        * torch.take_along_dim(s, farthest[..., None], -1).sign(),
    }
    for score, wanted in expected.items():
        o = attention(1e100 * q, 1e100 * k, v, score=score, path="gpu")
        assert (o - wanted).abs().max() < 1e-13, score


def test_all_derivatives_by_finite_differences():
    q, k, v = tensors(torch.float64, (1, 3, 2), (1, 4, 2), (1, 4, 2))

    def f(q, k, v):
        return attention(q, k, v, path="gpu")

    assert gradcheck(f, (q, k, v), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, (q, k, v), check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("score", ["softmax", "softmax_plus_one", "linear", "power", "softplus"])
def test_bias_with_hidden_keys_and_its_gradient(score):
    """One bias for both problems (its gradient is a sum over them), minus infinity in places, an empty row; 2.5 tiles."""
    q, k, v, b = tensors(torch.float64, (2, 40, 3), (2, 40, 3), (2, 40, 2), (40, 40))
    hide = torch.rand(40, 40, generator=torch.Generator().manual_seed(2)) < 0.3
    hide[7] = True
    b = b.detach().masked_fill(hide, -torch.inf).requires_grad_()
    found = []
    for path in ("gpu", "reference"):
        o = attention(q, k, v, bias=b, mask="causal", score=score, path=path)
        found.append([o, *torch.autograd.grad(o.sin().sum(), (q, k, v, b))])
    for got, want in zip(*found, strict=True):
        assert (got - want).abs().max() < 4 * 51 * torch.finfo(torch.float64).eps * (1 + want.abs().max())


@pytest.mark.parametrize("power", [1, 3, 4])
def test_powers(power):
    for rectified in (False, True):
        q, k, v = tensors(torch.float64, (2, 20, 3), (2, 20, 3), (2, 20, 2))
        for got, want in both(q, k, v, score=Power(power, rectified)):
            assert (got - want).abs().max() < 4 * 31 * torch.finfo(torch.float64).eps * (1 + want.abs().max())


@pytest.mark.parametrize("shift", [-300.0, -20.0, 0.0, 300.0])
def test_softplus_keeps_its_limits(shift):
    """Far below zero it is softmax, far above the logits themselves; the level goes from one to the other."""
    q, k, v = tensors(torch.float64, (2, 20, 3), (2, 20, 3), (2, 20, 2))
    bias = torch.full((20, 20), shift, dtype=torch.float64)
    for got, want in both(q, k, v, score="softplus", bias=bias):
        assert (got - want).abs().max() < 4 * 31 * torch.finfo(torch.float64).eps * (300 + want.abs().max())


@pytest.mark.parametrize("score", [*MAPS[:3], *(pytest.param(score, marks=pytest.mark.slow) for score in MAPS[3:])])
def test_statistics_and_their_gradients(score):
    """Random weights for every statistic and row, so that no error cancels; two ragged tiles, a bias that hides keys and a row,
    causal. Logits below 8; variances square them."""
    q, k, v, b = tensors(torch.float64, (2, 20, 3), (2, 20, 3), (2, 20, 2), (20, 20))
    hide = torch.rand(20, 20, generator=torch.Generator().manual_seed(2)) < 0.3
    hide[7] = True
    weights = torch.randn(len(NAMES), 2, 20, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    leaves = q, k, v, b.detach().masked_fill(hide, -torch.inf).requires_grad_()
    found = []
    for path in ("gpu", "reference"):
        o, rows = attention(
            *leaves[:3], bias=leaves[3], mask="causal", score=score, path=path, statistics=(*NAMES[:-1], Mass((0, 17)))
        )
        values = torch.stack([torch.where(x > -torch.inf, x, 0.0) for x in (rows[name] for name in NAMES)])
        grads = torch.autograd.grad(o.sin().sum() + (weights * values).sum(), leaves)
        found.append([o, *rows.values(), *grads])
    for i, (got, want) in enumerate(zip(*found, strict=True)):
        assert bool(((got == want) | ((got - want).abs() < 2000 * EPS * (1 + want.abs().max()))).all()), i


def test_statistics_in_their_limits():
    q, v = tensors(torch.float32, (2, 3, 3), (2, 70, 2))
    _, found = attention(q, torch.ones(2, 70, 3), v, path="gpu", statistics=NAMES)
    limits = {
        "entropy": math.log(70),
        "max_weight": 1 / 70,
        "participation_ratio": 70.0,
        "mass": 1 / 70,
        "row_sum": 1.0,
        "logit_variance": 0.0,
        "weighted_logit_variance": 0.0,
    }
    for name, value in limits.items():
        assert (found[name] - value).abs().max() < 100 * torch.finfo(torch.float32).eps * (1 + value), name
    bias = torch.zeros(3, 70)
    bias[:, 40] = 200.0  # one key has it all: e^200 overflows float32
    _, found = attention(q, torch.ones(2, 70, 3), v, bias=bias, path="gpu", statistics=(*NAMES[:-1], Mass((40,))))
    for name, value in {"entropy": 0.0, "max_weight": 1.0, "participation_ratio": 1.0, "mass": 1.0}.items():
        assert bool((found[name] == value).all()), name


def test_statistics_of_sixteen_bit_inputs_have_float32_digits():
    """The products are exact in float32, so only its own roundings remain: sums of 20 terms, logits below 16."""
    q, k, v = tensors(torch.bfloat16, (2, 20, 8), (2, 20, 8), (2, 20, 2))
    _, got = attention(q, k, v, path="gpu", statistics=NAMES)
    _, want = attention(*(x.double() for x in (q, k, v)), path="reference", statistics=NAMES)
    for name in NAMES:
        assert got[name].dtype == torch.float32
        assert (got[name] - want[name]).abs().max() < 300 * torch.finfo(torch.float32).eps * (
            1 + want[name].abs().max()
        ), name


@pytest.mark.slow
def test_derivatives_of_statistics_by_finite_differences():
    q, k, v = tensors(torch.float64, (1, 3, 2), (1, 4, 2), (1, 4, 2))

    def f(q, k, v):
        o, found = attention(q, k, v, path="gpu", statistics=("entropy", "log_sum_exp", "weighted_logit_variance"))
        return o, *found.values()

    assert gradcheck(f, (q, k, v), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, (q, k, v), check_fwd_over_rev=True, fast_mode=True)
    batched = torch.func.vmap(f)(*(torch.stack([x, 2 * x]) for x in (q, k, v)))
    for got, want in zip(batched, f(2 * q, 2 * k, 2 * v), strict=True):
        assert (got[1] - want).abs().max() < 1e-14


def test_problems_that_see_different_keys():
    q, k, v = tensors(torch.float64, (3, 6, 3), (3, 6, 3), (3, 6, 2))
    seen = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(3)) < 0.6
    for got, want in both(q, k, v, mask=seen):
        assert (got - want).abs().max() < 1e-13


@pytest.mark.parametrize(("dtype", "score"), [row[1:] for row in combinations(triton=True)], ids=str)
def test_the_published_error_budget_is_kept(dtype, score):
    """As test_error_budget.py does for the other paths, on the nastiest inputs; the document has all of them."""
    only = ("masked rows", "huge logits", "ties", "length one") if dtype == torch.float32 else ("ties",)
    for quantity, (error, share, case) in worst_over_cases("gpu", dtype, score, only=only).items():
        assert share <= 1, f"{quantity} is off by {error:.3g} units on {case!r}"


@pytest.mark.parametrize(
    ("formula", "divide", "plus"),
    [
        ("log(1 + exp(s))", "sum", 0.0),
        pytest.param("exp(-s**2)", "sum", 0.0, marks=pytest.mark.slow),
        pytest.param("relu(exp(s) - 1)", "abs(exp(s) - 1)", 1e-6, marks=pytest.mark.slow),
        pytest.param("log(1 + s**2)", "sum", 0.5, marks=pytest.mark.slow),
        pytest.param("max(s, 0)", "count", 0.0, marks=pytest.mark.slow),
    ],
)
def test_code_made_from_a_formula(formula, divide, plus):
    """Output, statistics and gradients of ragged tiles and of packed problems, at ordinary and at large logits."""
    score = score_map(formula, divide=divide, plus=plus)
    weights = torch.randn(len(NAMES), 2, 20, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for n_k, scale in ((20, 60.0), (1, 1.0)):
        leaves = tensors(torch.float64, (2, 20, 3), (2, n_k, 3), (2, n_k, 2))
        found = []
        for path in ("gpu", "reference"):
            o, rows = attention(*leaves, scale=scale, score=score, path=path, statistics=NAMES)
            values = torch.stack([torch.where(x > -torch.inf, x, 0.0) for x in (rows[name] for name in NAMES)])
            plain = attention(*leaves, scale=scale, score=score, path=path)
            grads = torch.autograd.grad(o.sin().sum() + (weights * values).sum() + plain.cos().sum(), leaves)
            found.append([o, plain, *rows.values(), *grads])
        largest = 1 + 8 * scale**2  # logits up to some 8 scale, squared in variances and in the Gaussian's exponent
        for i, (got, want) in enumerate(zip(*found, strict=True)):
            close = (got - want).abs() < 100 * largest * EPS * (1 + want.abs().max())
            assert bool(((got == want) | close).all()), (n_k, scale, i)


def test_more_problems_than_the_second_axis_of_a_grid_holds():
    """65,536 problems of 17 keys: none shares a program; every one has its own, and the last is right."""
    for kernel, n_q, n_k in (("forward", 17, 17), ("dq", 17, 17), ("dkv", 17, 33)):
        fixed = {"BM": 16, "BN": 32, "PACKED": False}
        assert gpu.grid(fixed, kernel, 65_536, n_q, n_k) == (2 * 65_536,)
    with pytest.raises(ValueError, match="cut the leading axes"):
        gpu.grid({"BM": 16, "BN": 32, "PACKED": False}, "forward", 2**28, 129, 4)


def test_what_does_not_change_between_calls_is_made_once(monkeypatch):
    """Scalars, flags and masks stay on the device; masks of equal value are one."""
    q, k, v = tensors(torch.float64, (2, 12, 3), (2, 12, 3), (2, 12, 2))
    first = attention(q, k, v, mask=Window(2, 1), scale=0.7, path="gpu")
    made = []

    def noted(function):
        return lambda *args, **options: made.append(args) or function(*args, **options)

    for name in ("_numbers", "_flags"):
        monkeypatch.setattr(gpu, name, noted(getattr(gpu, name)))
    monkeypatch.setattr(torch.Tensor, "to", noted(torch.Tensor.to))
    gpu._once.cache_clear()
    attention(q, k, v, mask=Window(2, 1), scale=0.7, path="gpu")
    n = len(made)
    made.clear()
    again = attention(q, k, v, mask=Window(2, 1), scale=0.7, path="gpu")
    assert torch.equal(first, again) and n > 0 and not made


@pytest.mark.parametrize("score", [*MAPS, "relu(s)", "relu(1 - abs(s))", "exp(s)", "max(exp(s), 1)"])
def test_a_logit_that_is_not_a_number_is_seen_and_a_hidden_one_is_not(score):
    """In a row that sees it the output is NaN, by mask and by bias; the other rows and problems do not know of it."""
    score = score if score in MAPS else score_map(score, divide="sum")
    q, k, v = (
        torch.ones(3, 2, 1, dtype=torch.float64),
        torch.full((3, 3, 1), 0.5, dtype=torch.float64),
        torch.randn(3, 3, 2).double(),
    )
    k[1, 2] = torch.nan
    seen = torch.tensor([[True, True, True], [True, True, False]])
    bias = torch.where(seen, 0.0, -torch.inf)
    for options in ({"mask": seen}, {"bias": bias.double()}):
        o = attention(q, k, v, score=score, scale=1.0, path="gpu", **options)
        assert (
            bool(o[1, 0].isnan().all())
            and bool(torch.isfinite(o[[0, 2]]).all())
            and bool(torch.isfinite(o[1, 1]).all())
        )
    bias[0, 1] = torch.nan
    assert bool(attention(q, k, v, score=score, scale=1.0, bias=bias.double(), path="gpu")[0, 0].isnan().all())


def test_two_formulas_do_not_share_code():
    q, k, v = tensors(torch.float64, (2, 9, 3), (2, 9, 3), (2, 9, 2))
    for p in (2, 3, 2):
        got = attention(q, k, v, score=score_map(f"relu(s)**{p}", divide="sum"), path="gpu")
        assert (got - attention(q, k, v, score=Power(p, rectified=True), path="reference")).abs().max() < 1e-13


def test_maps_without_a_kernel_are_a_clear_error():
    (q,) = tensors(torch.float64, (1, 3, 2))
    for score in sorted(set(SCORE_MAPS) - set(MAPS) - {"cosine"}):
        with pytest.raises(ValueError, match="path='gpu' cannot do"):
            attention(q, q, q, score=score, path="gpu")
