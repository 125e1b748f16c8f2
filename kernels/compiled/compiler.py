"""C sources become functions: built by the system's compiler at first use, kept in a cache, checked before loading.

A build is named by a hash of its source, the headers, the flags and what the compiler says of itself and of this CPU,
so that a cache on a shared disk serves different machines. It is made in a temporary folder inside the cache and moved
into place in one step, so that many processes may build at once; the file ends with the SHA-256 of its content, which
is checked before it is loaded. Without a compiler, or if anything fails, ``load`` returns None, the reason is in
``compiler_report()``, and everything runs on torch.

``ATTNLAB_CACHE`` names the cache folder (default ``$XDG_CACHE_HOME/attnlab`` or ``~/.cache/attnlab``), ``ATTNLAB_CC``
the compiler (default ``cc``, then ``gcc``, ``clang``); an empty ``ATTNLAB_CC`` switches C off. ``ATTNLAB_ARCH`` names the
instruction set that builds are made for, as ``-march`` takes it (default ``native``; ``x86-64-v3`` for a build that other
machines can use).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

HEADERS = Path(__file__).parent
FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC")
_MARK = b"attnlab-build-1\0"
_DIGEST = 32
_failures: dict[str, str] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was found: its path, first version line, and a hash of what it says of this machine."""

    path: str
    version: str
    target: str
    arch: str


def load(source: Path, **defines: int) -> ctypes.CDLL | None:
    """The library built from ``source`` with the given macros, or None if it cannot be had on this machine."""
    return _load(str(source), tuple(sorted(defines.items())))


def compiler_report() -> dict[str, object]:
    """What ``attnlab doctor`` prints: the compiler, its target, the cache folder, the builds that failed and why."""
    compiler, reason = _find(os.environ.get("ATTNLAB_CC"), _arch())
    return {
        "compiler": compiler.path if compiler else None,
        "version": compiler.version if compiler else None,
        "target": compiler.target[:12] if compiler else None,
        "reason": reason,
        "cache": str(cache_folder()),
        "failed": dict(_failures),
    }


def cache_folder() -> Path:
    """Where builds are kept."""
    given = os.environ.get("ATTNLAB_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "attnlab"


@functools.lru_cache(maxsize=256)
def _load_cached(
    source: str, defines: tuple[tuple[str, int], ...], cc: str | None, arch: str, cache: str
) -> ctypes.CDLL | None:
    compiler, reason = _find(cc, arch)
    if compiler is None:
        return _fail(source, reason)
    try:
        text = Path(source).read_bytes()
        headers = b"".join(
            path.read_bytes() for folder in (HEADERS, Path(source).parent) for path in sorted(folder.glob("*.h"))
        )
        macros = [f"-D{name}={value}" for name, value in defines]
        identity = repr((text, headers, compiler.arch, FLAGS, macros, compiler.version, compiler.target))
        key = hashlib.sha256(identity.encode()).hexdigest()
        path = Path(cache) / "kernels" / f"{Path(source).stem}-{key[:32]}.so"
        if not _intact(path):
            _build(compiler, source, macros, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        return _fail(source, f"{type(error).__name__}: {error}")


def _load(source: str, defines: tuple[tuple[str, int], ...]) -> ctypes.CDLL | None:
    with _lock:
        return _load_cached(source, defines, os.environ.get("ATTNLAB_CC"), _arch(), str(cache_folder()))


def _fail(source: str, reason: str) -> None:
    _failures[Path(source).name] = reason
    return None


@functools.lru_cache(maxsize=8)
def _find(cc: str | None, arch: str) -> tuple[Compiler | None, str]:
    if cc is not None and not cc.strip():
        return None, "ATTNLAB_CC is empty: C kernels are switched off"
    names = [cc] if cc else ["cc", "gcc", "clang"]
    path = next((found for found in map(shutil.which, names) if found), None)
    if path is None:
        return None, f"no C compiler found ({', '.join(names)}); install gcc or clang, or set ATTNLAB_CC"
    try:
        version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        macros = subprocess.run(
            [path, f"-march={arch}", "-dM", "-E", "-x", "c", os.devnull], capture_output=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{path} does not work: {type(error).__name__}: {error}"
    return Compiler(path, version.splitlines()[0] if version else "", hashlib.sha256(macros).hexdigest(), arch), ""


def _arch() -> str:
    return os.environ.get("ATTNLAB_ARCH") or "native"


def _intact(path: Path) -> bool:
    """Whether the file is there and ends with the mark and the hash of the rest."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    tail = len(_MARK) + _DIGEST
    body, mark, digest = content[:-tail], content[-tail:-_DIGEST], content[-_DIGEST:]
    return mark == _MARK and hashlib.sha256(body).digest() == digest


def _build(compiler: Compiler, source: str, macros: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        made = Path(folder) / "kernel.so"
        command = [
            compiler.path,
            f"-march={compiler.arch}",
            *FLAGS,
            *macros,
            f"-I{HEADERS}",
            source,
            "-o",
            str(made),
            "-lm",
        ]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if run.returncode:
            raise OSError(f"{compiler.path} failed on {Path(source).name}: {run.stderr.strip()[-2000:]}")
        body = made.read_bytes()
        with made.open("ab") as file:
            file.write(_MARK + hashlib.sha256(body).digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
