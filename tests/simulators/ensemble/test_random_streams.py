"""Random streams: the twister's state comes whole from the seed, and purposes do not share numbers."""

import numpy as np
import torch

from attnlab.simulators.ensemble.random_streams import generators, set_states, states, stream


def seeds(n):
    return [np.random.SeedSequence(11, spawn_key=(replica,)) for replica in range(n)]


def draw(generator, n=64):
    return torch.randn(n, generator=generator)


def test_stream_is_the_mersenne_twister_of_numpy_with_the_same_state():
    seed = seeds(1)[0]
    words = stream(seed, "data").generate_state(624, np.uint32)
    words[0] |= np.uint32(0x80000000)
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    raw = twister.random_raw(2000)[1::2] % 2**31  # torch takes 64 bits per draw, the low half from the second word
    ours = torch.empty(1000, dtype=torch.int64).random_(0, 2**31, generator=generators([seed], "data")[0])
    assert np.array_equal(ours.numpy(), raw.astype(np.int64))


def test_stream_depends_on_seed_and_purpose_only():
    first, again = generators(seeds(3), "data"), generators(seeds(3)[2:], "data")
    assert torch.equal(draw(first[2]), draw(again[0]))
    assert not torch.equal(draw(first[0]), draw(first[1]))
    assert not torch.equal(draw(generators(seeds(1), "data")[0]), draw(generators(seeds(1), "test")[0]))


def test_seeds_that_agree_in_32_bits_give_different_streams():
    low, high = np.random.SeedSequence(5), np.random.SeedSequence(5 + 2**32)
    assert not torch.equal(draw(generators([low], "data")[0]), draw(generators([high], "data")[0]))
    twin = [torch.Generator().manual_seed(seed) for seed in (5, 5 + 2**32)]  # torch's own seeding
    assert torch.equal(draw(twin[0]), draw(twin[1]))


def test_kept_states_continue_with_the_same_numbers():
    running = generators(seeds(2), "data")
    draw(running[0], 33)
    kept = states(running)
    expected = [draw(generator, 7) for generator in running]
    fresh = generators(seeds(2), "test")
    set_states(fresh, kept)
    assert all(torch.equal(draw(generator, 7), numbers) for generator, numbers in zip(fresh, expected, strict=True))


def test_global_random_state_is_untouched():
    before = torch.get_rng_state()
    draw(generators(seeds(1), "data")[0])
    assert torch.equal(torch.get_rng_state(), before)
