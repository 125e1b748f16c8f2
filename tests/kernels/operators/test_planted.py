"""A member with one false word fails exactly the check that looks at it."""

import pytest

from attnlab.kernels.compiled.compiler import compiler_report
from attnlab.kernels.operators.operator import Facts

from .checks import CHECKS
from .planted import PLANTED, Planted


def failing(operator):
    found = []
    for name, check in CHECKS.items():
        if name in operator.facts.skips or (name == "cost" and compiler_report()["compiler"] is None):
            continue
        try:
            check(operator)
        except (AssertionError, RuntimeError):
            found.append(name)
    return found


def test_the_member_without_a_fault_passes():
    assert failing(Planted()) == []


@pytest.mark.sampled(4)
@pytest.mark.parametrize("cls", PLANTED, ids=lambda cls: cls.__name__)
def test_a_false_word_fails_its_check_and_no_other(cls):
    if PLANTED[cls] == "cost" and compiler_report()["compiler"] is None:
        pytest.skip("work is counted by the compiled path, which needs a C compiler")
    assert failing(cls()) == [PLANTED[cls]]


class DeclaredByQuery(Planted):
    """Softmax attention that says its map reads no key."""

    facts = Facts(row_sum=1.0, causal="mask", content="query", equivariant=("permutation", "rotation"))


def test_a_gradient_in_keys_contradicts_a_map_of_the_query_alone():
    with pytest.raises(AssertionError, match="a gradient reaches 'k'"):
        CHECKS["gradients"](DeclaredByQuery())
    assert set(failing(DeclaredByQuery())) == {"content", "gradients"}
