"""``python -m tests.campaign.scale``: a results folder with 10^5 blocks and 10^5 verdicts; how long list and verify take."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from attnlab.papers.lab.run.blocks import key_of, pack_block
from attnlab.papers.lab.run.store import Store


def main() -> int:
    """Make the folder, time the commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attnlab-scale-") as folder:
        place = Path(folder) / "results"
        fill(place, options.records)
        print("| command | wall seconds | CPU seconds |\n|---|---|---|")
        for words in (("list",), ("show", "rala_low_rank"), ("runs",), ("store", "list"), ("store", "verify")):
            run(words, place)  # the first call is exempt: it makes the index
            wall, cpu = min(run(words, place) for _ in range(2))
            print(f"| `attnlab {' '.join(words)}` | {wall:.2f} | {cpu:.2f} |", flush=True)
    return 0


def fill(place: Path, n: int) -> None:
    """As many blocks and verdicts as runs would leave, written without waiting for the disk each time."""
    store = Store(place)
    made = store.begin_run({"targets": ["rala_low_rank"], "scale": "desk"})
    with store.catalogue.transaction():
        for k in range(n):
            identity = {"simulation": f"toy.walk{k % 40}", "fields": {"n": k}, "seed": 0, "first": 0, "size": 4}
            key = key_of(identity)
            data = pack_block(identity, ["toy"], {"x": np.arange(8.0) + k})
            path = store.path(key)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            row = {
                "key": key,
                "simulation": identity["simulation"],
                "identity": json.dumps(identity, sort_keys=True, separators=(",", ":")),
            }
            row |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "seconds": 1.0, "created": 1e9 + k}
            store.catalogue.put_inside(
                "blocks", row | {"first": 0, "size": 4, "seed": 0, "roots": '["toy"]', "ran": "{}"}
            )
            record = {
                "id": f"rala_low_rank.claim{k % 200}",
                "verdict": "HOLDS",
                "scale": "desk",
                "seed": k,
                "replicas": None,
            }
            record |= {"measured": 1.0, "interval": [0.9, 1.1], "reason": "", "setting": {"dim": k}}
            verdict = {
                "claim": record["id"],
                "scale": "desk",
                "setting": json.dumps({"dim": k}),
                "seed": k,
                "replicas": "None",
            }
            verdict |= {
                "run": made,
                "verdict": "HOLDS",
                "record": json.dumps(record),
                "created": 1e9 + k,
                "overrides": "{}",
            }
            store.catalogue.put_inside("verdicts", verdict)
    store.end_run(made, 0)
    store.close()


def run(words: tuple[str, ...], place: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    began, before = time.monotonic(), os.times()
    code = "from attnlab.papers.lab.commands.cli import main; raise SystemExit(main())"
    done = subprocess.run([sys.executable, "-c", code, *words, "--out", str(place)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, used


if __name__ == "__main__":
    raise SystemExit(main())
