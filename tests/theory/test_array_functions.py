"""The few functions that bounds are written with: numbers, numpy arrays and arrays with methods alike."""

import numpy as np
import pytest
import sympy
import torch

from attnlab.theory import array_functions as functions


@pytest.mark.parametrize("name", ["exp", "log", "tanh"])
def test_numbers_arrays_and_tensors_give_the_same_value(name):
    ours, oracle = getattr(functions, name), float(getattr(sympy, name)(sympy.Rational(3, 4)))
    for value in (0.75, np.array([0.75]), torch.tensor([0.75], dtype=torch.float64)):
        assert np.asarray(ours(value)).item() == pytest.approx(
            oracle, rel=4 * 2.0**-52
        )  # 4: an ulp of the library each way


def test_gradients_pass_through():
    x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    functions.tanh(x).backward()
    assert float(x.grad) == pytest.approx(1 - np.tanh(0.5) ** 2, rel=1e-14)
