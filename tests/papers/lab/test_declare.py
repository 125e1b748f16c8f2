import pytest

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.registry import select


def make(**more):
    return Paper(
        key="k",
        title="t",
        sources=[Source(authors="A. Author", title="T", year=2025, arxiv="2503.1")],
        statements={1: "one", 2: "two", 3: "three"},
        **more,
    )


def judge(setting, lab):
    """A statement.

    More text.
    """


def test_a_misspelt_field_is_refused_with_the_nearest_one_and_the_list():
    with pytest.raises(
        TypeError, match=r"Paper has no field 'satements'; did you mean 'statements'\?; the fields are key, "
    ):
        make(satements={})
    with pytest.raises(
        TypeError, match=r"Source has no field 'author'; did you mean 'authors'\?; the fields are authors, "
    ):
        Source(author="A", title="T", year=2025)
    with pytest.raises(TypeError, match="Scales has no field 'dsk'; did you mean 'desk'"):
        Scales(smoke=1, dsk=2, paper=3)


def test_uncovered_statements_are_those_without_claim_or_reason():
    paper = make()
    paper.scales(smoke=1, desk=2, paper=3)
    assert paper.uncovered() == [1, 2, 3]
    paper.claim("c", source="s", statements=[2], parts=3)(judge)
    paper.not_testable(3, "needs a telescope")
    assert paper.uncovered() == [1] and paper.judged_parts() == 3
    assert paper.claims["c"].statement == "A statement." and paper.claims["c"].setting == Scales(1, 2, 3)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"statements": []}, "numbered statements"),
        ({"statements": [7]}, "no statement 7"),
        ({"statements": [1], "parts": 0}, "parts must be at least 1"),
        ({"statements": [1], "scales": ("desk",)}, "say why it is decided at desk only"),
    ],
)
def test_a_malformed_claim_is_an_error_when_it_is_written(more, message):
    paper = make()
    paper.scales(smoke=1, desk=2, paper=3)
    with pytest.raises(ValueError, match=message):
        paper.claim("c", source="s", **more)(judge)


def test_a_claim_needs_a_setting_a_docstring_and_a_name_of_its_own():
    paper = make()
    with pytest.raises(ValueError, match="has no setting"):
        paper.claim("c", source="s", statements=[1])(judge)
    paper.scales(smoke=1, desk=2, paper=3)
    with pytest.raises(ValueError, match="needs a docstring"):
        paper.claim("c", source="s", statements=[1])(lambda setting, lab: None)
    paper.claim("c", source="s", statements=[1])(judge)
    with pytest.raises(ValueError, match="registered twice"):
        paper.figure("c", caption="x")(judge)


def test_bibtex_has_what_a_reference_needs():
    entry = make().sources[0].bibtex("key2025")
    assert entry.startswith("@misc{key2025,") and "author = {A. Author}" in entry and "eprint = {2503.1}" in entry


@pytest.mark.parametrize(
    "targets, message",
    [
        ([], "no target"),
        (["nonsense"], "unknown paper 'nonsense'"),
        (["he2025.nonsense"], "unknown claim or figure"),
        (["he2025_icl_regresion"], "did you mean 'he2025_icl_regression'"),
    ],
)
def test_bad_targets_say_what_there_is(targets, message):
    with pytest.raises(UsageError, match=message):
        select(targets)


def test_a_prefix_selects_and_an_item_is_selected_once():
    whole = select(["he2025"])
    assert len(whole.papers) == 1 and whole.claims and whole.figures and not whole.explicit
    first = whole.claims[0]
    twice = select([first.id, first.id, "he2025"])
    assert len(twice.claims) == len(whole.claims) and twice.explicit == {first.id}


def test_a_claim_that_returns_no_verdict_is_told_by_its_name():
    paper = make()
    paper.scales(smoke=1, desk=2, paper=3)

    @paper.claim("nothing", source="Theorem 1", statements=[1], formula="x = 1")
    def nothing(setting, lab):
        """It says nothing."""

    with pytest.raises(TypeError, match=r"k\.nothing: nothing returned None; return the verdict of a judge"):
        paper.claims["nothing"].judge(2, None)
