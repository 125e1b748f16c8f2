"""The nearest known name in errors: the two copies, which may not import each other, say the same."""

import pytest

from attnlab.analysis import suggestions as of_analysis
from attnlab.kernels import suggestions as of_kernels


@pytest.mark.parametrize(
    "name, said",
    [("n_contex", "; did you mean 'n_context'?"), ("dims", "; did you mean 'dim'?"), ("learning", ""), ("", "")],
)
def test_the_nearest_name_is_offered_and_no_other(name, said):
    known = ("n_context", "dim", "n_steps")
    assert of_analysis.did_you_mean(name, known) == of_kernels.did_you_mean(name, iter(known)) == said
