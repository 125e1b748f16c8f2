"""``python -m tests.campaign.campaign``: the whole campaign; prints the table of docs/measured/campaign.md.

Every trial runs the command line on a small paper, does something to it, and then asks: was every end told in a sentence, is
what was kept whole, does the same command finish it, and are all bits those of the undisturbed run?
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign.harness import CLAIMS, TARGET, Ended, Yard

Trial = tuple[str, list[str]]  # how the disturbed run ended, and what did not hold


def aimed(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """Kill whoever passes a fault point, at each point in turn and at each passing of it."""
    log = yard.folder / "passed"
    yard.run(yard.fresh(), env={"ATTNLAB_FAULT_LOG": str(log), "ATTNLAB_CACHE": str(yard.folder / "cache-log")})
    passed: dict[str, int] = {}  # by the process that passes it most often
    for line, count in Counter(log.read_text().splitlines()).items():
        name = line.partition(" ")[2]
        passed[name] = max(passed.get(name, 0), count)
    places = [(name, k) for name, count in sorted(passed.items()) for k in range(1, count + 1)]
    builds = [("build begun", 1), ("build made", 1), ("build written", 1), ("build kept", 1)]
    rng.shuffle(places)
    done = 0
    for count, (name, k) in enumerate(itertools.chain(builds, itertools.cycle(places))):
        if done == n or count > 4 * n:
            return
        place = yard.fresh()
        mark = Path(f"{place}.mark")
        env = {"ATTNLAB_FAULT": name if name.startswith("build") else f"{name}:{k}", "ATTNLAB_FAULT_MARK": str(mark)}
        if name.startswith("build"):
            env["ATTNLAB_CACHE"] = f"{place}.cache"
            before: Callable[[], None] | None = forget_builds
        else:
            before = None
        words = TARGET if name.split()[0] in ("png", "pdf", "svg", "csv", "figure") else CLAIMS
        ended = yard.run(place, words, env=env, before=before)
        if not mark.exists():
            continue  # this process did not pass the point so often: which one does a block is not fixed
        done += 1
        yield f"killed at {name!r}: {how(ended)}", [*sentence(ended), *yard.check(place, words)]


def at_random(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """Kill the driver, one worker, or the whole group at a random moment."""
    for _ in range(n):
        place, whom = yard.fresh(), rng.choice(["driver", "worker", "group"])
        began = time.monotonic()
        pid = yard.start(place, CLAIMS)
        time.sleep(rng.uniform(0, 1.1 * yard.seconds))
        try:
            if whom == "driver":
                os.kill(pid, signal.SIGKILL)
            elif whom == "group":
                os.killpg(pid, signal.SIGKILL)
            else:
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                for task in Path(f"/proc/{pid}/task").iterdir():
                    children += (task / "children").read_text().split()
                if children:
                    os.kill(int(rng.choice(children)), signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            pass
        ended = yard.wait(pid, place, began)
        yield f"killed {whom}: {how(ended)}", [*sentence(ended), *yard.check(place)]


def interrupted(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """SIGINT at a random moment: exit status 130 within seconds, or the run had ended."""
    for _ in range(n):
        place, began = yard.fresh(), time.monotonic()
        pid = yard.start(place, CLAIMS)
        time.sleep(rng.uniform(0.02, yard.seconds))
        sent = time.monotonic()
        os.kill(pid, signal.SIGINT)
        ended = yard.wait(pid, place, began)
        wrong = [] if ended.status in (0, 130) else [f"ended with {ended.status}: {ended.said}"]
        if time.monotonic() - sent > 10:
            wrong.append(f"took {time.monotonic() - sent:.0f} s to end")
        yield f"SIGINT: {how(ended)}", [*wrong, *sentence(ended), *yard.check(place)]


def damaged(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """Tear, flip, swap, empty, lengthen or remove a file of finished results; the same command mends it and says so."""
    for _ in range(n):
        place = yard.fresh()
        shutil.copytree(yard.folder / "reference", place)
        files = sorted((place / "blocks").glob("*/*.npz"))
        victim, other = rng.sample(files, 2)
        data, kind = (
            victim.read_bytes(),
            rng.choice(["torn", "flipped", "swapped", "emptied", "lengthened", "removed", "folder"]),
        )
        if kind == "torn":
            victim.write_bytes(data[: rng.randrange(len(data))])
        elif kind == "flipped":
            k = rng.randrange(len(data))
            victim.write_bytes(data[:k] + bytes([data[k] ^ (1 << rng.randrange(8))]) + data[k + 1 :])
        elif kind == "swapped":
            victim.write_bytes(other.read_bytes())
        elif kind == "emptied":
            victim.write_bytes(b"")
        elif kind == "lengthened":
            victim.write_bytes(data + b"\0")
        else:
            victim.unlink()
            if kind == "folder":
                victim.mkdir()
        ended = yard.run(place, CLAIMS)
        wrong = [] if "is damaged" in ended.err or kind == "folder" else ["the damage was not said"]
        if kind == "folder":
            wrong += sentence(ended) + ([] if ended.status == 2 else [f"status {ended.status}"])
            victim.rmdir()
            ended = yard.run(place, CLAIMS)
        if ended.status:
            wrong.append(f"ended with {ended.status}: {ended.said}")
        yield f"block {kind}: mended", wrong + yard.differences(place, ended)


def catalogue_damaged(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """Flip or tear bytes of the catalogue: noticed, or without consequence; repair brings everything back."""
    from attnlab.papers.lab.run.care import repair, verify
    from attnlab.papers.lab.run.store import Store

    for _ in range(n):
        place = yard.fresh()
        shutil.copytree(yard.folder / "reference", place)
        file = place / "catalogue.sqlite"
        data, kind = file.read_bytes(), rng.choice(["flipped", "flipped", "torn"])
        if kind == "torn":
            file.write_bytes(data[: rng.randrange(len(data))])
        else:
            k = rng.randrange(len(data))
            file.write_bytes(data[:k] + bytes([data[k] ^ (1 << rng.randrange(8))]) + data[k + 1 :])
        try:
            reader = Store(place, write=False)
            record = verify(reader)
            reader.close()
            noticed = bool(record["catalogue"] or record["damaged"])
        except Exception:
            noticed = True
        wrong = []
        if noticed:
            try:
                repair(place)
            except Exception as error:
                if "another program" in str(error) or "newer attnlab" in str(
                    error
                ):  # the flip was in its name: told, not touched
                    file.unlink()
                    repair(place)
                else:
                    wrong.append(f"repair: {error}")
        ended = yard.run(place)
        if ended.status:
            wrong.append(f"ended with {ended.status}: {ended.said}")
        yield (
            f"catalogue {kind}: {'noticed and repaired' if noticed else 'without consequence'}",
            wrong + yard.differences(place),
        )


def short(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """A full disk, a disk that fails, a limit on file sizes, descriptors or memory: one sentence, and nothing lost."""
    points = [
        "npz written",
        "npz half written",
        "npz renamed",
        "catalogue before commit",
        "checkpoint written",
        "png written",
    ]
    for k in range(n):
        place, kind = yard.fresh(), ["ENOSPC", "EIO", "EDQUOT", "files", "descriptors", "memory"][k % 6]
        env, before = {}, None
        if kind.startswith("E"):
            env = {"ATTNLAB_FAULT": f"{rng.choice(points)}:{rng.randint(1, 3)}", "ATTNLAB_FAULT_KIND": kind}
            env["ATTNLAB_FAULT_MARK"] = f"{place}.mark"
        elif kind == "files":
            before = limited(resource.RLIMIT_FSIZE, rng.choice([300, 700, 3000, 20000]))
        elif kind == "descriptors":
            before = limited(resource.RLIMIT_NOFILE, rng.randint(12, 40))
        else:
            held = int(re.findall(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024
            before = limited(resource.RLIMIT_AS, held + rng.choice([1, 8, 30]) * 2**20)
        ended = yard.run(place, env=env, before=before)
        wrong = sentence(ended)
        if ended.status not in (0, 2, 3):
            wrong.append(f"ended with {ended.status}: {ended.said}")
        yield f"{kind}: {how(ended)}", wrong + yard.check(place, TARGET)


def together(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """Two and eight drivers on one folder at once, with verify and gc beside them."""
    from attnlab.papers.lab.run.care import verify
    from attnlab.papers.lab.run.store import Store

    for k in range(n):
        place, drivers = yard.fresh(), (2, 8)[k % 2]
        began, started = time.monotonic(), []
        for j in range(drivers):
            started.append((yard.start(place, CLAIMS, before=names(Path(f"{place}.{j}"))), Path(f"{place}.{j}")))
        wrong: list[str] = []
        checks = 0
        while any(
            Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
            for pid, _ in started
        ):
            if (place / "catalogue.sqlite").exists():
                try:
                    reader = Store(place, write=False)
                    record = verify(reader)
                    reader.close()
                    wrong += [f"beside a run: {line}" for line in [*record["damaged"], *record["catalogue"]]]
                    checks += 1
                except Exception as error:
                    if "is empty" not in str(error) and "older attnlab" not in str(error):
                        wrong.append(f"beside a run: {error}")
                collected = yard.run(place, ("store", "gc", "--days", "0"))
                if collected.status not in (0, 2):
                    wrong.append(f"gc ended with {collected.status}: {collected.said}")
            if time.monotonic() - began > 120:
                break
        for pid, name in started:
            ended = yard.wait(pid, name, began)
            if ended.status:
                wrong.append(f"a driver ended with {ended.status}: {ended.said}")
        yield f"{drivers} drivers, verify and gc beside them", wrong + yard.check(place)


def clocks(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """A clock that jumps by years, back and forth, during the run."""

    def jump(seed: int) -> Callable[[], None]:
        def before() -> None:
            true, dice = time.time, random.Random(seed)
            time.time = lambda: max(0.0, true() + dice.uniform(-3e8, 3e8))

        return before

    for _ in range(n):
        place = yard.fresh()
        ended = yard.run(place, CLAIMS, before=jump(rng.randrange(10**6)))
        wrong = [f"ended with {ended.status}: {ended.said}"] if ended.status else []
        yield "clock jumps", wrong + yard.check(place)


def vanished(yard: Yard, n: int, rng: random.Random) -> Iterator[Trial]:
    """The results folder is deleted, renamed away, or replaced during the run: an error that says so, never exit status 0."""
    for _ in range(n):
        place, kind = yard.fresh(), rng.choice(["deleted", "renamed", "replaced"])
        began = time.monotonic()
        pid = yard.start(place, (*CLAIMS, "pause=0.05"))
        while not list(place.glob("blocks/*/*.npz")) and time.monotonic() - began < 60:
            time.sleep(0.002)
        away = Path(f"{place}.away")
        try:
            place.rename(away)
            if kind == "replaced":
                (place / "blocks").mkdir(parents=True)
        except OSError:
            continue
        if kind == "deleted":
            shutil.rmtree(away, ignore_errors=True)
        ended = yard.wait(pid, place, began)
        wrong = sentence(ended) + ([] if ended.status == 2 else [f"ended with {ended.status}: {ended.said}"])
        shutil.rmtree(place, ignore_errors=True)
        yield f"folder {kind}: {how(ended)}", wrong


KINDS: dict[str, tuple[Callable[..., Iterator[Trial]], int]] = {
    "kills aimed at fault points": (aimed, 300),
    "kills at random moments": (at_random, 100),
    "interrupts at random moments": (interrupted, 40),
    "damaged blocks": (damaged, 42),
    "damaged catalogues": (catalogue_damaged, 40),
    "full disks and limits": (short, 36),
    "several drivers": (together, 4),
    "clock jumps": (clocks, 6),
    "vanished folders": (vanished, 9),
}


def main() -> int:
    """Run all kinds, or those named, and print the table; exit status 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(KINDS))
    parser.add_argument("--share", type=float, default=1.0, help="of the trials of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attnlab-campaign-") as folder:
        failures, lines = campaign(Path(folder), options.only, options.share, options.seed)
    print("\n".join(lines))
    return 1 if failures else 0


def campaign(folder: Path, only: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """What did not hold, and the lines of the table."""
    yard = Yard(folder)
    yard.prepare()
    print(f"prepared; an undisturbed run takes {yard.seconds:.2f} s", file=sys.stderr, flush=True)
    failures: list[str] = []
    lines = ["| trials | kind | how they ended | lost, double, or other bits |", "|---|---|---|---|"]
    for name in only:
        kind, usual = KINDS[name]
        n, rng, ends, wrong = max(1, round(share * usual)), random.Random(f"{seed} {name}"), Counter[str](), 0
        began = time.monotonic()
        count = 0
        for end, found in kind(yard, n, rng):
            count += 1
            ends[re.sub(r"'[^']*'", "…", end)] += 1
            wrong += bool(found)
            failures += [f"{name}: {end}: {line}" for line in found]
            for line in found:
                print(f"NOT HELD {name}: {end}: {line}", file=sys.stderr, flush=True)
        told = "; ".join(f"{k} × {end}" for end, k in ends.most_common(8))
        lines.append(f"| {count} | {name} | {told} | {wrong or 'none'} |")
        print(
            f"{name}: {count} trials, {wrong} not held, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
        )
    return failures, lines


def how(ended: Ended) -> str:
    """The end in few words."""
    words = {-9: "died", 0: "finished", 2: "exit 2", 3: "exit 3", 130: "exit 130", -99: "HUNG"}
    return words.get(ended.status, f"status {ended.status}")


def sentence(ended: Ended) -> list[str]:
    """An end that is no death and no success has its sentence, and no traceback."""
    if ended.status == -99:
        return ["hung"]
    wrong = ["a traceback"] if "Traceback" in ended.err else []
    if ended.status in (2, 130) and not ended.said.startswith("attnlab: "):
        wrong.append(f"no sentence: {ended.said!r}")
    return wrong


def limited(what: int, limit: int) -> Callable[[], None]:
    """Set a resource limit in the driver and its workers."""

    def before() -> None:
        if what == resource.RLIMIT_FSIZE:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(what, (limit, limit))

    return before


def names(place: Path) -> Callable[[], None]:
    """Let a driver write what it prints to files of its own."""

    def before() -> None:
        for number, ending in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{place}.{ending}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)

    return before


def forget_builds() -> None:
    """Build C again, into an empty cache."""
    from attnlab.kernels.compiled import compiler
    from attnlab.papers.lab.run import machine

    compiler._load_cached.cache_clear()
    machine.platform.cache_clear()


if __name__ == "__main__":
    raise SystemExit(main())
