"""Series can be told apart without colour and with any common colour vision."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from attnlab.analysis.figures.style import DIVERGING, LOOKS, SEQUENTIAL, TERRAIN, look_of

# Machado, Oliveira, Fernandes 2009, Table 1 at severity 1.0, on linear RGB
VISIONS = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")


def lab(colour, vision="normal"):
    """CIELAB (D65) of an sRGB colour as seen by a kind of colour vision."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(VISIONS[vision] @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = to_xyz @ seen / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def smallest_step_in_grey(colours):
    return min(abs(lab(a)[0] - lab(b)[0]) for a, b in combinations(colours, 2))


def test_the_lightness_scale_has_white_at_100_and_black_at_0():
    assert lab("#FFFFFF") == pytest.approx([100, 0, 0], abs=0.05) and lab("#000000") == pytest.approx(
        [0, 0, 0], abs=0.05
    )


def test_series_differ_in_grey():
    assert smallest_step_in_grey([look.colour for look in LOOKS]) >= 7
    assert smallest_step_in_grey(OKABE_ITO) < 7  # the twin: a palette that needs its colours


@pytest.mark.parametrize("vision", VISIONS)
def test_series_differ_for_every_colour_vision(vision):
    seen = [lab(look.colour, vision) for look in LOOKS]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) >= 20
    if vision == "deutan":
        naive = [lab(colour, vision) for colour in ("#D62728", "#7F6B00")]  # the twin: red against olive
        assert np.linalg.norm(naive[0] - naive[1]) < 20


def test_series_differ_in_dash_marker_and_hatch_too():
    for part in ("dash", "marker"):
        assert len({getattr(look, part) for look in LOOKS}) == len(LOOKS)
    assert len({look_of(index) for index in range(36)}) == 36


def test_lines_stand_out_from_white_paper():
    assert all(lab(look.colour)[0] < 72 for look in LOOKS)


@pytest.mark.parametrize("vision", VISIONS)
def test_unsigned_maps_darken_steadily_for_every_colour_vision(vision):
    for colours in (SEQUENTIAL, TERRAIN):
        lightness = np.array([lab(colours(value), vision)[0] for value in np.linspace(0, 1, 33)])
        assert np.all(np.diff(lightness) < 0)


@pytest.mark.parametrize("vision", VISIONS)
def test_signs_differ_on_the_diverging_map_for_every_colour_vision(vision):
    for value in (0.15, 0.3, 0.5):
        below, above = (lab(DIVERGING(0.5 + sign * value), vision) for sign in (-1, 1))
        assert np.linalg.norm(below[1:] - above[1:]) >= 20  # in hue alone, lightness being that of the size
