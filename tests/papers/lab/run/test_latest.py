"""Overrides stay visible: verdicts and figures of other settings are kept apart, and a smaller scale hides nothing."""

import pytest

from attnlab.papers.lab.run.latest import latest_verdicts, words
from attnlab.papers.lab.run.reproduce import path_of
from attnlab.papers.lab.run.store import Store

DECLARED = {"smoke": {"dim": 2}, "desk": {"dim": 5}, "paper": {"dim": 9}}


@pytest.fixture
def kept(tmp_path):
    store = Store(tmp_path / "results")
    run = store.begin_run({})

    def put(verdict, scale="desk", setting=None, seed=0, replicas=None):
        setting = DECLARED[scale] if setting is None else setting
        record = {"id": "p.c", "scale": scale, "setting": setting, "seed": seed, "replicas": replicas}
        store.put_verdict(run, record | {"verdict": verdict})
        return latest_verdicts(tmp_path / "results", lambda claim, scale: DECLARED[scale])["p.c"]

    yield put
    store.close()


def test_a_smoke_verdict_never_hides_a_desk_one(kept):
    assert kept("HOLDS")["verdict"] == "HOLDS"
    shown = kept("UNDECIDED", "smoke")
    assert (shown["verdict"], shown["scale"], shown["scales"]) == ("HOLDS", "desk", {"smoke": "UNDECIDED"})
    shown = kept("REFUTED", "paper")
    assert shown["scale"] == "paper" and shown["scales"] == {"smoke": "UNDECIDED", "desk": "HOLDS"}


def test_other_settings_never_pass_as_the_declared_one(kept):
    shown = kept("REFUTED", setting={"dim": 7}, seed=3)
    assert shown["differs"] == {"dim": 7, "seed": 3} and words(shown["differs"]) == "dim=7 seed=3"
    shown = kept("HOLDS", "smoke")  # a smaller scale at the declared setting says more about the claim
    assert shown["scale"] == "smoke" and not shown["differs"] and shown["others"] == 1
    shown = kept("HOLDS", "paper", replicas=2)
    assert shown["scale"] == "smoke" and shown["others"] == 2
    shown = kept("REFUTED")
    assert (shown["verdict"], shown["scale"], shown["others"]) == ("REFUTED", "desk", 2)
    assert kept("HOLDS", setting={"dim": 5, "gone": 1})["others"] == 3  # a field that the setting no longer has


def test_figures_of_other_settings_have_folders_of_their_own():
    assert path_of("") == "" and path_of("dim=7 seed=3") == "dim=7_seed=3"
    names = {path_of(v) for v in ("dim=7", "dim=[1, 2]", "dim=[1,_2]", "x=../../etc", "dim=" + "9" * 300)}
    assert len(names) == 5 and all("/" not in name and len(name) <= 60 and name != ".." for name in names)
