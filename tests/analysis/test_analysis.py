"""The package loads its public names lazily."""

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

import attnlab.analysis


def test_every_public_name_loads_and_belongs_to_its_module():
    for name in attnlab.analysis.__all__:
        found = getattr(attnlab.analysis, name)
        assert getattr(found, "__module__", "attnlab.analysis.").startswith("attnlab.analysis.")
        assert name in dir(attnlab.analysis)


@pytest.mark.parametrize("module", ["verdicts.ledger", "verdicts.verdict", "judges.values"])
def test_the_examples_in_docstrings_are_true(module):
    result = doctest.testmod(import_module(f"attnlab.analysis.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'agres'"):
        attnlab.analysis.agres  # noqa: B018


def test_importing_the_package_loads_neither_numpy_nor_scipy_nor_torch():
    code = (
        "import sys, attnlab.analysis; "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'scipy', 'torch', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
