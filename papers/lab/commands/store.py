"""``attnlab store``: look after the results folder."""

from __future__ import annotations

import argparse
import importlib.util
import time
from typing import Any

from attnlab.papers.lab.commands.options import add_out, folder, show
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.fingerprint import code_fingerprint
from attnlab.papers.lab.run.machine import platform
from attnlab.papers.lab.run.store import DamagedBlock, Store


def configure(parser: argparse.ArgumentParser) -> None:
    """``ACTION [KEY]``."""
    parser.add_argument(
        "action",
        choices=("list", "show", "verify", "gc"),
        help="list blocks; show one; verify every hash; gc removes what can no longer be used",
    )
    parser.add_argument("key", nargs="?", metavar="KEY", help="block key, or the start of it (for show)")
    parser.add_argument("--dry-run", action="store_true", help="gc: say what would be removed, remove nothing")
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run one action on the results folder."""
    place = folder(arguments)
    if not (place / "catalogue.sqlite").exists():
        raise UsageError(f"no results in {place}; choose the folder with --out DIR")
    record, text, status = act(Store(place), arguments.action, arguments.key, arguments.dry_run)
    show(arguments, record, text)
    return status


def act(store: Store, action: str, key: str | None, dry_run: bool) -> tuple[dict[str, Any], str, int]:
    """Run one action; returns its record, its text and the exit status (3 if damage was found)."""
    if action == "show":
        return _show(store, key)
    if key is not None:
        raise UsageError(f"`attnlab store {action}` takes no key, got {key!r}")
    return {"list": _list, "verify": _verify, "gc": lambda s: _gc(s, dry_run)}[action](store)


def _list(store: Store) -> tuple[dict[str, Any], str, int]:
    rows = store.rows()
    lines = [
        f"{row['key'][:12]}  {row['simulation']:<40} replicas {row['identity']['first']}–"
        f"{row['identity']['first'] + row['identity']['size'] - 1}  seed {row['identity']['seed']}  "
        f"{row['bytes'] / 1024:8.1f} KiB  {row['seconds']:7.1f} s  {_day(row['created'])}"
        for row in rows
    ]
    total = f"{len(rows)} blocks, {sum(r['bytes'] for r in rows) / 2**20:.1f} MiB in {store.folder}"
    return {"blocks": rows}, "\n".join([*lines, total]), 0


def _show(store: Store, key: str | None) -> tuple[dict[str, Any], str, int]:
    rows = [row for row in store.rows() if key and row["key"].startswith(key)]
    if len(rows) != 1:
        raise UsageError(f"{len(rows)} blocks have a key that starts with {key!r}; see `attnlab store list`")
    row = rows[0]
    try:
        arrays = {name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in store.get(row["key"]).items()}
    except DamagedBlock as damage:
        return {"block": row, "damaged": str(damage)}, str(damage), 3
    lines = [
        f"{row['simulation']}  {row['key']}",
        f"sha256 {row['sha256']}",
        *(f"  {name} = {value}" for name, value in row["identity"]["fields"].items()),
        *(f"  {name}: {a['dtype']} {tuple(a['shape'])}" for name, a in arrays.items()),
    ]
    return {"block": row, "arrays": arrays}, "\n".join(lines), 0


def _verify(store: Store) -> tuple[dict[str, Any], str, int]:
    damaged, checked = [], 0
    for row in store.rows():
        try:
            store.get(row["key"])
            checked += 1
        except DamagedBlock as damage:
            damaged.append({"key": row["key"], "simulation": row["simulation"], "found": str(damage)})
    lines = [f"{checked} blocks are as written", *(f"{row['simulation']}: {row['found']}" for row in damaged)]
    return {"intact": checked, "damaged": damaged}, "\n".join(lines), 3 if damaged else 0


def _gc(store: Store, dry_run: bool) -> tuple[dict[str, Any], str, int]:
    """Remove blocks of code or libraries that are no longer the current ones, and files that no row names."""
    stale = [row for row in store.rows() if not _current(row["identity"])]
    orphans = store.orphans()
    if not dry_run:
        for row in stale:
            store.forget(row["key"])
        for path in orphans:
            path.unlink(missing_ok=True)
    word = "would remove" if dry_run else "removed"
    text = f"{word} {len(stale)} blocks of earlier code or library versions and {len(orphans)} left-over files"
    return {"stale": [row["key"] for row in stale], "orphans": [str(p) for p in orphans], "dry_run": dry_run}, text, 0


def _current(identity: dict[str, Any]) -> bool:
    """Whether the code that is installed now would use the block."""
    module = "attnlab.simulators." + identity["simulation"].rpartition(".")[0]
    if importlib.util.find_spec(module) is None or identity["code"] != code_fingerprint(module):
        return False
    device = identity["device"]
    return device != "cpu" or identity["platform"] == platform(device)


def _day(created: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(created))
