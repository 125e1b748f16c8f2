"""``attnlab store``: look after the results folder."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from attnlab.papers.lab.commands.options import add_out, days, folder, show
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.plain import counted

_ACTIONS = """what to do:
  list               blocks
  show KEY           one block
  verify             check the catalogue and every hash; only reads
  gc                 remove what can no longer be used (not while a run is alive)
  repair             rebuild the catalogue from the blocks, forget what is lost
  upgrade            bring the catalogue of an older attnlab up to date
  export FILE [SIM]  verdicts, or the replicas of a simulation, as .csv or .parquet
  merge DIR          take in the results of another folder"""


def configure(parser: argparse.ArgumentParser) -> None:
    """``ACTION [ARGUMENT...]``."""
    parser.epilog = _ACTIONS
    parser.add_argument("action", choices=_DO, metavar="ACTION", help=", ".join(_DO))
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="block key, file, folder: see below")
    parser.add_argument("--dry-run", action="store_true", help="gc: say what would be removed, remove nothing")
    parser.add_argument(
        "--days", type=days, default=7.0, metavar="N", help="gc: leave what is younger than N days (default 7)"
    )
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run one action on the results folder."""
    from attnlab.papers.lab.run.catalogue import NAME

    place, action = folder(arguments), arguments.action
    if action != "repair" and not (place / NAME).exists():
        raise UsageError(f"no results in {place}; choose the folder with --out DIR")
    least, most, what = {"show": (1, 1, "a block key"), "export": (1, 2, "a file"), "merge": (1, 1, "a folder")}.get(
        action, (0, 0, "nothing else")
    )
    if not least <= len(arguments.arguments) <= most:
        raise UsageError(f"`attnlab store {action}` takes {what}, got {' '.join(arguments.arguments) or 'nothing'!r}")
    record, text, status = _DO[action](place, arguments)
    show(arguments, record, text)
    return status


Said = tuple[dict[str, Any], str, int]


def _list(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.catalogue import Catalogue

    names = ("key", "simulation", "first", "size", "seed", "bytes", "seconds", "created", "sha256")
    catalogue = Catalogue(place, write=False)
    good, altered = catalogue.sound("blocks", "order by created, key")
    marked = {key for (key,) in catalogue.query("select key from marks")}
    catalogue.close()
    rows = [tuple(row[name] for name in names) for row in good]
    total = f"{len(rows)} blocks, {sum(row[5] for row in rows) / 2**20:.1f} MiB in {place}"
    if altered:
        total += f"\n{counted(len(altered), 'row')} of the catalogue altered; `attnlab store verify` tells more"
    if arguments.json:
        told = [dict(zip(names, row, strict=True)) | {"damaged": row[0] in marked} for row in rows]
        return {"blocks": [*told, *({"key": str(row[0]), "damaged": True} for row in altered)]}, total, 0
    lines = [
        f"{key[:12]}  {simulation:<40} replicas {first}–{first + size - 1}  seed {seed}  {held / 1024:8.1f} KiB  "
        f"{seconds:7.1f} s  {_day(created)}{'  DAMAGED' if key in marked else ''}"
        for key, simulation, first, size, seed, held, seconds, created, _ in rows
    ]
    return {}, "\n".join([*lines, total]), 0


def _show(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.store import DamagedBlock, Store

    store, (start,) = Store(place, write=False), arguments.arguments
    keys = [key for (key,) in store.catalogue.rows("blocks", columns=("key",)) if start and str(key).startswith(start)]
    if len(keys) != 1:
        raise UsageError(f"{len(keys)} blocks have a key that starts with {start!r}; see `attnlab store list`")
    row = next((row for row in store.rows() if row["key"] == keys[0]), None)
    if row is None:
        said = f"{keys[0]}: its row in the catalogue is altered; `attnlab store repair` mends it"
        return {"block": {"key": keys[0]}, "damaged": said}, said, 3
    ran = json.loads(store.catalogue.rows("blocks", "where key = ?", keys, columns=("ran",))[0][0])
    try:
        arrays = {name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in store.get(row["key"]).items()}
    except DamagedBlock as damage:
        return {"block": row, "damaged": str(damage)}, str(damage), 3
    lines = [
        f"{row['simulation']}  {row['key']}",
        f"sha256 {row['sha256']}",
        *(f"  {name} = {value}" for name, value in row["identity"]["fields"].items()),
        *(f"  {name}: {a['dtype']} {tuple(a['shape'])}" for name, a in arrays.items()),
        *(f"  ran on {name} {value}" for name, value in row["identity"].get("platform", {}).items()),
        *(f"  ran {name} {value[:12]}" for name, value in ran.get("loaded", {}).items()),
    ]
    return {"block": row, "arrays": arrays, "ran": ran}, "\n".join(lines), 0


def _verify(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.care import verify
    from attnlab.papers.lab.run.store import Store

    store = Store(place, write=False)
    record = verify(store)
    store.close()
    lines = [f"{record['intact']} blocks are as written", *record["catalogue"]]
    lines += [f"{row['simulation']} {row['key'][:12]}: damaged ({row['found']})" for row in record["damaged"]]
    if record["unknown"]:
        lines.append(
            f"{len(record['unknown'])} files are in no row of the catalogue; `attnlab store repair` enters those that are whole"
        )
    if record["damaged"] or record["catalogue"]:
        lines.append(
            "damaged blocks are computed again when they are needed; `attnlab store repair` mends the catalogue"
        )
    return record, "\n".join(lines), 3 if record["damaged"] or record["catalogue"] else 0


def _gc(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.care import collect
    from attnlab.papers.lab.run.store import Store

    store = Store(place)
    record = collect(store, arguments.days, arguments.dry_run)
    store.close()
    word = "would remove" if arguments.dry_run else "removed"
    text = (
        f"{word} {len(record['stale'])} blocks of earlier code older than {arguments.days:g} days and "
        f"{len(record['orphans'])} left-over files"
    )
    return record, text, 0


def _repair(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.care import repair

    record = repair(place)
    text = (
        f"{'the catalogue was made anew; ' if record['rebuilt'] else ''}{len(record['entered'])} blocks entered, "
        f"{len(record['forgotten'])} lost or damaged ones forgotten, {len(record['damaged'])} files are no whole blocks"
    )
    return record, text, 0


def _upgrade(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.catalogue import VERSION, Catalogue

    Catalogue(place).close()
    return {"version": VERSION}, f"the catalogue of {place} is at version {VERSION}", 0


def _export(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.export import export
    from attnlab.papers.lab.run.store import Store

    target, simulation = Path(arguments.arguments[0]), (*arguments.arguments[1:], None)[0]
    store = Store(place, write=False)
    rows, left_out = export(store, target, simulation)
    store.close()
    text = f"{rows} rows in {target}"
    if left_out:
        text += f"; {counted(left_out, 'damaged row')} left out, see `attnlab store verify`"
    return {"file": str(target), "rows": rows, "left_out": left_out}, text, 3 if left_out else 0


def _merge(place: Path, arguments: argparse.Namespace) -> Said:
    from attnlab.papers.lab.run.care import merge
    from attnlab.papers.lab.run.store import Store

    store = Store(place)
    record = merge(store, Path(arguments.arguments[0]))
    store.close()
    text = f"took in {record['blocks']} blocks, {record['verdicts']} verdicts of {record['runs']} runs"
    if record["damaged"]:
        text += f"; {len(record['damaged'])} blocks are damaged there and were left"
    return record, text, 3 if record["damaged"] else 0


def _day(created: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(created))


_DO = {
    "list": _list,
    "show": _show,
    "verify": _verify,
    "gc": _gc,
    "repair": _repair,
    "upgrade": _upgrade,
    "export": _export,
    "merge": _merge,
}
