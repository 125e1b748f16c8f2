"""Which arrays are stored, by which loop nests, in which order: everything about a generated step but its text.

Nests that go example by example run in one loop over tiles of examples, in which their arrays stay in the cache; what they
add up over examples is there after that loop. A *level* is: plain nests, then one such loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from attnlab.kernels.generated.graph import Graph, Node, Refused
from attnlab.kernels.generated.indices import Cut, Index, Loop, NotAffine, Split
from attnlab.kernels.generated.nests import LEAVES, PIECES, REDUCTIONS, VIEWS, Array, Body, Nest, Store, Stored

_TILE_BYTES = 2**17  # of arrays that live at once in a loop over tiles
_VECTOR = 64


@dataclass(frozen=True, eq=False)
class Plan:
    """``levels``: plain nests and tiled nests of each; ``places``: where each array lies, in examples or vectors of a tile or
    of the whole; ``examples``: length of the batch's axis (0: none), ``tile`` of a tile."""

    levels: list[tuple[list[Nest], list[Nest]]]
    arrays: dict[Node, Array]
    whole: dict[Array, int]
    tiled: dict[Array, int]
    whole_size: int
    tiled_size: int
    examples: int
    tile: int
    uses: dict[Node, int]
    results: list[Node]


def planned(graph: Graph, loss: Node, gradients: dict[str, Node]) -> Plan:
    """The plan of a step. The loss and the gradients are stored in row-major order."""
    results: list[Node] = []
    for node in (loss, *gradients.values()):
        direct = node.op not in LEAVES | VIEWS | PIECES and node not in results
        results.append(node if direct else graph.node("copy", (node,), node.shape, result=len(results)))
    stored = Stored(graph, results)
    plans = [_with_examples(stored, results, size) for size in _batch_sizes(stored)]
    least = min(map(_work_outside, plans))
    return max((plan for plan in plans if _work_outside(plan) <= 1.05 * least + 1000), key=lambda plan: plan.examples)


def _batch_sizes(stored: Stored) -> list[int]:
    """Sizes that the batch's axis may have: those of the axes with most work."""
    votes: dict[int, int] = {}
    for node in stored.order:
        if node.op in REDUCTIONS:
            for size in set(node.args[0].shape):
                votes[size] = votes.get(size, 0) + node.args[0].size
    likely = sorted((size for size in votes if size >= 8), key=lambda size: (-votes[size], -size))
    return [*likely[:3], 0] if likely else [0]


def _work_outside(plan: Plan) -> int:
    """Work of the nests outside of tiles."""
    return sum(
        math.prod(loop.size for loop in (*nest.outer, *nest.inner)) for plain, _ in plan.levels for nest in plain
    )


def _with_examples(stored: Stored, results: list[Node], examples: int) -> Plan:
    kept, flat = set(stored.kept), set(results)
    while True:
        try:
            return _Planner(stored, kept, flat, results, examples).plan()
        except Store as missing:
            if missing.node in kept and missing.node not in flat:
                flat.add(missing.node)
            elif missing.node in kept or missing.node.op in LEAVES:
                raise Refused(f"an index of operation {missing.node.op} is not a sum of loops") from None
            kept.add(missing.node)


class _Planner:
    """``kept``: nodes that are stored; ``flat``: those in row-major order, which no axis of examples may disturb."""

    def __init__(self, stored: Stored, kept: set[Node], flat: set[Node], results: list[Node], examples: int) -> None:
        self.stored, self.kept, self.flat, self.results, self.examples = stored, kept, flat, results, examples
        self.arrays: dict[Node, Array] = {}
        self.nests: dict[Array, list[Nest]] = {}
        self.data: dict[Node, bool] = {}

    def plan(self) -> Plan:
        for node in self.stored.order:
            self.data[node] = self._of_data(node)
            if node in self.kept:
                self._add(node)
        return self._arranged()

    def _of_data(self, node: Node) -> bool:
        """Whether a node depends on what is not a parameter."""
        if node.op == "input":
            return node.attributes["name"].startswith("other")
        return (node.op == "table" and node.size >= self.examples > 0) or any(self.data[arg] for arg in node.args)

    def _add(self, node: Node) -> None:
        outer = [Loop(size) for size in node.shape if size > 1]
        loops = iter(outer)
        out = tuple(Index.of(next(loops)) if size > 1 else Index() for size in node.shape)
        array = Array(node, ())
        if node.op in REDUCTIONS:
            (source,), axes = node.args, node.attributes["axes"]
            if node.op == "cumsum":  # the axis is a loop inside, and of what is stored
                inner = [loop for axis in axes for loop, _ in out[axis].terms]
                outer, at = [loop for loop in outer if loop not in inner], out
            else:
                inner = [Loop(source.shape[axis]) for axis in axes]
                inside, rest = dict(zip(axes, inner, strict=True)), iter(out)
                at = tuple(
                    Index.of(inside[axis]) if axis in inside else next(rest) for axis in range(len(source.shape))
                )
            nest = Nest(array, source, node.op, out, at, outer, inner)
        else:
            nest = Nest(array, node, "", out, out, outer, [])
        nests = self._settled(nest)
        examples = [self._example(nest) for nest in nests]
        if node in self.flat and not all(each and each[1] in each[0].inner for each in examples):
            examples = [None]
        if all(each is not None for each in examples):
            nests = [nest for nest, _ in examples]
            for nest, loop in examples:
                nest.example = loop
        self._lay_out(node, array, nests)
        self.arrays[node], self.nests[array] = array, nests

    def _settled(self, nest: Nest) -> list[Nest]:
        """The nest with loops such that every index is a sum, in pieces where it reads from pieces."""
        todo, done = [nest], []
        while todo:
            nest = todo.pop(0)
            try:
                nest.reads = evaluated(nest, self.arrays, self.stored.uses).reads
                done.append(nest)
            except Split as split:
                todo.insert(0, _split(nest, split.loop, split.inner))
            except Cut as cut:
                if cut.loop not in nest.outer:
                    raise Store(nest.node) from None
                first, second = Loop(cut.at), Loop(cut.loop.size - cut.at)
                todo[:0] = [
                    nest.put({cut.loop: Index.of(first)}, [first]),
                    nest.put({cut.loop: Index.of(second) + cut.at}, [second]),
                ]
            except NotAffine:
                raise Store(nest.node) from None
        return done

    def _example(self, nest: Nest) -> tuple[Nest, Loop] | None:
        """The nest, if need be with a loop split, and the loop that runs over examples, if one can."""
        if not self.examples:
            return None
        of_batch = any(isinstance(array, Array) and array.example for array, _ in nest.reads)
        if not of_batch and not self.data[nest.array.node]:
            return None
        for loop in (*nest.outer, *nest.inner):
            if loop.size % self.examples:
                continue
            tried, found = nest, loop
            if loop.size > self.examples:
                first, second = Loop(self.examples), Loop(loop.size // self.examples)
                tried = nest.put({loop: Index.of(first) * second.size + Index.of(second)}, [first, second])
                found = first
                tried.reads = evaluated(tried, self.arrays, self.stored.uses).reads
            inner = found in tried.inner
            if (nest.reduction == "cumsum" and inner) or (inner and (tried.reduction != "sum" or not of_batch)):
                continue
            if not inner and not any(
                each.factor(found) * self.examples == size
                for each, size in zip(tried.out, nest.array.node.shape, strict=True)
            ):
                continue
            if all(_same_example(array, place, found) for array, place in tried.reads if isinstance(array, Array)):
                return tried, found
        return None

    def _lay_out(self, node: Node, array: Array, nests: list[Nest]) -> None:
        """Strides: the example first, then as in what is read, or row-major."""
        axes = list(range(len(node.shape)))
        first = nests[0]
        if node not in self.flat and not first.reduction and len(nests) == 1:
            for source, place in first.reads:
                if isinstance(source, Array) and all(place.factor(loop) for loop in first.outer):
                    axes.sort(
                        key=lambda axis: -max((place.factor(loop) for loop, _ in first.out[axis].terms), default=0)
                    )
                    break
        if first.example is not None and not first.accumulates:
            axes.sort(key=lambda axis: first.out[axis].factor(first.example) == 0)
            array.example = node.size // self.examples
        strides, step = [0] * len(axes), 1
        for axis in reversed(axes):
            strides[axis] = step
            step *= node.shape[axis]
        array.strides = tuple(strides)

    def _arranged(self) -> Plan:
        level: dict[Array, int] = {}
        for array, nests in self.nests.items():
            level[array] = max(
                (
                    self._ready(level, source, nests[0])
                    for nest in nests
                    for source, _ in nest.reads
                    if isinstance(source, Array)
                ),
                default=0,
            )
        levels: list[tuple[list[Nest], list[Nest]]] = [([], []) for _ in range(max(level.values()) + 1)]
        last: dict[Array, int] = {}
        crossing: set[Array] = set(self.arrays[node] for node in self.results)
        for array, nests in self.nests.items():
            levels[level[array]][nests[0].example is not None].extend(nests)
            for nest in nests:
                for source, _ in nest.reads:
                    if isinstance(source, Array) and (level[source] != level[array] or nest.example is None):
                        crossing.add(source)
        tiled: dict[Array, int] = {}
        for _, nests in levels:
            for time, nest in enumerate(nests):
                for source, _ in nest.reads:
                    if isinstance(source, Array):
                        last[source] = time
            self._place_tiled([nest for nest in nests if not nest.accumulates], nests, crossing, last, tiled)
        whole, size = {}, 0
        for array in (*(self.arrays[node] for node in self.results), *self.nests):  # the gradients follow each other
            if array not in tiled and array not in whole:
                whole[array] = size
                size += array.node.size
        tiled_size = max((place + array.example for array, place in tiled.items()), default=0)
        tile = self.examples
        while tile > 8 and (tile * tiled_size * _VECTOR > _TILE_BYTES):
            tile = -(-tile // 2)
        uses = dict(self.stored.uses)
        return Plan(levels, self.arrays, whole, tiled, size, tiled_size, self.examples, tile, uses, self.results)

    def _ready(self, level: dict[Array, int], source: Array, nest: Nest) -> int:
        """The first level at which a nest can read an array."""
        made = self.nests[source][0]
        late = made.accumulates or (made.example is not None and nest.example is None)
        return level[source] + late

    def _place_tiled(
        self,
        makers: list[Nest],
        nests: list[Nest],
        crossing: set[Array],
        last: dict[Array, int],
        tiled: dict[Array, int],
    ) -> None:
        """Places for the arrays of a tile, those that never live at once on top of each other."""
        live: list[tuple[int, int, int]] = []  # place, end, last use
        time = {nest: index for index, nest in enumerate(nests)}
        for nest in makers:
            array = nest.array
            if array in crossing or array in tiled:
                continue
            now = time[nest]
            live = sorted(each for each in live if each[2] >= now)
            place = 0
            for start, end, _ in live:
                if place + array.example <= start:
                    break
                place = max(place, end)
            tiled[array] = place
            live.append((place, place + array.example, last.get(array, now)))


def evaluated(nest: Nest, arrays: dict[Node, Array], uses: dict[Node, int]) -> Body:
    """The body of a nest."""
    body = Body(nest, arrays, uses)
    body.value(nest.node, nest.at)
    return body


def _split(nest: Nest, loop: Loop, inner: int) -> Nest:
    outer, rest = Loop(loop.size // inner), Loop(inner)
    return nest.put({loop: Index.of(outer) * inner + Index.of(rest)}, [outer, rest])


def _same_example(array: Array, place: Index, loop: Loop) -> bool:
    """Whether at a step of the loop only one example of an array of the batch is read, the one of that step."""
    if not array.example:
        return True
    if place.factor(loop) != array.example:
        return False
    low, high = (place + Index(0, ((loop, -array.example),))).bounds()
    return low >= 0 and high < array.example
