"""The two-layer network: its short evaluation against the formula as printed, its derivatives, its initialisation."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.induction_heads.model import InductionNetwork

EPS64 = np.finfo(np.float64).eps
MODEL = InductionNetwork(dim=4, n_positions=9, n_labels=3)


def inputs(seed=0, replicas=2, batch=5, tokens=7):
    stream = torch.Generator().manual_seed(seed)
    contents = torch.randn(replicas, batch, tokens, MODEL.dim, dtype=torch.float64, generator=stream) / 2
    return contents, torch.randint(0, MODEL.n_positions - tokens + 1, (replicas, batch), generator=stream)


def as_printed(parameters, contents, start):
    """Logits and both attentions, one sequence and token at a time, from the full token vectors."""
    logits, first, second = [], [], []
    for r in range(len(contents)):
        Q1, K1, V1, Q2, K2, V2, W1, W2, W3, b, R = (value[r] for value in parameters.values())
        for b_index, content in enumerate(contents[r]):
            T = len(content)
            u = torch.cat([torch.eye(MODEL.n_positions, dtype=content.dtype)[start[r, b_index] :][:T], content], dim=1)
            v, p1 = torch.zeros_like(u), torch.zeros(T, T, dtype=content.dtype)
            for i in range(T):
                p1[i, : i + 1] = torch.softmax(torch.stack([(K1 @ u[j]) @ (Q1 @ u[i]) for j in range(i + 1)]), dim=0)
                v[i] = u[i] + V1 @ (p1[i] @ u)
            p2 = torch.softmax(torch.stack([(K2 @ v[j]) @ (Q2 @ v[T - 1]) for j in range(T)]), dim=0)
            h = v[T - 1] + V2 @ (p2 @ v)
            for k, W in enumerate((W1, W2, W3)):
                h = torch.relu(W @ h + b[k])
            logits.append(R @ h)
            first.append(p1)
            second.append(p2)
    return tuple(torch.stack(each).view(*contents.shape[:2], *each[0].shape) for each in (logits, first, second))


def test_short_evaluation_equals_the_formula(seeds):
    parameters = MODEL.initialise(generators(seeds(2), "parameters"), torch.float64)
    contents, start = inputs()
    found, exact = MODEL.forward(parameters, contents, start), as_printed(parameters, contents, start)
    for name, one, other in zip(("logits", "layer 1", "layer 2"), found, exact, strict=True):
        assert (one - other).abs().max() < 1e4 * EPS64 * other.abs().max(), name  # sums of n^2 products, seven deep
    swapped = dict(parameters, Q1=parameters["K1"], K1=parameters["Q1"])  # the twin: scores transposed
    assert (MODEL(swapped, contents, start) - exact[0]).abs().max() > 1e-3


def test_derivatives_are_those_of_the_formula(seeds):
    """Directional derivatives by central differences: error h^2 |f'''| + eps |f| / h, about 1e-9 at h = 1e-5."""
    parameters = MODEL.initialise(generators(seeds(2), "parameters"), torch.float64)
    contents, start = inputs(1)

    def value(moved):
        return torch.logsumexp(as_printed(moved, contents, start)[0], dim=-1).sum()

    leaves = {name: each.clone().requires_grad_() for name, each in parameters.items()}
    loss = torch.logsumexp(MODEL(leaves, contents, start), dim=-1).sum()
    for (name, each), gradient in zip(
        parameters.items(), torch.autograd.grad(loss, list(leaves.values())), strict=True
    ):
        way = torch.randn(each.shape, dtype=each.dtype, generator=torch.Generator().manual_seed(3))
        up, down = (value(dict(parameters, **{name: each + h * way})) for h in (1e-5, -1e-5))
        assert abs((gradient * way).sum() - (up - down) / 2e-5) < 1e-6 * (1 + abs((gradient * way).sum())), name


def test_attention_is_causal_and_sums_to_one(seeds):
    parameters = MODEL.initialise(generators(seeds(2), "parameters"), torch.float64)
    _, first, second = MODEL.forward(parameters, *inputs())
    assert torch.equal(first, first.tril())
    assert (first.sum(-1) - 1).abs().max() < 10 * EPS64 and (second.sum(-1) - 1).abs().max() < 10 * EPS64


def test_without_scores_attention_is_uniform_over_the_past(seeds):
    parameters = MODEL.initialise(generators(seeds(1), "parameters"), torch.float64)
    contents, start = inputs(replicas=1)
    _, first, second = MODEL.forward(
        dict(
            parameters, Q1=torch.zeros(1, 13, 13, dtype=torch.float64), K2=torch.zeros(1, 13, 13, dtype=torch.float64)
        ),
        contents,
        start,
    )
    assert (first - torch.ones(7, 7, dtype=torch.float64).tril() / torch.arange(1, 8)[:, None]).abs().max() < 4 * EPS64
    assert (second - 1 / 7).abs().max() < 4 * EPS64


def test_parameters_have_their_order_shapes_and_variances(seeds):
    model = InductionNetwork(dim=30, n_positions=20, n_labels=16)
    parameters = model.initialise(generators(seeds(4), "parameters"), torch.float64)
    assert list(parameters) == ["Q1", "K1", "V1", "Q2", "K2", "V2", "W1", "W2", "W3", "b", "R"]
    variances = {"Q": 1 / 30, "K": 1 / 30, "V": 1 / 30, "W": 2 / 50, "R": 1 / 50}
    for name, each in parameters.items():
        assert each.shape[1:] == {"b": (3,), "R": (16, 50)}.get(name, (50, 50))
        if name != "b":  # 5 standard errors of a sample variance: 5 sqrt(2 / count)
            assert abs(each.var() / variances[name[0]] - 1) < 5 * (2 / each.numel()) ** 0.5, name
    alone = model.initialise(generators(seeds(4)[2:3], "parameters"), torch.float64)
    assert torch.equal(alone["W3"][0], parameters["W3"][2])


def test_weight_decay_a_step_is_decay_over_the_rate():
    """The paper's update z <- (1 - c) z - h g is gradient descent with weight decay c / h."""
    values, gradient = torch.randn(2, 50, dtype=torch.float64), torch.randn(2, 50, dtype=torch.float64)
    rate, decay = 0.01, 1e-6
    expected = (1 - decay) * values - rate * gradient
    GradientDescent(rate, weight_decay=decay / rate).update(values, gradient, {}, 0)
    assert (values - expected).abs().max() < 8 * EPS64


def test_wrong_inputs_are_named():
    parameters = {}
    with pytest.raises(ValueError, match="contents have shape"):
        MODEL(parameters, torch.zeros(1, 2, 7, 5), torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="use more positions"):
        MODEL(parameters, torch.zeros(1, 2, 11, 4), torch.zeros(1, 2, dtype=torch.long))
