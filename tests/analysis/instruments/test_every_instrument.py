"""Every instrument against everything it declares; runs over the folders, lists nothing by hand."""

import pytest

from attnlab.analysis.instruments.listing import members

from .checks import CHECKS, DRAWS

MEMBERS = members()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("draws", ["few", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", MEMBERS)
def test_what_an_instrument_declares_is_true(name, check, draws):
    CHECKS[check](name, MEMBERS[name], DRAWS[draws])
