"""The stack that planted models run on: a plain loop gives the same, and replacing works site by site."""

import numpy as np
import pytest

from attnlab.simulators.planted.residual_stack import Layer, ResidualStack

DIM, WIDTH, HEADS = 5, 3, 2


def stack(seed=0):
    rng = np.random.default_rng(seed)
    shape = (HEADS, DIM, WIDTH)
    layers = tuple(
        Layer(*(rng.standard_normal(shape) for _ in range(3)), rng.standard_normal((HEADS, WIDTH, DIM)), mlp)
        for mlp in (None, np.tanh)
    )
    table = rng.standard_normal((7, DIM))
    return ResidualStack(lambda tokens: table[tokens], layers, rng.standard_normal((DIM, 7)))


TOKENS = np.array([[1, 2, 3, 0], [6, 6, 4, 2]])


def by_loops(model, tokens):
    """The logits, one prompt, head, query and key at a time."""
    made = []
    for prompt in tokens:
        x = model.embed(prompt)
        for layer in model.layers:
            added = np.zeros_like(x)
            for h in range(HEADS):
                for i in range(len(x)):
                    e = [np.exp((x[i] @ layer.w_q[h]) @ (x[j] @ layer.w_k[h])) for j in range(i + 1)]
                    added[i] += sum(w * (x[j] @ layer.w_v[h]) for j, w in enumerate(e)) / sum(e) @ layer.w_o[h]
            x = x + added
            x = x if layer.mlp is None else x + layer.mlp(x)
        made.append(x @ model.unembed)
    return np.array(made)


def test_logits_are_those_of_a_plain_loop():
    model = stack()
    assert np.allclose(model.run(TOKENS, ("logits",))["logits"], by_loops(model, TOKENS), rtol=1e-10, atol=1e-10)


def test_replacing_any_site_by_itself_changes_nothing_and_by_another_does():
    model = stack()
    whole = model.run(TOKENS, model.sites())
    assert len(whole) == len(model.sites())
    for name, array in whole.items():
        assert (model.run(TOKENS, ("logits",), {name: array})["logits"] == whole["logits"]).all(), name
        if name.endswith("scores"):
            continue  # a constant added to a row of scores is no change
        other = model.run(TOKENS, ("logits",), {name: lambda x: 1.5 * x})["logits"]
        assert np.abs(other - whole["logits"]).max() > 1e-3, name


def test_a_head_is_named_alone():
    model = stack()
    z = model.run(TOKENS, ("L1.z", "L1.H1.z"))
    assert (z["L1.H1.z"] == z["L1.z"][:, 1]).all()
    alone = model.run(TOKENS, ("L1.z",), {"L1.H1.z": np.zeros_like(z["L1.H1.z"])})["L1.z"]
    assert (alone[:, 1] == 0).all() and (alone[:, 0] == z["L1.z"][:, 0]).all()
    assert (model.run(TOKENS, ("L1.z",))["L1.z"] == z["L1.z"]).all(), "the replacement stayed behind"


@pytest.mark.parametrize("name", ["L2.z", "L1.zz", "L1.H7.z", "L0.mlp", "logit", "L1.H0.pre"])
def test_an_unknown_site_is_an_error_that_names_it(name):
    with pytest.raises(ValueError, match=f"unknown site '{name}'"):
        stack().run(TOKENS, (name,))


def test_a_replacement_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        stack().run(TOKENS, (), {"L0.z": np.zeros(3)})
