"""The matrix of parameters: views that write through, the way back, and a matrix of other parameters."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.layout import Layout

LAYOUT = Layout({"Q": (2, 3), "scale": (), "b": (4,)})


@pytest.mark.parametrize("of", [torch.from_numpy, np.asarray])
def test_split_gives_views_by_name_and_join_is_its_inverse(of):
    matrix = of(np.arange(33.0).reshape(3, 11))
    views = LAYOUT.split(matrix)
    assert {name: tuple(view.shape) for name, view in views.items()} == {"Q": (3, 2, 3), "scale": (3,), "b": (3, 4)}
    assert views["Q"][1, 0, 2] == 13 and views["scale"].tolist() == [6, 17, 28] and views["b"][2, 0] == 29
    assert (LAYOUT.join(views) == matrix).all()
    views["b"][0] = -1
    assert (matrix[0, 7:] == -1).all() and (matrix[1:] >= 0).all()


def test_the_views_of_some_rows_write_through_too():
    matrix = torch.zeros(4, 11)
    LAYOUT.split(matrix[1:3])["Q"].fill_(1.0)
    assert matrix.sum(1).tolist() == [0, 6, 6, 0]


def test_joined_parameters_follow_the_layout_not_the_order_given():
    arrays = {"b": np.full((1, 4), 3.0), "scale": np.full(1, 2.0), "Q": np.full((1, 2, 3), 1.0)}
    assert LAYOUT.join(arrays).tolist() == [[1.0] * 6 + [2.0] + [3.0] * 4]


def test_a_matrix_of_other_parameters_is_refused():
    with pytest.raises(ValueError, match=r"12 columns.*need 11"):
        LAYOUT.split(np.zeros((2, 12)))
