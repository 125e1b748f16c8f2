"""Row statistics: their formulas, their limits, and the compiled pass against the reference."""

import math

import pytest
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.statistics import NAMES, Mass

EPS = torch.finfo(torch.float64).eps


def test_the_keys_of_a_mass_come_in_whatever_holds_them():
    assert Mass(torch.tensor([3, 1])) == Mass([3, 1, 1]) == Mass(range(1, 4, 2)) == Mass((1, 3))
    for bad in (3, torch.tensor(3), torch.ones(2), (), (-1,), "a", None):
        with pytest.raises(ValueError, match=r"keys=.* must be a non-empty tuple of key indices, such as Mass"):
            Mass(bad)


def test_statistics_are_their_formulas(make, needs_c):
    q, k, v = make(1, (4, 3), (5, 3), (5, 2))
    s = (q @ k.T / math.sqrt(3)).tolist()
    for path in ("reference", "c"):
        _, found = attention(q[None], k[None], v[None], path=path, statistics=(*NAMES[:-1], Mass((1, 3))))
        for i, row in enumerate(s):
            e = [math.exp(x) for x in row]
            p = [x / sum(e) for x in e]
            mean, wmean = sum(row) / 5, sum(a * b for a, b in zip(p, row, strict=True))
            expected = {
                "log_sum_exp": math.log(sum(e)),
                "entropy": -sum(x * math.log(x) for x in p),
                "max_weight": max(p),
                "participation_ratio": 1 / sum(x * x for x in p),
                "row_sum": 1.0,
                "mass": p[1] + p[3],
                "logit_mean": mean,
                "logit_variance": sum((x - mean) ** 2 for x in row) / 5,
                "weighted_logit_mean": wmean,
                "weighted_logit_variance": sum(a * (b - wmean) ** 2 for a, b in zip(p, row, strict=True)),
            }
            for name, value in expected.items():
                assert abs(found[name][0, i].item() - value) < 100 * EPS * (1 + abs(value)), name


def test_equal_logits_give_the_uniform_limits(make, needs_c):
    q, v = make(2, (2, 3, 3), (2, 7, 2))
    for path in ("reference", "c"):
        _, found = attention(q, torch.ones(2, 7, 3, dtype=torch.float64), v, path=path, statistics=NAMES)
        limits = {
            "entropy": math.log(7),
            "max_weight": 1 / 7,
            "participation_ratio": 7.0,
            "mass": 1 / 7,
            "logit_variance": 0.0,
            "weighted_logit_variance": 0.0,
        }
        for name, value in limits.items():
            assert (found[name] - value).abs().max() < 100 * EPS, name


def test_empty_rows_have_zero_statistics(make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(3, (2, 2, 3), (2, 3, 3), (2, 3, 2)))
    seen = torch.tensor([[False, False, False], [True, False, True]])
    for path in ("reference", "c"):
        _, found = attention(q, k, v, mask=seen, path=path, statistics=NAMES)
        for name, value in found.items():
            assert bool((value[:, 0] == (-torch.inf if name == "log_sum_exp" else 0)).all()), name
        total = sum(value[:, 1].sum() for value in found.values())
        assert bool(torch.isfinite(torch.autograd.grad(total, q)[0]).all())


MAPS = ("softmax_plus_one", "softpick", "sigmoid", "linear", "relu", "power", "relu_power", "softplus", "signed")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("score", MAPS)
def test_statistics_of_every_map_and_their_gradients_agree_between_paths(score, make, needs_c):
    """Each statistic alone, so that none can hide behind another; a bias hides keys, one row is empty, causal and not."""
    q, k, v, bias = make(9, (3, 6, 3), (3, 6, 3), (3, 6, 2), (6, 6))
    bias[:, 2] = bias[4] = -torch.inf
    leaves = [x.requires_grad_() for x in (q, k, v, bias)]
    for mask in (None, "causal"):
        found = []
        for path in ("c", "reference"):
            o, row = attention(
                q, k, v, bias=bias, mask=mask, score=score, path=path, statistics=(*NAMES[:-1], Mass((0, 3)))
            )
            values = [torch.where(x > -torch.inf, x, 0.0) for x in (row[name] for name in NAMES)]
            grads = [
                torch.autograd.grad(x.sin().sum(), leaves, retain_graph=True, allow_unused=True)
                if x.requires_grad
                else (None,) * 4
                for x in (o, *values)
            ]  # a constant normaliser has no gradient
            found.append(
                [
                    *row.values(),
                    *(
                        torch.zeros_like(leaf) if g is None else g
                        for each in grads
                        for g, leaf in zip(each, leaves, strict=True)
                    ),
                ]
            )
        for got, want in zip(*found, strict=True):
            assert bool(((got == want) | ((got - want).abs() < 2000 * EPS * (1 + want.abs().max()))).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_pass_and_reference_agree_with_masks_and_biases(dtype, make, needs_c):
    eps = torch.finfo(dtype).eps
    q, k, v, bias = make(4, (3, 4, 9, 3), (3, 4, 9, 3), (3, 4, 9, 2), (4, 9, 9), dtype=dtype)
    wide = [x.double() for x in (q, k, v)]
    _, want = attention(*wide, bias=bias.double(), mask="causal", path="reference", statistics=NAMES)
    _, got = attention(q, k, v, bias=bias, mask="causal", path="c", statistics=NAMES)
    for name in NAMES:
        # logits below 8 carry at most 6 roundings each, sums 9 terms; variances square a logit
        assert (got[name] - want[name]).abs().max() < 300 * eps * (1 + want[name].abs().max()), name


def test_gradients_through_statistics_agree_between_paths(make, needs_c):
    q, k, v, bias = make(5, (2, 5, 3), (2, 6, 3), (2, 6, 2), (5, 6))
    bias[:, 2] = -torch.inf
    q.requires_grad_(), k.requires_grad_(), bias.requires_grad_()
    grads = []
    for path in ("c", "reference"):
        o, found = attention(q, k, v, bias=bias, path=path, statistics=NAMES)
        total = o.sin().sum() + sum((i + 1) * value.sum() for i, value in enumerate(found.values()))
        grads.append(torch.autograd.grad(total, (q, k, bias)))
    for a, b in zip(*grads, strict=True):
        assert (a - b).abs().max() < 1000 * EPS * b.abs().max()


def test_slope_of_the_mean_logit_in_the_inverse_temperature_is_the_weighted_variance(make):
    q, k, v = make(6, (2, 5, 3), (2, 6, 3), (2, 6, 2))

    def mean(beta):
        return attention(q, k, v, scale=beta, statistics="weighted_logit_mean")[1]["weighted_logit_mean"] / beta

    h = 1e-5
    slope = (mean(1 + h) - mean(1 - h)) / (2 * h)
    variance = attention(q, k, v, scale=1.0, statistics="weighted_logit_variance")[1]["weighted_logit_variance"]
    assert (slope - variance).abs().max() < 1e-8


def test_softpick_rows_sum_to_the_gaussian_limit():
    """Row sum -> A/(A+B), A = e^{1/2} Phi(1) - 1/2, B = 1/2 - e^{1/2} Phi(-1) = 0.788 for logits N(0, 1), n -> infinity."""
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(200, 4096, generator=generator, dtype=torch.float64)
    phi = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    A, B = math.exp(0.5) * phi - 0.5, 0.5 - math.exp(0.5) * (1 - phi)
    zero, value = torch.zeros(200, 1, 1).double(), torch.zeros(200, 4096, 1).double()
    _, found = attention(
        zero, value, value, bias=logits[:, None, :], score="softpick", statistics="row_sum", path="reference"
    )
    mean, error = found["row_sum"].mean().item(), found["row_sum"].std().item() / math.sqrt(200)
    # the mean over 200 rows within 4 standard errors, plus a bias of order variance/n of a ratio (about 2/4096)
    assert abs(mean - A / (A + B)) < 4 * error + 2 / 4096
    assert abs(mean - 0.653) > 0.1  # the value of sigma = 1/2 is told apart


def test_mass_on_a_missing_key_is_an_error(make):
    q, k, v = make(8, (2, 3), (4, 3), (4, 2))
    with pytest.raises(ValueError, match="only 4 keys"):
        attention(q, k, v, statistics=(Mass((4,)),))
    with pytest.raises(ValueError, match="non-empty tuple"):
        Mass(())


@pytest.mark.parametrize("score", ["sigmoid", "relu", "linear", "hardmax", "average_hard"])
def test_what_is_constant_has_gradients_of_zero(score, make, needs_c):
    """The normaliser of sigmoid is 1, that of ReLU the number of keys, and weights of hard maxima are constant in pieces."""
    for n, path in ((1, "reference"), (9, "auto")):
        q, k, v = (x.requires_grad_() for x in make(9, (n, 3, 3), (n, 4, 3), (n, 4, 2)))
        o, found = attention(q, k, v, score=score, path=path, statistics=("log_sum_exp",))
        constant = o.sin().sum() if "hard" in score else found["log_sum_exp"].sum()
        assert all(bool((x == 0).all()) for x in torch.autograd.grad(constant, (q, k)))
