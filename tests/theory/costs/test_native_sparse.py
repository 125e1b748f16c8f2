"""Native sparse attention: the published token counts and gains."""

from attnlab.theory.costs import native_sparse


def test_native_sparse_tokens_are_those_of_the_paper():
    sparse = native_sparse.NativeSparse()
    for s, tokens, gain in ((8192, 2048, 4.0), (16384, 2560, 6.4), (32768, 3584, 9.1), (65536, 5632, 11.6)):
        assert sparse.tokens(s) == tokens - 1  # the table rounds (s - 32)/16 + 1 up to s/16
        assert abs(sparse.decode_speedup(s) - gain) < 0.06
    assert sparse.tokens(10) == 20
    assert abs(sparse.training_ratio(8192) - 2.39) < 5e-3 and abs(sparse.training_ratio(32768) - 6.45) < 5e-3
    assert 15.9 < sparse.decode_speedup(10**9) < 16
