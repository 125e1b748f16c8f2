"""Loop nests that compute stored arrays of a graph from other stored arrays.

A nest has loops for the axes of its array, loops for the axes that it sums over, and a body of statements each of which
stands in the outermost loop where it can. Everything that is not stored is computed where it is used. Views and pieces are
index arithmetic, so that no array is copied to be transposed, joined or padded.

One loop of a nest may be its *example*: the batch's axis. If every array of the batch that the nest reads is read at the same
example only, it can run example by example, together with the nests before it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from attnlab.kernels.generated.graph import BOOLEAN, COSTS, PIECES, REDUCTIONS, VIEWS, Graph, Node
from attnlab.kernels.generated.indices import Cut, Index, Loop, NotAffine, Split, positions, reshaped

LEAVES = {"input", "number", "table"}
_CHEAP = 3  # additions that are rather done again than stored
_TEXTS = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}", "abs": "vabs({0})",
    "maximum": "larger({0}, {1})", "minimum": "smaller({0}, {1})", "where": "pick({0}, {1}, {2})", "and": "{0} & {1}",
    "or": "{0} | {1}", "not": "~{0}", "eq": "{0} == {1}", "ne": "{0} != {1}", "lt": "{0} < {1}", "le": "{0} <= {1}",
    "gt": "{0} > {1}", "ge": "{0} >= {1}", "real": "pick({0}, splat(1), splat(0))", "trunc": "whole({0})",
    "floor": "floor_of({0})", "sqrt": "root({0})", "exp": "exp_of({0})", "log": "log_of({0})", "log1p": "log1p_of({0})",
    "tanh": "tanh_of({0})", "copy": "{0}",
}  # fmt: skip


class Store(Exception):
    """The node has to be stored for its users to find it."""

    def __init__(self, node: Node) -> None:
        self.node = node


@dataclass(eq=False)
class Array:
    """A stored array: its node, the strides of its axes, and the entries of one example if it belongs to the batch."""

    node: Node
    strides: tuple[int, ...]
    example: int = 0


@dataclass(frozen=True)
class Value:
    """A C expression, the loops on which it depends, whether it is a mask, and its number if it is one."""

    text: str
    loops: frozenset[Loop]
    boolean: bool = False
    literal: float | None = None


@dataclass(eq=False)
class Nest:
    """A loop nest for ``array``: at ``out`` it stores, or with ``reduction`` reduces over ``inner``, the value of ``node``."""

    array: Array
    node: Node
    reduction: str
    out: tuple[Index, ...]
    at: tuple[Index, ...]
    outer: list[Loop]
    inner: list[Loop]
    sums: dict[Node, tuple[Index, ...]] = field(default_factory=dict)
    example: Loop | None = None
    reads: dict[tuple[Array | Node, Index], None] = field(default_factory=dict)
    exact: bool = False

    @property
    def accumulates(self) -> bool:
        """Whether the nest adds up over examples."""
        return self.example is not None and self.example in self.inner

    def put(self, replaced: dict[Loop, Index], loops: list[Loop]) -> Nest:
        """The nest with a loop replaced by others."""

        def moved(index: tuple[Index, ...]) -> tuple[Index, ...]:
            return tuple(each.put(replaced) for each in index)

        def listed(old: list[Loop]) -> list[Loop]:
            return [new for each in old for new in (loops if each in replaced else [each])]

        sums = {node: moved(index) for node, index in self.sums.items()}
        return Nest(
            self.array,
            self.node,
            self.reduction,
            moved(self.out),
            moved(self.at),
            listed(self.outer),
            listed(self.inner),
            sums,
        )


class Stored:
    """Which nodes are stored, and how; ``uses`` counts the users of a node."""

    def __init__(self, graph: Graph, results: list[Node]) -> None:
        self.live: set[Node] = set()
        queue = list(results)
        while queue:
            node = queue.pop()
            if node not in self.live:
                self.live.add(node)
                queue.extend(node.args)
        self.order = [node for node in graph.order if node in self.live]
        self.uses: Counter[Node] = Counter(results)
        for node in self.order:
            self.uses.update(set(node.args))
        self.users: dict[Node, list[Node]] = {node: [] for node in self.order}
        for node in self.order:
            for arg in set(node.args):
                self.users[arg].append(node)
        self.kept = set(results) - {node for node in results if node.op in LEAVES}
        self.results = set(results)
        self._choose()

    def _choose(self) -> None:
        cost: dict[Node, int] = {}
        for node in self.order:
            if node.op in LEAVES:
                cost[node] = 0
                continue
            own = sum(cost[arg] for arg in node.args) + COSTS.get(node.op, 0)
            if node.op in REDUCTIONS:
                if not self._nested(node):
                    self.kept.add(node)
                own = 0
            elif node.op == "take":
                source = node.args[0]
                while source.op in VIEWS:
                    source = source.args[0]
                if source.op not in LEAVES:
                    self.kept.add(source)
            cost[node] = own
            if node.op in VIEWS | PIECES or node in self.kept:
                cost[node] = 0 if node in self.kept else own
                continue
            users = self._readers(node)
            grows = any(grown for _, grown in users)
            if own and ((len(users) > 1 and own > _CHEAP) or (grows and own > 0) or own > 40):
                self.kept.add(node)
                cost[node] = 0

    def _readers(self, node: Node) -> list[tuple[Node, bool]]:
        """Those who use the node, through views, and whether they read its elements more than once."""
        found = []
        for user in self.users[node]:
            if user.op in VIEWS | PIECES and user not in self.results:
                grown = user.op == "expand" and user.size > node.size
                found += [(reader, more or grown) for reader, more in self._readers(user)]
            else:
                found.append((user, False))
        return found

    def _nested(self, node: Node) -> bool:
        """Whether a sum is read once, by another sum."""
        if node.op != "sum" or node in self.results:
            return False
        while True:
            if len(self.users[node]) != 1 or node in self.results:
                return False
            size, node = node.size, self.users[node][0]
            if node.op == "sum":
                return True
            if node.op not in ("reshape", "permute") or node.size != size:
                return False


def address(stored: dict[Node, Array], node: Node, index: tuple[Index, ...]) -> tuple[Array | Node, Index]:
    """The stored array or leaf, and the place in it, of an element that is there; raises ``Store`` where none is."""
    while True:
        if node in stored:
            array = stored[node]
            place = Index()
            for each, stride, size in zip(index, array.strides, node.shape, strict=True):
                place = place + (each * stride if size > 1 else 0)
            return array, place
        if node.op in LEAVES:
            return node, positions(index, node.shape)
        if node.op not in VIEWS:
            raise Store(node)
        if node.op == "reshape" and _in_order(stored, node.args[0]):
            return stored.get(node.args[0], node.args[0]), positions(index, node.shape)
        index, node = viewed(node, index), node.args[0]


def _in_order(stored: dict[Node, Array], node: Node) -> bool:
    """Whether a node lies in memory in row-major order, so that it can be read in any shape."""
    if node not in stored:
        return node.op in ("input", "table")
    step = 1
    for size, stride in zip(reversed(node.shape), reversed(stored[node].strides), strict=True):
        if size > 1 and stride != step:
            return False
        step *= size
    return True


def viewed(node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
    """Where the element of a view comes from."""
    (source,), how = node.args, node.attributes
    if node.op == "expand":
        return tuple(Index() if size == 1 else each for each, size in zip(index, source.shape, strict=True))
    if node.op == "permute":
        found = [Index()] * len(index)
        for place, axis in enumerate(how["axes"]):
            found[axis] = index[place]
        return tuple(found)
    if node.op == "slice":
        axis = how["axis"]
        return (*index[:axis], index[axis] * how["step"] + how["start"], *index[axis + 1 :])
    if node.op == "flip":
        return tuple(
            each * -1 + (n - 1) if i in how["axes"] else each
            for i, (each, n) in enumerate(zip(index, node.shape, strict=True))
        )
    try:
        return reshaped(index, node.shape, source.shape)
    except NotAffine:
        if source.op in LEAVES:
            raise
        raise Store(source) from None


class Body:
    """The statements of a nest, each with the loops on which it depends."""

    def __init__(self, nest: Nest, stored: dict[Node, Array], uses: Counter[Node]) -> None:
        own = nest.array.node  # what is made is not yet there to be read
        self.nest, self.uses = nest, uses
        self.stored = {node: array for node, array in stored.items() if node is not own} if own in stored else stored
        self.lines: list[tuple[frozenset[Loop], str]] = []
        self.known: dict[tuple[Node, tuple[Index, ...]], Value] = {}
        self.reads: dict[tuple[Array | Node, Index], None] = {}
        self.pointers: dict[tuple[Array | Node, int], str] = {}
        self.names: dict[Loop, str] = {}

    def pointer(self, array: Array | Node, place: Index) -> str:
        """The C name of an array, one for each distance between examples at which it is read."""
        self.reads[array, place] = None
        key = array, place.factor(self.nest.example) if self.nest.example else 0
        return self.pointers.setdefault(key, f"p{len(self.pointers)}")

    def loops_of(self, place: Index) -> frozenset[Loop]:
        return frozenset(loop for loop, _ in place.terms)

    def keep(self, text: str, loops: frozenset[Loop], boolean: bool = False) -> Value:
        name = f"t{len(self.lines)}"
        self.lines.append((loops, f"const {'ivec' if boolean else 'vec'} {name} = {text};"))
        return Value(name, loops, boolean)

    def value(self, node: Node, index: tuple[Index, ...]) -> Value:
        """The element of a node at an index."""
        while node.op in VIEWS and node not in self.stored:
            if node.op == "reshape" and _in_order(self.stored, node.args[0]):
                break
            index, node = viewed(node, index), node.args[0]
        key = node, index
        if key not in self.known:
            self.known[key] = self._computed(node, index)
        return self.known[key]

    def _computed(self, node: Node, index: tuple[Index, ...]) -> Value:
        if node.op == "number":
            return Value(literal(node.attributes["value"]), frozenset(), False, node.attributes["value"])
        if node in self.stored or node.op in LEAVES or node.op in VIEWS:
            array, place = address(self.stored, node, index)
            text = f"{self.pointer(array, place)}[{place.text(_Names(self.names))}]"
            table = isinstance(array, Node) and array.op == "table"
            found = self.keep(f"splat({text})" if table else text, self.loops_of(place))
            return self.keep(f"{found.text} != 0", found.loops, True) if node.boolean else found
        if node.op in PIECES:
            return self._piece(node, index)
        if node.op == "sum":
            return self.value(node.args[0], self._inside(node, index))
        if node.op == "take":
            return self._taken(node, index)
        if node.op not in _TEXTS:
            raise Store(node)
        values = [self.value(arg, index) for arg in node.args]
        if node.op in ("add", "sub") and values[1].literal == 0:
            return values[0]
        if node.op == "add" and values[0].literal == 0:
            return values[1]
        if node.op in ("where",):
            values = [values[0], *(splatted(each) for each in values[1:])]
            if values[0].literal is not None:
                return values[1] if values[0].literal else values[2]
        elif all(each.literal is not None for each in values) or node.op not in ("add", "sub", "mul", "div"):
            values = [splatted(each) if not each.boolean else each for each in values]
        if node.op in ("and", "or", "not") or node.op == "where" or node.op == "real":
            values = [mask(each) if i == 0 or node.op in ("and", "or") else each for i, each in enumerate(values)]
        elif node.op in BOOLEAN:
            values = [number(each) for each in values]
        if node.op == "where" and node.boolean:
            a, b, c = (each.text for each in values)
            return self.keep(f"({a} & {b}) | (~{a} & {c})", _union(values), True)
        text = _TEXTS[node.op].format(*(each.text for each in values))
        if node.op == "mul" and self.uses[node] == 1:
            return Value(f"({text})", _union(values), False)
        return self.keep(text, _union(values), node.boolean)

    def _inside(self, node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
        """The index in what a nested sum adds up: its loops are made once and belong to the nest."""
        axes = node.attributes["axes"]
        if node not in self.nest.sums:
            loops = [Loop(node.args[0].shape[axis]) for axis in axes]
            self.nest.sums[node] = tuple(Index.of(loop) for loop in loops)
            self.nest.inner.extend(loops)
        return merged(index, self.nest.sums[node], axes, len(node.args[0].shape))

    def _piece(self, node: Node, index: tuple[Index, ...]) -> Value:
        axis = node.attributes["axis"]
        try:
            if node.op == "pad":
                start, size = node.attributes["start"], node.args[0].shape[axis]
                if not index[axis].at_least(start) or index[axis].at_least(start + size):
                    return Value("0", frozenset(), False, 0.0)
                return self.value(node.args[0], (*index[:axis], index[axis] + -start, *index[axis + 1 :]))
            start = 0
            for place, part in enumerate(node.args, 1):
                size = part.shape[axis]
                if place == len(node.args) or not index[axis].at_least(start + size):
                    return self.value(part, (*index[:axis], index[axis] + -start, *index[axis + 1 :]))
                start += size
        except NotAffine:
            raise Store(node) from None
        except Cut as cut:
            if cut.loop not in self.nest.outer:
                raise Store(node) from None
            raise
        raise AssertionError(node)

    def _taken(self, node: Node, index: tuple[Index, ...]) -> Value:
        """An element whose place along some axes is data: loops stand for these axes until the place is known."""
        source, *indices = node.args
        axes, place = node.attributes["axes"], node.attributes["place"]
        free = [Loop(source.shape[axis]) for axis in axes]
        if place is None:
            data = [self.value(indices[0], index)]
            where = tuple(Index.of(free[0]) if axis == axes[0] else each for axis, each in enumerate(index))
        else:
            n = len(indices[0].shape)
            data = [self.value(each, index[place : place + n]) for each in indices]
            where = (*index[:place], *map(Index.of, free), *index[place + n :])
        try:
            array, at = address(self.stored, source, where)
        except Split as split:
            if split.loop in free:
                raise Store(source) from None
            raise
        static = Index(at.constant, tuple(term for term in at.terms if term[0] not in free))
        steps = [(at.factor(loop), loop.size, each) for loop, each in zip(free, data, strict=True) if at.factor(loop)]
        pointer = self.pointer(array, at)
        if any(each.literal is not None for _, _, each in steps):
            steps = [(factor, size, splatted(each)) for factor, size, each in steps]
        moved = " + ".join(f"inside({each.text}, {size}) * {factor}" for factor, size, each in steps) or "(ivec){0}"
        kind = "table" if isinstance(array, Node) and array.op == "table" else "lanes"
        loops = frozenset().union(*(each.loops for _, _, each in steps)) | self.loops_of(static)
        found = self.keep(f"take_{kind}({pointer} + {static.text(_Names(self.names))}, {moved})", loops)
        return self.keep(f"{found.text} != 0", loops, True) if node.boolean else found


class _Names(dict):
    """Names of loop variables by loop: ``{serial}`` until the nest is written out."""

    def __missing__(self, loop: Loop) -> str:
        return f"@{loop.serial}@"


def merged(outer: tuple[Index, ...], inner: tuple[Index, ...], axes: tuple[int, ...], n: int) -> tuple[Index, ...]:
    """An index of n axes: ``inner`` at ``axes``, ``outer`` at the others."""
    found, rest = dict(zip(axes, inner, strict=True)), iter(outer)
    return tuple(found[axis] if axis in found else next(rest) for axis in range(n))


def literal(value: float) -> str:
    if math.isinf(value):
        return "HUGE_NUMBER" if value > 0 else "-HUGE_NUMBER"
    if math.isnan(value):
        return "NO_NUMBER"
    return f"(real){value!r}"


def splatted(value: Value) -> Value:
    return value if value.literal is None else Value(f"splat({value.text})", value.loops)


def mask(value: Value) -> Value:
    return value if value.boolean else Value(f"({splatted(value).text} != 0)", value.loops, True)


def number(value: Value) -> Value:
    return Value(f"pick({value.text}, splat(1), splat(0))", value.loops) if value.boolean else splatted(value)


def _union(values: list[Value]) -> frozenset[Loop]:
    return frozenset().union(*(value.loops for value in values))
