"""Settings of the whole suite."""

import zlib

import pytest
from hypothesis import settings

# The same examples on every run, and no time limit for one of them: a busy machine must not fail a true property.
settings.register_profile("attnlab", deadline=None, derandomize=True)
settings.load_profile("attnlab")


def pytest_addoption(parser):
    parser.addoption("--slow-share", type=int, default=0, metavar="N", help="also run one in N of the slow tests")
    parser.addoption("--fast-share", type=int, default=1, metavar="N", help="run one in N of the fast tests only")
    parser.addoption("--commit", default="", metavar="HASH", help="chooses which tests the two shares run")


def chosen(name, commit, share):
    """Whether the test of this name is in the commit's slice of one in ``share``."""
    return share > 0 and zlib.crc32(f"{commit} {name}".encode()) % share == 0


def pytest_collection_modifyitems(config, items):
    """Without ``-m`` the slow tests are left out, but for the commit's slice, which gets the time it needs; of the fast ones
    all run, or the commit's slice. Of a test marked ``sampled(N)`` one case in N is fast, which ones the commit chooses."""
    if config.option.markexpr:
        return
    commit, share, fast, left_out = config.option.commit, config.option.slow_share, config.option.fast_share, []
    for item in items:
        sampled = item.get_closest_marker("sampled")
        if item.get_closest_marker("slow") is None and (sampled is None or chosen(item.nodeid, commit, *sampled.args)):
            if not (fast == 1 or chosen(f"{item.nodeid} fast", commit, fast)):
                left_out.append(item)
            continue
        if chosen(item.nodeid, commit, share):
            item.add_marker(pytest.mark.timeout(1800))
        else:
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(map(id, left_out))
        items[:] = [item for item in items if id(item) not in gone]
