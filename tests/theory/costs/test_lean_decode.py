"""Decode makespans against a simulated schedule."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from attnlab.theory.costs import lean_decode


@given(st.integers(1, 12), st.integers(1, 20), st.integers(1, 15))
def test_equal_shares_are_those_of_a_simulated_schedule(outputs, tiles, processors):
    work = list(itertools.product(range(outputs), range(tiles)))
    share, extra = divmod(len(work), processors)
    parts, at = [], 0
    for g in range(processors):
        parts.append(work[at : at + share + (g < extra)])
        at += len(parts[-1])
    found = lean_decode.decode_makespan(outputs, tiles, processors)
    assert at == len(work) and found.equal_share == max(map(len, parts))
    assert found.partials == sum(len({output for output, _ in part}) for part in parts)
    assert found.efficiency >= 1 - (processors - 1) / len(work) - 1e-12


def test_makespans_are_the_checked_ones():
    a = lean_decode.decode_makespan(32, 256, 108)
    assert (a.equal_share, a.per_output) == (76, 256) and abs(a.efficiency - 0.998) < 5e-4
    b, c = lean_decode.decode_makespan(64, 32, 132), lean_decode.decode_makespan(5, 10, 8)
    assert (b.equal_share, b.per_output, c.equal_share, c.per_output) == (16, 32, 7, 10)
    assert lean_decode.decode_makespan(1, 64, 16, splits=16).fixed_split == 4
