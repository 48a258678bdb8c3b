"""Read a pickle without running it: every opcode is interpreted here, and nothing that it names is imported.

A pickle is a program for a small machine. Python's own machine looks names up and calls what it finds; this
one knows only the names that its caller admits, each with a function of ours that builds plain data from the
arguments. Objects of the pickle never get hold of anything callable. The opcodes are those that protocols 2
to 5 need for plain data ("pickletools" describes them); every other one is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Build = Callable[..., object]
"""From the arguments that the pickle gives to a value. May raise RefusedFileError."""

_MOST_OPCODES = 5_000_000  # a network of 1024 px takes some tens of thousands
_PLAIN = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    )
)
_NEW: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedFileError(ValueError):
    """The file is damaged, or holds something that is not admitted. Nothing of it was run."""


class Stream(Protocol):
    """Bytes with a place in them: an `io.BytesIO`, or a `mmap.mmap`."""

    def read(self, n: int = ..., /) -> bytes:
        """Return at most n bytes."""

    def readline(self) -> bytes:
        """Return bytes up to the end of the line."""

    def tell(self) -> int:
        """Return the place."""


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """An admitted name, as a value on the machine's stack. build: None for a name that is never called."""

    name: str
    build: Build | None


def read_inert(
    stream: Stream,
    admitted: Mapping[str, Build | None],
    *,
    persistent: Build | None = None,
    settle: Callable[[object, object], None] | None = None,
) -> object:
    """Return the value of the pickle that begins at the stream's place, and leave the place behind it.

    admitted: "module.name" -> what stands for it. persistent: builds what a persistent identifier means.
    settle: judges a state that the pickle gives to a value (opcode BUILD); the value stays as it is. Keys
    and members of sets have to be text or whole numbers, so that hashing takes no time. Values may be
    shared, or contain themselves: who walks through them has to be ready for that.

    Raises RefusedFileError for a damaged pickle, a name that is not admitted, another opcode, or too many.
    """
    machine = _Machine(admitted, persistent, settle)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if count > _MOST_OPCODES:
                raise RefusedFileError("the pickle is longer than any network's")
            machine.run(opcode.name, argument)
        return machine.result()
    except RefusedFileError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise RefusedFileError(f"the pickle is damaged ({type(error).__name__})") from error


class _Machine:
    """The stack, its marks, and the memo."""

    def __init__(
        self,
        admitted: Mapping[str, Build | None],
        persistent: Build | None,
        settle: Callable[[object, object], None] | None,
    ) -> None:
        self._admitted, self._persistent, self._settle = admitted, persistent, settle
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def result(self) -> object:
        (value,) = self._stack
        return value

    def run(self, opcode: str, argument: Any) -> None:  # noqa: ANN401  (whatever the pickle holds)
        if opcode in _PLAIN:
            self._stack.append(argument)
        elif opcode in _NEW:
            self._stack.append(_NEW[opcode]())
        elif opcode in _SHORT_TUPLES:
            self._stack.append(tuple(self._popped(_SHORT_TUPLES[opcode])))
        elif opcode in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        else:
            step = _STEPS.get(opcode)
            if step is None:
                raise RefusedFileError(f"the pickle uses {opcode}, which no network file needs")
            step(self, argument)

    def _popped(self, count: int) -> list[Any]:
        if len(self._stack) - (self._marks[-1] if self._marks else 0) < count:
            raise RefusedFileError("the pickle is damaged (it takes more than it has put down)")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _since_mark(self) -> list[Any]:
        place = self._marks.pop()
        values = self._stack[place:]
        del self._stack[place:]
        return values

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def tuple_(self, _: object) -> None:
        self._stack.append(tuple(self._since_mark()))

    def append(self, _: object) -> None:
        self._extend(self._popped(1))

    def appends(self, _: object) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise RefusedFileError("the pickle appends to what is no list")
        self._stack[-1].extend(values)

    def set_item(self, _: object) -> None:
        self._update(self._popped(2))

    def set_items(self, _: object) -> None:
        self._update(self._since_mark())

    def _update(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not dict:
            raise RefusedFileError("the pickle sets items of what is no dictionary")
        self._stack[-1].update(zip(_hashable(values[::2]), values[1::2], strict=True))

    def add_items(self, _: object) -> None:
        values = self._since_mark()
        if type(self._stack[-1]) is not set:
            raise RefusedFileError("the pickle adds to what is no set")
        self._stack[-1].update(_hashable(values))

    def stack_global(self, _: object) -> None:
        module, name = self._popped(2)
        self._name(f"{module!s}.{name!s}" if type(module) is type(name) is str else "?")

    def global_(self, argument: str) -> None:
        self._name(argument.replace(" ", ".", 1))

    def _name(self, name: str) -> None:
        if name not in self._admitted:
            raise RefusedFileError(f"the pickle names {name[:80]!r}, which no network file needs")
        self._stack.append(Named(name, self._admitted[name]))

    def call(self, _: object) -> None:
        function, arguments = self._popped(2)
        if type(function) is not Named or function.build is None or type(arguments) is not tuple:
            raise RefusedFileError("the pickle calls what cannot be called")
        self._stack.append(function.build(*arguments))

    def build(self, _: object) -> None:
        (state,) = self._popped(1)
        if self._settle is None:
            raise RefusedFileError("the pickle gives a state to what has none")
        self._settle(self._stack[-1], state)

    def persistent_id(self, _: object) -> None:
        (identifier,) = self._popped(1)
        if self._persistent is None:
            raise RefusedFileError("the pickle refers to something outside itself")
        self._stack.append(self._persistent(identifier))

    def nothing(self, _: object) -> None:
        pass


def _hashable(values: list[Any]) -> list[Any]:
    if not all(type(value) in (str, int) for value in values):
        raise RefusedFileError("a key in the pickle is neither text nor a whole number")
    return values


_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.nothing,
    "FRAME": _Machine.nothing,
    "STOP": _Machine.nothing,
    "MEMOIZE": _Machine.memoize,
    "MARK": _Machine.mark,
    "TUPLE": _Machine.tuple_,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "ADDITEMS": _Machine.add_items,
    "STACK_GLOBAL": _Machine.stack_global,
    "GLOBAL": _Machine.global_,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent_id,
}
