"""The simulators of graph attention where the outcome is known."""

from itertools import product

import numpy as np
import pytest
import torch

from attnlab.simulators.graph_attention import answers, constructions, lookup, maps


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_tables_are_those_of_the_layer_on_one_graph():
    """GAT, GATv2 and dot products on one permutation, written out from the definition."""
    for score in lookup.SCORES:
        model = lookup.GraphHeads(3, score, 2, 8)
        p = model.initialise([torch.Generator().manual_seed(1)], torch.float64)
        graph = torch.tensor([[2, 0, 1]])
        weights, logits = model.weights_and_logits(p, torch.arange(3) * 3 + graph)
        own = {name: x[0] for name, x in p.items()}
        queries = torch.relu(own["attributes"] + own["values"][3])
        keys = torch.relu(own["attributes"] + own["values"][graph[0]])
        carried = keys @ own["into"]
        expected = torch.zeros(3, 3, dtype=torch.float64)
        for h in range(2):
            cut = slice(4 * h, 4 * h + 4)
            if score == "gat":
                left = (queries @ own["into"])[:, cut] @ own["left"][h]
                e = torch.nn.functional.leaky_relu(left[:, None] + carried[:, cut] @ own["right"][h], 0.2)
            elif score == "gatv2":
                asked = (queries @ own["from_query"])[:, None, cut]
                e = torch.nn.functional.leaky_relu(asked + carried[None, :, cut], 0.2) @ own["readout"][h]
            else:
                e = (queries @ own["from_query"])[:, cut] @ (keys @ own["from_key"])[:, cut].T / 2
            assert weights[0, :, 0, :, h].numpy() == pytest.approx(e.softmax(-1).numpy(), abs=1e-14)
            expected += e.softmax(-1) @ carried[:, cut] @ own["decoder"][cut]
        assert logits[0, :, 0].numpy() == pytest.approx(expected.numpy(), abs=1e-13)


def test_the_loss_is_the_cross_entropy_of_the_values():
    model = lookup.GraphHeads(3, "gatv2", 1, 4)
    p = model.initialise([torch.Generator().manual_seed(2)], torch.float64)
    task = lookup.Lookup(lookup.split(3, 0.4)[0])
    _, logits = model.weights_and_logits(p, task.places)
    expected = torch.nn.functional.cross_entropy(logits[0].flatten(0, 1), task.graphs.T.flatten())
    assert task.loss(model, p, None).item() == pytest.approx(expected.item(), rel=1e-12)


def test_splits_share_no_permutation_and_miss_none():
    seen, unseen = lookup.split(4, 0.2)
    together = {tuple(each) for each in torch.cat([seen, unseen]).tolist()}
    assert len(together) == 24 and len(unseen) == 5


def test_training_a_dynamic_head_answers_and_a_static_one_stays_static():
    setting = lookup.LookupSetting(n_words=3, dim=8, n_steps=300, n_records=3, n_replicas=4)
    gat = lookup.lookup(setting, seeds(4), "cpu")
    v2 = lookup.lookup(lookup.LookupSetting(**{**vars(setting), "score": "gatv2"}), seeds(4), "cpu")
    assert (gat["static"] == 1).all() and (v2["static"][:, -1] < 1).any()
    assert v2["train_nodes"][:, -1].mean() > v2["train_nodes"][:, 0].mean() + 0.2
    assert gat["attention"].sum(-1) == pytest.approx(np.ones((4, 3)), abs=1e-5)


def test_a_planted_static_head_answers_unless_its_gain_is_out_of_range():
    right = constructions.static_lookup(constructions.StaticLookupSetting(n_words=4), seeds(2), "cpu")
    assert (right["right"] == 1).all() and (right["favourites"] == 1).all() and (right["log_ratio"] > 0).all()
    wrong = constructions.static_lookup(constructions.StaticLookupSetting(n_words=4, gain=1.3), seeds(2), "cpu")
    assert wrong["right"] == pytest.approx([0.25, 0.25])


def test_hats_reach_every_map_and_put_zero_elsewhere():
    found = constructions.hats(constructions.HatsSetting(n_nodes=3, height=2.0), seeds(2), "cpu")
    assert (found["reached"] == 27).all()
    assert found["weight"] == pytest.approx(np.full((2, 27, 3), np.exp(2) / (np.exp(2) + 2)), rel=1e-9)


def test_two_units_measure_distance():
    found = constructions.two_units(constructions.UnitsSetting(n_words=(2,), sharpnesses=(1.0,)), seeds(1), "cpu")
    assert found["weight"][0, 0, 0] == pytest.approx([1 / (1 + np.exp(-0.8))] * 2)


def test_answers_are_those_of_a_fine_scan():
    setting = answers.AnswersSetting(n_words=4, n_draws=40)
    found = answers.answers(setting, seeds(1), "cpu")
    stream = answers.random_streams.generators(seeds(1), "data")[0]
    r = torch.randn(40, 4, generator=stream, dtype=torch.float64)
    size = 10 ** (4 * torch.rand(40, 1, generator=stream, dtype=torch.float64) - 2)
    c = -0.6 * r + size * torch.randn(40, 4, generator=stream, dtype=torch.float64)
    f = c[:, None] + answers.leaky(torch.linspace(-6, 6, 3001)[:, None] + r[:, None], 0.2)
    scanned = [max(len(set(row.tolist())) for row in winner) for winner in (f.argmax(-1), f.argmin(-1))]
    assert [found["speaking_for"][0], found["speaking_against"][0]] == scanned


def test_linear_programmes_agree_with_matrices_at_hand():
    found = maps.bilinear_maps(maps.MapsSetting(n_nodes=3), seeds(2), "cpu")
    h = np.random.default_rng(0).normal(size=(3, 2))
    assert found["reached"].shape == (2, 27) and (found["reached"].sum(1) < 27).all()
    forms = np.einsum("ia,jb->ijab", h, h).reshape(3, 3, -1)
    for A in np.random.default_rng(1).normal(size=(20, 2, 2)):
        assert maps._feasible(forms, tuple((h @ A @ h.T).argmax(1)))
    symmetric = maps.symmetric_maps(maps.MapsSetting(n_nodes=3), seeds(1), "cpu")["reached"][0]
    refused = [each for each, ok in zip(product(range(3), repeat=3), symmetric, strict=True) if not ok]
    assert refused == [(1, 2, 0), (2, 0, 1)]


def test_settings_refuse_what_cannot_be():
    with pytest.raises(ValueError, match="n_words=9"):
        lookup.LookupSetting(n_words=9)
    with pytest.raises(ValueError, match="n_heads=5"):
        lookup.LookupSetting(n_heads=5)
    with pytest.raises(ValueError, match="n_nodes=6"):
        maps.MapsSetting(n_nodes=6)
