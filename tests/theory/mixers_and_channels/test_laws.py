"""Laws of mixers and channel gates against the operators themselves; each with its twin."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.mixers_and_channels.channel_band import ChannelBand
from attnlab.kernels.operators.mixers_and_channels.channel_frequencies import ChannelFrequencies, cosine
from attnlab.kernels.operators.mixers_and_channels.fft_mixer import FFTMixer
from attnlab.kernels.operators.mixers_and_channels.hyper_kernel import HyperKernel
from attnlab.kernels.operators.mixers_and_channels.large_kernel import LargeKernel
from attnlab.kernels.operators.mixers_and_channels.large_kernel_gate import LargeKernelGate
from attnlab.kernels.operators.operator import Grid, Sizes, Tokens
from attnlab.theory.mixers_and_channels import (
    channel_band,
    channel_frequencies,
    fft_mixer,
    hyper_kernel,
    large_kernel,
    large_kernel_gate,
)

EPS = np.finfo(float).eps


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def started(operator, sizes):
    return operator.initialise(sizes, [torch.Generator().manual_seed(0)], torch.float64)


def support(operator, parameters, shape, width, cell):
    """Cells that an output at ``cell`` depends on, by the Jacobian of one random grid."""
    x = normal(1, 1, shape[0] * shape[1], width).requires_grad_()
    operator.apply(Grid(x, shape), parameters)[0, 0, cell].sum().backward()
    return (x.grad[0, 0].abs().sum(-1) > 0).reshape(shape)


def plain_filter(parameters):
    """The filter 1, which reads nothing."""
    return parameters | {"real": torch.ones_like(parameters["real"]), "imaginary": 0 * parameters["imaginary"],
                         "out": 0 * parameters["out"]}  # fmt: skip


@pytest.mark.parametrize("n", [256, 4096])
def test_a_threshold_prunes_the_stated_share_of_white_frequencies(n):
    """4 binomial standard errors of n/2 independent frequencies in 8 channels."""
    operator = FFTMixer(threshold=-0.5)
    parameters = plain_filter(started(operator, Sizes(n=n, d=8, d_v=8)))
    y = operator.apply(Tokens(normal(1, 1, n, 8)), parameters)
    zero = (torch.fft.fft(y, dim=-2, norm="ortho").abs() < 1e-3).double().mean().item()
    predicted = fft_mixer.pruned_share_limit(-0.5, n, 1.0)
    assert abs(zero - predicted) < 4 * math.sqrt(predicted / (n / 2 * 8)) + 2 / n
    assert fft_mixer.pruned_share_limit(-8.0, 4096, 1.0, orthonormal=False) == pytest.approx(0.0155, abs=5e-5)
    falls = [fft_mixer.pruned_share_limit(-0.5, size, 1.0, orthonormal=False) for size in (256, 4096)]
    assert falls[1] < falls[0] / 10 and abs(zero - falls[0]) > 0.1  # twin: the unnormalised transform's share


def test_the_filter_without_a_threshold_is_a_circular_convolution():
    n = 12
    operator = FFTMixer(threshold=0.0, epsilon=0.0)
    parameters = started(operator, Sizes(n=n, d=3, d_v=3))
    parameters["out"] = 0 * parameters["out"]
    x = normal(1, 1, n, 3)
    shift = torch.exp(-2j * math.pi * torch.arange(n, dtype=torch.float64) * 5 / n)[None, :, None].expand(1, n, 3)
    parameters |= {"real": shift.real.contiguous(), "imaginary": shift.imag.contiguous()}
    assert (operator.apply(Tokens(x), parameters) - x.roll(5, -2)).abs().max() < 1e-13  # fixed-offset copy, exactly
    assert (
        operator.apply(Tokens(x.flip(-2)), parameters) - operator.apply(Tokens(x), parameters).flip(-2)
    ).abs().max() > 0.1


@pytest.mark.parametrize(("side", "size"), [(5, 3), (5, 7), (4, 7)])
def test_a_large_kernel_fills_the_stated_share_of_its_map(side, size):
    sizes = Sizes(n=side**2, d=2, d_v=2, n_heads=1, shape=(side, side))
    operator = LargeKernel(size)
    parameters = started(operator, sizes)
    maps = [operator.matrix(Grid(normal(1, 1, side**2, 2, seed=s), (side, side)), parameters) for s in range(2)]
    share = (maps[0] != 0).double().mean().item()
    assert torch.equal(*maps) and share == pytest.approx(large_kernel.visible_share(side, size // 2), rel=1e-12)
    assert size == 3 or abs(share - size**2 / side**2) > 0.05  # twin: no border
    assert large_kernel.visible_share(14, 13) == 1


@pytest.mark.parametrize(("kernel", "dilation"), [(6, 2), (21, 3)])
def test_the_large_kernel_gate_sees_more_than_its_name_and_has_degree_two(kernel, dilation):
    field = large_kernel_gate.receptive_field(kernel, dilation)
    side = field + 4
    operator, sizes = LargeKernelGate(kernel, dilation), Sizes(n=side**2, d=2, d_v=2, shape=(side, side))
    parameters = started(operator, sizes)
    seen = support(operator, parameters, (side, side), 2, side * (side // 2) + side // 2)
    assert seen.any(0).sum() == seen.any(1).sum() == field and seen.sum() == field**2
    assert field != kernel or kernel % dilation  # twin: the nominal kernel
    x = normal(1, 1, side**2, 2)
    y, larger = (operator.apply(Grid(a * x, (side, side)), parameters) for a in (1, 3))
    assert (larger - 9 * y).abs().max() < 1e3 * EPS * larger.abs().max()
    assert large_kernel_gate.parameters(64, 21, 3) == 8832


@pytest.mark.parametrize("version", [1, 2])
def test_a_hyper_kernel_sees_a_column_or_a_cross(version):
    shape, operator = (6, 6), HyperKernel(version)
    parameters = started(operator, Sizes(n=36, d=2, d_v=2, shape=shape))
    seen = support(operator, parameters, shape, 2, 2 * 6 + 3)
    assert seen.sum() == hyper_kernel.cells_seen(6, 6, version) < 36  # twin: the whole grid
    assert seen[:, 3].all() and bool(seen[2].all()) == (version == 1)
    x = normal(1, 1, 36, 2)
    y, larger = (operator.apply(Grid(a * x, shape), parameters) for a in (1, 3))
    assert (larger - 3 ** hyper_kernel.degree(version) * y).abs().max() < 1e3 * EPS * larger.abs().max()


def fitted(pooled, target, size):
    """Share of the variance that the best kernel of ``size`` taps explains, over all channels but the border."""
    half = size // 2
    inside = slice(8, pooled.shape[1] - 8)
    columns = [np.roll(pooled, -lag, 1)[:, inside].ravel() for lag in range(-half, half + 1)]
    X, t = np.stack(columns, 1), target[:, inside].ravel()
    left = t - X @ np.linalg.lstsq(X, t, rcond=None)[0]
    return 1 - left.var() / t.var()


def test_a_band_explains_what_is_planted_unless_channels_are_shuffled():
    """80 000 values; the explained share of a fit is off by at most about 4/sqrt of that, and a shuffle of 256 channels keeps some neighbours."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=9)
    pooled = rng.normal(size=(320, 256))
    target = sum(weight * np.roll(pooled, -lag, 1) for weight, lag in zip(w, range(-4, 5), strict=True))
    for size in (1, 3, 5, 9, 11):
        assert abs(fitted(pooled, target, size) - channel_band.explained_by_band(w, size)) < 0.02
    order = rng.permutation(256)
    for size in (1, 5, 9):
        assert (
            abs(fitted(pooled[:, order], target[:, order], size) - channel_band.explained_after_shuffle(w))
            < 0.02 + 2 * size / 256
        )
    assert [channel_band.published_size(c) for c in (16, 64, 128, 2048)] == [3, 3, 5, 7]
    assert (
        channel_band.explained_by_band(w, channel_band.published_size(256)) < 0.9
    )  # twin: the best size follows from C
    operator = ChannelBand(3)
    parameters = started(operator, Sizes(n=4, d=6, d_v=6, shape=(2, 2)))
    x = normal(1, 1, 4, 6)
    mean = torch.nn.functional.pad(x.mean(-2), (1, 1))
    gate = sum(parameters["kernel"][0, tap] * mean[..., tap : tap + 6] for tap in range(3)).sigmoid()
    assert (operator.apply(Grid(x, (2, 2)), parameters) - x * gate[..., None, :]).abs().max() < 100 * EPS


def test_a_pattern_is_seen_by_its_own_frequency_only():
    shape, A, s = (16, 16), 0.3, 1.0
    at = (np.arange(16) + 0.5) * math.pi / 16
    pattern = A * np.outer(np.cos(3 * at), np.cos(2 * at)).ravel()
    own, mean = (cosine(shape, u, v).numpy() for u, v in ((3, 2), (0, 0)))
    assert own @ pattern == pytest.approx(channel_frequencies.response(A, 16, 16)) and abs(mean @ pattern) < 1e-12
    row = A * np.outer(np.cos(3 * at), np.ones(16)).ravel()
    assert cosine(shape, 3, 0).numpy() @ row == pytest.approx(channel_frequencies.response(A, 16, 16, zeros=1))
    rng, runs = np.random.default_rng(1), 4000
    absent, present = (rng.normal(size=(runs, 256)) * s + add for add in (0, pattern))
    for filt, predicted in ((own, channel_frequencies.presence_auc(A, s, 16, 16)), (mean, 0.5)):
        x, y = np.sort(absent @ filt), present @ filt
        found = (np.searchsorted(x, y) / runs).mean()
        assert abs(found - predicted) < 4 * math.sqrt(1 / (3 * runs))
    assert channel_frequencies.presence_auc(A, s, 16, 16) > 0.9  # twin: the mean, at 1/2
    basis = np.stack([cosine((3, 4), u, v).numpy() for u in range(3) for v in range(4)])
    assert np.abs(basis @ basis.T - np.eye(12)).max() < 1e-12
    assert ChannelFrequencies().filters(Grid(normal(1, 1, 12, 8), (3, 4))).shape == (12, 8)
