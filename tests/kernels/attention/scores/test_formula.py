"""Score maps from a formula: they equal the built-in ones and mpmath at nasty logits, and are refused with the reason."""

import copy
import functools

import mpmath
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from attnlab.kernels.attention import attention, error_budget
from attnlab.kernels.attention.scores import SCORE_MAPS, FormulaMap, Power, Signed, Softmax, Softpick, score_map
from attnlab.kernels.attention.scores.formula import emit
from attnlab.kernels.attention.scores.formula.parse import FormulaError
from attnlab.kernels.attention.statistics import NAMES

#: Built-in maps, and the formulas that they are.
BUILT_IN = {
    "softmax": (Softmax(), ("exp(s)", "sum", 0.0)),
    "softmax_plus_one": (Softmax(sink=0.0), ("exp(s)", "sum", 1.0)),
    "softpick": (Softpick(), ("relu(exp(s) - 1)", "abs(exp(s) - 1)", 1e-6)),
    "sigmoid": (SCORE_MAPS["sigmoid"], ("sigmoid(s)", "one", 0.0)),
    "linear": (SCORE_MAPS["linear"], ("s", "count", 0.0)),
    "relu": (SCORE_MAPS["relu"], ("max(s, 0)", "count", 0.0)),
    "power": (Power(3), ("s**3", "absolute", 0.0)),
    "relu_power": (Power(2, rectified=True), ("relu(s)**2", "sum", 0.0)),
    "softplus": (SCORE_MAPS["softplus"], ("log(1 + exp(s))", "sum", 0.0)),
    "signed": (Signed(), ("sign(s) * exp(abs(s))", "absolute", 0.0)),
}
#: Formulas that are no built-in map, one of every kind of growth.
OWN = {
    "gaussian": ("exp(-s**2)", "sum", 0.0),
    "two rates": ("exp(2*s) + exp(s/2)", "sum", 0.0),
    "root": ("sqrt(1 + exp(s))", "sum", 0.0),
    "soft cap": ("exp(30*tanh(s/30))", "sum", 0.0),
    "taylor": ("1 + s + s**2/2", "sum", 0.0),
    "squared softplus": ("softplus(s)**2", "sum", 0.5),
    "logarithm": ("log(1 + s**2)", "sum", 0.0),
    "tent": ("relu(1 - abs(s))", "sum", 0.25),
    "bump": ("1 - tanh(s)**2", "sum", 0.0),
    "swish": ("s*sigmoid(s)", "one", 0.0),
    "shifted": ("relu(s - 0.5)**2", "sum", 1.0),
    "fraction": ("relu(s)**2.5", "sum", 0.0),
}
ROWS = {
    "ordinary": [0.3, -1.2, 0.9, 0.1, -0.4, 1.7],
    "huge": [900.0, -750.0, 899.0, 10.0, -900.0, 0.25],
    "all very negative": [-300.0, -301.0, -305.0, -400.0, -299.5, -300.25],
    "tiny": [1e-7, -2e-7, 3e-9, 5e-8, -1e-8, 2e-7],
    "mixed": [1e-9, -40.0, 90.0, -90.0, 20.0, 1e-3],
    "ties": [2.0, 2.0, -2.0, 2.0, -2.0, 2.0],
}


def made(text, divide, plus):
    return score_map(text, divide=divide, plus=plus)


@functools.cache
def functions(text):
    """f as plain mpmath code of this test's own: python's parser, none of attnlab's."""
    names = {x: getattr(mpmath, x) for x in ("exp", "log", "sqrt", "tanh", "sign", "expm1")}
    names |= {
        "abs": abs,
        "max": max,
        "relu": lambda x: max(x, mpmath.mpf(0)),
        "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    }
    names["softplus"] = lambda x: mpmath.log(1 + mpmath.exp(x))
    return eval(f"lambda s: {text}", names)


@functools.cache
def exact_weights(formula, row):
    """The weights of a row, and s f'(s)/Z and sum |s g'(s)|/Z: what one rounding of every logit makes of them."""
    text, divide, plus = formula
    with mpmath.workdps(900):
        s = [mpmath.mpf(x) for x in row]

        def slope(function):
            return [abs(x * (function(x * (1 + step)) - function(x)) / (x * step)) for x in s]

        step = mpmath.mpf(10) ** -300
        f = [functions(text)(x) for x in s]
        summand = functions(text if divide in ("sum", "absolute", "one", "count") else divide)
        sums = divide not in ("one", "count")
        z = plus + mpmath.fsum(abs(summand(x)) for x in s) if sums else {"one": 1, "count": len(s)}[divide]
        if z == 0:
            return ([0.0] * len(s),) * 3
        rise = mpmath.fsum(slope(summand)) / z if sums else 0
        return (
            [float(x / z) for x in f],
            [float(x / z) for x in slope(functions(text))],
            [float(abs(x / z) * rise) for x in f],
        )


def allowed(score, row, exact, dtype):
    """n roundings of the sum and those of f and g, counted from the code as the check at definition counts them.

    One value is within steps eps (|v| (1 + |E|) + |s v'|), E its exponent (emit.n_operations); a weight has one in the
    numerator, n in the sum, and a level.
    """
    steps, form = emit.n_operations(score._made.form), score._made.form
    e = score._made.exponent(torch.tensor(row, dtype=torch.float64))
    largest = e[torch.isfinite(e)].abs().max().item() if form.kind == "exponential" and torch.isfinite(e).any() else 0.0
    unit, eps = len(row) + 3 * steps * (1 + largest), torch.finfo(dtype).eps
    weights, own, shared = (torch.tensor(x, dtype=torch.float64) for x in exact)
    return eps * (unit * weights.abs() + steps * (own + shared)) + torch.finfo(dtype).tiny * 1e3


def weights_on(path, score, row, dtype):
    q = torch.ones(1, 1, dtype=dtype)
    k = torch.tensor(row, dtype=dtype)[:, None]
    return attention(q, k, torch.eye(len(row), dtype=dtype), score=score, scale=1.0, path=path)[0]


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("path", "dtype"), [("reference", torch.float64), ("reference", torch.float32), ("c", torch.float32)], ids=str
)
@pytest.mark.parametrize("name", [*BUILT_IN, *OWN])
def test_weights_equal_those_of_mpmath_at_nasty_logits(name, path, dtype, needs_c):
    formula = BUILT_IN[name][1] if name in BUILT_IN else OWN[name]
    for label, row in ROWS.items():
        row = tuple(torch.tensor(row, dtype=dtype).double().tolist())
        exact = exact_weights(formula, row)
        got = weights_on(path, made(*formula), row, dtype).double()
        error = (got - torch.tensor(exact[0], dtype=torch.float64)).abs()
        assert (error <= allowed(made(*formula), row, exact, dtype)).all(), (label, got.tolist(), exact[0])


def test_another_formula_is_told_apart_at_the_same_logits(needs_c):
    """The twin: log(1 + e^s) and the nearest softplus that people use, max(s, 0), differ by far more than is allowed."""
    row = tuple(ROWS["ordinary"])
    exact = exact_weights(BUILT_IN["softplus"][1], row)
    got = weights_on("c", score_map("relu(s)", divide="sum"), row, torch.float64)
    off = (got - torch.tensor(exact[0], dtype=torch.float64)).abs()
    assert (off > 1e6 * allowed(made(*BUILT_IN["softplus"][1]), row, exact, torch.float64)).any()


@pytest.mark.sampled(8)
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("name", BUILT_IN)
def test_formulas_of_built_in_maps_keep_the_published_budget(name, dtype, needs_c, monkeypatch):
    """Output, gradient, forward mode and second gradient of the compiled path, on the nasty inputs of the budget."""
    built_in, formula = BUILT_IN[name]
    monkeypatch.setitem(error_budget.SCORE_MAPS, "mine", built_in)
    plain = error_budget.attention

    def with_formula(q, k, v, *, path, score, **keep):
        return plain(q, k, v, path=path, score=made(*formula) if path == "c" else built_in, **keep)

    monkeypatch.setattr(error_budget, "attention", with_formula)
    quick = ("ordinary", "masked rows", "huge logits", "ties", "zero keys", "tiny logits")
    for quantity, (error, share, case) in error_budget.worst_over_cases("c", dtype, "mine", only=quick).items():
        assert share <= 1, f"{quantity} is off by {error:.3g} units on {case!r}"


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", OWN)
def test_first_and_second_derivatives_equal_finite_differences(name, needs_c, make):
    score = made(*OWN[name])
    q, k, v = (x.requires_grad_() for x in make(3, (2, 3, 2), (2, 4, 2), (2, 4, 2)))

    def call(q, k, v):
        return attention(q, k, v, score=score, path="c", mask="causal")

    assert gradcheck(call, (q, k, v), check_forward_ad=True)
    assert gradgradcheck(call, (q, k, v))


@pytest.mark.parametrize("name", OWN)
def test_statistics_and_hessians_of_the_compiled_path_equal_the_reference(name, needs_c, make):
    """The reference differentiates f and g by autograd, the compiled path has slopes of its own: two derivations."""
    score = made(*OWN[name])
    q, k, v = make(5, (2, 3, 2), (2, 5, 2), (2, 5, 2))
    bias = make(6, (3, 5))
    bias[0, 1] = -torch.inf
    budget = 4 * error_budget.budget("second_gradient", 5, 2) * 16 * torch.finfo(torch.float64).eps

    def value(path):
        def one(q):
            o, found = attention(q, k, v, score=score, bias=bias, statistics=NAMES, path=path)
            return o.sin().sum() + sum(torch.where(torch.isfinite(x), x, 0.0).sum() for x in found.values())

        return one

    results = [
        (value(path)(q), torch.func.grad(value(path))(q), torch.func.hessian(value(path))(q))
        for path in ("c", "reference")
    ]
    for got, want in zip(*results, strict=True):
        assert torch.isfinite(want).all()
        assert (got - want).abs().max() < budget * (1 + want.abs().max())


@pytest.mark.sampled(8)
@pytest.mark.parametrize("path", ["c", "reference"])
def test_slopes_at_zero_follow_one_rule(path, needs_c):
    """Logit 0 exactly: 0 at a jump and at a symmetric kink, the left slope at any other kink."""
    for text, divide, slope in [
        ("relu(s)", "one", 0.0),
        ("abs(s)", "one", 0.0),
        ("sign(s)", "one", 0.0),
        ("min(2*s, s)", "one", 2.0),
        ("3*s", "one", 3.0),
    ]:
        q, k = torch.ones(8, 1, 1, dtype=torch.float64), torch.zeros(8, 1, 1, dtype=torch.float64, requires_grad=True)
        v = torch.ones_like(q, requires_grad=True)
        o = attention(q, k, v, score=score_map(text, divide=divide), path=path)
        assert (o == 0).all()
        found = torch.autograd.grad(o.sum(), (k, v), allow_unused=True)[
            0
        ]  # the reference has no graph through constants
        assert (found is None and slope == 0) or (found == slope).all(), text


def test_a_hidden_key_does_not_matter_and_an_empty_row_is_zero(needs_c, make):
    q, k, v = make(1, (9, 3, 2), (9, 4, 2), (9, 4, 2))
    bias = torch.zeros(3, 4, dtype=torch.float64)
    bias[:, 2], bias[1] = -torch.inf, -torch.inf
    keep = [0, 1, 3]
    for formula in OWN.values():
        for path in ("c", "reference"):
            o = attention(q, k, v, bias=bias, score=made(*formula), path=path)
            assert (o[:, 1] == 0).all()
            if formula[1] != "count":
                other = attention(q, k[:, keep], v[:, keep], score=made(*formula), path=path)
                assert (o[:, [0, 2]] - other[:, [0, 2]]).abs().max() < 64 * torch.finfo(torch.float64).eps * (
                    1 + other.abs().max()
                )


@pytest.mark.sampled(8)
@pytest.mark.parametrize("path", ["c", "reference"])
@pytest.mark.parametrize("name", [*BUILT_IN, *OWN])
def test_a_logit_that_is_not_a_number_is_seen_and_a_hidden_one_is_not(name, path, needs_c):
    score = made(*BUILT_IN[name][1]) if name in BUILT_IN else made(*OWN[name])
    q, k = torch.ones(9, 2, 1, dtype=torch.float64), torch.full((9, 3, 1), 0.5, dtype=torch.float64)
    k[1, 2] = torch.nan
    seen = torch.tensor([[True, True, True], [True, True, False]])
    o = attention(q, k, torch.ones(9, 3, 1, dtype=torch.float64), score=score, scale=1.0, path=path, mask=seen)
    assert (
        bool(o[1, 0].isnan().all()) and not bool(o[1, 1].isnan().any()) and not bool(o[[0, *range(2, 9)]].isnan().any())
    )


@pytest.mark.parametrize(
    "formula", [("log(1 + exp(s))", "sum"), ("relu(s)**2", "sum"), ("sign(s) * exp(abs(s))", "absolute")]
)
@pytest.mark.slow
def test_torch_compile_reads_the_map_without_a_break(formula, make):
    text, divide = formula
    score = score_map(text, divide=divide)
    tensors = [x.requires_grad_() for x in make(4, (9, 6, 2), (9, 6, 2), (9, 6, 2))]

    def call(q, k, v):
        return attention(q, k, v, score=score, mask="causal").sin().sum()

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(*tensors), tensors)
    for got, want in zip(found, torch.autograd.grad(call(*tensors), tensors), strict=True):
        assert (got - want).abs().max() < 1e-12 * (1 + want.abs().max())


def test_a_map_is_copied_by_its_formula():
    score = score_map("exp(-s**2)", divide="sum", plus=0.5)
    again = copy.deepcopy(score)
    assert again == score and hash(again) == hash(score)
    assert repr(again) == "FormulaMap(formula='exp(-s**2)', divide='sum', plus=0.5)"


REFUSED = {
    ("log(s)", "sum"): "takes the logarithm of s",
    ("sqrt(s)", "sum"): "negative",
    ("1/(s - 2)**2", "sum"): "divides by s - 2",
    ("1/s", "absolute"): "divides by s",
    ("s", "sum"): "can vanish",
    ("tanh(s)", "sum"): "can vanish",
    ("exp(s)", "count"): "no sum divides it",
    ("exp(exp(s))", "sum"): "beyond every floating-point number",
    ("exp(s)", "exp(s/2)"): "grows faster",
    ("exp(s) + exp(pi*s)", "sum"): "no rational multiples",
    ("exp(90*tanh(s/90))", "sum"): "exponents beyond 80",
    ("s**8 + 1", "sum"): "overflows float32",
    ("exp(s) - 1 - s", "sum"): "loses its digits",
    ("s + sqrt(1 + s**2)", "sum"): "loses its digits",
    ("relu(s)**1.5", "sum"): "second derivative of f is infinite",
    ("sqrt(relu(s))", "sum"): "is infinite at s = 0",
    ("relu(s)", "abs(s) - abs(s)"): "zero everywhere|does not contain",
    ("exp(-s**2) + exp(-s**4)", "sum"): "no one level|no common level",
    ("exp(s)", "median"): "divide='median' is unknown",
    ("exp(x)", "sum"): "'x' is unknown",
    ("gamma(s)", "sum"): "there is no function 'gamma'",
    ("expp(s)", "sum"): "did you mean 'exp'",
    ("s**s", "sum"): "exponent s must be",
    ("exp(s", "sum"): "cannot be read",
    ("2 + 2", "sum"): "does not contain the logit",
    ("__import__('os').system('true')", "sum"): "no function|not part of a formula",
    ("s.real", "sum"): "not part of a formula",
    ("max(s)", "sum"): "takes 2 arguments",
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize(("text", "divide"), REFUSED)
def test_what_cannot_be_a_score_map_is_refused_with_the_reason(text, divide):
    with pytest.raises(FormulaError, match=REFUSED[text, divide]):
        score_map(text, divide=divide)


def test_constants_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="plus=-1"):
        score_map("exp(s)", divide="sum", plus=-1)
    with pytest.raises(ValueError, match="divide='count' has none"):
        score_map("relu(s)", divide="count", plus=1.0)
    with pytest.raises(ValueError, match=r"score_map\('exp\(s\)', divide='sum'\)"):
        score_map("exp(s)")


def test_the_same_formula_is_the_same_map_and_another_one_another_build(needs_c):
    assert score_map("exp(s)", divide="sum") == FormulaMap("exp(s)", "sum", 0.0)
    q = torch.randn(9, 4, 2)
    a, b = (attention(q, q, q, score=score_map(f"relu(s)**{p}", divide="sum"), path="c") for p in (2, 3))
    assert not torch.equal(a, b)
    for p, got in ((2, a), (3, b)):
        assert torch.allclose(got, attention(q, q, q, score=Power(p, rectified=True), path="reference"), atol=1e-6)
