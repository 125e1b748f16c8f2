"""Building C at first use: cached, checked, safe with many processes, and never in the way."""

import os
import subprocess
import sys

import pytest
import torch

from attnlab.kernels.attention import attention, cpu
from attnlab.kernels.compiled import compiler

CODE = """
import ctypes, sys
from pathlib import Path
from attnlab.kernels.compiled import compiler
built = compiler.load(Path(sys.argv[1]), ANSWER=41)
print(built.answer() if built else compiler.compiler_report())
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "little.c"
    path.write_text("int answer(void) { return ANSWER + 1; }\n")
    return path


def run(source, cache, **more):
    environment = {**os.environ, "ATTNLAB_CACHE": str(cache), **more}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(source)], env=environment, stdout=subprocess.PIPE, text=True, cwd=source.parent
    )


def test_many_processes_build_at_once_and_leave_one_file(source, tmp_path, needs_c):
    processes = [run(source, tmp_path / "cache") for _ in range(6)]
    assert [process.communicate()[0].strip() for process in processes] == ["42"] * 6
    assert len(list((tmp_path / "cache" / "kernels").iterdir())) == 1


def test_damaged_build_is_made_again_and_never_loaded(source, tmp_path, needs_c):
    assert run(source, tmp_path / "cache").communicate()[0].strip() == "42"
    (built,) = (tmp_path / "cache" / "kernels").iterdir()
    whole = built.read_bytes()
    for damaged in (whole[:1000], b"", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        built.write_bytes(damaged)
        assert run(source, tmp_path / "cache").communicate()[0].strip() == "42"
        assert built.read_bytes() == whole


def test_source_and_macros_name_the_build(source, tmp_path, monkeypatch, needs_c):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    assert compiler.load(source, ANSWER=1).answer() == 2
    assert compiler.load(source, ANSWER=2).answer() == 3
    assert len(list((tmp_path / "cache" / "kernels").iterdir())) == 2


def test_generated_code_names_the_build_too(tmp_path, monkeypatch, needs_c):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "with_made.c"
    source.write_text('#include "made.h"\nint answer(void) { return MADE; }\n')
    assert [compiler.load(source, f"#define MADE {i}").answer() for i in (5, 6, 5)] == [5, 6, 5]
    assert len(list((tmp_path / "cache" / "kernels").iterdir())) == 2


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "cc", [*(pytest.param(cc, marks=pytest.mark.slow) for cc in ("", "no-such-compiler")), "false"]
)
def test_missing_or_broken_compiler_is_reported_and_nothing_breaks(cc, source, tmp_path):
    out = run(source, tmp_path / "cache", ATTNLAB_CC=cc).communicate()[0]
    assert "'compiler': None" in out and "reason" in out
    code = (
        "import torch; from attnlab.kernels.attention import attention; q = torch.ones(9, 4, 3);"
        "print(attention(q, q, q).sum().item())"
    )
    got = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ATTNLAB_CC": cc},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert float(got.stdout) == 108.0


def test_source_that_does_not_compile_is_reported(tmp_path, monkeypatch, needs_c):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    bad = tmp_path / "bad.c"
    bad.write_text("int answer(void) { return nonsense; }\n")
    assert compiler.load(bad) is None
    assert "nonsense" in compiler.compiler_report()["failed"]["bad.c"]


def test_unwritable_cache_is_reported(source, tmp_path, monkeypatch, needs_c):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("ATTNLAB_CACHE", str(blocked))
    assert compiler.load(source, ANSWER=3) is None
    assert "little.c" in compiler.compiler_report()["failed"]


def test_forcing_the_compiled_path_without_a_compiler_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(cpu, "library", lambda *_: None)
    q = torch.ones(9, 4, 3)
    with pytest.raises(RuntimeError, match="needs a working C compiler"):
        attention(q, q, q, path="c")


@pytest.mark.skipif(os.name != "posix", reason="owners and modes of files are POSIX")
@pytest.mark.parametrize("where", ["", "kernels"])
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_cache_that_others_may_write_is_refused_with_a_reason(source, tmp_path, monkeypatch, needs_c, where, mode):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "kernels").mkdir(parents=True, mode=0o700)
    (tmp_path / "cache" / where).chmod(mode)
    assert compiler.load(source, ANSWER=5) is None
    assert "may be written by others" in compiler.libraries()["missing"]["little.c ANSWER=5"]
    assert compiler.working_target()[0] is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_a_cache_or_a_library_of_another_user_is_never_loaded(source, tmp_path, monkeypatch, needs_c):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    assert compiler.load(source, ANSWER=6).answer() == 7
    (built,) = (tmp_path / "cache" / "kernels").iterdir()
    os.chown(built, 12345, 12345)
    compiler._load_cached.cache_clear()
    assert compiler.load(source, ANSWER=6).answer() == 7  # built again: the file is ours now
    assert built.stat().st_uid == os.geteuid()
    os.chown(tmp_path / "cache", 12345, 12345)
    compiler._load_cached.cache_clear()
    assert compiler.load(source, ANSWER=6) is None
    assert "another user" in compiler.libraries()["missing"]["little.c ANSWER=6"]


def test_what_killed_builds_left_is_removed_and_what_is_young_stays(source, tmp_path, monkeypatch, needs_c):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "kernels"
    (folder / "build-old").mkdir(parents=True)
    (folder / "build-new").mkdir()
    os.utime(folder / "build-old", (1.0, 1.0))
    folder.chmod(0o700)
    assert compiler.load(source, ANSWER=8).answer() == 9
    assert sorted(path.name for path in folder.glob("build-*")) == ["build-new"]


def test_every_loaded_library_is_told_with_its_hash(source, tmp_path, monkeypatch, needs_c):
    from attnlab.kernels.compiled.provenance import told

    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    compiler.load(source, ANSWER=10)
    (built,) = (tmp_path / "cache" / "kernels").iterdir()
    assert told()["loaded"]["little.c ANSWER=10"] == built.read_bytes()[-32:].hex()
    assert "little.c ANSWER=10" not in told()["missing"]


def test_a_user_without_a_home_has_a_cache_and_a_compiler_may_say_any_bytes(tmp_path, monkeypatch):
    from pathlib import Path

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    for name in ("ATTNLAB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(nobody))
    assert compiler.cache_folder().name == f"attnlab-cache-{os.getuid()}"
    strange = tmp_path / "strange"
    strange.write_bytes(b"#!/bin/sh\nprintf '\\377\\376 compiler 1\\n'\n")
    strange.chmod(0o755)
    found, reason = compiler._find(str(strange), "native")
    assert found is not None and "compiler 1" in found.version, reason
