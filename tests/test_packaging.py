"""What is built from the checkout: everything that lies in the folders, and nothing that does not."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("theory", "kernels", "simulators", "analysis", "papers")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A copy of the files that belong to the checkout, in a folder of another name."""
    copy = tmp_path_factory.mktemp("clone") / "another_name"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: what belongs to the distribution is not known")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


def built(folder, out, kind="wheel"):
    """The wheel or sdist of a folder; its build asks no index."""
    out.mkdir(parents=True)
    code = f"import sys, setuptools.build_meta as backend; backend.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, cwd=folder, timeout=200
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    return path


def names_in(path):
    """The files of the package in a wheel."""
    return {name for name in zipfile.ZipFile(path).namelist() if name.startswith("attnlab/")}


def belongs(folder):
    """The files of the package that a folder holds: modules, C sources, tables, type markers."""
    paths = [p for f in FOLDERS for p in (folder / f).rglob("*") if p.suffix in (".py", ".c", ".h", ".json", ".typed")]
    return {"attnlab/" + str(path.relative_to(folder)) for path in paths}


@pytest.mark.slow
def test_a_wheel_holds_what_the_folders_hold_and_no_ghost_of_an_older_build(clean, tmp_path):
    """setuptools packs all that lies in build/lib, so what a move left there would ship; setup.py clears it first."""
    copy = tmp_path / "stale"
    shutil.copytree(clean, copy)
    ghost = copy / "build" / "lib" / "attnlab" / "theory" / "ghost.py"
    ghost.parent.mkdir(parents=True)
    ghost.write_text("raise RuntimeError('a module that is gone')\n")
    names = names_in(built(copy, tmp_path / "out"))
    assert names == belongs(clean) and "attnlab/theory/py.typed" in names


@pytest.mark.slow
def test_a_folder_without_init_is_missing_from_the_wheel_and_a_test_of_the_house_names_it(clean, tmp_path):
    copy = tmp_path / "forgotten"
    shutil.copytree(clean, copy)
    (copy / "theory" / "new_subject").mkdir()
    (copy / "theory" / "new_subject" / "law.py").write_text("X = 1\n")
    assert not any("new_subject" in name for name in names_in(built(copy, tmp_path / "out")))
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_house.py", "-k", "is_a_package")
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=copy, timeout=200)
    assert done.returncode == 1 and "theory/new_subject" in done.stdout


@pytest.mark.slow
def test_a_wheel_made_from_an_sdist_is_that_of_the_checkout_and_reproduces_a_claim(clean, tmp_path):
    (tmp_path / "unpacked").mkdir()
    shutil.unpack_archive(built(clean, tmp_path / "sdist", "sdist"), tmp_path / "unpacked")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    for example in (clean / "docs" / "examples" / "own_paper").rglob("*"):  # what docs/howto/my_paper.md gives to copy
        assert (unpacked / example.relative_to(clean)).exists(), example
    wheel = built(unpacked, tmp_path / "wheel")
    assert names_in(wheel) == names_in(built(clean, tmp_path / "direct"))
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    check = (
        "import attnlab.theory.checks as module, sys\n"
        "assert module.__file__.startswith(sys.argv[1]), module.__file__\n"
        "from attnlab.papers.lab.commands.cli import main\n"
        "raise SystemExit(main(['reproduce', 'rala_low_rank.output_rank', '--scale', 'smoke', '--workers', '1', '--out', 'r']))"
    )
    env = os.environ | {"PYTHONPATH": str(site)}
    words = (sys.executable, "-c", check, str(site))
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=280)
    assert done.returncode == 0 and "HOLDS" in done.stdout, done.stdout + done.stderr


PART = (
    "theory/test_checks.py theory/costs kernels/test_torch_internals.py kernels/icl_step "
    "simulators/ensemble/test_random_streams.py simulators/test_every_compiled_step.py analysis/statistics "
    "analysis/judges/test_values.py papers/rala_low_rank papers/lab/run/test_store.py"
)
"""Tests that need nothing of the checkout but themselves: some of every folder, with C sources and tables among them."""


def new_environment(place):
    """A virtual environment that sees the libraries of this one, but not what an editable install of this one points at."""
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # its .pth files are not read
    return python, site


def installed(python, what, *words):
    """Install a wheel, an sdist or a folder with pip, asking no index."""
    words = ("--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", "--quiet", *words, str(what))
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", *words)
    done = subprocess.run(pip, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the layout of a virtual environment is that of POSIX")
@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_a_part_of_the_suite_passes_in_each_form(clean, tmp_path, kind):
    """From a clean copy of the checkout in a folder of another name: as a wheel, from an sdist, and editable."""
    python, site = new_environment(tmp_path / "environment")
    if kind == "editable":
        place, home = clean, clean
        installed(python, clean, "--editable")
    else:
        place, home = tmp_path / "elsewhere", site / "attnlab"
        shutil.copytree(
            clean / "tests", place / "tests"
        )  # tests alone, without the sources that they would find beside them
        shutil.copyfile(clean / "pyproject.toml", place / "pyproject.toml")
        installed(python, built(clean, tmp_path / "built", kind))
    where = "import attnlab.theory.checks as module; print(module.__file__)"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run([python, "-c", where], capture_output=True, text=True, cwd=place, env=env, timeout=60)
    assert found.stdout.strip() == str(home / "theory" / "checks.py"), found.stderr
    part = [f"tests/{name}" for name in PART.split()] + (["tests/test_house.py"] if kind == "editable" else [])
    words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *part]
    done = subprocess.run(words, capture_output=True, text=True, cwd=place, env=env, timeout=1500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_continuous_integration_installs_the_extras_without_which_tests_are_skipped():
    """``bench`` is left out: JAX is named where it is absent; ``docs`` comes with ``make test-site``."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {extra: {re.match(r"[\w-]+", each)[0] for each in what} for extra, what in declared.items()}
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    skipped = set(re.findall(r'importorskip\(\s*"(\w+)"', tests)) - packages["dev"]
    needed = {extra for extra, what in packages.items() if what & skipped} - {"bench", "docs"}
    assert {"models", "cluster"} <= needed
    for name in (".ci/run", ".github/workflows/checks.yml"):
        (given,) = re.findall(r"make install EXTRAS=([\w,]+)", (ROOT / name).read_text())
        assert needed <= set(given.split(",")) <= set(declared), name


def test_no_target_of_make_replaces_the_editable_installation_by_a_copy():
    installs = [line for line in (ROOT / "Makefile").read_text().splitlines() if re.search(r"'?\.\[\w+\]", line)]
    assert len(installs) >= 3 and all("--editable" in line for line in installs)
