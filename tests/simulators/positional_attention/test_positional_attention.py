"""The simulators of positional heads where the outcome is known."""

import numpy as np
import pytest
import torch

from attnlab.simulators.positional_attention import gates, heads


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_sharp_heads_are_shifts_in_the_interior_and_not_at_a_corner():
    found = heads.heads(heads.HeadsSetting(side=7, localities=(40.0,)), seeds(1), "cpu")
    assert found["error"][0, 0] < 1e-8 and found["distance"][0, 0] < 1e-12
    assert found["corner_error"][0, 0] == pytest.approx((5 / 9) ** 0.5)
    assert found["centre"][0, 0] == pytest.approx(1)


def test_maps_of_the_operator_have_rows_of_one_and_look_at_their_centres():
    maps = heads.positional_maps(2.0, 4, 5)
    assert maps.sum(-1).numpy() == pytest.approx(np.ones((4, 25)))
    top = maps[0, 12].topk(5)
    assert sorted(top.indices[:4].tolist()) == [6, 7, 11, 12]  # the corner up and to the left of the middle cell
    assert top.values[0].item() == pytest.approx(top.values[3].item()) and top.values[4] < 0.9 * top.values[3]


def test_uniform_maps_of_a_grid_of_two():
    found = heads.uniform(heads.UniformSetting(sides=(2,)), seeds(1), "cpu")
    assert found["distance"][0, 0] == pytest.approx((2 + 2**0.5) / 4)


def test_a_closed_gate_leaves_content_and_its_gradient_is_measured():
    found = heads.layers(heads.LayerSetting(side=3, n_heads=1, head_dim=2), seeds(2), "cpu")
    g = 1 / (1 + np.exp(-found["gate"]))
    by_hand = g * (1 - g) * (found["map_gradient"] * (found["positional"] - found["content"])).sum((2, 3))
    assert found["gate_gradient"] == pytest.approx(by_hand, rel=1e-10)
    assert found["content"].std() > 1e-3


def test_a_window_of_the_whole_grid_closes_the_gate_and_of_one_cell_opens_it():
    ends = {}
    for radius in (0, 4):
        setting = gates.WindowSetting(side=5, radius=radius, n_steps=300, n_replicas=4)
        found = gates.windows(setting, seeds(4), "cpu")
        assert found["target"].sum(-1) == pytest.approx(np.ones((4, 25)))
        ends[radius] = found["gate"][:, -1] - found["gate"][:, 0]
    assert (ends[0] > 0).all() and (ends[4] < 0).all()


def test_the_loss_of_matching_vanishes_at_the_mixture_only():
    away = heads.offsets(4)
    features = torch.cat([(away**2).sum(-1, keepdim=True), away], -1)
    blur = heads.positional_maps(1.0, 1, 4)[0]
    model, task = gates.GatedHead(features, 1.0), gates.Matching(blur, 0.3, 5)
    numbers = torch.rand(1, task.numbers_per_step, generator=torch.Generator().manual_seed(0)).double()
    sharp = 40 * torch.eye(16).double()[torch.arange(16) ^ 1][None]
    own = {
        "content": sharp,
        "position": torch.tensor([[-1.0, 0, 0]]).double(),
        "gate": torch.logit(torch.tensor([[0.3]], dtype=torch.float64)),
        "scale": torch.ones(1, 1).double(),
    }
    assert task.loss(model, own, numbers).item() < 1e-20
    assert task.loss(model, own | {"gate": torch.zeros(1, 1).double()}, numbers).item() > 0.01
    seen = model.observe(own)
    assert seen["gate"].item() == pytest.approx(0.3) and seen["match"].item() == pytest.approx(1)


def test_the_loss_of_matching_is_that_of_one_order_written_out():
    away = heads.offsets(2)
    features = torch.cat([(away**2).sum(-1, keepdim=True), away], -1)
    blur = heads.positional_maps(1.0, 1, 2)[0]
    model, task = gates.GatedHead(features, 2.0), gates.Matching(blur, 0.4, 1)
    own = model.initialise([torch.Generator().manual_seed(3)], torch.float64)
    numbers = torch.tensor([[0.9, 0.1, 0.5, 0.3]]).double()
    cell = [1, 3, 2, 0]  # of the identities, by rank
    C, P = own["content"][0].softmax(-1), model.positional(own)[0]
    g = torch.sigmoid(own["gate"][0, 0])
    total = 0.0
    for i in range(4):
        for j in range(4):
            mixed = g * P[cell[i], cell[j]] + (1 - g) * C[i, j]
            total += (mixed - 0.4 * blur[cell[i], cell[j]] - 0.6 * (j == i ^ 1)) ** 2
    assert task.loss(model, own, numbers).item() == pytest.approx(total.item() / 4, rel=1e-12)


def test_matching_training_leaves_the_start():
    setting = gates.MatchingSetting(n_steps=200, n_records=3, n_replicas=2)
    found = gates.matching(setting, seeds(2), "cpu")
    assert found["gate"][:, 0] == pytest.approx([0.7310586] * 2, rel=1e-6)
    assert (found["gate"][:, -1] < 0.6).all() and (found["match"][:, -1] > 2 * found["match"][:, 0]).all()


def test_settings_refuse_what_cannot_be():
    with pytest.raises(ValueError, match="side=4"):
        heads.HeadsSetting(side=4)
    with pytest.raises(ValueError, match="side=5"):
        gates.MatchingSetting(side=5)
    with pytest.raises(ValueError, match="local_share"):
        gates.MatchingSetting(local_share=1.0)
