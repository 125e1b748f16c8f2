"""The file of a block: an ``.npz`` archive that carries its own identity and the digests of its arrays.

No file here is ever unpickled, and nothing is loaded that is larger than the file itself: members are stored, not
compressed, and the size of an array is checked against its bytes before memory is taken.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import struct
import zipfile
from typing import Any

import numpy as np

from attnlab.papers.lab.run.identity import canonical

LABEL = "attnlab.json"
FORMAT = "attnlab-block-1"
_MAGIC = b"\x93NUMPY"
_KEY = re.compile(r"[0-9a-f]{64}")


class DamagedBlock(Exception):
    """A block's file is missing, truncated or altered: it has to be computed again."""


def is_key(key: object) -> bool:
    """Whether a text is a block's key: 64 hexadecimal digits, and so no path."""
    return isinstance(key, str) and _KEY.fullmatch(key) is not None


def key_of(identity: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of an identity."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def pack(arrays: dict[str, np.ndarray], label: dict[str, Any] | None = None) -> bytes:
    """The bytes of an ``.npz`` archive: the same arrays give the same bytes (names sorted, fixed dates)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        if label is not None:
            archive.writestr(zipfile.ZipInfo(LABEL), canonical(label))
        for name in sorted(arrays):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy(arrays[name]))
    return buffer.getvalue()


def pack_block(identity: dict[str, Any], roots: list[str], arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of a block's file."""
    digests = {name: hashlib.sha256(npy(array)).hexdigest() for name, array in arrays.items()}
    return pack(arrays, {"format": FORMAT, "identity": identity, "roots": roots, "digests": digests})


def npy(array: np.ndarray) -> bytes:
    """The bytes of one array, in C order; object arrays raise ``ValueError``."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an archive. Raises ``ValueError`` for one that is not plainly stored numbers of their own size."""
    with _opened(data) as archive:
        return {
            info.filename.removesuffix(".npy"): _array(_member(archive, info), info.filename)
            for info in archive.infolist()
            if info.filename != LABEL
        }


def read_label(data: bytes) -> dict[str, Any]:
    """The label of a block's file, its arrays checked against it. Raises ``DamagedBlock``."""
    try:
        with _opened(data) as archive:
            label = json.loads(_member(archive, archive.getinfo(LABEL)))
            found = {
                info.filename.removesuffix(".npy"): hashlib.sha256(_member(archive, info)).hexdigest()
                for info in archive.infolist()
                if info.filename != LABEL
            }
        if label["format"] != FORMAT or not isinstance(label["identity"], dict):
            raise DamagedBlock(f"it says it is a {label['format']!r}, not {FORMAT!r}")
        if found != label["digests"]:
            raise DamagedBlock("its arrays are not those of its label")
        return label
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedBlock(f"it carries no identity ({type(error).__name__}: {error})") from None


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OverflowError) as error:
        raise ValueError(f"no archive: {error}") from None
    total = 0
    for info in archive.infolist():
        total += info.file_size
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise ValueError(f"{info.filename} is compressed or encrypted; members must be stored as they are")
    if total > len(data):
        raise ValueError(f"it claims {total} bytes in a file of {len(data)}")
    return archive


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, struct.error, OSError) as error:
        raise ValueError(f"{info.filename}: {error}") from None


def _array(data: bytes, name: str) -> np.ndarray:
    """One array from the bytes of its ``.npy`` member, read by hand: nothing is allocated that the bytes do not hold."""
    try:
        if data[:6] != _MAGIC or data[6] not in (1, 2, 3):
            raise ValueError("no array")
        wide = data[6] > 1
        (length,) = struct.unpack_from("<I" if wide else "<H", data, 8)
        start = (12 if wide else 10) + length
        header = ast.literal_eval(data[start - length : start].decode("utf-8" if data[6] == 3 else "latin-1"))
        dtype, shape = np.lib.format.descr_to_dtype(header["descr"]), header["shape"]
        if dtype.hasobject:
            raise ValueError("it holds Python objects (allow_pickle is never used here)")
        count = 1
        for size in shape:
            if not isinstance(size, int) or size < 0:
                raise ValueError(f"impossible shape {shape!r}")
            count *= size
        if count * dtype.itemsize != len(data) - start:
            raise ValueError(f"shape {shape} of {dtype} is not its {len(data) - start} bytes")
        flat = np.frombuffer(data, dtype, count, start).copy()
        return flat.reshape(shape, order="F" if header["fortran_order"] else "C")
    except (KeyError, TypeError, SyntaxError, struct.error, IndexError, MemoryError, RecursionError) as error:
        raise ValueError(f"{name}: no array ({type(error).__name__})") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
