"""The variants of ``make test-portable`` are well formed, chosen by the commit's hash, and reach the tests they run."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("portable.py")


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120)


def test_all_variants_are_listed_and_there_are_at_least_eight():
    done = run("--list")
    assert done.returncode == 0 and len(done.stdout.splitlines()) >= 8


def test_an_unknown_variant_is_named_with_the_known_ones():
    done = run("itanium")
    assert done.returncode == 2 and "unknown variant 'itanium'; known: sse, " in done.stderr


@pytest.mark.parametrize(
    "variant, code",
    [
        pytest.param(
            "sse", "import torch; assert torch.backends.cpu.get_cpu_capability() == 'DEFAULT'", marks=pytest.mark.slow
        ),
        pytest.param(
            "no-compiler",
            "from attnlab.kernels.compiled.compiler import compiler_report as r; assert r()['compiler'] is None",
            marks=pytest.mark.slow,
        ),
        ("threads", "import os; assert os.environ['OPENBLAS_NUM_THREADS'] == '2'"),
    ],
)
def test_a_variant_reaches_the_tests(tmp_path, variant, code):
    (tmp_path / "test_one.py").write_text(f"def test_one():\n    {code}\n")
    done = run(variant, "--", "-n", "0", "-p", "no:cacheprovider", str(tmp_path / "test_one.py"))
    assert done.returncode == 0, done.stdout
    (tmp_path / "test_one.py").write_text("def test_one():\n    assert False\n")
    done = run(variant, "--", "-n", "0", "-p", "no:cacheprovider", str(tmp_path / "test_one.py"))
    assert done.returncode == 1 and "red" in done.stdout


def test_the_commits_hash_chooses_one_that_this_machine_can_run(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_one():\n    pass\n")
    chosen = {
        run("--by", digest, "--", "-n", "0", str(tmp_path / "test_one.py")).stdout.split(":")[0] for digest in "0f"
    }
    assert all(name.startswith("== ") for name in chosen)


def test_a_commit_has_the_same_variant_on_every_machine_that_can_run_it():
    portable = runpy.run_path(str(SCRIPT))
    names, lacking = list(portable["VARIANTS"]), portable["lacking"]
    for place, name in enumerate(names):
        chosen = portable["by_hash"](f"{place:x}")
        if lacking(portable["VARIANTS"][name]):
            assert not lacking(portable["VARIANTS"][chosen])
        else:
            assert chosen == name
