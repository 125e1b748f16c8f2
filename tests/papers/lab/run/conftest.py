"""A results folder for the tests."""

import pytest

from attnlab.papers.lab.run.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    yield store
    store.close()
