"""Laws of instruments on states and on graphs of maps, each against a closed form or a simulation."""

import importlib.util

import numpy as np
import pytest

from attnlab.analysis.instruments.maps import topology
from attnlab.analysis.instruments.readings import Readings, maps
from attnlab.analysis.instruments.row_shuffles import shuffled_rows, spread_of_hits
from attnlab.analysis.instruments.sinks import sink_levels
from attnlab.analysis.instruments.worlds import causal_softmax


def grown(rng, plants, n_layers=12, dim=512, n_tokens=12, n_prompts=8):
    """States whose every layer adds an update of norm 1 and, at (layer, token, norm), a write along the first token's direction."""
    u = np.eye(dim)[0]
    x = rng.standard_normal((n_prompts, n_tokens, dim))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    sites = {}
    for layer in range(n_layers):
        step = rng.standard_normal(x.shape)
        step[..., 0] = 0  # orthogonal to the direction
        x = x + step / np.linalg.norm(step, axis=-1, keepdims=True)
        for start, token, norm in plants:
            x[:, token] += (layer == start) * norm * u
        x[:, 0] += (layer == 1) * 60 * u
        sites[f"L{layer}.post"] = x
    return Readings(sites)


def test_levels_start_where_they_were_written_and_live_as_long_as_the_law_says():
    plants = [(4, 3, 3.0), (4, 5, 5.0), (6, 8, 7.0), (2, 10, -8.0)]
    found = sink_levels.levels(grown(np.random.default_rng(0), plants))
    by = {token: [each for each in found if each.position == token and each.start > 0] for token in (3, 5, 8, 10)}
    assert by[3] == by[10] == [], "a write too small, and one of the opposite direction"
    # the state of layer l has norm sqrt(l + 2) beside the write here: one update more than layers before it
    for token, (start, norm) in {5: (4, 5.0), 8: (6, 7.0)}.items():
        assert {each.start for each in by[token]} == {start}
        law = sink_levels.lifetime_law(norm, 1.0, start + 1)
        assert np.mean([each.lifetime for each in by[token]]) == pytest.approx(law, abs=1)
    assert [sink_levels.lifetime_law(m, 1.0, start) for start, m in ((4, 3.0), (4, 5.0), (6, 7.0))] == [0, 1, 5]
    assert sink_levels.lifetime_law(14.0, 1.0, 0) == 45 and sink_levels.lifetime_law(10.0, 2.0, 0) == 5


def test_a_secondary_sink_takes_its_share_and_weakens_the_first_by_the_stated_factor():
    b, c, n = 6.0, (0.99, 0.6), 46
    first, second = sink_levels.sink_weights(b, c, n)
    assert second / first == pytest.approx(np.exp(b * (c[1] - c[0])))
    z = np.exp(b * c[0]) + n + 1  # all others of score 0, the secondary among them
    alone = np.exp(b * c[0]) / z
    assert first / alone == pytest.approx(z / (z + np.exp(b * c[1]) - 1))
    assert sink_levels.smallest_written(1.0) == pytest.approx(2.06, abs=5e-3)


def hard(targets, n):
    return np.eye(n)[np.asarray(targets)]


def test_bars_of_perfect_heads_and_blocks():
    n = 32
    heads = {
        "first": (hard(np.zeros(n, int), n), 0.0),
        "previous": (hard(np.maximum(np.arange(n) - 1, 0), n), 0.0),
        "own": (np.eye(n), 31.0),
        "uniform": (np.full((n, n), 1 / n), 31 * (1 - 1 / n)),
        "blocks": (np.kron(np.eye(4), np.full((8, 8), 1 / 8)), 3 + 28 * (1 - 1 / 8)),
    }
    for name, (a, want) in heads.items():
        assert topology.h0_bars(a).sum() == pytest.approx(want, abs=1e-12), name
    bars = topology.h0_bars(heads["blocks"][0])
    assert (bars[-3:] == 1).all() and np.allclose(bars[:-3], 1 - 1 / 8, rtol=0, atol=1e-15)


def test_bars_are_the_maximum_spanning_tree_and_components_count_them():
    a = causal_softmax(2 * np.random.default_rng(1).standard_normal((5, 9, 9)))
    both = np.maximum(a, np.swapaxes(a, -1, -2))
    for each, weights in zip(a, both, strict=True):
        edges = sorted(((weights[i, j], i, j) for i in range(9) for j in range(i)), reverse=True)
        root, total = list(range(9)), 0.0
        for w, i, j in edges:  # Kruskal
            if root[i] != root[j]:
                total += w
                root = [root[j] if r == root[i] else r for r in root]
        assert topology.h0_bars(each).sum() == pytest.approx(8 - total, rel=1e-12)
    found = topology.graph_features(a, (0.3,))
    for k, weights in enumerate(both):
        reach = np.linalg.matrix_power((weights >= 0.3) | np.eye(9, dtype=bool), 9) > 0
        assert found["components"][k, 0] == np.unique(reach, axis=0).shape[0]
    assert (found["cycles"] >= 0).all()


def test_a_ring_has_one_cycle_and_a_head_that_looks_at_itself_none():
    n = 12
    ring = hard(np.r_[n - 1, np.arange(n - 1)], n)
    found = topology.graph_features(np.stack([ring, np.eye(n)]), (0.5,))
    assert found["cycles"][:, 0].tolist() == [1, 0] and found["components"][:, 0].tolist() == [1, n]
    if importlib.util.find_spec("gudhi"):
        assert topology.h1_sums(np.stack([0.9 * ring, np.eye(n)])) == pytest.approx([0.9, 0])


def test_bars_of_dimension_one_are_refused_by_name_where_gudhi_is_absent(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'attnlab\[topology\]'"):
        topology.measure(maps(np.broadcast_to(np.eye(4), (2, 1, 1, 4, 4)).copy()), h1=True)


def test_shuffles_keep_rows_and_the_mask_and_reach_every_key_alike():
    rng = np.random.default_rng(2)
    a = causal_softmax(rng.standard_normal((2, 3, 7, 7)))
    seen = np.tri(7, dtype=bool)[None, None]
    dealt = list(shuffled_rows(a, seen, 5))
    for each in dealt:
        assert (each[~np.broadcast_to(seen, a.shape)] == 0).all()
        assert np.allclose(np.sort(each, -1), np.sort(a, -1), rtol=0, atol=0)
    assert not np.allclose(dealt[0], dealt[1])
    last = causal_softmax(9 * rng.standard_normal((400, 1, 6, 6)))
    at = np.concatenate(
        [each[:, 0, -1].argmax(-1) for each in shuffled_rows(last, np.tri(6, dtype=bool)[None, None], 3)]
    )
    counts = np.bincount(at, minlength=6)
    assert ((counts - 200) ** 2 / 200).sum() < 30.9  # chi2 with 5 degrees of freedom, 1e-5


def test_deals_are_spread_more_evenly_than_independent_ones():
    assert spread_of_hits(np.array([1, 2, 4]), 8).tolist() == [0, 0, 0]
    want = (3 * 0.25**2 + 2 * 0.125**2) / 5 - 0.2**2  # 8 deals on 5 keys: three keys are hit twice, two once
    assert spread_of_hits(np.array([5]), 8)[0] == pytest.approx(want) and want < 0.2 * 0.8 / 8
