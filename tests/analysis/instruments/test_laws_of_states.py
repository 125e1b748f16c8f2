"""Laws of instruments on states and on graphs of maps, each against a closed form or a simulation."""

import importlib.util

import numpy as np
import pytest
from scipy import special

from attnlab.analysis.instruments.maps import (
    diversity,
    graph_agreement,
    max_attention,
    pattern_clusters,
    pattern_probe,
    topology,
)
from attnlab.analysis.instruments.readings import Readings, maps
from attnlab.analysis.instruments.row_shuffles import shuffled_rows, spread_of_hits
from attnlab.analysis.instruments.sinks import removal, sink_levels
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


@pytest.mark.parametrize("w", [0.1, 0.3, 0.5, 0.9])
def test_alignment_of_a_sink_on_noise_and_of_heads_without_noise(w):
    n = 512
    raw = np.exp(np.random.default_rng(3).standard_normal((n, n)))
    a = (1 - w) * raw / raw.sum(-1, keepdims=True)
    a[:, 0] += w
    # mean squares of rows and of their mean; the sheet's .686 at w = .1 does not say how wide its background is
    mean, row = ((w**2 + 2 * w * (1 - w) / n + (1 - w) ** 2 * e / n) for e in (1.0, np.e))
    assert diversity.alignment(a) == pytest.approx((mean / row) ** 0.5, abs=8e-3)
    assert diversity.alignment(np.eye(32)) == pytest.approx(32**-0.5)
    assert diversity.alignment(np.eye(32), 2.0) == 0 and diversity.alignment(np.full((8, 8), 1 / 8)) == pytest.approx(1)
    assert 1 / diversity.concentration(np.full((8, 8), 1 / 8)) == pytest.approx(8)


def test_the_spread_of_concentration_is_that_of_simulations():
    for share in (0.0, 0.3):
        made = diversity._hard(np.random.default_rng(4), share)
        values = diversity.concentration(made.sites["L0.pattern"]).ravel()
        assert values.std() == pytest.approx(diversity._sd(share), rel=4 * (2 / len(values)) ** 0.5)


def test_without_a_no_op_sink_only_the_norm_changes_and_outputs_are_those_of_a_new_softmax():
    rng = np.random.default_rng(5)
    s, v = rng.standard_normal((3, 2, 6, 6)), rng.standard_normal((3, 2, 6, 4))
    v[:, :, 0] = 0
    a = causal_softmax(s)
    made = removal.measure(Readings({"L0.pattern": a, "L0.v": v}))
    assert np.abs(made["turn"].value).max() < 1e-14
    cut = removal.without_key(a, v)
    masked = s.copy()
    masked[..., 2] = -np.inf
    assert np.allclose(cut[..., 3:, 2, :], (causal_softmax(masked) @ v)[..., 3:, :], rtol=0, atol=1e-13)
    assert np.isnan(cut[..., 0, 0, :]).all(), "a row of one key has no output without it"
    o = a @ v
    move = np.linalg.norm(cut[..., 4, 2, :] - o[..., 4, :], axis=-1) / a[..., 4, 2]
    assert np.allclose(move, np.linalg.norm(v[..., 2, :] - cut[..., 4, 2, :], axis=-1), rtol=1e-12)


def test_a_perfect_head_on_an_uneven_graph_is_all_of_its_ceiling():
    rng = np.random.default_rng(6)
    upper = np.triu(rng.random((4, 30, 30)) < 0.15, 1)
    graph = (upper | np.swapaxes(upper, -1, -2)).astype(float)
    graph[:, np.arange(29), np.arange(1, 30)] = graph[:, np.arange(1, 30), np.arange(29)] = 1  # nobody is alone
    perfect = graph / graph.sum(-1, keepdims=True)
    made = graph_agreement.measure(graph_agreement.Graphs(perfect[:, None], graph))
    assert made["part"].value[0] == pytest.approx(1, abs=1e-12) and 0.85 < made["agreement"].value[0] < 0.99
    chain = np.tile(np.eye(30, k=1) + np.eye(30, k=-1), (4, 1, 1))
    with pytest.raises(ValueError, match="function of token distance alone"):
        graph_agreement.measure(graph_agreement.Graphs(perfect[:, None], chain))


def test_maximum_attention_counts_the_heads_that_win():
    weights = np.array([[[0.6, 0.2], [0.1, 0.5], [0.3, 0.1]]])[None]  # (prompt, layer, head, candidate)
    score = max_attention.scores_of(weights)
    assert np.allclose(score, [[[0.9 / 1.4, 0.5 / 1.4]]])
    near = max_attention.scores_of(np.array([[[[0.5, 0.48]]]]))
    assert near.tolist() == [[[1, 0]]], "a head counts for its first choice alone, however near the second is"
    # the sheet's example: 7 heads of weight .8 among 144, others random
    rng = np.random.default_rng(7)
    raw = rng.exponential(size=(4000, 1, 144, 2))
    raw[:, :, :7] = (0.8, 0.0)
    z = raw[:, :, 7:].max(-1)
    measured = (lambda s: (s[..., 0] > s[..., 1]).mean())(max_attention.scores_of(raw))
    law = special.ndtr(7 * 0.8 / np.sqrt(137 * (z**2).mean()))
    assert abs(measured - law) < 4 * (0.25 / 4000) ** 0.5 + 5e-3
    assert max_attention.majority(0.6, 3) == pytest.approx(0.6**3 + 3 * 0.6**2 * 0.4)


def test_agreement_of_partitions_is_that_of_all_pairs():
    rng = np.random.default_rng(8)
    a, others = rng.integers(3, size=12), rng.integers(3, size=(5, 12))
    for b, found in zip(others, pattern_clusters.adjusted_rand(a, others, 3), strict=True):
        pairs = [(i, j) for i in range(12) for j in range(i)]
        both = sum(a[i] == a[j] and b[i] == b[j] for i, j in pairs)
        one, two = (sum(x[i] == x[j] for i, j in pairs) for x in (a, b))
        expected = one * two / len(pairs)
        assert found == pytest.approx((both - expected) / ((one + two) / 2 - expected))
    assert pattern_clusters.adjusted_rand(a, (a[None] + 1) % 3, 3)[0] == 1


@pytest.mark.parametrize("weight", [0.1, 0.3])
def test_templates_come_out_of_the_clustering(weight):
    n, i, kinds = 24, np.arange(24), np.repeat(np.arange(5), 40)
    s = np.random.default_rng(9).standard_normal((200, n, n))
    maps_ = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    for kind, at in enumerate((i, np.maximum(i - 1, 0), np.minimum(i + 1, n - 1), 0 * i)):
        maps_[kinds == kind] = (1 - weight) * maps_[kinds == kind] + weight * np.eye(n)[at]
    made = pattern_clusters.measure(pattern_clusters.Kinds(maps_[None], kinds[None]))["agreement"]
    assert made.value[0] == 1 and made.p[0] == 1 / 200
    order = np.random.default_rng(10).permutation(200)
    assert pattern_clusters.stability(maps_[order], 5) == 1


def test_newtons_probe_is_at_the_maximum_of_a_penalised_likelihood():
    made = pattern_probe._world(np.random.default_rng(11), 0.3)
    x = pattern_probe.features(made.patterns)
    w = pattern_probe.fit(x, made.parents)

    def value(w):
        p = pattern_probe._shares(x, w)
        own = np.take_along_axis(p, made.parents[:, None, :, None], -1)
        return np.log(own).sum((0, 2, 3)) - 0.5 * pattern_probe.RIDGE * made.parents.shape[1] * (w**2).sum(-1)

    best = value(w)
    for k in range(w.shape[1]):
        for step in (-1e-3, 1e-3):
            moved = w.copy()
            moved[:, k] += step
            assert (value(moved) < best).all()
    assert (w.argmax(-1) == 0).all(), "the head that knows has the largest weight"
