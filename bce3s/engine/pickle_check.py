"""What a checkpoint's pickle would build, found out without building it.

``torch.load(weights_only=True)`` calls no function of the file's choice, but a few bytes can still
make it hang (the hash of a tuple of tuples of tuples ...), fill the memory, or read past the end of
a record. Here each opcode is followed with stand-ins: only the handful of functions and types that
a checkpoint of tensors and plain values needs may be named, each with arguments as torch writes
them; keys are small; no storage is larger than what the file holds of it.
"""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch

MOST_IN_KEY = 100  # values in the tuple that is a key
DEEPEST = 100  # containers in containers
REBUILD = {'_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_tensor_v3', '_rebuild_parameter'}
CONSTANTS = {'NONE', 'NEWTRUE', 'NEWFALSE', 'BINFLOAT', 'SHORT_BINSTRING'}
INTEGERS = {'BININT', 'BININT1', 'BININT2', 'LONG1'}
EMPTY = {'EMPTY_DICT': 'dict', 'EMPTY_LIST': 'list', 'EMPTY_TUPLE': 'tuple', 'EMPTY_SET': 'set'}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
ITEM_BYTES = {
    f'{name}Storage': size
    for size, names in {
        1: 'Byte Char Bool Untyped',
        2: 'Half BFloat16 Short',
        4: 'Float Int',
        8: 'Double Long ComplexFloat',
        16: 'ComplexDouble',
    }.items()
    for name in names.split()
}


@dataclass(slots=True)
class Item:
    """Stands for an object: its kind, the value of a string, number or name, what a tuple holds,
    how many values a tuple holds in all, and how deep containers lie in each other."""

    kind: str
    value: Any = None
    held: tuple = ()
    weight: int = 1
    depth: int = 0


def check_file(path: Path) -> None:
    """Follows every pickle of a torch file, of today's format (zip) or that before torch 1.6.

    Raises:
        pickle.UnpicklingError: it does what no checkpoint needs (said in words).
        OSError, EOFError, ValueError, zipfile.BadZipFile: the file is damaged.
    """
    with path.open('rb') as file:
        if file.read(4) == b'PK\3\4':
            with zipfile.ZipFile(file) as archive:
                _check_zip(archive)
        else:
            file.seek(0)
            size = path.stat().st_size
            for _ in range(5):  # magic number, protocol, machine, the object, its storages
                Follower(lambda _key: size).follow(file)


def _check_zip(archive: zipfile.ZipFile) -> None:
    """torch stores records uncompressed; whatever is not is made to be larger than the file."""
    sizes = {}
    for record in archive.infolist():
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            refuse(f'record {record.filename!r} is compressed, which torch never does')
        if record.filename.lower() in sizes:  # which of them is read depends on the reader
            refuse(f'there are two records {record.filename!r}')
        sizes[record.filename.lower()] = record.file_size
    pickles = [r for r in archive.infolist() if r.filename.lower().endswith('/data.pkl')]
    if len(pickles) != 1:
        refuse(f'it has {len(pickles)} records data.pkl instead of one')
    folder = pickles[0].filename[: -len('data.pkl')].lower()
    with archive.open(pickles[0]) as file:
        Follower(lambda key: sizes.get(f'{folder}data/{key}'.lower(), -1)).follow(file)


def refuse(why: str) -> NoReturn:
    raise pickle.UnpicklingError(why)


class Follower:
    """A stack machine as in pickle's, on :class:`Item`.

    Args:
        room: bytes that the file has for the storage of a key; negative: none of that key.
    """

    def __init__(self, room: Callable[[Any], int]) -> None:
        self.room = room
        self.stack: list[Item] = []
        self.marks: list[list[Item]] = []
        self.memo: dict[int, Item] = {}

    def follow(self, file: BinaryIO) -> None:
        """Until the pickle's end; ``file`` is left behind it."""
        for opcode, argument, _ in pickletools.genops(file):
            self._step(opcode.name, argument)

    def _step(self, name: str, argument: Any) -> None:
        push = self.stack.append
        if name in ('BINPUT', 'LONG_BINPUT'):
            self.memo[argument] = self.stack[-1]
        elif name in ('BINGET', 'LONG_BINGET'):
            push(self.memo[argument])
        elif name == 'BINUNICODE':
            push(Item('str', argument))
        elif name in INTEGERS:
            push(Item('int', argument))
        elif name in CONSTANTS:
            push(Item('constant'))
        elif name in EMPTY:
            push(Item(EMPTY[name]))
        elif name in TUPLES:
            held = self._popped(TUPLES[name])
            push(_tuple(held))
        elif name == 'GLOBAL':
            push(_named(argument))
        elif name == 'MARK':
            self.marks.append(self.stack)
            self.stack = []
        else:
            self._act(name)

    def _act(self, name: str) -> None:
        """What needs the stack below."""
        if name == 'TUPLE':
            held = self._to_mark()
            self.stack.append(_tuple(held))
        elif name in ('SETITEM', 'SETITEMS'):
            held = self._to_mark() if name == 'SETITEMS' else self._popped(2)
            for key in held[::2]:
                _check_key(key)
            self._into(('dict',), held)
        elif name in ('APPEND', 'APPENDS'):
            held = self._to_mark() if name == 'APPENDS' else self._popped(1)
            self._into(('list',), held)
        elif name == 'BINPERSID':
            self.stack[-1] = self._storage(self.stack[-1])
        elif name == 'REDUCE':
            function, arguments = self._popped(2)
            self.stack.append(_result(function, arguments))
        elif name == 'BUILD':
            (state,) = self._popped(1)
            self._into(('dict',), (state,))
        elif name not in ('PROTO', 'STOP'):
            refuse(f'opcode {name} is none that torch.save writes')

    def _popped(self, count: int) -> tuple[Item, ...]:
        if len(self.stack) < count:
            refuse('its stack runs empty')
        held = tuple(self.stack[-count:])
        del self.stack[-count:]
        return held

    def _to_mark(self) -> tuple[Item, ...]:
        if not self.marks:
            refuse('its stack runs empty')
        held, self.stack = tuple(self.stack), self.marks.pop()
        return held

    def _into(self, kinds: tuple[str, ...], held: tuple[Item, ...]) -> None:
        """``held`` goes into the container on top; depths already handed on are not raised, which
        the walk over the finished content makes up for."""
        if not self.stack or self.stack[-1].kind not in kinds:
            refuse(f'it puts values into what is no {kinds[0]}')
        top = self.stack[-1]
        top.depth = _deeper((top, *held), add=0, own=held)

    def _storage(self, identity: Item) -> Item:
        held = identity.held
        kinds = [item.kind for item in held[:5]]
        if kinds != ['str', 'storage type', 'str', 'str', 'int'] or held[0].value != 'storage':
            refuse('it names a storage in a way that torch does not')
        size = held[4].value * ITEM_BYTES.get(held[1].value, 1)
        room = self.room(held[2].value)
        if not 0 <= size <= room:
            refuse(f'storage {held[2].value!r} is said to have {size} bytes; the file has {room}')
        return Item('storage')


def _deeper(items: tuple[Item, ...], add: int, own: tuple[Item, ...]) -> int:
    depth = max([*(i.depth for i in items), *(1 + i.depth for i in own)], default=0) + add
    if depth > DEEPEST:
        refuse(f'containers lie more than {DEEPEST} deep in each other')
    return depth


def _tuple(held: tuple[Item, ...]) -> Item:
    weight = min(1 + sum(item.weight for item in held), 10**9)
    return Item('tuple', held=held, weight=weight, depth=_deeper(held, 1, ()))


def _check_key(key: Item) -> None:
    if key.kind not in ('str', 'int', 'constant', 'tuple', 'type') or key.weight > MOST_IN_KEY:
        refuse('a key is no plain value')


def _named(argument: str) -> Item:
    """The stand-in of a global; those that are called are 'function'."""
    module, _, name = argument.partition(' ')
    module = {'__builtin__': 'builtins'}.get(module, module)
    if (module == 'torch' and name in ITEM_BYTES) or (module, name) == ('torch.storage',) * 2:
        return Item('storage type', name)
    if module == 'torch.storage' and name == 'UntypedStorage':
        return Item('storage type', name)
    if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
        return Item('type', name)
    full = f'{module}.{name}'
    if full in REDUCTIONS:
        return Item('function', full)
    return refuse(f'GLOBAL {full} is none that a checkpoint needs')


def _result(function: Item, arguments: Item) -> Item:
    if function.kind != 'function' or arguments.kind != 'tuple':
        refuse('it calls what is no function')
    kind, fits = REDUCTIONS[function.value]
    if not fits([(item.kind, item.value) for item in arguments.held], arguments):
        refuse(f'GLOBAL {function.value} is called in a way that torch does not')
    return Item(kind, depth=_deeper((arguments,), 1, ()))


def _any(_kinds: list, _arguments: Item) -> bool:
    return True


def _kinds(*allowed: str) -> Callable[[list, Item], bool]:
    return lambda held, _: [kind for kind, _value in held] in [a.split() for a in allowed]


REDUCTIONS: dict[str, tuple[str, Callable[[list, Item], bool]]] = {
    **{f'torch._utils.{name}': ('tensor', _any) for name in REBUILD},
    'collections.OrderedDict': ('dict', _kinds('')),
    'collections.Counter': ('dict', _kinds('', 'dict')),
    'torch.Size': ('object', _kinds('tuple')),
    'torch.device': ('object', _kinds('str', 'str int')),
    'builtins.complex': ('constant', _kinds('constant constant')),
    'builtins.set': ('object', lambda held, _: held == [('list', None)]),
    '_codecs.encode': (
        'constant',
        lambda held, _: len(held) == 2 and held[0][0] == 'str' and held[1] == ('str', 'latin1'),
    ),
}
