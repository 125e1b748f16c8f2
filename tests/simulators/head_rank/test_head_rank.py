"""The simulators of low-rank heads: geometry, hard and soft heads, and the transformer, against loops and torch's own layers."""

import math

import numpy as np
import pytest
import torch

from attnlab.simulators.head_rank import farthest as head_rank_farthest
from attnlab.simulators.head_rank import full_rank_head as head_rank
from attnlab.simulators.head_rank import pairs as head_rank_pairs
from attnlab.simulators.head_rank import random_heads as head_rank_hard
from attnlab.simulators.models.encoder import Encoder


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_pairs_are_orthonormal_and_the_chosen_point_has_the_largest_score():
    points, y = head_rank.pairs(torch.randn(50, 3, 4, generator=generator(), dtype=torch.float64))
    assert torch.allclose(points @ points.mT, torch.eye(2, dtype=torch.float64).expand(50, 2, 2), atol=1e-14)
    assert torch.allclose(y.norm(dim=-1), torch.ones(50, dtype=torch.float64))
    scores = torch.einsum("snd,sd->sn", points, y)
    best = head_rank.chosen(points, scores)
    assert torch.allclose((best * y).sum(-1), scores.max(-1).values)


def test_full_rank_head_goes_from_the_mean_to_the_target(seeds):
    setting = head_rank.Setting(inverse_temperatures=(1e-9, 1e7), n_samples=500)
    error = head_rank.full_rank_on_pairs(setting, seeds(2), "cpu")["error"]
    assert error[:, 0] == pytest.approx(0.5) and (error[:, 1] < 1e-3).all()
    for target, n_points in (("nearest", 4), ("farthest", 5)):
        points = head_rank.Setting(
            dim=3, n_points=n_points, target=target, inverse_temperatures=(1e-9, 1e7), n_samples=4_000
        )
        found = head_rank.full_rank_on_points(points, seeds(2), "cpu")["error"]
        assert (found[:, 0] > 0.5).all() and (found[:, 1] < 1e-3).all()


def test_farthest_point_is_never_the_own_one(seeds):
    # at two points the only other one is the farthest, and the head errs only by the weight left on itself
    setting = head_rank.Setting(dim=3, n_points=2, target="farthest", inverse_temperatures=(3.0,), n_samples=20_000)
    error = head_rank.full_rank_on_points(setting, seeds(4), "cpu")["error"]
    t, w = np.polynomial.legendre.leggauss(100)
    exact = np.sum(w / 2 * 2 * (1 - t) / (1 + np.exp(3.0 * (1 - t))) ** 2)  # d = 3: t uniform
    assert abs(error.mean() - exact) < 4 * 0.2 / 80_000**0.5


def test_linear_regime_is_a_sum_of_softmax_heads(seeds):
    setting = head_rank.LinearSetting(dim=3, gain=0.7, value=2.0, n_samples=1)
    found = head_rank.linear_regime(setting, seeds(5), "cpu")["error"]
    for seed, error in zip(seeds(5), found, strict=True):
        stream = head_rank.random_streams.generators([seed], "data")[0]
        points, y = head_rank.pairs(torch.randn(1, 3, 3, generator=stream, dtype=torch.float64))
        out = (1 - 3 * 2.0) * points[0].mean(0)
        for i in range(3):
            out = out + 2.0 * torch.softmax(0.7 * y[0, i] * points[0, :, i], 0) @ points[0]
        target = points[0, int((points[0] @ y[0]).argmax())]
        assert ((out - target) ** 2).sum().item() == pytest.approx(error, rel=1e-10)


def test_drawn_heads_are_unit_with_uniform_cosine():
    Q, K = head_rank_hard.draw_heads(4_000, 5, generator())
    cosine = (Q * K).sum(1)
    assert torch.allclose(Q.norm(dim=1), torch.ones(4_000, dtype=torch.float64))
    assert torch.allclose(K.norm(dim=1), torch.ones(4_000, dtype=torch.float64))
    assert (
        abs(cosine.mean().item()) < 4 / (3 * 4_000) ** 0.5
        and abs((cosine**2).mean().item() - 1 / 3) < 4 * 0.3 / 4_000**0.5
    )


def test_agreements_are_inner_products_of_what_heads_choose(seeds):
    setting = head_rank_hard.HeadsSetting(dim=4, n_heads=3, n_samples=40)
    runs = head_rank_hard.random_heads(setting, seeds(1), "cpu")
    stream = head_rank.random_streams.generators(seeds(1), "data")[0]
    points, y = (x.numpy() for x in head_rank.pairs(torch.randn(40, 3, 4, generator=stream, dtype=torch.float64)))
    choice = np.zeros((40, 3, 4))
    for s in range(40):
        for h, (q, k) in enumerate(zip(runs["Q"][0], runs["K"][0], strict=True)):
            choice[s, h] = points[s, np.argmax(points[s] @ k * (q @ y[s]))]
    nearest = points[np.arange(40), np.einsum("snd,sd->sn", points, y).argmax(1)]
    assert runs["agreement"][0] == pytest.approx(np.einsum("shd,sgd->hg", choice, choice) / 40)
    assert runs["target"][0] == pytest.approx(np.einsum("shd,sd->h", choice, nearest) / 40)


def test_one_vote_is_one_head_and_more_votes_are_better(seeds):
    setting = head_rank_hard.VoteSetting(dim=3, n_heads=(1, 2, 51), n_models=20, n_samples=400)
    runs = head_rank_hard.majority_vote(setting, seeds(4), "cpu")
    error = runs["error"].mean(0)
    right = 0.5 + (math.pi / 2 - 1) / math.pi  # d = 3: E asin|t| = pi / 2 - 1
    assert error[0] == pytest.approx(2 * (1 - right), abs=4 * 1 / 32_000**0.5 + 4 * 0.2 / 80**0.5)
    assert error[2] < 0.3 < error[1] < error[0]
    assert (runs["averaged_error"][:, 2] > 0.1).all()  # an average is not a count


@pytest.mark.parametrize("kind", head_rank_pairs.KINDS)
def test_pair_heads_are_sums_of_attention(kind):
    model = head_rank_pairs.PairHeads(4, 2, 3, kind)
    p = model.initialise([generator(k) for k in range(2)], torch.float64)
    points, y = head_rank.pairs(torch.randn(2, 5, 3, 4, generator=generator(9), dtype=torch.float64))
    found = model.forward(p, points, y)
    r, s = 1, 3
    out = torch.zeros(4, dtype=torch.float64)
    for h in range(3):
        keys = points[r, s] @ p["K"][r, h].T
        phi = torch.softmax(keys @ (p["Q"][r, h] @ y[r, s]), 0)
        if kind == "gated":
            phi = phi * (1 + p["gate_y"][r, h] @ y[r, s] + keys @ p["gate_x"][r, h])
        V = p["V"][r, h] * torch.eye(4, dtype=torch.float64) if kind == "scalar" else p["V"][r, h]
        out = out + V @ (phi @ points[r, s])
    assert torch.allclose(found[r, s], out, atol=1e-13)


def test_training_on_pairs_beats_the_constant_head(seeds):
    runs = head_rank_pairs.train_on_pairs(
        head_rank_pairs.PairSetting(dim=4, rank=4, n_heads=1, n_steps=150, n_test=2_000), seeds(2), "cpu"
    )
    assert (runs["error"] < 0.4).all() and (runs["diverged_at"] < 0).all()


def test_encoder_is_torchs_attention_with_radial_norms():
    model = Encoder(4, 5, 2, 1, 1, 6)
    p = model.initialise([generator(k) for k in range(2)], torch.float64)
    p = {name: x + 0.3 * torch.randn(x.shape, generator=generator(3), dtype=torch.float64) for name, x in p.items()}
    x = torch.randn(2, 3, 5, 4, generator=generator(4), dtype=torch.float64)
    layer = torch.nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        layer.in_proj_weight.copy_(p["in0"][1, :-1].T)
        layer.in_proj_bias.copy_(p["in0"][1, -1])
        layer.out_proj.weight.copy_(p["out0"][1, :-1].T)
        layer.out_proj.bias.copy_(p["out0"][1, -1])
        h = x[1] + layer(x[1], x[1], x[1], need_weights=False)[0]
        h = p["norm0"][1, 0] * h / h.norm(dim=-1, keepdim=True)
        h = h + torch.relu(h @ p["up0"][1, :-1] + p["up0"][1, -1]) @ p["down0"][1, :-1] + p["down0"][1, -1]
        h = p["norm0"][1, 1] * h / h.norm(dim=-1, keepdim=True)
    assert torch.allclose(model.forward(p, x)[1], h, atol=1e-12)
    weight = layer.in_proj_weight.detach()
    M = weight[2:4].T @ weight[6:8] / 2**0.5  # second head: its rows of W_q and W_k
    assert torch.allclose(model.score_matrices(p)[1, 1], M, atol=1e-13)


def test_copies_are_averaged_and_positions_change_the_output():
    one, two = Encoder(4, 3, 4, 1, 1, 2), Encoder(4, 3, 4, 2, 1, 2)
    p = one.initialise([generator()], torch.float64)
    maps = p["in0"].view(1, 5, 3, 1, 4).expand(1, 5, 3, 2, 4).reshape(1, 5, 24)
    doubled = p | {"in0": maps, "out0": torch.cat([p["out0"][:, :-1]] * 2 + [p["out0"][:, -1:]], dim=1)}
    x = torch.randn(1, 2, 3, 4, generator=generator(1), dtype=torch.float64)
    assert torch.allclose(one.forward(p, x), two.forward(doubled, x), atol=1e-13)
    for positions, width in (("added", 4), ("appended", 8)):
        model = Encoder(4, 3, 4, 1, 1, 2, positions)
        q = model.initialise([generator()], torch.float64)
        out = model.forward(q, x)
        assert model.width == width and out.shape == x.shape
        assert not torch.allclose(model.forward(q, x.flip(2)), out.flip(2), atol=1e-3)  # order matters now
    assert torch.allclose(one.forward(p, x.flip(2)), one.forward(p, x).flip(2), atol=1e-13)  # and did not before


def test_training_on_the_farthest_point_runs_and_tells_its_target(seeds):
    normals = torch.randn(1, 2, 4, 3, generator=generator(5))
    points = normals / normals.norm(dim=-1, keepdim=True)

    class Fixed:
        def forward(self, parameters, x):
            return torch.stack([torch.stack([s[int((s @ q).argmin())] for q in s]) for s in x[0]])[None]

    assert head_rank_farthest.squared_errors(Fixed(), {}, normals).abs().max() == 0
    assert points.shape == normals.shape
    setting = head_rank_farthest.FarthestSetting(
        dim=4, n_points=4, rank=2, copies=2, hidden=4, batch=8, n_steps=30, n_test=50
    )
    runs = head_rank_farthest.train_farthest(setting, seeds(2), "cpu")
    assert runs["angle"].shape == (2, 4) and np.isfinite(runs["error"]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: head_rank.Setting(target="furthest"), "did you mean 'farthest'"),
        (lambda: head_rank.Setting(dim=2), "dim=2"),
        (lambda: head_rank_pairs.PairSetting(rank=9), "rank=9 exceeds dim=8"),
        (lambda: head_rank_pairs.PairSetting(kind="matrx"), "did you mean 'matrix'"),
        (lambda: head_rank_farthest.FarthestSetting(rank=3), "rank=3 does not divide 8"),
        (lambda: head_rank_farthest.FarthestSetting(positions="add"), "positions='add'"),
        (lambda: head_rank_hard.VoteSetting(n_heads=(0,)), "n_heads=0"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
