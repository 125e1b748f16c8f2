"""Laws of positional operators against the operators themselves; each with its twin."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Grid, Sizes, Tokens
from attnlab.kernels.operators.positional_attention.alternating_positions import AlternatingPositions
from attnlab.kernels.operators.positional_attention.disentangled import Disentangled
from attnlab.kernels.operators.positional_attention.fourier_positions import FourierPositions
from attnlab.kernels.operators.positional_attention.gated_positions import GatedPositions, centres
from attnlab.kernels.operators.positional_attention.geometric_algebra import GeometricAlgebra
from attnlab.kernels.operators.positional_attention.group_transport import GroupTransport
from attnlab.kernels.operators.positional_attention.relative_positions import RelativePositions
from attnlab.kernels.operators.positional_attention.sphere import Sphere
from attnlab.theory.positional_attention import (
    alternating_positions,
    disentangled,
    fourier_positions,
    gated_positions,
    geometric_algebra,
    group_transport,
    relative_positions,
    sphere,
)

EPS = np.finfo(float).eps


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generators(n=1):
    return [torch.Generator().manual_seed(seed) for seed in range(n)]


def qkv(n, d=4, heads=1):
    return QKV(*(normal(1, 1, heads, n, d, seed=s) for s in range(3)))


@pytest.mark.parametrize("n", [9, 40, 200])
def test_a_table_of_offsets_is_diluted_beyond_its_reach(n):
    """Inner offsets of the table have bonus b, all keys are alike: the middle query's mass on the 2 m - 1 near keys."""
    m, bonus, d = 4, 2.0, 4
    table = torch.zeros(1, 2 * m + 1, d, dtype=torch.float64)
    table[0, 1:-1, 0] = bonus * math.sqrt(d)
    q = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).expand(1, 1, 1, n, d)
    M = RelativePositions(m).matrix(QKV(q, torch.zeros_like(q), q), {"key_table": table})[0, 0, 0, n // 2]
    near = M[n // 2 - m + 1 : n // 2 + m].sum().item()
    assert near == pytest.approx(relative_positions.near_mass(2 * m - 1, bonus, n), rel=100 * EPS)
    assert (M[: n // 2 - m + 1] == M[0]).all()  # far keys are alike
    half = relative_positions.half_length(7, bonus)
    assert 1 / (1 + (half - 7) / 7 * math.exp(-bonus)) == pytest.approx(0.5)
    assert abs(1 / (1 + (7 * math.exp(bonus) - 7) / 7 * math.exp(-bonus)) - 0.5) > 0.02  # twin: half at k e^b


def test_disentangled_scores_are_those_of_the_loops_and_of_variance_one():
    n, d, m = 7, 4, 2
    x, operator = qkv(n, d), Disentangled(m)
    tables = {name: normal(1, 1, 2 * m, d, seed=5 + i) for i, name in enumerate(("to_key", "to_query"))}
    q, k, rK, rQ = x.q[0, 0, 0], x.k[0, 0, 0], tables["to_key"][0, 0], tables["to_query"][0, 0]

    def delta(i, j):
        return 0 if i - j <= -m else 2 * m - 1 if i - j >= m else i - j + m

    def scores(swapped):
        s = torch.zeros(n, n, dtype=torch.float64)
        for i in range(n):
            for j in range(n):
                other = delta(i, j) if swapped else delta(j, i)
                s[i, j] = q[i] @ k[j] + q[i] @ rK[delta(i, j)] + k[j] @ rQ[other]
        return s / math.sqrt(3 * d)

    M = operator.matrix(x, tables)[0, 0, 0]
    assert (M - scores(False).softmax(-1)).abs().max() < 100 * EPS
    assert (M - scores(True).softmax(-1)).abs().max() > 0.05  # twin: p2c indexed by delta(i, j)
    rng = np.random.default_rng(0)
    q, k, a, b = rng.normal(size=(4, 20_000, 16))
    s = ((q * k).sum(1) + (q * a).sum(1) + (k * b).sum(1)) * disentangled.scale_without_positions(16)
    assert abs(s.var() - disentangled.score_variance(16)) < 4 * math.sqrt(2 / 20_000) * 1.3  # kurtosis of products
    assert abs(s.var() - disentangled.score_variance(16, 1)) > 0.5


def test_frequencies_below_one_period_are_counted_and_removed():
    for L in (512, 2048, 8192, 32768):
        slow = sum(10000 ** (-2 * m / 64) < 2 * math.pi / L for m in range(32))
        assert fourier_positions.undertrained_frequencies(64, L) == slow
        kept = FourierPositions(trained_length=L, carrying=1.0).frequencies(64)
        assert len(kept) == 32 - slow
    assert fourier_positions.undertrained_frequencies(64, 512) != 32 - round(32 * math.log(512) / math.log(1e4))  # twin


@pytest.mark.parametrize(("periods", "ridge"), [(0, 1e-2), (1, 1e-6), (8, 1e-6)])
def test_noise_of_a_fit_beyond_its_range(periods, ridge):
    """200 draws of noise fitted on distances below L = 512; 4 relative standard errors of the mean square."""
    L = 512
    w = np.array([10000.0 ** (-2 * m / 64) for m in range(32)])
    w = w[w >= periods * 2 * math.pi / L]
    inside, outside = fourier_positions.waves(w, np.arange(L)), fourier_positions.waves(w, np.arange(L, 4 * L))
    noise = np.random.default_rng(1).normal(size=(L, 200))
    G = np.linalg.solve(inside.T @ inside + ridge * np.eye(inside.shape[1]), inside.T)
    square = ((outside @ (G @ noise)) ** 2).mean(0)
    predicted = fourier_positions.noise_beyond_exact(w, L, 4 * L, ridge)
    assert abs(square.mean() - predicted**2) < 4 * square.std() / 200**0.5
    within = np.sqrt(((inside @ G) ** 2).sum() / L)
    assert (predicted < 1.5 * within) == (periods == 8)  # twin: one period leaves no amplification


def test_pairs_without_a_frequency_count_twice_and_a_gain_breaks_shifts():
    x = qkv(6, 4)
    free = FourierPositions(trained_length=1e-3)
    parameters = free.initialise(Sizes(n=6, d=4, d_v=4), generators(), torch.float64)
    assert (free.apply(x, parameters) - DotProduct(2 / 2).apply(x, {})).abs().max() < 100 * EPS
    assert (free.apply(x, parameters) - DotProduct().apply(x, {})).abs().max() > 1e-3  # twin: weight one
    same = torch.ones(1, 1, 1, 8, 4, dtype=torch.float64)
    for gain, shifts in ((0.0, True), (0.3, False)):
        operator = FourierPositions(gain, 1e9, 1.0)
        own = operator.initialise(Sizes(n=8, d=4, d_v=4), generators(), torch.float64)
        q = operator.prepared(same, torch.arange(8), own)[0, 0, 0]
        s = q @ q.T
        assert bool((s[1:, 1:] - s[:-1, :-1]).abs().max() < 1e-12) == shifts


def test_needles_in_layers_without_positions_stand_until_e_to_the_gap():
    gap, n = 3.0, 22
    k = torch.zeros(1, 1, 1, n, 1, dtype=torch.float64)
    k[..., 5, 0] = gap
    M = AlternatingPositions(0).matrix(QKV(torch.ones_like(k), k, k), {})
    assert M[0, 0, 0, 0, 5].item() == pytest.approx(alternating_positions.needle_mass(gap, n), rel=10 * EPS)
    assert alternating_positions.half_length(gap) == pytest.approx(1 + math.exp(3))
    assert abs(M[0, 0, 0, 0, 5].item() - alternating_positions.needle_mass(gap, 4 * n)) > 0.2  # twin: constant in n
    unit = torch.nn.functional.normalize(normal(1, 1, 1, 50, 4), dim=-1)
    gap = 2.0 * (unit @ unit.mT)
    assert (gap.amax() - gap.amin()) <= 2 * 2.0 and alternating_positions.half_length_bound(2.0) == 1 + math.exp(4.0)


def test_the_cache_of_alternating_layers_is_counted():
    for n, window in ((64, 16), (10, 16)):
        sizes = Sizes(n=n, d=4, d_v=4)
        kept = sum(alternating_positions.state_numbers(sizes, layer=layer, window=window) for layer in range(8))
        assert kept / (8 * n * 8) == pytest.approx(alternating_positions.cache_share(n, window))
    assert alternating_positions.cache_share(8192, 4096) == 0.625


def test_transport_does_not_see_the_frame():
    """4 x 4 rigid motions; rounding grows with the translation of the frame, by its square."""
    n, d = 6, 8
    x, operator = qkv(n, d), GroupTransport()

    def pose(seed, translation):
        g = torch.eye(4, dtype=torch.float64)
        g[:3, :3] = torch.linalg.qr(normal(3, 3, seed=seed))[0]
        g[:3, 3] = translation * normal(3, seed=100 + seed)
        return g

    elements = torch.stack([pose(s, 1.0) for s in range(n)])[None]
    y = operator.apply(x, {"elements": elements})
    for size in (1.0, 100.0):
        moved = operator.apply(x, {"elements": pose(50, size) @ elements})
        assert (moved - y).abs().max() < 1e3 * EPS * (1 + size**2)
    turned = operator.apply(x, {"elements": elements @ pose(50, 1.0)})
    assert (turned - y).abs().max() > 1e-2  # from the other side it is no change of frame
    absolute = QKV(*(torch.cat([each, elements.flatten(-2)[:, None, None]], -1) for each in (x.q, x.k)), x.v)
    shifted = (pose(50, 1.0) @ elements).flatten(-2)[:, None, None]
    other = QKV(*(torch.cat([each, shifted], -1) for each in (x.q, x.k)), x.v)
    assert (DotProduct().apply(absolute, {}) - DotProduct().apply(other, {})).abs().max() > 1e-2  # twin: poses beside x
    rng = np.random.default_rng(2)
    q, k = rng.normal(size=(2, 40_000, 2))
    g = np.array([[1, 2.0], [0, 1]])
    s = np.einsum("na,ab,nb->n", q, g, k)
    assert abs(s.var() - group_transport.block_variance(g)) < 4 * (s**2).std() / 200
    assert abs(s.var() - 2) > 3  # twin: transports keep the variance


@pytest.mark.parametrize("n_lat", [8, 16])
def test_weighted_attention_on_the_sphere_is_the_integral(n_lat):
    kappa, d = 4.0, 3
    predicted = sphere.mean_direction_exact(kappa)

    def response(grid):
        points, weights = grid
        eye = torch.eye(3, dtype=torch.float64)[None, None]
        parameters = {"query": kappa * math.sqrt(d) * eye, "key": eye, "value": eye, "out": eye}
        x = torch.tensor(points)[None, None]
        y = Sphere().apply(Grid(x, (n_lat, 2 * n_lat), None if weights is None else torch.tensor(weights)), parameters)
        return ((y - predicted * x).abs().max() / predicted).item()

    gauss, equal = sphere.gauss_legendre_grid(n_lat, 2 * n_lat), sphere.equal_angle_grid(n_lat, 2 * n_lat)
    error = response(gauss)
    assert error < (1e-13 if n_lat == 16 else 1e-7)
    assert error < response(equal) / 10 < response((equal[0], None))
    assert response((equal[0], None)) > 0.03  # twin: no weights, at every resolution
    z = equal[0][:, 2]
    assert (z**2).mean() == pytest.approx(0.5) and (gauss[0][:, 2] ** 2 @ gauss[1]) / gauss[1].sum() == pytest.approx(
        1 / 3
    )


@pytest.mark.parametrize("order", [2, 3])
def test_only_triples_tell_a_cloud_from_its_mirror_image(order):
    operator, sizes = GeometricAlgebra(order, 8), Sizes(n=6, d=3, d_v=3, n_heads=2)
    parameters = operator.initialise(sizes, generators(), torch.float64)
    x = normal(1, 1, 6, 6)
    y = operator.apply(Tokens(x), parameters)
    rotation = torch.linalg.qr(normal(3, 3, seed=1))[0]
    rotation = rotation * torch.det(rotation)  # a proper one
    for turn, proper in ((rotation, True), (torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64)), False)):
        moved = operator.apply(Tokens(torch.cat([x[..., :3] @ turn.T, x[..., 3:]], -1)), parameters)
        alike = bool((moved[..., 3:] - y[..., 3:]).abs().max() < 1e-12)
        assert alike == (proper or not geometric_algebra.tells_handedness(order))
        if proper or order == 2:
            sign = 1 if proper else -1  # a pseudovector
            assert (moved[..., :3] - sign * y[..., :3] @ turn.T).abs().max() < 1e-12


def test_the_centre_weight_of_a_positional_head_is_a_theta_function():
    operator = GatedPositions()
    middle = 5 * 11 + 5
    for locality in (0.5, 1.0, 4.0):
        position = torch.tensor([[-locality, 0.0, 0.0]], dtype=torch.float64)[None]
        P = operator.positional((11, 11), position)[0, 0, middle]
        border = math.exp(-locality * 36) * 4 * 2  # mass beyond the grid, relative to theta
        assert P[middle].item() == pytest.approx(gated_positions.centre_weight_exact(locality), rel=border + 100 * EPS)
    assert abs(gated_positions.centre_weight_exact(4.0) - gated_positions.centre_weight_small(4.0)) > 0.3  # twin
    assert gated_positions.centre_weight_exact(0.01) == pytest.approx(
        gated_positions.centre_weight_small(0.01), rel=1e-9
    )
    assert gated_positions.gate_at_start() == pytest.approx(0.7311, abs=5e-5)


def test_sharp_positional_heads_are_a_convolution():
    """Nine heads with locality 16: the interior is the convolution of their slices up to about 1 - w_0 per head."""
    sizes, shape = Sizes(n=49, d=1, d_v=1, n_heads=9, shape=(7, 7)), (7, 7)
    for locality in (2.0, 16.0):
        operator = GatedPositions(locality)
        parameters = operator.initialise(sizes, generators(), torch.float64)
        parameters["gate"] = torch.full((1, 9), 800.0, dtype=torch.float64)
        x = normal(1, 1, 49, 9)
        v = operator.values(Grid(x, shape), parameters)[0, 0]  # (head, token, 1)
        y = operator.apply(Grid(x, shape), parameters)[0, 0].reshape(7, 7, 9)
        wanted = torch.zeros(7, 7, 9, dtype=torch.float64)
        for h, (down, right) in enumerate(centres(9)):
            moved = v[h].reshape(7, 7, 1).roll((-int(down), -int(right)), (0, 1))
            wanted += moved @ parameters["out"][0, h]
        gap = (y - wanted)[2:5, 2:5].norm() / wanted[2:5, 2:5].norm()
        off = 1 - gated_positions.centre_weight_exact(locality)
        assert off / 4 < gap < 4 * off
