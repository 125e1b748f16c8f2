"""Merged stacks, fixed attention and weights that depend on time, against definitions and scipy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from attnlab.simulators.particle_flow.identities import (
    TIMED_SCHEMES,
    _as_matrix,
    fixed_attention_errors,
    merged_stacks,
    time_dependent_errors,
)
from attnlab.simulators.particle_flow.splitting_errors import Setting, convection, draw, interaction

TINY = Setting(n_particles=3, dim=2, hidden=4, depths=(1, 2), reference_steps=64, n_replicas=2)


def test_one_layer_needs_no_merging_and_two_differ_by_one_merged_step(seeds):
    runs = merged_stacks(TINY, seeds(2))
    assert np.abs(runs["merging"][:, 0]).max() < 1e-15
    weights, X = draw(TINY, seeds(2))

    def F(Y):
        return interaction(weights, Y)

    def G(Y):
        return convection(weights, Y)

    Y = X + G(X) / 4
    Y = Y + F(Y) / 2
    once, twice = Y + G(Y) / 2, Y + G(Y) / 4
    twice = twice + G(twice) / 4
    ends = []
    for Y in (twice, once):
        Y = Y + F(Y) / 2
        ends.append(Y + G(Y) / 4)
    assert (
        np.allclose(runs["merging"][:, 1], (ends[0] - ends[1]).numpy(), atol=1e-14)
        and np.abs(runs["merging"][:, 1]).max() > 1e-4
    )


@pytest.mark.slow
def test_with_exact_sub_flows_merged_and_conjugate_stacks_end_where_the_macaron_stack_does(seeds):
    runs = merged_stacks(replace(TINY, depths=(2, 4)), seeds(2))
    for name in ("merged_end", "conjugate_end"):
        assert np.abs(runs[name] - runs["macaron_end"]).max() < 1e-11
    assert np.abs(runs["transformer_end"] - runs["macaron_end"]).max() > 1e-3


def test_the_matrix_of_a_map_is_the_map():
    P, V, X = torch.randn(2, 3, 3), torch.randn(2, 4, 4), torch.randn(2, 3, 4)
    assert torch.allclose((_as_matrix(P, V) @ X.reshape(2, 12, 1)).view(2, 3, 4), P @ X @ V, atol=1e-5)


def test_fixed_attention_errors_are_differences_of_exponentials(seeds):
    runs = fixed_attention_errors(TINY, seeds(2))
    P, V, C, X = (runs[name][1] for name in ("P", "V", "C", "start"))
    assert np.allclose(P.sum(-1), 1)
    A, B = np.kron(P, V.T), np.kron(np.eye(3), C.T)
    defect = (expm((A + B) / 2) - expm(B / 2) @ expm(A / 2)) @ X.ravel()  # depth 2: step 1/2, F first
    assert np.allclose(runs["transformer"][1, 1].ravel(), defect, atol=1e-13)
    assert np.abs(runs["commuting"]).max() < 1e-13


@pytest.mark.slow
def test_the_time_dependent_reference_solves_the_equation_and_better_freezing_is_nearer(seeds):
    setting = replace(TINY, depths=(8, 64))
    runs = time_dependent_errors(setting, seeds(1))
    errors = dict(zip(TIMED_SCHEMES, runs["global_error"][0, :, 1], strict=True))
    assert all(errors["printed"] > 5 * errors[name] for name in TIMED_SCHEMES[1:])
    # "true time" differs from the solution by splitting alone: integrate it with scipy and compare the whole error
    first, X = draw(setting, seeds(1))
    second, _ = draw(setting, [np.random.SeedSequence(seeds(1)[0].entropy, spawn_key=(*seeds(1)[0].spawn_key, 1))])

    def flow(t, x):
        weights = {name: np.cos(t) * first[name] + np.sin(t) * second[name] for name in first}
        Y = torch.from_numpy(x.reshape(1, 3, 2))
        return (interaction(weights, Y) + convection(weights, Y)).numpy().ravel()

    end = solve_ivp(flow, (0, 1), X.numpy().ravel(), method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    Y, h = X, 1 / 8
    for layer in range(8):
        t = layer * h
        for field, start, part in ((convection, t, h / 2), (interaction, t, h), (convection, t + h / 2, h / 2)):

            def stage(s, x, field=field):
                weights = {name: np.cos(s) * first[name] + np.sin(s) * second[name] for name in first}
                return field(weights, torch.from_numpy(x.reshape(1, 3, 2))).numpy().ravel()

            Y = solve_ivp(
                stage, (start, start + part), np.asarray(Y).ravel(), method="DOP853", rtol=1e-11, atol=1e-11
            ).y[:, -1]
    measured = runs["global_error"][0, TIMED_SCHEMES.index("true time"), 0]
    assert abs(measured - np.linalg.norm(end - Y)) < 1e-4 * measured  # sub-flows with 2 to 4 Runge-Kutta steps
