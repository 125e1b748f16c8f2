r"""The reference of the counter-based stream of normals: which number belongs to which replica, step and sequence.

Philox 4x32-10 turns a counter (block, sequence, step low, step high) and a key (the two words of a 64-bit seed) into
four 32-bit words; Box-Muller turns those into four standard normals,

.. math:: u = \frac{\lfloor w_0/2^8\rfloor + 1}{2^{24}},\quad t = \frac{\lfloor w_1/2^8\rfloor}{2^{24}},\qquad
          z_0 = \sqrt{-2\ln u}\,\cos 2\pi t,\quad z_1 = \sqrt{-2\ln u}\,\sin 2\pi t,

and z_2, z_3 likewise from w_2, w_3. Number a of a sequence is number a mod 4 of block a div 4. The stream is part of a
result's identity: ``STREAM`` names this definition. |z| never exceeds 5.77.

Reference: J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import numpy as np

STREAM = "philox4x32-10/box-muller-24/1"
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)


def philox_words(counter: np.ndarray, key: tuple[int, int], rounds: int = 10) -> np.ndarray:
    """Four 32-bit words (..., 4) for counters (..., 4) under one key."""
    c = [np.asarray(counter)[..., i].astype(np.uint64) for i in range(4)]
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c[0] * _MULTIPLIERS[0], c[2] * _MULTIPLIERS[1]
        shift = np.uint64(32)
        c = [(p1 >> shift) ^ c[1] ^ np.uint64(k0), p1 & _LOW, (p0 >> shift) ^ c[3] ^ np.uint64(k1), p0 & _LOW]
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack(c, -1).astype(np.uint32)


def philox_normals(seed: int, step: int, n_sequences: int, n_numbers: int, first_sequence: int = 0) -> np.ndarray:
    """Standard normals (sequence, number) in float64, rounded nowhere but in Box-Muller itself."""
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed={seed!r} must be a 64-bit non-negative integer")
    blocks = -(-n_numbers // 4)
    counter = np.zeros((n_sequences, blocks, 4), dtype=np.uint64)
    counter[..., 0] = np.arange(blocks)
    counter[..., 1] = first_sequence + np.arange(n_sequences)[:, None]
    counter[..., 2], counter[..., 3] = step & 0xFFFFFFFF, step >> 32
    w = philox_words(counter, (seed & 0xFFFFFFFF, seed >> 32)) >> np.uint32(8)
    u, t = (w[..., ::2] + 1.0) / 2**24, w[..., 1::2] / 2**24
    r = np.sqrt(-2.0 * np.log(u))
    z = np.stack([r * np.cos(2 * np.pi * t), r * np.sin(2 * np.pi * t)], -1)
    return z.reshape(n_sequences, 4 * blocks)[:, :n_numbers]
