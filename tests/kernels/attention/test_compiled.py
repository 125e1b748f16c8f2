"""Every cell of (transform, path, compiled or eager): the numbers of the reference, or a refusal by name."""

import os
import threading
import warnings

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functionalize, grad, hessian, jacfwd, jacrev, jvp, linearize, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from attnlab.kernels.attention import attention, cpu
from attnlab.kernels.attention.biases import ALiBi
from attnlab.kernels.attention.masks import Window
from attnlab.kernels.attention.scores import Power, Softmax

PATHS = ("auto", "c", "sdpa", "reference")
CALLS = {
    "softmax": {},
    "causal": {"mask": "causal"},
    "window": {"mask": Window(2)},
    "mask per problem": {"mask": torch.arange(8 * 36).reshape(8, 6, 6) % 7 > 1},
    "alibi": {"mask": "causal", "bias": ALiBi(torch.tensor([0.5], dtype=torch.float64))},
    "softpick": {"score": "softpick"},
    "sigmoid": {"score": "sigmoid"},
    "power": {"score": Power(3)},
    "cosine": {"score": "cosine"},
    "entmax": {"score": "entmax"},
    "sink": {"score": Softmax(sink=torch.linspace(-1, 1, 8, dtype=torch.float64))},
    "scale": {"scale": torch.linspace(0.5, 1, 8, dtype=torch.float64)},
    "statistics": {"statistics": ("entropy", "participation_ratio", "mass")},
    "columns": {"mask": "causal", "statistics": ("column_sum",)},
    "statistics of a map": {"score": "relu", "statistics": ("entropy", "log_sum_exp")},
}


#: Calls of every test; the other cells are marked slow.
QUICK = ("causal-auto", "mask per problem-c", "softpick-c", "sink-auto", "statistics-c", "window-sdpa")


def cells():
    found = []
    for name, options in CALLS.items():
        for path in PATHS:
            maps = options.get("score", "softmax")
            statistics = options.get("statistics", ())
            if path == "sdpa" and (not set(statistics) <= {"column_sum"} or maps != "softmax"):
                continue
            if path == "c" and (maps == "entmax" or name == "sink"):
                continue
            label = f"{name}-{path}"
            found.append(pytest.param(options, path, id=label, marks=() if label in QUICK else pytest.mark.slow))
    return found


def refused(options, path):
    """The fused operator takes biases, and masks per problem, only where nothing can ask for their derivatives."""
    return path == "sdpa" and ("bias" in options or isinstance(options.get("mask"), torch.Tensor))


def tensors(make, seed=0):
    return make(seed, (8, 6, 4), (8, 6, 4), (8, 6, 4))


def function(options, path):
    """One tensor of everything the call answers."""

    def run(q, k, v):
        found = attention(q, k, v, path=path, **options)
        return found if isinstance(found, torch.Tensor) else found[0] + sum(x[..., None] for x in found[1].values())

    return run


def near(a, b, tolerance=1e-9):
    a, b = (x if isinstance(x, tuple) else (x,) for x in (a, b))
    return all(x.shape == y.shape and (x - y).abs().max() < tolerance for x, y in zip(a, b, strict=True))


def gradients(run, arguments):
    leaves = [x.detach().clone().requires_grad_() for x in arguments]
    return torch.autograd.grad(run(*leaves).sin().sum(), leaves)


TRANSFORMS = {
    "jvp": lambda f, x, y, z: jvp(f, (x, y, z), (y, z, x))[1],
    "forward mode of forward mode": lambda f, x, y, z: jvp(
        lambda a: jvp(lambda b: f(b, y, z), (a,), (y,))[1], (x,), (z,)
    )[1],
    "grad": lambda f, x, y, z: grad(lambda a: f(a, y, z).sin().sum())(x),
    "gradient of a gradient": lambda f, x, y, z: grad(
        lambda a: grad(lambda b: f(b, y, z).sin().sum())(a).square().sum()
    )(x),
    "reverse over forward": lambda f, x, y, z: grad(lambda a: jvp(lambda b: f(b, y, z), (a,), (z,))[1].sin().sum())(x),
    "forward over reverse": lambda f, x, y, z: jvp(grad(lambda a: f(a, y, z).sin().sum()), (x,), (z,))[1],
    "vmap": lambda f, x, y, z: vmap(lambda s: f(s * x, y, z))(torch.arange(3.0, dtype=torch.float64)),
    "gradients of an ensemble": lambda f, x, y, z: vmap(grad(lambda s: f(s * x, y, z).sin().sum()))(
        torch.arange(3.0, dtype=torch.float64)
    ),
    "hessian": lambda f, x, y, z: hessian(lambda s: f(s[0] * x, s[1] * y, z).sin().sum())(x[0, 0, :2]),
    "jacrev": lambda f, x, y, z: jacrev(lambda s: f(s * x, y, z)[0])(x[0, 0]),
    "jacfwd": lambda f, x, y, z: jacfwd(lambda s: f(s * x, y, z)[0])(x[0, 0]),
    "linearize": lambda f, x, y, z: linearize(lambda a: f(a, y, z), x)[1](z),
    "functionalize": lambda f, x, y, z: functionalize(f)(x, y, z),
    "make_fx": lambda f, x, y, z: make_fx(f)(x, y, z)(x, y, z),
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(("options", "path"), cells())
def test_functional_transforms_give_what_they_give_of_the_reference(transform, options, path, make, needs_c):
    arguments = tensors(make)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its const_fold
        right = TRANSFORMS[transform](function(options, "reference"), *arguments)
        if refused(options, path) and transform not in ("linearize", "make_fx"):
            with pytest.raises(ValueError, match="path='sdpa' does plain softmax"):
                TRANSFORMS[transform](function(options, path), *arguments)
            return
        assert near(TRANSFORMS[transform](function(options, path), *arguments), right)


@pytest.mark.parametrize(("options", "path"), cells())
def test_derivatives_without_transforms(options, path, make, needs_c):
    """Reverse twice, forward mode with dual numbers, gradients in batches, under checkpointing."""
    q, k, v = tensors(make)
    directions = make(1, (5, 8, 6, 4))

    def all_of(path):
        run, leaves = function(options, path), [x.clone().requires_grad_() for x in (q, k, v)]
        o = run(*leaves)
        first = torch.autograd.grad(o.sin().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(x.square().sum() for x in first), leaves)
        batched = torch.autograd.grad(run(*leaves), leaves, directions, is_grads_batched=True)
        again = torch.autograd.grad(checkpoint(run, *leaves, use_reentrant=False).sin().sum(), leaves)
        if refused(options, "sdpa"):
            return (*(x.detach() for x in first), *second, *batched, *again)
        with forward_ad.dual_level():
            dual = run(forward_ad.make_dual(q, k), k, forward_ad.make_dual(v, q))
            tangent = forward_ad.unpack_dual(dual).tangent
        return (*(x.detach() for x in first), *second, *batched, *again, tangent)

    assert near(all_of(path), all_of("reference"))


@pytest.mark.sampled(8)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize(("options", "path"), cells())
def test_torch_compile_has_no_graph_break(backend, options, path, make, needs_c):
    torch._dynamo.reset()
    run, arguments = function(options, path), tensors(make)
    whole = torch.compile(run, backend=backend, fullgraph=True)
    assert near(whole(*arguments), run(*arguments)) and near(gradients(whole, arguments), gradients(run, arguments))


@pytest.mark.slow
def test_compiled_calls_change_size_and_go_through_transforms(make, needs_c):
    torch._dynamo.reset()
    x, larger = make(3, (8, 6, 4)), make(4, (9, 7, 4))
    run = lambda y: attention(y, y, y, mask="causal")  # noqa: E731
    dynamic = torch.compile(run, backend="aot_eager", fullgraph=True, dynamic=True)
    assert near(dynamic(x), run(x)) and near(dynamic(larger), run(larger))
    inside = torch.compile(lambda y: vmap(grad(lambda z: run(z).sin().sum()))(y), backend="eager", fullgraph=True)
    assert near(inside(x), vmap(grad(lambda z: run(z).sin().sum()))(x))
    compiled = torch.compile(run, backend="eager", fullgraph=True)
    y = x.clone().requires_grad_()
    for call in (compiled, run):  # the operator's own derivative of a derivative
        (first,) = torch.autograd.grad(call(y).sin().sum(), y, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), y)
    right = torch.autograd.grad(torch.autograd.grad(run(y).sin().sum(), y, create_graph=True)[0].square().sum(), y)[0]
    assert near(second, right)


def test_what_the_operator_has_no_derivative_for_raises(make, needs_c):
    torch._dynamo.reset()
    x = make(5, (8, 6, 4)).requires_grad_()
    twice = torch.compile(lambda y: attention(y, y, y), backend="aot_eager", fullgraph=True)
    (first,) = torch.autograd.grad(twice(x).sin().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        torch.autograd.grad(first.square().sum(), x)
    with forward_ad.dual_level():  # in a graph that is traced now there are plain operations
        bare = x.detach()
        found = torch.compile(lambda y: attention(y, y, y), backend="eager")(forward_ad.make_dual(bare, bare))
        right = attention(*(forward_ad.make_dual(bare, bare),) * 3)
        assert near(*(forward_ad.unpack_dual(y).tangent for y in (found, right)))
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="no forward mode"):
        bare = x.detach()
        torch.ops.attnlab.attention(
            forward_ad.make_dual(bare, bare), bare, bare, None, None, False, 1.0, 0, -torch.inf, "auto", "", [0], False
        )


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("per_problem", [False, True])
def test_a_learned_bias_has_its_gradient_where_the_fused_operator_is_the_fastest(per_problem, backend, make):
    torch._dynamo.reset()
    *qkv, bias = make(10, *[(1, 2, 16, 64)] * 3, (16, 16), dtype=torch.float32)
    mask = torch.arange(512).reshape(1, 2, 16, 16) % 7 > 1 if per_problem else None
    run = lambda bias: attention(*qkv, bias=bias, mask=mask)  # noqa: E731
    compiled = torch.compile(run, backend=backend, fullgraph=True)
    assert near(compiled(bias), run(bias), 1e-5)  # without a gradient first: another graph
    assert near(gradients(compiled, [bias]), gradients(run, [bias]), 1e-5)


def test_a_compiled_call_of_a_path_without_a_gradient_of_the_bias_is_refused_as_outside(make):
    torch._dynamo.reset()
    q, bias = make(11, (1, 2, 16, 64), (16, 16))
    compiled = torch.compile(lambda b: attention(q, q, q, bias=b, path="sdpa"), backend="eager", fullgraph=True)
    with pytest.raises(ValueError, match="biases without a gradient"):
        compiled(bias.requires_grad_())
    with torch.no_grad():
        assert compiled(bias).shape == q.shape


@pytest.mark.slow
def test_a_compiled_call_takes_another_number_for_its_scale(make, needs_c):
    torch._dynamo.reset()
    q, k, v = make(9, (9, 4, 3), (9, 4, 3), (9, 4, 2))
    run = lambda q, scale: attention(q, k, v, mask="causal", scale=scale)  # noqa: E731
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    for scale in (0.5, 0.7, -1.0, 0.0):
        assert near(compiled(q, scale), run(q, scale))


def test_a_compiled_call_with_statistics_has_second_derivatives(make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(8, (9, 4, 3), (9, 4, 3), (9, 4, 2)))

    def both(q, k, v):
        o, found = attention(q, k, v, mask="causal", statistics=("entropy", "participation_ratio"))
        return o.sin().sum() + found["entropy"].sin().sum() + found["participation_ratio"].sum()

    second = []
    for function in (both, torch.compile(both, backend="eager", fullgraph=True)):
        first = torch.autograd.grad(function(q, k, v), (q, k, v), create_graph=True)
        second.append(torch.autograd.grad(sum(x.square().sum() for x in first), (q, k, v)))
    assert all((a - b).abs().max() < 1e-10 * (1 + b.abs().max()) for a, b in zip(*second, strict=True))


@pytest.mark.sampled(8)
@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_holds_plain_operations(strict, make):
    class Model(torch.nn.Module):
        def forward(self, x):
            o, found = attention(x, x, x, mask="causal", statistics="entropy")
            return o + attention(x, x, x, score="softpick") + found["entropy"][..., None]

    x = make(6, (8, 6, 4))
    program = torch.export.export(Model(), (x,), strict=strict)
    assert near(program.module()(x), Model()(x))
    assert all("attnlab" not in str(node.target) for node in program.graph.nodes)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("mode", ["fake", "symbolic"])
def test_tracing_with_fake_tensors(mode, make):
    arguments = tensors(make)
    for options in ({}, {"mask": "causal"}, {"mask": Window(2)}, {"score": "entmax"}, {"statistics": "entropy"}):
        run = function(options, "auto")
        assert near(make_fx(run, tracing_mode=mode)(*arguments)(*arguments), run(*arguments))


def two_layers(steps, backend=None):
    """Losses of a two-layer model that learns to copy the token before."""
    generator = torch.Generator().manual_seed(0)
    new = lambda *shape: (torch.randn(shape, generator=generator) / shape[0] ** 0.5).requires_grad_()  # noqa: E731
    layers = [(new(8, 48), new(16, 8)) for _ in range(2)]
    parameters = [p for layer in layers for p in layer]

    def loss(x, target):
        for wide, out in layers:
            q, k, v = (x @ wide).unflatten(-1, (3, 2, 8)).movedim(-3, 0).transpose(-2, -3)
            x = x + attention(q, k, v, mask="causal").transpose(-2, -3).flatten(-2) @ out
        return (x - target).square().mean()

    run = loss if backend is None else torch.compile(loss, backend=backend, fullgraph=True)
    optimiser, losses = torch.optim.SGD(parameters, lr=0.1), []
    for _ in range(steps):
        x = torch.randn(16, 9, 8, generator=generator)
        value = run(x, x.roll(1, 1))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    return torch.tensor(losses)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_model_of_two_layers_trains_to_the_losses_of_eager(backend, needs_c):
    torch._dynamo.reset()
    eager, compiled = two_layers(20), two_layers(20, backend)
    assert (eager - compiled).abs().max() < 1e-5  # float32: other roundings outside attention, of losses of order 1
    assert eager[-1] < 0.9 * eager[0] and (eager[1:] - eager[0]).abs().min() > 1e-4  # the twin: it does move


def test_threads_and_forks_compute_what_the_caller_computes(make, needs_c):
    x = make(7, (8, 300, 4))
    right, found = attention(x, x, x, mask="causal"), {}
    threads = [
        threading.Thread(target=lambda i=i: found.setdefault(i, attention(x, x, x, mask="causal"))) for i in range(4)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(found) == 4 and all(torch.equal(o, right) for o in found.values())
    if not hasattr(os, "fork"):
        return
    child = os.fork()
    if child == 0:
        os._exit(
            0
            if torch.equal(attention(x, x, x, mask="causal", path="c"), attention(x, x, x, mask="causal", path="c"))
            else 1
        )
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_number_and_parameter_of_a_map_name_it():
    for score in (Softmax(), Softmax(0.5), Power(3), Power(2, rectified=True)):
        assert cpu.score_of(*cpu.map_of(score)) == score
