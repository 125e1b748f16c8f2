"""Claims about all inputs are searched side by side by the workers of a run, with the verdicts that one process gives."""

import threading
import time
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from attnlab.analysis import Real, Twin, for_all
from attnlab.papers.lab.declare import DECLARED, Paper, Source
from attnlab.papers.lab.errors import ItemError
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run import quantified
from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.workbench import Workbench

NAMES = ("linear_index_at_most", "linear_index_at_least", "scale_invariance")


def claim_and_setting(name):
    claim = load("huang2023_stiffness").claims[name]
    return claim, replace(claim.setting.smoke, budget=1000)


@pytest.fixture
def bench(store):
    made = []

    def make(workers, searches=2):
        made.append(Workbench(store, Display(quiet=True), workers=workers))
        made[-1].searches = searches
        return made[-1]

    yield make
    for each in made:
        each.close(now=True)


def here(monkeypatch):
    """Notes the claims that this process judges."""
    judged, judge = [], quantified.judge

    def noted(claim, setting, seed):
        judged.append(claim.name)
        return judge(claim, setting, seed)

    monkeypatch.setattr(quantified, "judge", noted)
    return judged


@pytest.mark.slow
def test_workers_search_side_by_side_and_find_what_this_process_finds(bench, monkeypatch):
    alone, together = bench(1), bench(2, len(NAMES))
    judged = here(monkeypatch)
    expected = {name: alone.searched(*claim_and_setting(name)) for name in NAMES}
    assert judged == list(NAMES)
    found = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: together.searched(*claim_and_setting(name))}))
        for name in (*NAMES, NAMES[0])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert judged == list(NAMES)  # none more
    assert found == expected
    assert {name: verdict.record() for name, verdict in found.items()} == {
        name: verdict.record() for name, verdict in expected.items()
    }
    assert together.searched(*claim_and_setting(NAMES[0])) is found[NAMES[0]]


@pytest.mark.parametrize(("workers", "searches"), [(1, 5), (2, 1)])
def test_one_worker_or_one_search_needs_no_other_process(bench, monkeypatch, workers, searches):
    judged, alone = here(monkeypatch), bench(workers, searches)
    monkeypatch.setattr(alone, "_submit", None)
    alone.searched(*claim_and_setting(NAMES[0]))
    assert judged == [NAMES[0]]


def test_what_a_worker_cannot_load_or_finds_changed_is_judged_here(bench, monkeypatch):
    claim, setting = claim_and_setting(NAMES[0])
    task = quantified.search_task(claim, setting, 0)
    assert quantified.search(task) == quantified.judge(claim, setting, 0)
    assert quantified.search(replace(task, code="0" * 64)) is None
    assert quantified.search(replace(task, claim="no_such_claim")) is None
    assert quantified.search(replace(task, setting="no setting")) is None
    monkeypatch.setattr(quantified, "judge", lambda *_: (_ for _ in ()).throw(ValueError("too few")))
    assert quantified.search(task) is None  # the driver raises it, with its own lines
    monkeypatch.setattr(quantified, "judge", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        quantified.search(task)


def test_a_paper_that_exists_as_an_object_is_judged_here(bench, monkeypatch):
    paper = Paper(
        key="toy2026_object", title="A", sources=[Source(authors="A", title="A", year=2026)], statements={1: "A."}
    )
    try:

        @paper.for_all(
            "square", source="1", statements=[1], setting=load("huang2023_stiffness").claims[NAMES[0]].setting
        )
        def square(setting):
            """A square is not negative."""
            return {
                "searched": for_all(x=Real(-1, 1)).bound(
                    lambda x: -x * x, at_most=0.0, twin=Twin.of("-1", at_most=-0.5)
                )
            }

        claim = paper.claims["square"]
        assert quantified.search_task(claim, claim.setting.smoke, 0) is None
        judged = here(monkeypatch)
        assert bench(2).searched(claim, claim.setting.smoke).outcome == "HOLDS" and judged == ["square"]
    finally:
        DECLARED.pop(paper.key, None)


def _forever(_):
    time.sleep(600)


def _die(_):
    import os

    os._exit(7)


@pytest.mark.slow
def test_a_search_ends_with_the_bench_and_one_that_kills_its_worker_fails_alone(bench, monkeypatch):
    claim, setting = claim_and_setting(NAMES[0])
    monkeypatch.setattr(quantified, "search", _die)
    with pytest.raises(ItemError, match=rf"{claim.id}: its worker process died 3 times"):
        bench(2).searched(claim, setting)
    monkeypatch.setattr(quantified, "search", _forever)
    waiting, raised = bench(2), []

    def search():
        try:
            waiting.searched(claim, setting)
        except CancelledError as error:
            raised.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 300
    while not (waiting._executor and waiting._executor._processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    waiting.close(now=True)
    for thread in threads:
        thread.join(300)
    assert len(raised) == 3
