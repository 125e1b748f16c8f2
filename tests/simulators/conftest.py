"""Seeds, small ensembles and one torch thread for the tests of simulators."""

import numpy as np
import pytest
import torch


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
