"""Laws of mixers where another formula gives the same number."""

import math

import pytest

from attnlab.theory.mixers_and_channels import channel_band, channel_frequencies, fft_mixer, hyper_kernel


def test_the_published_band_is_the_next_odd_number():
    """ECA's |(log2 C + 1)/2|, cut and made odd: 1, 3, 5, 5 at 2, 16, 128 and 512 channels."""
    assert [channel_band.published_size(C) for C in (2, 16, 128, 512)] == [1, 3, 5, 5]


def test_pruned_shares_count_the_size_of_a_frequency():
    """E |X_f|^2 is s^2 with orthonormal transforms and n s^2 without: half are pruned at its median ln 2."""
    s, n = 1.5, 32
    half = math.sqrt(math.log(2)) * s
    assert fft_mixer.pruned_share_limit(-half, n, s) == pytest.approx(0.5)
    assert fft_mixer.pruned_share_limit(-half * math.sqrt(n), n, s, orthonormal=False) == pytest.approx(0.5)
    assert fft_mixer.pruned_share_limit(0.2, n, s) == 0


def test_a_cosine_is_as_large_as_its_norm():
    rows, columns, A = 6, 10, 0.7
    wave = [
        [
            A * math.cos(math.pi * 2 * (j + 0.5) / columns) * math.cos(math.pi * 3 * (i + 0.5) / rows)
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    size = math.sqrt(sum(x * x for row in wave for x in row))
    assert channel_frequencies.response(A, rows, columns) == pytest.approx(size)
    flat = math.sqrt(sum((A * math.cos(math.pi * 2 * (j + 0.5) / columns)) ** 2 for j in range(columns)) * rows)
    assert channel_frequencies.response(A, rows, columns, zeros=1) == pytest.approx(flat)
    assert hyper_kernel.cells_seen(4, 9, 1) == 12 and hyper_kernel.cells_seen(4, 9, 2) == 4
