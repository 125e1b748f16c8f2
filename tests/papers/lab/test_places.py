"""Papers outside the repository: paths, entry points, ATTNLAB_PAPERS, scripts, and what their files are called."""

import subprocess
import sys
from pathlib import Path

import pytest

from attnlab.papers.lab import places
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.registry import address, paper_keys, select

PAPER = '''
from dataclasses import dataclass

import numpy as np

from attnlab.analysis import agrees
from attnlab.papers.lab import Paper, Source, main
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Setting:
    n: int = 10
    n_replicas: int = 8


@simulation(name="{key}.walk")
def walk(setting: Setting, seeds, device):
    return {{"end": np.array([np.random.default_rng(seed).normal() for seed in seeds])}}


paper = Paper(key="{key}", title="T", sources=[Source(authors="A", title="B", year=2026)], statements={{1: "Zero."}})
paper.scales(smoke=Setting(), desk=Setting(), paper=Setting())


@paper.claim("zero", source="Theorem 1", statements=[1], formula="E x = 0")
def zero(setting, lab):
    """The mean is zero."""
    return agrees(lab.simulate(walk, setting)["end"], 0, within=4, twin=20)
'''


def write(file, key, last=""):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(PAPER.format(key=key) + last)
    return file


@pytest.fixture
def path_restored(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def ids(*targets):
    return [claim.id for claim in select(targets).claims]


def test_a_file_a_folder_and_one_claim_of_a_file_are_targets(tmp_path, path_restored):
    file = write(tmp_path / "mine" / "places_one.py", "places_one")
    write(tmp_path / "mine" / "deeper" / "places_two.py", "places_two")
    (tmp_path / "mine" / "deeper" / "helper.py").write_text("raise RuntimeError('a helper is not run to find papers')")
    assert ids(str(file)) == ids(f"{file}::ze") == ["places_one.zero"]
    assert sorted(ids(str(tmp_path / "mine"))) == ["places_one.zero", "places_two.zero"]
    with pytest.raises(UsageError, match="2 papers"):
        select([f"{tmp_path / 'mine'}::zero"])
    with pytest.raises(UsageError, match="no file or folder"):
        select([str(tmp_path / "absent.py")])
    with pytest.raises(UsageError, match="declares no paper"):
        select([str(tmp_path / "mine" / "deeper" / "helper.py")])
    with pytest.raises(UsageError, match="unknown claim or figure"):
        select([f"{file}::on"])


def test_a_name_that_lies_here_is_told_as_the_path_it_is(tmp_path, monkeypatch, path_restored):
    file = write(tmp_path / "places_near" / "paper.py", "places_near")
    write(tmp_path / "places_flat.py", "places_flat")
    monkeypatch.chdir(tmp_path)
    for target, path in [
        ("places_near", "./places_near"),
        ("places_near.zero", "./places_near::zero"),
        ("places_flat.zero", "./places_flat.py::zero"),
    ]:
        with pytest.raises(UsageError, match=f"a path, written {path};"):
            select([target])
        assert ids(path)[-1].endswith(".zero")
    with pytest.raises(UsageError) as error:
        select(["nothing_like_this"])
    assert len(str(error.value)) < 100  # no list of all papers: `attnlab list` has it
    assert address("places_near", ["./places_near"], ()) == "./places_near::"
    assert address("places_near", ["."], ()) == f"{file}::"
    assert address("yoso", ["yoso"], {"yoso"}) == "yoso."


def test_a_package_brings_the_modules_beside_its_paper_and_a_flat_folder_does_not(tmp_path, path_restored):
    write(tmp_path / "places_pkg" / "paper.py", "places_pkg")
    (tmp_path / "places_pkg" / "__init__.py").write_text("")
    (tmp_path / "places_pkg" / "more.py").write_text(
        "from places_pkg.paper import paper, zero\n"
        "paper.claim('again', source='T', statements=[1], formula='x')(zero)\n"
    )
    assert ids(str(tmp_path)) == ["places_pkg.zero", "places_pkg.again"]


def test_two_files_of_one_module_name_are_told_apart_or_refused(tmp_path, path_restored):
    first, second = (write(tmp_path / name / "places_same.py", f"places_{name}") for name in ("left", "right"))
    assert ids(str(first)) == ["places_left.zero"]
    with pytest.raises(UsageError, match="already; rename") as error:
        select([str(second)])
    assert "__init__.py" in str(error.value)


def test_the_environment_names_papers_by_their_keys_and_a_key_twice_is_an_error(tmp_path, monkeypatch, path_restored):
    write(tmp_path / "a" / "places_env.py", "places_env")
    monkeypatch.setenv("ATTNLAB_PAPERS", str(tmp_path / "a"))
    assert "places_env" in paper_keys() and ids("places_env.zero") == ["places_env.zero"]
    write(tmp_path / "b" / "places_env2.py", "he2025_icl_regression")
    monkeypatch.setenv("ATTNLAB_PAPERS", str(tmp_path / "b"))
    with pytest.raises(UsageError, match=r"he2025_icl_regression.*attnlab.*ATTNLAB_PAPERS"):
        paper_keys()
    monkeypatch.setenv("ATTNLAB_PAPERS", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="ATTNLAB_PAPERS: no file or folder"):
        paper_keys()


def test_an_installed_package_names_its_paper_by_an_entry_point(tmp_path, monkeypatch, path_restored):
    write(tmp_path / "places_installed.py", "places_installed")
    record = tmp_path / "places_installed-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: places_installed\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[attnlab.papers]\nplaces_installed = places_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert ids("places_installed") == ["places_installed.zero"]


def test_a_folder_named_like_a_target_is_pointed_out(tmp_path, monkeypatch):
    (tmp_path / "my_paper").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"\./my_paper"):
        select(["my_paper"])


def test_a_name_that_is_not_python_is_refused_with_advice(tmp_path):
    with pytest.raises(UsageError, match="not a Python name"):
        select([str(write(tmp_path / "my-paper.py", "dashed"))])


def test_targets_keep_their_meaning_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places.absolute("./a/paper.py::x") == f"{tmp_path.resolve() / 'a' / 'paper.py'}::x"
    assert places.absolute("he2025.risk") == "he2025.risk"


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "guard",
    [
        pytest.param('if __name__ == "__main__":\n    raise SystemExit(main(paper))', marks=pytest.mark.slow),
        "print(main(paper))",
    ],
)
def test_a_paper_runs_as_a_script_with_workers_with_and_without_a_guard(tmp_path, guard):
    file = write(tmp_path / "as_script.py", "as_script", f"\n\nprint('imported as', __name__)\n{guard}\n")
    done = subprocess.run(
        [sys.executable, str(file), "--scale", "smoke", "--workers", "1", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0 and "HOLDS      as_script.zero" in done.stdout, done.stderr
    assert done.stdout.count("imported as __main__") == 1
    assert len(list((tmp_path / "out" / "blocks").glob("*/*.npz"))) in (
        1,
        2,
    )  # it ran in a worker and is kept, with a second look if it took one


def test_a_file_that_ends_the_program_is_refused_and_never_passes_as_success(tmp_path, path_restored):
    file = write(tmp_path / "ends_it.py", "ends_it", "\nraise SystemExit(main(paper))\n")
    with pytest.raises(UsageError, match="__main__"):
        select([str(file)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size = 1 / 0\n", "in <module>\n    size = 1 / 0\nZeroDivisionError: division by zero"),
        ("size = (\n", "SyntaxError: '(' was never closed"),
        ("import a_package_that_is_not_there\n", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        (
            "from attnlab.papers.lab import Source\nSource(author='A')\n",
            "Source has no field 'author'; did you mean 'authors'",
        ),
    ],
)
def test_an_error_of_a_module_beside_a_paper_is_told_by_the_lines_of_the_author(tmp_path, path_restored, text, said):
    beside = f"beside_{abs(hash(text))}"
    (tmp_path / f"{beside}.py").write_text(text)
    file = write(tmp_path / f"with_{beside}.py", "with_beside")
    file.write_text(f"import {beside}\n" + file.read_text())
    with pytest.raises(UsageError) as error:
        select([str(file)])
    told = str(error.value)
    assert told.startswith(f"{file} cannot be imported:\n") and said in told
    assert f'File "{file}", line 1' in told and f"{beside}.py" in told
    assert "importlib" not in told and "places.py" not in told and "declare.py" not in told


def test_the_fingerprint_follows_helpers_beside_the_simulation_and_no_library(tmp_path, path_restored):
    from attnlab.papers.lab.run.fingerprint import code_fingerprint, forget, modules_behind

    (tmp_path / "fp_helper.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "fp_pack").mkdir()
    (tmp_path / "fp_pack" / "__init__.py").write_text("")
    (tmp_path / "fp_pack" / "inner.py").write_text("import numpy\nX = 1\n")
    (tmp_path / "fp_pack" / "sim.py").write_text(
        "import json\nimport fp_helper\nfrom . import inner\nfrom .inner import X\n"
    )
    sys.path.insert(0, str(tmp_path))

    def fingerprint():
        forget()
        return code_fingerprint("fp_pack.sim")

    seen = [fingerprint()]
    for name, text in (
        ("fp_helper.py", "def f(x):\n    return x + 1\n"),
        ("fp_pack/inner.py", "import numpy\nX = 2\n"),
    ):
        (tmp_path / name).write_text(text)
        seen.append(fingerprint())
    (tmp_path / "fp_pack" / "inner.py").write_text("'''Doc.'''\nimport numpy\nX = 2  # two\n")
    assert len(set(seen)) == 3 and fingerprint() == seen[-1]
    import numpy

    found = modules_behind("fp_pack.sim")
    assert set(found) == {"fp_pack", "fp_pack.sim", "fp_pack.inner", "fp_helper", "numpy"}
    assert found["numpy"] == numpy.__version__  # of a library only the version counts
    forget()


def test_every_paper_of_the_repository_is_found_as_a_path_too():
    root = Path(__file__).resolve().parents[3]
    assert select([str(root / "papers" / "tian2023_scan_snap")]).papers[0] is select(["tian2023"]).papers[0]


def test_what_editors_and_links_leave_in_a_folder_of_papers_does_no_harm(tmp_path):
    (tmp_path / "paper.py").write_text('from attnlab.papers.lab import Paper\npaper = Paper(key="linked")\n')
    (tmp_path / ".#paper.py").symlink_to("somebody@somewhere.123")  # the lock of an editor: a link to nothing
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "up").symlink_to("..")
    (tmp_path / "folder.py").mkdir()
    assert list(places.paper_files(tmp_path)) == ["linked"]
    (tmp_path / "nul.py").write_bytes(b"# Paper(\n\0\n")
    with pytest.raises(UsageError, match=r"nul\.py"):
        places.paper_files(tmp_path)


def test_the_home_of_nobody_is_told():
    with pytest.raises(UsageError, match="no home folder is known"):
        places.absolute("~no-such-user-here/paper.py")
