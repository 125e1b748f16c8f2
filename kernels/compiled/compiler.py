"""C sources become functions: built by the system's compiler at first use, kept in a cache, checked before loading.

A build is named by a hash of its source, the headers, the flags and what the compiler says of itself and of this CPU,
so that a cache on a shared disk serves different machines. It is made in a temporary folder inside the cache and moved
into place in one step, so that many processes may build at once; the file ends with the SHA-256 of its content, which
is checked before it is loaded. Without a compiler, or if anything fails, ``load`` returns None, the reason is in
``compiler_report()``, and everything runs on torch.

A library is code that runs with all rights of the user. The cache is therefore private: a folder or file that another user
owns, or that others may write, is refused, and so is a build whose hash does not match.

``ATTNLAB_CACHE`` names the cache folder (default ``$XDG_CACHE_HOME/attnlab`` or ``~/.cache/attnlab``; a user without a home
has one in the folder for temporary files), ``ATTNLAB_CC`` the compiler (default ``clang``, then that of the package ziglang,
``pip install attnlab[cc]``, then ``cc``, ``gcc``); an empty ``ATTNLAB_CC`` switches C off, ``zig`` asks for the package's. Clang
joins a product and a sum into one rounding where one expression of the source has both and nowhere else, so that its bits do
not depend on the width of the vectors.
``ATTNLAB_ARCH`` names the instruction set that builds are made for, as ``-march`` takes it (default
``native``; ``x86-64-v3`` for a build that other machines can use).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from attnlab.kernels.compiled.provenance import Told, teller

HEADERS = Path(__file__).parent
FLAGS = ("-O3", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC")
#: Products and sums become one rounding on every processor and at every width: gcc takes "on" for "off", and on AMD's keeps
#: them apart in sums of at most 256 bits unless told otherwise, so that bits would depend on how many lanes are in use.
CONTRACTION = {"clang": ("-ffp-contract=on",), "gcc": ("-ffp-contract=fast", "--param=avoid-fma-max-bits=0")}
_MARK = b"attnlab-build-1\0"
_DIGEST = 32
_DAY = 86400.0
_ADVICE = "set ATTNLAB_CACHE to a folder that only you can write"
_failures: dict[str, str] = {}  # file name to reason
_loaded: dict[str, str] = {}  # source with its macros to the hash of the library's bytes
_missing: dict[str, str] = {}  # source with its macros to the reason
_lock = threading.Lock()


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was found: its command, first version line, and a hash of what it says of this machine."""

    command: tuple[str, ...]
    version: str
    target: str
    arch: str

    @property
    def path(self) -> str:
        return " ".join(self.command)

    @property
    def flags(self) -> tuple[str, ...]:
        """What every build is made with."""
        return *FLAGS, *CONTRACTION["clang" if "clang" in self.version else "gcc"]

    def run(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """The compiler on these arguments, for the instruction set that was asked for."""
        zig = self.command[-1] == "cc" and len(self.command) > 1
        arch = self.arch.replace("-", "_") if zig else self.arch
        places = {f"ZIG_{kind}_CACHE_DIR": str(cache_folder() / "zig") for kind in ("GLOBAL", "LOCAL")} if zig else {}
        command = [*self.command, f"-march={arch}", *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, **places},
        )


def load(source: Path, made: str = "", **defines: int) -> ctypes.CDLL | None:
    """The library built from ``source`` with the given macros, or None if it cannot be had on this machine.

    ``made``: generated code, which the source includes as ``made.h``; it is part of what names the build.
    """
    return _load(str(source), made, tuple(sorted(defines.items())))


def working_target() -> tuple[str | None, str]:
    """A hash of compiler and processor if a library can be built, kept and loaded here; else None and the reason."""
    compiler, reason = _find(os.environ.get("ATTNLAB_CC"), _arch())
    if compiler is None:
        return None, reason
    probe = load(HEADERS / "probe.c", ANSWER=42)
    if probe is None or not hasattr(probe, "answer") or probe.answer() != 42:
        return None, _failures.get("probe.c", "the probe does not answer")
    return compiler.target[:12], ""


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


@teller("compiled kernels")
def libraries() -> Told:
    """The libraries that this process has loaded, and those it could not have."""
    return {"loaded": dict(_loaded), "missing": dict(_missing)}


def cache_folder() -> Path:
    """Where builds are kept."""
    given = os.environ.get("ATTNLAB_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "attnlab"
    except RuntimeError:  # a user without a home (a container run under any number): a folder that is this user's
        return Path(tempfile.gettempdir()) / f"attnlab-cache-{os.getuid()}"


def private_cache(name: str) -> Path:
    """The folder ``name`` of the cache, made if it is not there. Raises ``OSError`` if somebody else could fill it."""
    return _private(cache_folder() / name)


@functools.lru_cache(maxsize=256)
def _load_cached(
    source: str, made: str, defines: tuple[tuple[str, int], ...], cc: str | None, arch: str, cache: str
) -> ctypes.CDLL | None:
    name = " ".join([Path(source).name, *(f"{key}={value}" for key, value in defines)])
    if made:
        name += f" made={hashlib.sha256(made.encode()).hexdigest()[:12]}"
    compiler, reason = _find(cc, arch)
    if compiler is None:
        return _fail(source, name, reason)
    try:
        text = Path(source).read_bytes()
        headers = b"".join(
            path.read_bytes() for folder in (HEADERS, Path(source).parent) for path in sorted(folder.glob("*.h"))
        )
        macros = [f"-D{name}={value}" for name, value in defines]
        identity = repr((text, headers, made, compiler.arch, compiler.flags, macros, compiler.version, compiler.target))
        key = hashlib.sha256(identity.encode()).hexdigest()
        path = _private(Path(cache) / "kernels") / f"{Path(source).stem}-{key[:32]}.so"
        digest = _intact(path)
        if digest is None:
            _build(compiler, source, made, macros, path)
            digest = _intact(path)
        if digest is None:
            raise OSError(f"{path} is not as it was built")
        built = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        return _fail(source, name, f"{type(error).__name__}: {error}")
    _loaded[name] = digest
    _missing.pop(name, None)
    return built


def _load(source: str, made: str, defines: tuple[tuple[str, int], ...]) -> ctypes.CDLL | None:
    with _lock:
        return _load_cached(source, made, defines, os.environ.get("ATTNLAB_CC"), _arch(), str(cache_folder()))


def _fail(source: str, name: str, reason: str) -> None:
    _failures[Path(source).name] = reason
    _missing[name] = reason
    return None


@functools.lru_cache(maxsize=8)
def _find(cc: str | None, arch: str) -> tuple[Compiler | None, str]:
    if cc is not None and not cc.strip():
        return None, "ATTNLAB_CC is empty: C kernels are switched off"
    names = [cc] if cc else ["clang", "zig", "cc", "gcc"]
    command = next((found for found in map(_command, names) if found), None)
    if command is None:
        return (
            None,
            f"no C compiler found ({', '.join(names)}); pip install ziglang, install gcc or clang, or set ATTNLAB_CC",
        )
    found = Compiler(command, "", "", arch)
    try:
        said = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", timeout=60, check=True
        )
        version = said.stdout
        macros = found.run("-dM", "-E", "-x", "c", os.devnull, timeout=60)
        macros.check_returncode()
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{found.path} does not work: {type(error).__name__}: {error}"
    first = version.splitlines()[0] if version else ""
    return Compiler(command, first, hashlib.sha256(macros.stdout.encode()).hexdigest(), arch), ""


def _command(name: str) -> tuple[str, ...] | None:
    """The command of a compiler by name, if it is there; ``zig`` is the one in the Python package."""
    if name == "zig":
        spec = importlib.util.find_spec("ziglang")
        binary = Path(spec.origin).parent / "zig" if spec and spec.origin else None
        return (str(binary), "cc") if binary and binary.exists() else None
    path = shutil.which(name)
    return (path,) if path else None


def _arch() -> str:
    return os.environ.get("ATTNLAB_ARCH") or "native"


def _private(folder: Path) -> Path:
    """The cache folder, made for this user alone, with all links followed; refused if somebody else could fill it.

    Whoever may write a folder may put another file in the place of ours, and so may whoever may rename a folder above it.
    A folder with the sticky bit (``/tmp``) protects what others own in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise type(error)(
            error.errno, f"cannot make the cache of compiled kernels ({error.strerror}); {_ADVICE}", str(folder)
        ) from None
    folder = folder.resolve()
    if os.name != "posix":
        return folder
    for place in (folder, *folder.parents):
        status = place.stat()
        inside = place in (folder, folder.parent)
        if status.st_uid != os.geteuid() and (inside or status.st_uid != 0):
            raise PermissionError(
                f"{place} belongs to another user, whose libraries would run with your rights; {_ADVICE}"
            )
        open_to = status.st_mode & (
            stat.S_IWOTH if status.st_gid == os.getegid() and not inside else stat.S_IWOTH | stat.S_IWGRP
        )
        if open_to and not status.st_mode & stat.S_ISVTX:
            raise PermissionError(f"{place} may be written by others: `chmod go-w {place}`, or {_ADVICE}")
    return folder


def _intact(path: Path) -> str | None:
    """The hash of a library that is there, is ours alone, and ends with the mark and the hash of the rest; else None."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
                return None  # it is built again in its place
            content = file.read()
    except FileNotFoundError:
        return None
    tail = len(_MARK) + _DIGEST
    body, mark, digest = content[:-tail], content[-tail:-_DIGEST], content[-_DIGEST:]
    return digest.hex() if mark == _MARK and hashlib.sha256(body).digest() == digest else None


def _build(compiler: Compiler, source: str, made: str, macros: list[str], path: Path) -> None:
    _sweep(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        _fault_point("build begun")
        library = Path(folder) / "kernel.so"
        (Path(folder) / "made.h").write_text(made)
        run = compiler.run(*compiler.flags, *macros, f"-I{HEADERS}", f"-I{folder}", source, "-o", str(library), "-lm")
        if run.returncode:
            raise OSError(f"{compiler.path} failed on {Path(source).name}: {run.stderr.strip()[-2000:]}")
        _fault_point("build made")
        library.chmod(0o700)
        body = library.read_bytes()
        with library.open("ab") as file:
            file.write(_MARK + hashlib.sha256(body).digest())
            file.flush()
            os.fsync(file.fileno())
        _fault_point("build written")
        os.replace(library, path)
        _fault_point("build kept")


def _fault_point(name: str) -> None:
    """As ``attnlab.analysis.writing.fault_point``, which kernels may not import: a place where a test lets the process die."""
    mark = os.environ.get("ATTNLAB_FAULT_MARK")
    if os.environ.get("ATTNLAB_FAULT") == name and (not mark or not os.path.exists(mark)):
        if mark:
            Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _sweep(folder: Path) -> None:
    """Remove what killed builds left behind: a build takes ten minutes at most, so folders of a day ago are dead."""
    for left in folder.glob("build-*"):
        try:
            if left.is_dir() and time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue
