"""The same trainings in JAX, for the benchmark alone: ``jit(scan(vmap(value_and_grad(loss))))`` of the loss that is traced.

The loss of one replica is recorded by ``make_fx`` (forward only) and replayed with ``jax.numpy``, one rule an operation; JAX
differentiates it, maps it over replicas and scans it over steps, as its users write such training by hand. Numbers are drawn
beforehand, as in the other columns. JAX is the extra ``bench``; nothing else in the project imports it.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from attnlab.kernels.attention.plain import plain_formulas
from attnlab.kernels.generated.graph import Refused
from attnlab.simulators.ensemble.generated import NUMBERS, one_replica
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import Adam, GradientDescent, NormalisedGradientDescent

Arrays = dict[str, Any]


class _Later:
    """A module of an optional extra, imported when it is first used: this file can be read without it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


jax, jnp = _Later("jax"), _Later("jax.numpy")


class JaxSteps:
    """Steps of an ensemble: ``run(state, numbers, start)`` makes one step per entry of the second axis of ``numbers``.

    Errors: ``Refused`` with the name of an operation or optimiser without a rule; ``ImportError`` without JAX.
    """

    def __init__(self, model: Any, task: Any, optimiser: Any, layout: Layout, values: torch.Tensor) -> None:
        jax.config.update("jax_enable_x64", True)
        loss, parameters, others, held = one_replica(model, task, layout, values)

        def copied(parameters: Arrays, others: Arrays) -> torch.Tensor:
            return loss(parameters, {name: each.clone() for name, each in others.items()})

        with plain_formulas():
            recorded = make_fx(torch.func.functionalize(copied, remove="mutations"))(parameters, others)
        self.others = {name: jnp.asarray(tensor.numpy())[:, None] for name, (_, _, tensor) in held.items()}
        replay = _replayed(recorded, [*parameters, *others])
        self.optimiser, self.rates = optimiser, jnp.asarray(_rates(optimiser, len(values)), dtype=str(values.dtype)[6:])
        update = _update(optimiser)

        def one(parameters: Arrays, others: Arrays) -> Any:
            return replay(parameters | others)[0]

        both = jax.vmap(jax.value_and_grad(one), in_axes=(0, 0))
        has_numbers = NUMBERS in others

        def scanned(state: Any, numbers: Any, factors: Any) -> Any:
            def step(state: Any, given: Any) -> Any:
                drawn, factor = given
                losses, gradient = both(state[0], self.others | ({NUMBERS: drawn} if has_numbers else {}))
                return update(state, gradient, self.rates, factor), losses

            return jax.lax.scan(step, state, (numbers, factors))

        self._scanned = jax.jit(scanned)

    def start(self, layout: Layout, values: torch.Tensor) -> Any:
        """Parameters, and the optimiser's arrays before the first step."""
        parameters = {name: jnp.asarray(each.numpy().copy())[:, None] for name, each in layout.split(values).items()}
        zeros = {name: jnp.zeros_like(each) for name, each in parameters.items()}
        kept = {Adam: 2, GradientDescent: 1, NormalisedGradientDescent: 0}[type(self.optimiser)]
        return parameters, tuple(zeros for _ in range(kept))

    def run(self, state: Any, numbers: torch.Tensor | None, n_steps: int) -> Any:
        """The state after ``n_steps`` steps and the losses (step, replica); ``numbers`` (replica, step, number)."""
        return self.prepared(state, numbers, n_steps)()

    def prepared(self, state: Any, numbers: torch.Tensor | None, n_steps: int) -> Callable[[], Any]:
        """The same as a call without arguments, everything handed to JAX beforehand."""
        given = jnp.zeros(n_steps) if numbers is None else jnp.asarray(numbers.numpy()).swapaxes(0, 1)[:, :, None]
        factors = jnp.asarray(_factors(self.optimiser, n_steps))
        return lambda: self._scanned(state, given, factors)


def _rates(optimiser: Any, n_replicas: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(optimiser.learning_rate, dtype=np.float64), (n_replicas,))


def _factors(optimiser: Any, n_steps: int) -> np.ndarray:
    """Schedule, and the two bias corrections of Adam, (step, 3)."""
    steps = np.arange(n_steps)
    schedule = np.array([optimiser.schedule(int(step)) for step in steps])
    if type(optimiser) is not Adam:
        return np.stack([schedule, schedule, schedule], axis=1)
    first, second = (1 - beta ** (steps + 1.0) for beta in optimiser.betas)
    return np.stack([schedule, first, second], axis=1)


def _update(optimiser: Any) -> Callable[..., Any]:
    tree = jax.tree_util.tree_map

    def descend(parameters: Arrays, direction: Arrays, rates: Any, factor: Any) -> Arrays:
        def moved(value: Any, along: Any) -> Any:
            rate = (rates * factor).astype(value.dtype).reshape(-1, *(1,) * (value.ndim - 1))
            return value - rate * along

        return tree(moved, parameters, direction)

    def gradient_descent(state: Any, gradient: Arrays, rates: Any, factor: Any) -> Any:
        parameters, kept = state
        if optimiser.weight_decay:
            gradient = tree(lambda g, p: g + optimiser.weight_decay * p, gradient, parameters)
        if optimiser.momentum:
            gradient = tree(lambda b, g: optimiser.momentum * b + g, kept[0], gradient)
            kept = (gradient,)
        return descend(parameters, gradient, rates, factor[0]), kept

    def normalised(state: Any, gradient: Arrays, rates: Any, factor: Any) -> Any:
        squares = [jnp.sum(g**2, axis=tuple(range(1, g.ndim))) for g in gradient.values()]
        norm = jnp.maximum(jnp.sqrt(sum(squares)), optimiser.floor)
        unit = tree(lambda g: g / norm.reshape(-1, *(1,) * (g.ndim - 1)), gradient)
        return descend(state[0], unit, rates, factor[0]), state[1]

    def adam(state: Any, gradient: Arrays, rates: Any, factor: Any) -> Any:
        parameters, (mean, square) = state
        beta1, beta2 = optimiser.betas
        if optimiser.weight_decay:
            gradient = tree(lambda g, p: g + optimiser.weight_decay * p, gradient, parameters)
        mean = tree(lambda m, g: beta1 * m + (1 - beta1) * g, mean, gradient)
        square = tree(lambda v, g: beta2 * v + (1 - beta2) * g**2, square, gradient)

        def direction(m: Any, v: Any) -> Any:
            return m / (jnp.sqrt(v / factor[2].astype(v.dtype)) + optimiser.eps)

        return descend(parameters, tree(direction, mean, square), rates, factor[0] / factor[1]), (mean, square)

    known = {GradientDescent: gradient_descent, NormalisedGradientDescent: normalised, Adam: adam}
    if type(optimiser) not in known:
        raise Refused(f"optimiser {type(optimiser).__name__} in JAX")
    return known[type(optimiser)]


def _replayed(recorded: torch.fx.GraphModule, names: list[str]) -> Callable[[Arrays], Any]:
    """The recorded function in ``jax.numpy``; what depends on no input is computed by torch, once."""
    known: dict[Any, Any] = {}
    later: list[Any] = []
    places = iter(names)
    inputs: dict[Any, str] = {}
    for node in recorded.graph.nodes:
        if node.op == "placeholder":
            inputs[node] = next(places)
        elif node.op == "get_attr":
            known[node] = getattr(recorded, node.target)
        elif node.op == "output":
            result = node.args[0]
            result = result[0] if isinstance(result, (list, tuple)) else result
        elif all(each in known for each in node.all_input_nodes):
            args, kwargs = (torch.fx.node.map_arg(each, known.__getitem__) for each in (node.args, node.kwargs))
            known[node] = node.target(*args, **kwargs)
        else:
            rule = operator_rule(node)
            later.append((node, rule))
    constants = {node: jnp.asarray(value.numpy()) for node, value in known.items() if isinstance(value, torch.Tensor)}

    def replay(given: Arrays) -> Any:
        env = constants | {node: given[name] for node, name in inputs.items()}
        for node, rule in later:
            args, kwargs = (torch.fx.node.map_arg(each, env.__getitem__) for each in (node.args, node.kwargs))
            env[node] = rule(*args, **kwargs)
        return env[result]

    return replay


def operator_rule(node: Any) -> Callable[..., Any]:
    """The rule of an operation, by its name without the overload."""
    if getattr(node.target, "__name__", "") == "getitem":
        return lambda found, index: found[index]
    name = node.target.name().removeprefix("aten::").split(".")[0]
    if name not in RULES:
        raise Refused(f"operation {node.target.name()} in JAX")
    return RULES[name]


def _cast(x: Any, dtype: Any = None, **_: Any) -> Any:
    return x if dtype is None else x.astype(str(dtype).removeprefix("torch."))


def _axes(x: Any, dims: Any) -> Any:
    return tuple(range(x.ndim)) if dims is None or dims == [] else tuple(np.atleast_1d(dims).tolist())


def _expanded(x: Any, size: Any, **_: Any) -> Any:
    lead = len(size) - x.ndim
    return jnp.broadcast_to(x, [x.shape[k - lead] if n == -1 else n for k, n in enumerate(size)])


def _indexed(x: Any, indices: Any) -> Any:
    return x[tuple(slice(None) if each is None else each for each in indices)]


def _put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    at = x.at[tuple(slice(None) if each is None else each for each in indices)]
    return at.add(values) if accumulate else at.set(values)


def _scattered(x: Any, dim: int, index: Any, value: Any) -> Any:
    grid = list(jnp.meshgrid(*(jnp.arange(n) for n in index.shape), indexing="ij"))
    grid[dim] = index
    return x.at[tuple(grid)].set(value)


def _part(x: Any, dim: int, which: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * (dim % x.ndim), which)


def _sliced(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return x[_part(x, dim, slice(start, None if end is None or end > 2**62 else end, step))]


def _slice_put(x: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return x.at[_part(x, dim, slice(start, None if end is None or end > 2**62 else end, step))].set(src)


def _split(x: Any, sizes: Any, dim: int = 0) -> Any:
    n = x.shape[dim]
    sizes = [sizes] * (n // sizes) + ([n % sizes] if n % sizes else []) if isinstance(sizes, int) else sizes
    return jnp.split(x, np.cumsum(sizes)[:-1].tolist(), axis=dim)


def _ordered(x: Any, dim: int = -1, descending: bool = False, **_: Any) -> Any:
    index = jnp.argsort(x, axis=dim, descending=descending, stable=True)
    return jnp.take_along_axis(x, index, axis=dim), index


def _top(x: Any, k: int, dim: int = -1, largest: bool = True, *_: Any) -> Any:
    values, index = _ordered(x, dim, descending=largest)
    return _sliced(values, dim, 0, k), _sliced(index, dim, 0, k)


def _norm(x: Any, order: float = 2, dims: Any = None, keepdim: bool = False, **_: Any) -> Any:
    if order != 2:
        raise Refused(f"a norm of order {order} in JAX")
    return jnp.sqrt(jnp.sum(x**2, axis=_axes(x, dims), keepdims=keepdim))


def _nll(logs: Any, target: Any, weight: Any, reduction: int, ignored: int) -> Any:
    picked = -(logs * jax.nn.one_hot(target, logs.shape[1], dtype=logs.dtype, axis=1)).sum(
        1
    )  # a gather's gradient scatters
    return ({0: lambda x: x, 1: jnp.mean, 2: jnp.sum}[reduction](picked), jnp.asarray(float(picked.size)))


def _clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    return jnp.clip(x, low, high)


def _diagonal(x: Any, *_: Any) -> Any:
    return x[..., None] * jnp.eye(x.shape[-1], dtype=x.dtype)


def _filled(value: float) -> Callable[..., Any]:
    return lambda x, dtype=None, **_: _cast(jnp.full_like(x, value), dtype)


def _pointwise(name: str) -> Callable[..., Any]:
    return lambda x: getattr(jnp, name)(x)


RULES: dict[str, Callable[..., Any]] = {
    "_log_softmax": lambda x, dim, _: jax.nn.log_softmax(x, axis=dim),
    "_softmax": lambda x, dim, _: jax.nn.softmax(x, axis=dim),
    "_to_copy": _cast,
    "view": lambda x, shape: x.reshape(shape),
    "_unsafe_view": lambda x, shape: x.reshape(shape),
    "add": lambda x, y, alpha=1: x + (y if alpha == 1 else alpha * y),
    "sub": lambda x, y, alpha=1: x - (y if alpha == 1 else alpha * y),
    "rsub": lambda x, y, alpha=1: y - alpha * x,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "pow": lambda x, y: x**y,
    "remainder": lambda x, y: jnp.remainder(x, y),
    "floor_divide": lambda x, y: jnp.floor_divide(x, y),
    **{name: _pointwise(name) for name in ("exp", "log", "log1p", "sqrt", "sin", "cos", "tanh")},
    "relu": lambda x: jax.nn.relu(x),
    "elu": lambda x, alpha=1.0, scale=1.0, inner=1.0: scale * jax.nn.elu(inner * x, alpha),
    "softplus": lambda x, beta=1.0, _=20.0: jax.nn.softplus(beta * x) / beta,
    "sigmoid": lambda x: jax.nn.sigmoid(x),
    "log_sigmoid_forward": lambda x: (jax.nn.log_sigmoid(x), jnp.zeros(0)),
    **dict.fromkeys(("alias", "clone", "lift_fresh_copy"), lambda x, **_: x),
    "detach": lambda x: jax.lax.stop_gradient(x),
    "amax": lambda x, dims=None, keepdim=False: jnp.max(x, axis=_axes(x, dims), keepdims=keepdim),
    "argmax": lambda x, dim=None, keepdim=False: jnp.argmax(x, axis=dim, keepdims=keepdim),
    "argmin": lambda x, dim=None, keepdim=False: jnp.argmin(x, axis=dim, keepdims=keepdim),
    "mean": lambda x, dims=None, keepdim=False: jnp.mean(x, axis=_axes(x, dims), keepdims=keepdim),
    "sum": lambda x, dims=None, keepdim=False: jnp.sum(x, axis=_axes(x, dims), keepdims=keepdim),
    "logsumexp": lambda x, dims, keepdim=False: jax.nn.logsumexp(x, axis=_axes(x, dims), keepdims=keepdim),
    "linalg_vector_norm": _norm,
    "cumsum": lambda x, dim: jnp.cumsum(x, axis=dim),
    **dict.fromkeys(("bmm", "mv", "mm"), lambda x, y: x @ y),
    "baddbmm": lambda c, x, y, beta=1, alpha=1: beta * c + alpha * (x @ y),
    "bitwise_and": lambda x, y: x & y,
    "bitwise_or": lambda x, y: x | y,
    "bitwise_not": lambda x: ~x,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "gt": lambda x, y: x > y,
    "lt": lambda x, y: x < y,
    "where": lambda mask, x, y: jnp.where(mask, x, y),
    "masked_fill": lambda x, mask, value: jnp.where(mask, value, x).astype(x.dtype),
    "clamp": _clamp,
    "clamp_min": lambda x, low: jnp.maximum(x, low),
    "clamp_max": lambda x, high: jnp.minimum(x, high),
    "cat": lambda arrays, dim=0: jnp.concatenate(arrays, axis=dim),
    "stack": lambda arrays, dim=0: jnp.stack(arrays, axis=dim),
    "copy": lambda x, source, *_: jnp.broadcast_to(source, x.shape).astype(x.dtype),
    "diag_embed": _diagonal,
    "expand": _expanded,
    "gather": lambda x, dim, index, **_: jnp.take_along_axis(x, index, axis=dim),
    "index": _indexed,
    "index_put": _put,
    "nll_loss_forward": _nll,
    "nll_loss2d_forward": _nll,
    "permute": lambda x, dims: jnp.transpose(x, dims),
    "transpose": lambda x, a, b: jnp.swapaxes(x, a, b),
    "scatter": _scattered,
    "select": lambda x, dim, index: x[_part(x, dim, index)],
    "select_scatter": lambda x, source, dim, index: x.at[_part(x, dim, index)].set(source),
    "slice": _sliced,
    "slice_scatter": _slice_put,
    "sort": _ordered,
    "topk": _top,
    "split": _split,
    "split_with_sizes": _split,
    "squeeze": lambda x, dim: jnp.squeeze(x, axis=dim) if x.shape[dim] == 1 else x,
    "unsqueeze": lambda x, dim: jnp.expand_dims(x, axis=dim),
    "unbind": lambda x, dim=0: [x[_part(x, dim, k)] for k in range(x.shape[dim])],
    "triu": lambda x, diagonal=0: jnp.triu(x, diagonal),
    "zeros_like": _filled(0.0),
    "ones_like": _filled(1.0),
    "new_zeros": lambda x, size, **_: jnp.zeros(size, dtype=x.dtype),
}


def wait_for(found: Any) -> None:
    """Until the arrays are computed."""
    jax.block_until_ready(found)


def steps_in(seconds: float, run: Callable[[int], None]) -> int:
    """How many steps take about so long, a power of two from 8 to 256."""
    run(8)  # compiled now
    begun = time.perf_counter()
    run(8)
    each = (time.perf_counter() - begun) / 8
    return int(2 ** np.clip(math.floor(math.log2(max(seconds / each, 8))), 3, 8))
