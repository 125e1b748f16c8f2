"""Random streams of replicas: one torch generator for each replica and purpose, a function of the replica's seed only.

Torch's own seeding keeps 32 bits of a seed, so that two of 10^5 replicas would share their numbers with probability
0.7. Here the whole state of the Mersenne twister (19937 bits) comes from numpy's ``SeedSequence``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from attnlab.kernels import torch_internals


def generators(seeds: Sequence[np.random.SeedSequence], purpose: str) -> list[torch.Generator]:
    """One CPU generator per seed; streams of different purposes (``"data"``, ``"test"``, ...) are independent.

    The seeds are not changed (``SeedSequence.spawn`` would count): the same seed and purpose give the same stream.
    """
    return [_generator(stream(seed, purpose)) for seed in seeds]


def stream(seed: np.random.SeedSequence, purpose: str) -> np.random.SeedSequence:
    """The seed of one purpose: the replica's seed with a checksum of the purpose added to its spawn key."""
    if not isinstance(seed, np.random.SeedSequence):
        raise ValueError(f"a seed must be a numpy SeedSequence, got {seed!r}; use numpy.random.SeedSequence({seed!r})")
    key = (*seed.spawn_key, zlib.crc32(purpose.encode()))
    return np.random.SeedSequence(seed.entropy, spawn_key=key, pool_size=seed.pool_size)


def states(streams: Sequence[torch.Generator]) -> np.ndarray:
    """The states of generators, ``(replica, byte)``, to be kept in a checkpoint."""
    return np.stack([generator.get_state().numpy() for generator in streams])


def set_states(streams: Sequence[torch.Generator], kept: np.ndarray) -> None:
    """Put generators back to kept states."""
    for generator, state in zip(streams, kept, strict=True):
        generator.set_state(torch.from_numpy(np.array(state)))


def _generator(seed: np.random.SeedSequence) -> torch.Generator:
    generator = torch.Generator()
    words = seed.generate_state(torch_internals.TWISTER_WORDS, np.uint32)
    words[0] |= np.uint32(0x80000000)  # the twister's state must not be all zeros
    torch_internals.set_twister(generator, words)
    return generator
