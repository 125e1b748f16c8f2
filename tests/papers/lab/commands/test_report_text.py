"""What ends a run: kinds of claims are counted apart."""

from attnlab.papers.lab.commands.report_text import count_by_kind


def row(verdict, kind="published", expected="HOLDS"):
    return {"verdict": verdict, "kind": kind, "expected": expected}


def test_only_published_statements_count_as_holds_of_a_paper_and_as_published_and_refuted():
    rows = [row("HOLDS"), row("REFUTED", expected="REFUTED"), row("HOLDS", "identity"), row("HOLDS", "identity")]
    rows += [row("REFUTED", "extrapolation", "REFUTED"), row("REFUTED")]
    assert count_by_kind(rows) == (
        "1 HOLDS, 1 published and REFUTED, 1 REFUTED; identities: 2 HOLDS; extrapolations: 1 REFUTED"
    )
    assert count_by_kind([row("HOLDS", "anchor")]) == "no published statement; anchors: 1 HOLDS"
    assert count_by_kind([]) == "no claims"
