"""Parameter counts of both layers."""

import pytest

from attnlab.theory.particle_flow.parameters import attention_parameters, feed_forward_parameters, layer_parameters


def test_weights_alone_are_twelve_squares_for_both_layers():
    for dim in (2, 8, 512):
        counts = {
            kind: layer_parameters(kind, dim, 4 * dim, biases=False, norms=False) for kind in ("transformer", "macaron")
        }
        assert set(counts.values()) == {12 * dim**2}


def test_biases_and_norms_add_three_widths():
    assert layer_parameters("transformer", 512, 2048) == 3_152_384
    assert layer_parameters("macaron", 512, 2048) == 3_153_920
    assert (
        layer_parameters("macaron", 512, 2048, norms=False) - layer_parameters("transformer", 512, 2048, norms=False)
        == 512
    )


def test_the_parts_add_up():
    parts = attention_parameters(8) + feed_forward_parameters(8, 32) + 2 * 2 * 8
    assert layer_parameters("transformer", 8, 32) == parts


def test_two_networks_of_full_width_would_have_more():
    full = attention_parameters(8, biases=False) + 2 * feed_forward_parameters(8, 32, biases=False)
    assert full == 20 * 8**2 > layer_parameters("macaron", 8, 32, biases=False, norms=False)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="kind='conformer'"):
        layer_parameters("conformer", 8, 32)
    with pytest.raises(ValueError, match="hidden=7"):
        layer_parameters("macaron", 8, 7)
