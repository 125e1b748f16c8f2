"""The stream of normals: known answers, exactness in C, and its distribution."""

import math

import numpy as np
import pytest

from attnlab.kernels.compiled.philox import philox_normals, philox_words
from attnlab.kernels.icl_step import fused


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_known_answers(counter, key, words):
    assert tuple(philox_words(np.array(counter, dtype=np.uint64), key)) == words


def test_compiled_normals_are_the_reference_to_rounding(needs_c):
    for seed, step in ((0, 0), (2**63 + 12345, 7), (17, 2**33 + 5)):
        got, want = fused.normals(seed, step, 72, 51), philox_normals(seed, step, 72, 51)
        # r has relative error 2e-7 and the turn absolute error 6e-8, plus a few roundings of numbers below 5.8
        assert np.abs(got - want).max() < 5.8 * (3e-7 + 4 * np.finfo(np.float32).eps)
    assert np.abs(fused.normals(1, 0, 8, 9) - philox_normals(1, 1, 8, 9)).max() > 0.1  # another step differs


def test_every_number_has_its_own_address():
    whole = philox_normals(5, 3, 10, 21)
    assert np.array_equal(philox_normals(5, 3, 4, 9), whole[:4, :9])
    assert np.unique(whole).size == whole.size


def test_normals_have_normal_moments_and_tails(needs_c):
    z = fused.normals(11, 0, 4000, 500).astype(np.float64).ravel()
    n = z.size
    # 5 standard errors: moments of order 1 to 4 have variances 1, 2, 15, 96 and cross terms as stated
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - mean) < 5 * math.sqrt(variance / n)
    for x in (1.0, 3.0):
        p = math.erfc(x / math.sqrt(2))
        assert abs((np.abs(z) > x).mean() - p) < 5 * math.sqrt(p / n)
    assert np.abs(z).max() <= math.sqrt(48 * math.log(2)) * (1 + 1e-6)
    pairs = z.reshape(-1, 2)
    assert abs((pairs[:, 0] * pairs[:, 1]).mean()) < 5 / math.sqrt(n / 2)


def test_neighbouring_seeds_steps_and_sequences_are_uncorrelated(needs_c):
    base = fused.normals(100, 0, 800, 100).astype(np.float64)
    others = [
        fused.normals(101, 0, 800, 100),
        fused.normals(100, 1, 800, 100),
        np.roll(base, 1, 0),
        np.roll(base, 1, 1),
    ]
    for other in others:
        assert abs((base * other).mean()) < 5 / math.sqrt(base.size)


def test_seed_outside_64_bits_is_an_error():
    with pytest.raises(ValueError, match="64-bit"):
        philox_normals(1 << 64, 0, 1, 1)
    with pytest.raises(ValueError, match="multiple of 8"):
        fused.normals(0, 0, 9, 1)
