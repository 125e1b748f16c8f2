"""Seeds, small ensembles and one torch thread for the tests of simulators."""

import numpy as np
import pytest
import torch

from attnlab.kernels.compiled import compiler


@pytest.fixture(autouse=True)
def one_thread():
    """One torch thread, as in the lab's workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def seeds():
    """``seeds(n)``: the seeds of replicas 0 to n - 1."""
    return lambda n: [np.random.SeedSequence(2025, spawn_key=(replica,)) for replica in range(n)]


@pytest.fixture
def needs_c():
    """Skip with a reason where no C compiler works."""
    target, reason = compiler.working_target()
    if target is None:
        pytest.skip(f"no C compiler: {reason}")
