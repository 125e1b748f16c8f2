"""The checked record: what it refuses by name, and what it makes of padding, groups of lengths and layers."""

import numpy as np
import pytest

from attnlab.analysis.instruments.maps import target_contrast
from attnlab.analysis.instruments.readings import Readings, chosen, maps, padded
from attnlab.analysis.instruments.sinks import hidden_sinks, sink_strength
from attnlab.analysis.instruments.worlds import causal_softmax


def weights(seed=0, shape=(3, 2, 2, 6)):
    return causal_softmax(np.random.default_rng(seed).standard_normal((*shape, shape[-1])))


def test_prompts_of_several_lengths_are_read_as_each_alone():
    lengths, total = (6, 4, 5), 8
    alone = [weights(seed, (1, 1, 2, n)) for seed, n in enumerate(lengths)]
    a = np.full((3, 1, 2, total, total), np.nan)  # what stands in padding is never read
    real = np.zeros((3, total), bool)
    for row, (n, left) in enumerate(zip(lengths, (1, 0, 3), strict=True)):
        a[row, :, :, left : left + n] = 0.0
        a[row, :, :, left : left + n, left : left + n] = alone[row][0]
        real[row, left : left + n] = True
    readings = maps(a, real=real)
    assert [(list(g.prompts), g.length) for g in readings.groups] == [([1], 4), ([2], 5), ([0], 6)]
    read = readings.each_layer("pattern", lambda x, seen, group: {"first": x[..., 0].mean(-1)})["first"]
    for row, each in enumerate(alone):
        assert np.allclose(read[row, 0], each[0, 0, :, :, 0].mean(-1), rtol=1e-14, atol=0)


def test_padding_and_choosing_keep_everything_that_belongs_to_the_prompts():
    visible = np.tri(6, dtype=bool)[None, None] | (np.arange(6) < 2)
    a = np.where(visible, 1.0, 0.0) * np.ones((3, 1, 2, 1, 1))
    readings = maps(
        a / a.sum(-1, keepdims=True), visible=visible, tokens=np.arange(18).reshape(3, 6), periods=np.arange(3)
    )
    wide = padded(readings, 2, 3)
    group = wide.groups[0]
    assert (wide.seen(group) == visible).all() and (
        wide.array("L0.pattern", group) == readings.sites["L0.pattern"]
    ).all()
    two = chosen(wide, np.array([2, 0]))
    assert (two.periods == [2, 0]).all() and two.tokens[0, 2] == 12 and len(two.visible) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Readings({}), "sites is empty"),
        (lambda: Readings({"L0.patern": weights()[:, 0]}), "did you mean 'L0.pattern'"),
        (lambda: Readings({"L0.pattern": weights()[0, 0, 0]}), "4 axes"),
        (lambda: Readings({"L0.pattern": weights()[:, 0, :, :, :4]}), "whole sequences"),
        (lambda: Readings({"L0.pattern": weights()[:, 0], "embed": np.zeros((3, 5, 2))}), "the sites before it"),
        (lambda: maps(weights(), real=np.ones((3, 5), bool)), "real must have shape"),
        (lambda: maps(weights(), visible=np.ones((6, 6), bool)), "visible must have shape"),
        (lambda: maps(weights(), real=np.array([[1, 1, 0, 1, 1, 1]] * 3, bool)), "between its tokens"),
        (lambda: maps(weights(), mass={"L0.pattern": np.full((3, 2, 6), 0.5)}), "sums to 1"),
        (lambda: maps(weights()[0]), "layer, head, query, key"),
        (lambda: maps(weights()).layers("scores"), "no site 'L0.scores'"),
        (lambda: maps(weights()).array("L0.z", maps(weights()).groups[0]), "no site 'L0.z'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_rows_may_sum_to_a_stated_mass():
    a = 0.7 * weights()
    with pytest.raises(ValueError, match=r"sums to 0\.7"):
        maps(a)
    maps(a, mass={f"L{k}.pattern": np.full((3, 2, 6), 0.7) for k in range(2)})


def test_layers_of_other_numbers_of_heads_are_read_apart():
    a = weights()
    readings = Readings({"L0.pattern": a[:, 0], "L1.pattern": a[:, 1, :1]})
    with pytest.raises(ValueError, match="read layers with other numbers of heads apart"):
        readings.each_layer("pattern", lambda x, seen, group: {"first": x[..., 0].mean(-1)})


def test_a_weight_of_zero_on_a_visible_key_has_no_logarithm():
    rng = np.random.default_rng(0)
    scores = np.where(np.tri(12, dtype=bool), rng.standard_normal((4, 1, 2, 12, 12)), -np.inf)
    scores[:, :, 1, 5:, 0] -= 200.0  # a float32 softmax underflows there
    weights = np.exp(scores - scores.max(-1, keepdims=True)).astype(np.float32)
    weights /= weights.sum(-1, keepdims=True)
    for measure in (target_contrast.measure, sink_strength.measure, hidden_sinks.measure):
        with pytest.raises(ValueError, match=r"exactly 0.*record scores"):
            measure(maps(weights))
    exact = target_contrast.measure(maps(weights, scores.astype(np.float32)))["contrast"]
    assert -200 < exact.value[0, 1] < -100 < exact.value[0, 0]


def test_maps_in_half_precision_are_read_in_float32_and_a_dropped_row_is_still_refused():
    rng = np.random.default_rng(0)
    weights = rng.random((4, 1, 2, 12, 12)) * np.tri(12) + 0.01 * np.tri(12)
    weights /= weights.sum(-1, keepdims=True)
    half, single = (
        sink_strength.measure(maps(weights.astype(dtype)))["strength"] for dtype in (np.float16, np.float32)
    )
    assert 0 < np.abs(half.value - single.value).max() < 2e-3  # logarithms of numbers rounded by half of eps = 9.8e-4
    with pytest.raises(ValueError, match="sums to"):
        maps((1.002 * weights).astype(np.float16))
