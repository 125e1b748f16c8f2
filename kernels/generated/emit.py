"""The C text of a plan."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from attnlab.kernels.generated.graph import Graph, Node
from attnlab.kernels.generated.indices import Index, Loop
from attnlab.kernels.generated.nests import Array, Body, Nest, address, literal, number
from attnlab.kernels.generated.plan import Plan, evaluated

VERSION = "1"
_HEADER, _DRAW, _RUN = ((Path(__file__).parent / name).read_text() for name in ("generated.h", "draw.h", "run.h"))
_STEP = (
    "static void step(vec *values, vec *const *states, const vec *const *others, vec *whole, vec *tile, vec rate, "
    "const double *factors)"
)
_BLOCKS = (8, 7, 6, 5, 4, 3, 2, 1)
_ACCUMULATORS = 20


@dataclass
class Text:
    """The functions and tables of a step, equal ones once."""

    plan: Plan
    parameters: dict[str, int]
    others: list[str]
    functions: dict[str, str] = field(default_factory=dict)
    tables: dict[Node, str] = field(default_factory=dict)

    def calls(self, nest: Nest) -> list[str]:
        """The calls that run a nest."""
        for loop in nest.outer:
            if (
                nest.reduction
                and loop is not nest.example
                and loop.size > 8
                and not any(loop.size % b == 0 for b in (2, 3, 5, 7))
            ):
                first, second = Loop(loop.size - loop.size % 4), Loop(loop.size % 4)
                pieces = [
                    nest.put({loop: Index.of(first)}, [first]),
                    nest.put({loop: Index.of(second) + first.size}, [second]),
                ]
                for piece in pieces:
                    piece.example = nest.example
                return [call for piece in pieces for call in self.calls(piece)]
        return [self._call(nest)]

    def _call(self, nest: Nest) -> str:
        order, blocks = self._jammed(nest)
        replaced = {}
        for loop, block in blocks.items():
            outer = Loop(loop.size // block)
            place = order.index(loop)
            order[place : place + 1] = [outer] if outer.size > 1 else []
            replaced[loop] = [(Index.of(outer) * block if outer.size > 1 else Index()) + step for step in range(block)]
        body = Body(nest, self.plan.arrays, self.plan.uses)
        start, update, store = [], [], []
        loops = [*order, *nest.inner]
        for entry, chosen in enumerate(itertools.product(*replaced.values())):
            put = dict(zip(replaced, chosen, strict=True))
            value = number(body.value(nest.node, tuple(each.put(put) for each in nest.at)))
            _, place = address(
                {nest.array.node: nest.array}, nest.array.node, tuple(each.put(put) for each in nest.out)
            )
            target = f"o[{place.text(_Serials())}]"
            if not nest.reduction:
                store.append(f"{target} = {value.text};")
                continue
            start.append(f"vec a{entry} = splat({'-HUGE_NUMBER' if nest.reduction == 'amax' else '0'});")
            update.append(
                f"a{entry} = larger(a{entry}, {value.text});"
                if nest.reduction == "amax"
                else f"a{entry} += {value.text};"
            )
            store.append(f"{target} {'+=' if nest.accumulates else '='} a{entry};")
        lines = [
            (max((loops.index(loop) + 1 for loop in needed if loop in loops), default=0), text)
            for needed, text in body.lines
        ]
        depth = len(order)
        if nest.reduction:
            lines += [(depth, text) for text in start] + [(len(loops), text) for text in update]
            if nest.reduction == "cumsum":
                lines, store = lines + [(len(loops), text) for text in store], []
        else:
            lines += [(len(loops), text) for text in store]
        text = self._nested(nest, loops, lines, depth, store if nest.reduction else [])
        kinds = ["vec *restrict o"]
        values = [self._base(nest.array, nest, _out_factor(nest))]
        for (source, factor), name in body.pointers.items():
            kind = "real" if isinstance(source, Node) and source.op == "table" else "vec"
            kinds.append(f"const {kind} *restrict {name}")
            values.append(self._base(source, nest, factor))
        if nest.example is not None:
            kinds.append("int64_t n")
            values.append("n")
        whole = f"({', '.join(kinds)}) {{\n{text}}}\n"
        name = self.functions.setdefault(whole, f"nest_{len(self.functions)}")
        return f"{name}({', '.join(values)});"

    def _base(self, source: Array | Node, nest: Nest, factor: int) -> str:
        moved = f" + at * {factor}" if nest.example is not None and factor else ""
        if isinstance(source, Array):
            if source in self.plan.tiled:
                return f"tile + {self.plan.tiled[source] * self.plan.tile}"
            return f"whole + {self.plan.whole[source]}{moved}"
        if source.op == "table":
            name = self.tables.setdefault(source, f"table_{len(self.tables)}")
            return f"{name}{moved}"
        kind, name = source.attributes["name"].split(" ", 1)
        return (
            f"values + {self.parameters[name]}{moved}"
            if kind == "parameter"
            else f"others[{self.others.index(name)}]{moved}"
        )

    def _nested(self, nest: Nest, loops: list[Loop], lines: list[tuple[int, str]], depth: int, after: list[str]) -> str:
        names = {loop: f"i{place}" for place, loop in enumerate(loops)}
        parts: list[str] = []

        def renamed(text: str, pad: int) -> str:
            found = re.sub(r"@(\d+)@", lambda match: by_serial[int(match[1])], text)
            return "    " * (pad + 1) + found + "\n"

        by_serial = {loop.serial: name for loop, name in names.items()}

        def level(at: int) -> None:
            parts.extend(renamed(text, at) for place, text in lines if place == at)
            if at < len(loops):
                end = "n" if loops[at] is nest.example else str(loops[at].size)
                name = names[loops[at]]
                parts.append(renamed(f"for (int64_t {name} = 0; {name} < {end}; {name}++) {{", at))
                level(at + 1)
                parts.append(renamed("}", at))
            if at == depth:
                parts.extend(renamed(text, at) for text in after)

        level(0)
        return "".join(parts)

    def _jammed(self, nest: Nest) -> tuple[list[Loop], dict[Loop, int]]:
        """The order of the outer loops, and of which of them several steps are made at once: those that load least."""
        order = sorted(nest.outer, key=lambda loop: (loop is not nest.example, -_out_step(nest, loop)))
        if not nest.reduction:
            return order, {}
        reads = list(evaluated(nest, self.plan.arrays, self.plan.uses).reads)
        free = [loop for loop in order if loop is not nest.example]
        best: tuple[float, dict[Loop, int]] = (1e9, {})
        for pair in [*itertools.combinations(free, 2), *((loop,) for loop in free), ()]:
            for sizes in itertools.product(*([b for b in _BLOCKS if loop.size % b == 0] for loop in pair)):
                blocks = dict(zip(pair, sizes, strict=True))
                entries = 1
                for size in sizes:
                    entries *= size
                if entries > _ACCUMULATORS:
                    continue
                loads = 0
                for _, place in reads:
                    needed = 1
                    for loop, size in blocks.items():
                        needed *= size if place.factor(loop) else 1
                    loads += needed
                cost = max(loads / entries, 1.0) + 0.4 * max(0, 8 - entries) / 8 + 0.01 * (loads / entries)
                if cost < best[0]:
                    best = cost, blocks
        blocks = {loop: size for loop, size in best[1].items() if size > 1}
        return [loop for loop in order if loop not in blocks] + [loop for loop in order if loop in blocks], blocks


class _Serials(dict):
    def __missing__(self, loop: Loop) -> str:
        return f"@{loop.serial}@"


def _out_step(nest: Nest, loop: Loop) -> int:
    return sum(each.factor(loop) * stride for each, stride in zip(nest.out, nest.array.strides, strict=True))


def _out_factor(nest: Nest) -> int:
    return 0 if nest.example is None else _out_step(nest, nest.example)


def source(
    graph: Graph, plan: Plan, parameters: dict[str, int], others: list[str], update: str, n_states: int, draw: str = ""
) -> str:
    """The C file of a step. ``parameters``: how many numbers each has; ``update``: the optimiser's text; ``draw``: the law's."""
    places, size = {}, 0
    for name, count in parameters.items():
        places[name], size = size, size + count
    text = Text(plan, places, others)
    lines = []
    for plain, tiled in plan.levels:
        lines += [call for nest in plain for call in text.calls(nest)]
        if tiled:
            made = {nest.array for nest in tiled if nest.accumulates}
            lines += [
                f"memset(whole + {plan.whole[array]}, 0, {array.node.size} * sizeof(vec));"
                for array in sorted(made, key=plan.whole.get)
            ]
            calls = [call for nest in tiled for call in text.calls(nest)]
            lines.append(f"for (int64_t at = 0; at < {plan.examples}; at += {plan.tile}) {{")
            lines.append(
                f"    const int64_t n = {plan.examples} - at < {plan.tile} ? {plan.examples} - at : {plan.tile};"
            )
            lines += [f"    {call}" for call in calls] + ["}"]
    loss, gradient = (plan.whole[plan.arrays[node]] for node in plan.results[:2])
    lines.append(f"update(values, whole + {gradient}, states, rate, factors);")
    tables = "".join(
        f"static const real {name}[] = {{{', '.join(literal(v) for v in node.attributes['values'])}}};\n"
        for node, name in text.tables.items()
    )
    functions = "".join(f"NOINLINE void {name}{whole}" for whole, name in text.functions.items())
    constants = {
        "REAL32": int(graph.dtype == torch.float32), "PARAMETERS": size, "STATES": n_states, "OTHERS": len(others),
        "WHOLE": plan.whole_size, "TILE": plan.tiled_size * plan.tile, "LOSS": loss,
    }  # fmt: skip
    defines = "".join(f"#define {name} {value}\n" for name, value in constants.items())
    body = "".join(f"    {line}\n" for line in lines)
    head = f"/* attnlab generated step, emitter {VERSION} */\n{defines}{_HEADER}{tables}{functions}{update}"
    drawing = f"#define DRAWS\n{_DRAW}{draw}" if draw else ""
    return f"{head}{drawing}{_STEP} {{\n{body}}}\n{_RUN}"
