"""Fields, sub-flows and measured errors of random particle systems, against theory's fields, scipy and plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from attnlab.simulators.particle_flow.splitting_errors import (
    SCHEMES,
    SPLITTINGS,
    Setting,
    convection,
    draw,
    interaction,
    runge_kutta,
    split_step,
    splitting_errors,
    times,
)
from attnlab.theory.particle_flow.fields import ParticleSystem

TINY = Setting(n_particles=3, dim=2, hidden=4, depths=(1, 2), reference_steps=64, n_replicas=2)


def as_system(weights, setting):
    return ParticleSystem(
        *(weights[name].numpy() for name in ("W_Q", "W_K", "W_V", "W_O", "W_1", "b_1", "W_2", "b_2")),
        n_heads=setting.n_heads,
        activation=setting.activation,
    )


@pytest.mark.parametrize("activation", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("n_heads", [1, 2])
def test_both_sides_compute_the_same_fields(seeds, activation, n_heads):
    setting = replace(TINY, activation=activation, n_heads=n_heads, dim=4)
    weights, X = draw(setting, seeds(3))
    system = as_system(weights, setting)
    assert np.allclose(interaction(weights, X, n_heads).numpy(), system.interaction(X.numpy()), atol=1e-14)
    assert np.allclose(convection(weights, X, activation).numpy(), system.convection(X.numpy()), atol=1e-14)
    assert not np.allclose(interaction(weights, X, 3 - n_heads).numpy(), system.interaction(X.numpy()), atol=1e-4)


def test_a_product_acts_on_the_last_axis_whatever_lies_between(seeds):
    X, W, b = torch.randn(2, 3, 5, 4), torch.randn(2, 4, 6), torch.randn(2, 6)
    assert torch.allclose(times(X, W, b), torch.einsum("rbnk,rkl->rbnl", X, W) + b[:, None, None], atol=1e-6)
    assert times(X[:, 0], W).shape == (2, 5, 6)


@pytest.mark.slow
def test_the_reference_is_the_solution_that_scipy_finds(seeds):
    weights, X = draw(TINY, seeds(1))
    system = as_system(weights, TINY)
    found = solve_ivp(
        lambda t, x: system.field(x.reshape(1, 3, 2)).ravel(),
        (0, 1),
        X.numpy().ravel(),
        method="DOP853",
        rtol=1e-12,
        atol=1e-12,
    ).y[:, -1]
    runs = splitting_errors(replace(TINY, reference_steps=1_024), seeds(1))
    assert np.abs(runs["end"].ravel() - found).max() < 1e-10  # (1/1024)^4 = 1e-12, and scipy's own tolerance


def test_errors_are_solution_minus_scheme(seeds):
    runs = splitting_errors(TINY, seeds(2))
    weights, X = draw(TINY, seeds(2))
    F, G = interaction(weights, X), convection(weights, X)
    euler = {
        "transformer euler": X + F + convection(weights, X + F),
        "parallel euler": X + F + G,
        "macaron euler": None,
        "macaron_swapped euler": None,
    }
    first = X + G / 2
    second = first + interaction(weights, first)
    euler["macaron euler"] = second + convection(weights, second) / 2
    first = X + F / 2
    second = first + convection(weights, first)
    euler["macaron_swapped euler"] = second + interaction(weights, second) / 2
    for name, state in euler.items():
        local, overall = (runs[f"{which} error of {name}"][:, 0] for which in ("local", "global"))
        assert np.allclose(overall, runs["end"] - state.numpy(), atol=1e-13)
        assert np.allclose(local, overall, atol=1e-9)  # one layer, two references


def test_a_normalisation_inside_is_read_by_both_fields(seeds):
    setting = replace(TINY, dim=4, depths=(1,), schemes=("parallel euler", "transformer euler"), normalisation="inside")
    runs = splitting_errors(setting, seeds(2))
    weights, X = draw(setting, seeds(2))

    def read(Y):
        centred = Y - Y.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    after = X + interaction(weights, read(X))
    states = {
        "parallel euler": after + convection(weights, read(X)),
        "transformer euler": after + convection(weights, read(after)),
    }
    for name, state in states.items():
        assert np.allclose(runs[f"global error of {name}"][:, 0], runs["end"] - state.numpy(), atol=1e-12)
    plain = splitting_errors(replace(setting, normalisation="none"), seeds(2))
    assert np.abs(plain["end"] - runs["end"]).max() > 0.01
    with pytest.raises(ValueError, match="normalisation"):
        replace(setting, normalisation="outside")


def test_the_measured_schemes_are_splittings_that_exist():
    assert all(name.split()[0] in SPLITTINGS and name.split()[1] in ("exact", "midpoint", "euler") for name in SCHEMES)
    assert all(
        sum(part for name, part in stages if field in name) == 1 for stages in SPLITTINGS.values() for field in "FG"
    )


def test_sub_flows_of_one_field_are_of_their_orders(seeds):
    weights, X = draw(TINY, seeds(1))
    fields = {"G": lambda Y: convection(weights, Y)}
    exact = runge_kutta(fields["G"], X, 0.1, 200)
    errors = {
        sub: float((split_step(fields, X, 0.1, (("G", 1.0),), sub) - exact).abs().max())
        for sub in ("euler", "midpoint", "exact")
    }
    assert errors["exact"] < 1e-7 < errors["midpoint"] < errors["euler"] / 5


def test_a_replica_does_not_depend_on_those_beside_it(seeds):
    both, one = splitting_errors(TINY, seeds(2)), splitting_errors(TINY, seeds(1))
    assert all(np.allclose(both[name][:1], one[name], atol=1e-14) for name in one)
    assert not np.allclose(both["start"][0], both["start"][1])


def test_weights_have_the_stated_variances(seeds):
    weights, X = draw(Setting(dim=16, hidden=64, n_heads=2, n_particles=50), seeds(8))
    for name, variance in {"W_Q": 1 / 16, "W_O": 1 / 16, "W_1": 1 / 16, "W_2": 1 / 64, "b_1": 0.01}.items():
        count = weights[name].numel()
        assert abs(float(weights[name].var()) / variance - 1) < 5 * (2 / count) ** 0.5  # 5 standard errors
    assert abs(float(X.var()) - 1) < 5 * (2 / X.numel()) ** 0.5
    assert torch.equal(draw(TINY, seeds(1))[0]["W_O"][0], torch.eye(2, dtype=torch.float64))


def test_settings_that_make_no_sense_are_errors():
    with pytest.raises(ValueError, match="n_heads=3 does not divide dim=4"):
        Setting(n_heads=3)
    with pytest.raises(ValueError, match="activation='tan'"):
        Setting(activation="tan")
    with pytest.raises(ValueError, match="schemes names 'macron euler'"):
        Setting(schemes=("macron euler",))
    with pytest.raises(ValueError, match="depths"):
        Setting(depths=(4, 0))
