"""``attnlab bundle``: what is packed is judged again without simulating; a damaged or foreign file is refused."""

import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from attnlab.papers.lab.commands import bundle


@pytest.mark.slow
def test_a_bundle_is_judged_again_without_a_simulation_and_gives_the_same_verdicts(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, packed, err = cli(
        "bundle", "toy.drift", "toy.still", "--scale", "smoke", "--workers", 1, "--to", "a.zip", "--json"
    )
    assert status == 0 and packed["blocks"] >= 2, err
    counter = tmp_path / "count"
    monkeypatch.setenv("TOY_COUNT", str(counter))  # every block that runs leaves a mark there
    status, judged, err = cli("bundle", "--judge", "a.zip", "--json")
    assert status == 0 and not counter.exists(), err
    verdicts = lambda result: {c["id"]: (c["verdict"], c["measured"]) for c in result["claims"]}  # noqa: E731
    assert verdicts(judged["now"]) == verdicts(packed) and judged["diff"]["changed"] == []
    with zipfile.ZipFile("a.zip") as archive:
        assert "Theorem 1" in archive.read("claims.txt").decode()
        assert json.loads(archive.read("environment.json"))["packages"]["numpy"]


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes_of_blocks(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.zip", "b.zip"):
        cli("bundle", "toy.drift", "--scale", "smoke", "--workers", 1, "--to", name)
    with zipfile.ZipFile("a.zip") as a, zipfile.ZipFile("b.zip") as b:
        assert all(a.read(n) == b.read(n) for n in a.namelist() if n.startswith("blocks"))


@pytest.mark.parametrize(
    "target, name",
    [
        ("he2025.drift", "he2025.drift"),
        ("./my/paper.py", "toy2026_walk"),
        ("/x/paper.py::drift", "toy2026_walk.drift"),
        (".", "toy2026_walk"),
    ],
)
def test_a_bundle_is_named_by_the_target_or_by_the_key_that_a_path_stands_for(target, name):
    assert bundle._name(target, SimpleNamespace(papers=[SimpleNamespace(key="toy2026_walk")])) == name


@pytest.mark.slow
def test_a_bundle_that_lacks_a_block_fails_that_claim_and_says_so(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli("bundle", "toy.drift", "--scale", "smoke", "--workers", 1, "--to", "a.zip")
    with zipfile.ZipFile("a.zip") as whole, zipfile.ZipFile("less.zip", "w") as less:
        for name in whole.namelist():
            less.writestr(name, b"[]" if name == "blocks.json" else whole.read(name))
    status, judged, _ = cli("bundle", "--judge", "less.zip", "--json")
    assert status == 3 and "has no replicas" in judged["now"]["claims"][0]["reason"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("harm", ["absent", "no zip", "torn", "foreign"])
def test_a_file_that_is_no_bundle_is_refused(cli, tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    if harm == "no zip":
        (tmp_path / "x.zip").write_text("hello")
    elif harm == "foreign":
        with zipfile.ZipFile("x.zip", "w") as archive:
            archive.writestr("record.json", "{}")
    elif harm == "torn":
        cli("bundle", "toy.drift", "--scale", "smoke", "--workers", 1, "--to", "x.zip")
        data = (tmp_path / "x.zip").read_bytes()
        (tmp_path / "x.zip").write_bytes(data[: len(data) // 2])
    status, _, err = cli("bundle", "--judge", "x.zip")
    assert status == 2 and "x.zip" in err and "Traceback" not in err


@pytest.mark.parametrize("place", ["missing/a.zip", "."])
def test_a_place_that_takes_no_bundle_is_refused_before_anything_is_computed(cli, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    status, _, err = cli("bundle", "toy.drift", "--scale", "smoke", "--to", place)
    assert status == 2 and "--to" in err and not (tmp_path / "results").exists()


def test_a_bundle_says_why_a_claim_has_no_verdict(cli, tmp_path):
    status, text, err = cli("bundle", "fails2026.refuses", "--scale", "smoke", "--to", tmp_path / "a.zip")
    first, second, said = text.splitlines()
    assert status == 3 and first == "FAILED     fails2026.refuses" and "n_steps=10 is too few" in second, err
    assert "judge it again by" in said and "n_steps" not in err


def test_a_bundle_keeps_the_verdicts_where_a_simulation_failed(tmp_path):
    from concurrent.futures import Future

    from attnlab.papers.lab.run.bundle import open_bundle, write_bundle

    whole, failed = Future(), Future()
    whole.set_result({})
    failed.set_exception(RuntimeError("the walk is broken"))
    given = {"a": ({"seed": 0}, whole), "b": ({"seed": 1}, failed)}
    run = {"targets": ["p"], "overrides": {}, "scale": "desk", "replicas": None, "seed": 0, "device": "cpu"}
    place = tmp_path / "a.zip"
    assert write_bundle(place, {"claims": [], "run": run}, "", {}, SimpleNamespace(given=given)) == 1
    assert open_bundle(place).testzip() is None


@pytest.mark.parametrize(
    "file, text",
    [
        ("record.json", "3"), ("record.json", '{"claims": [], "run": {}}'), ("blocks.json", "[3]"), ("blocks.json", "{}"),
        ("environment.json", "[]"), ("record.json", "{"),
    ],
)  # fmt: skip
def test_a_bundle_with_a_changed_part_is_refused_in_words(tmp_path, file, text):
    from attnlab.papers.lab.errors import UsageError
    from attnlab.papers.lab.run.bundle import open_bundle

    run = {"targets": ["p"], "overrides": {}, "scale": "desk", "replicas": None, "seed": 0, "device": "cpu"}
    parts = {
        "record.json": json.dumps({"claims": [], "run": run}),
        "blocks.json": "[]",
        "environment.json": '{"format": 1}',
    }
    for name, change in (("whole.zip", {}), ("changed.zip", {file: text})):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for part, content in (parts | change).items():
                archive.writestr(part, content)
    open_bundle(tmp_path / "whole.zip").close()
    with pytest.raises(UsageError, match=r"changed.zip (is not a bundle|has format)"):
        open_bundle(tmp_path / "changed.zip")


@pytest.mark.slow
def test_a_bundle_of_a_path_is_judged_where_the_paper_lies_now(cli, tmp_path, monkeypatch):
    """A bundle is handed on: the paper lies at another path, or is known by its key, on the machine that judges."""
    text = (Path(__file__).parents[1] / "test_places.py").read_text().split("PAPER = '''")[1].split("'''")[0]
    there, here = tmp_path / "there" / "handed_on.py", tmp_path / "here" / "handed_on.py"
    for file in (there, here):
        file.parent.mkdir()
    there.write_text(text.format(key="handed_on"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    status, packed, err = cli("bundle", there, "--scale", "smoke", "--workers", 1, "--to", "a.zip", "--json")
    assert packed["blocks"] == 2, err
    there.rename(here)
    sys.modules.pop("handed_on", None)
    again, _, err = cli("bundle", "--judge", "a.zip")
    assert again == 2 and f"lay at {there} when it was packed" in err and "attnlab bundle --judge a.zip PATH" in err
    again, _, err = cli("bundle", "--judge", "a.zip", tmp_path / "a_place_that_is_not.py")
    assert again == 2 and "no file or folder" in err
    for words, home in (((here,), None), ((), here)):
        if home is not None:
            monkeypatch.setenv("ATTNLAB_PAPERS", str(home))
        again, judged, err = cli("bundle", "--judge", "a.zip", *words, "--json")
        assert again == status, err
        assert [claim["verdict"] for claim in judged["now"]["claims"]] == [c["verdict"] for c in packed["claims"]]


@pytest.mark.parametrize("judging", [False, True])
def test_an_interrupted_bundle_speaks_of_its_own_command_and_not_of_resume(cli, tmp_path, monkeypatch, judging):
    from attnlab.papers.lab.run import plan

    def pressed(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "reproduce", pressed)  # once the run is recorded
    words = ("toy.drift", "--scale", "smoke", "--to", tmp_path / "a.zip")
    if judging:
        run = {
            "targets": ["toy.drift"],
            "overrides": {},
            "scale": "smoke",
            "replicas": None,
            "seed": 0,
            "device": "cpu",
        }
        parts = {"record.json": {"claims": [], "run": run}, "blocks.json": [], "environment.json": {"format": 1}}
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, json.dumps(content))
        words = ("--judge", tmp_path / "a.zip")
    how = "judging a bundle keeps nothing" if judging else "the same command again goes on and writes the bundle"
    status, out, err = cli("bundle", *words)
    said = [line for line in err.splitlines() if line.startswith("attnlab: ")]
    assert (status, out, len(said)) == (130, "", 1) and how in err and "resume" not in err
    status, _, err = cli("reproduce", "toy.drift", "--scale", "smoke")
    assert status == 130 and "`attnlab resume` goes on" in err  # what one command says is not said by the next


def test_judging_takes_paths_and_nothing_else(cli):
    for words in (("he2025",), ("n=3",), ("./p.py", "--to", "b.zip")):
        status, _, err = cli("bundle", "--judge", "a.zip", *words)
        assert status == 2 and "a path says where a paper lies now" in err
