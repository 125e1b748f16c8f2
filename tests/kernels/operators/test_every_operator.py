"""Every operator of the atlas against everything it declares; runs over the folders, lists nothing by hand."""

import pytest

from attnlab.kernels.operators.listing import members
from attnlab.kernels.operators.operator import KINDS

from .checks import CHECKS

MEMBERS = members()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", MEMBERS)
def test_what_an_operator_declares_is_true(name, check):
    operator = MEMBERS[name]
    reason = operator.facts.skips.get(check)
    if reason is None:
        CHECKS[check](operator)
        return
    with pytest.raises((AssertionError, ValueError, RuntimeError)):
        CHECKS[check](operator)  # a declared skip still runs, and must fail


@pytest.mark.parametrize("name", MEMBERS)
def test_an_operator_says_what_it_is(name):
    operator = MEMBERS[name]
    assert operator.kind in KINDS and operator.source
    assert type(operator).__doc__ and set(operator.facts.skips) <= set(CHECKS)
    assert all(operator.facts.skips.values()), "a skip needs its reason"
