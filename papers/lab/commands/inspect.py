"""``attnlab inspect``: what every attention head of a model does on some prompts, with intervals, and what they cannot show.

TARGET is FILE.npz (arrays L0.pattern, ... or pattern; also real, visible, tokens, periods), planted.NAME, the FOLDER of a saved
model of transformers, or MODULE:FUNCTION with FUNCTION() -> (model, inputs) or (model, inputs, {"real": ..., "tokens": ...,
"periods": ..., "visible": ...}); a model is a torch module in eval mode, or run(inputs, sites=(), replace={}).
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.papers.lab.commands.options import count, natural, show
from attnlab.papers.lab.errors import UsageError

if TYPE_CHECKING:
    from attnlab.analysis.instruments.inspection import Subject

EXIT = """exit status:
  0  every identity holds      1  an identity fails: nothing was read      2  usage or environment error"""
EXTRAS = ("real", "visible", "tokens", "periods")
_HEADS = re.compile(r"L(\d+)(?:H(\d+))?")


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET [--prompts N] [--seed S] [--alpha A] [--margin NATS] [--heads L0H1 ...] [--out PAGE.html] [--open]``."""
    parser.epilog = EXIT
    parser.add_argument("target", metavar="TARGET", help="FILE.npz, planted.NAME, FOLDER or MODULE:FUNCTION")
    parser.add_argument(
        "--prompts", type=count, default=16, metavar="N", help="prompts of a planted or saved model (default 16)"
    )
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of these prompts (default 0)")
    parser.add_argument(
        "--alpha", type=float, default=0.05, metavar="A", help="error over all heads and kinds (default .05)"
    )
    parser.add_argument(
        "--margin", type=float, default=1.0, metavar="NATS", help="strength above which a pattern is large (default 1)"
    )
    parser.add_argument(
        "--heads", nargs="+", default=[], metavar="HEAD", help="list only these: L0H1, or L0 for a layer"
    )
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="write the page there; one file, no network")
    parser.add_argument(
        "--instruments", action="store_true", help="a line of every instrument that the recorded sites allow"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(arguments: argparse.Namespace) -> int:
    """Inspect and print; 0 if every identity holds, else 1."""
    from attnlab.analysis.instruments import inspection
    from attnlab.analysis.instruments.page import page

    try:
        subject = subject_of(arguments.target, arguments.prompts, arguments.seed)
        record, readings = inspection.inspect(subject, alpha=arguments.alpha, margin=arguments.margin)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    shown = heads_of(arguments.heads, [row["head"] for row in record.get("heads", ())])
    text = text_of(record, shown)
    if arguments.open and arguments.out is None:
        raise UsageError("--open needs a page: say --out PAGE.html")
    if arguments.out is not None:
        from attnlab.analysis.writing import write_atomically

        made = page(record, readings, subject.readings, inspection.KINDS, shown)
        try:
            write_atomically(arguments.out, made.encode())
        except OSError as error:
            raise UsageError(f"cannot write {arguments.out}: {error.strerror}") from error
        text += f"\n\npage {arguments.out}"
    if arguments.instruments and "stopped" not in record:
        from attnlab.analysis.instruments.survey import survey

        said = {line.instrument: line.words() for line in survey(subject.readings, arguments.alpha)}
        record["instruments"] = said
        text += "\n\nevery instrument, median over its entries (range); found by Holm over them\n"
        text += "\n".join(f"  {name:<22} {words}" for name, words in said.items())
    show(arguments, record, text)
    if arguments.open:
        import webbrowser

        webbrowser.open(arguments.out.resolve().as_uri())
    return 1 if "stopped" in record else 0


def subject_of(target: str, n_prompts: int, seed: int) -> Subject:
    """What TARGET names. Errors: ``UsageError`` that says which forms there are, ``ValueError`` from what is read."""
    if target.endswith(".npz"):
        return _of_file(Path(target))
    if target.startswith("planted."):
        return _planted(target.removeprefix("planted."), n_prompts, seed)
    if ":" in target and not Path(target).exists():
        return _of_function(target)
    if Path(target).is_dir():
        return _saved(Path(target), n_prompts, seed)
    raise UsageError(f"{target!r} is no FILE.npz, planted.NAME, FOLDER of a saved model or MODULE:FUNCTION")


def heads_of(wanted: list[str], known: list[str]) -> frozenset[str] | None:
    """The heads that ``--heads`` names; a layer stands for all its heads. Errors: ``UsageError`` for one that is not there."""
    if not wanted or not known:
        return None
    found: set[str] = set()
    for text in wanted:
        name = _HEADS.fullmatch(text)
        here = [head for head in known if name and (head == text or (name[2] is None and head.startswith(f"{text}H")))]
        if not here:
            raise UsageError(f"no head {text!r}; heads are {known[0]} to {known[-1]}, a layer is written L0")
        found.update(here)
    return frozenset(found)


def text_of(record: dict[str, Any], shown: frozenset[str] | None = None) -> str:
    """The page for a terminal."""
    from attnlab.analysis.instruments.page import number, said, summary

    lines = [record["name"], summary(record), ""]
    lines += [f"  {name:<12} {text}" for name, text in record["ran"].items()]
    lines += ["", "identities"]
    for each in record["identities"]:
        word = "holds" if each["holds"] else "FAILS"
        at = f" at {each['layer']}" if each["layer"] else ""
        lines.append(f"  {word}  {each['name']:<28} gap {number(each['gap']):>8}{at}, budget {number(each['budget'])}")
    if "stopped" in record:
        return "\n".join([*lines, "", f"stopped: {record['stopped']}"])
    kinds = list(record["found"])
    caused = any("zeroed" in row for row in record["heads"])
    titles = [*kinds, "evenness", *(["without it"] if caused else [])]
    lines += ["", "heads" + " " * 3 + "".join(f"{title:>24}" for title in titles) + "   is"]
    for row in record["heads"]:
        if shown is not None and row["head"] not in shown:
            continue
        cells = [row["kinds"][kind] for kind in kinds] + [row["evenness"]] + ([row["zeroed"]] if caused else [])
        shown_cells = "".join(f"{_interval(cell):>24}" for cell in cells)
        lines.append(f"{row['head']:<8}{shown_cells}   {said(row)}".rstrip())
    lines += ["", "nats (evenness: entropy over that of uniform rows), 95 % intervals over prompts", ""]
    lines += ["what these prompts could not have shown", *(f"  {line}" for line in record["not_shown"])]
    return "\n".join(lines)


def _interval(cell: dict[str, float]) -> str:
    """``1.20 [1.10, 1.30]``: two decimals, more only where the value is below a twentieth."""
    form = ".2f" if abs(cell["value"]) >= 0.05 or cell["value"] == 0 or cell["low"] < 0 else ".1g"
    return f"{cell['value']:{form}} [{cell['low']:{form}}, {cell['high']:{form}}]".replace("-", "−")


def _planted(name: str, n_prompts: int, seed: int) -> Subject:
    import numpy as np

    from attnlab.simulators.planted.planted import planted_model

    made = planted_model(name)
    prompts = made.draw(np.random.default_rng(seed), n_prompts)
    facts = {
        "model": made.about,
        "attention": "plain softmax in numpy",
        "first token": made.first_token,
        "prompts from": f"seed {seed}",
    }
    extras = {"tokens": prompts.tokens, "periods": prompts.periods}
    return _recorded(
        f"planted.{name}", made.model.run, prompts.tokens, extras, facts, made.model.sites(), made.model.unembed
    )


def _of_file(path: Path) -> Subject:
    import numpy as np

    from attnlab.analysis.instruments.inspection import Subject
    from attnlab.analysis.instruments.names_outside import sites
    from attnlab.analysis.instruments.readings import Readings

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UsageError(f"no file {path}") from None
    except Exception as error:  # a damaged archive raises many kinds
        raise UsageError(f"cannot read {path} as arrays without pickle: {error}") from error
    extras = {name: arrays.pop(name) for name in EXTRAS if name in arrays}
    readings = Readings(sites(arrays), **_typed(extras))
    return Subject(path.name, readings, {"model": "arrays of a file", "first token": "as recorded"})


def _of_function(target: str) -> Subject:
    module, _, name = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot call {target}: {error}") from error
    finally:
        sys.path.pop(0)
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise UsageError(
            f"{target}() must return (model, inputs) or (model, inputs, extras), got {type(made).__name__}"
        )
    extras = dict(made[2]) if len(made) == 3 else {}
    if unknown := sorted(set(extras) - set(EXTRAS)):
        raise UsageError(f"{target}() gives the extra {unknown[0]!r}; extras are {', '.join(EXTRAS)}")
    model, inputs = made[0], made[1]
    if not inspect.isroutine(model) and hasattr(model, "named_modules"):
        from attnlab.simulators.outside.torch_calls import TorchModel

        model = TorchModel(model)
    if hasattr(model, "visible"):
        return _of_calls(target, model, inputs, extras, {"model": target})
    return _recorded(target, model, inputs, extras, {"model": target}, _sites_of(model, inputs), None)


def _saved(folder: Path, n_prompts: int, seed: int) -> Subject:
    """A saved model on random tokens that repeat, after its first token if it has one."""
    import numpy as np

    from attnlab.analysis.instruments.maps.induction_score import PERIODS, repeats
    from attnlab.simulators.outside.transformers_model import saved_model

    model = saved_model(folder)
    config = model.model.config.get_text_config()
    first = getattr(config, "bos_token_id", None)
    most = int(getattr(config, "max_position_embeddings", None) or 2 * PERIODS[1] + 1)
    length = min(2 * PERIODS[1], most - 1)
    periods = PERIODS if length == 2 * PERIODS[1] else (max(2, length // 4), length // 2)
    drawn = repeats(np.random.default_rng(seed), n_prompts, length, int(config.vocab_size), periods)
    tokens = drawn[0] if first is None else np.concatenate([np.full((n_prompts, 1), first), drawn[0]], 1)
    facts = {
        "model": f"{type(model.model).__name__}, {sum(p.numel() for p in model.model.parameters()):,} parameters",
        "attention": "eager, its arguments kept while it runs",
        "first token": "none" if first is None else f"token {first}",
        "prompts from": f"seed {seed}: random tokens that repeat, period {periods[0]} to {periods[1]}",
    }
    return _of_calls(folder.name or str(folder), model, tokens, {"tokens": tokens, "periods": drawn[1]}, facts)


def _of_calls(name: str, model: Any, inputs: Any, extras: dict, facts: dict) -> Subject:
    """A torch module: the sites of all its calls of attention, and the mask that they were given."""
    kinds = ("pattern", "scores", "v", "z", *(model.streams() if hasattr(model, "streams") else ()))
    sites = [f"L{layer}.{kind}" for layer in range(model.n_layers(inputs)) for kind in kinds]
    given = {"visible": model.visible(inputs), **extras}
    subject = _recorded(name, model, inputs, given, facts, (*sites, "logits"), None)
    return subject if model.predicts(inputs) else replace(subject, run=None)


def _recorded(
    name: str, run_model: Any, inputs: Any, extras: dict, facts: dict, sites: tuple[str, ...], unembed: Any
) -> Subject:
    from attnlab.analysis.instruments.inspection import Subject
    from attnlab.analysis.instruments.readings import Readings

    recorded = run_model(inputs, sites=sites)
    mass = run_model.mass(recorded) if hasattr(run_model, "mass") else {}
    return Subject(name, Readings(recorded, **_typed(extras), mass=mass), facts, run_model, inputs, unembed)


def _sites_of(run_model: Any, inputs: Any) -> tuple[str, ...]:
    """The sites that a model offers: every layer until one has no pattern, every kind that it does not refuse."""

    def offers(site: str) -> bool:
        try:
            return site in run_model(inputs, sites=(site,))
        except (ValueError, KeyError):
            return False

    kinds = [
        kind for kind in ("pattern", "scores", "v", "z", "heads", "pre", "mlp", "bias", "post") if offers(f"L0.{kind}")
    ]
    if "pattern" not in kinds:
        raise ValueError("the model offers no site 'L0.pattern'")
    if not offers("logits"):
        raise ValueError("the model offers no site 'logits', which the causal check needs")
    layer, found = 0, []
    while offers(f"L{layer}.pattern"):
        found += [f"L{layer}.{kind}" for kind in kinds if kind not in ("mlp", "bias") or offers(f"L{layer}.{kind}")]
        layer += 1
    return (*found, "logits")


def _typed(extras: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    made = {name: None if value is None else np.asarray(value) for name, value in extras.items()}
    return {k: v.astype(bool) if v is not None and k in ("real", "visible") else v for k, v in made.items()}
