"""Strategies of what is nearly right: bytes and literals with a few things changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

ENDS = [b'\0', b'\xff', b'\x7f', b'\x80', b'\0\0\0\0', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff']
INSERT, OVERWRITE, DELETE, REPEAT, CUT, MOVE = range(6)
Edit = tuple[int, int, int, bytes]


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    """``data`` after the edits, in order: (what, where, how long, new bytes)."""
    for what, at, length, new in edits:
        at %= len(data) + 1
        span = data[at : at + length]
        if what == INSERT:
            data = data[:at] + new + data[at:]
        elif what == OVERWRITE:
            data = data[:at] + new + data[at + len(new) :]
        elif what == DELETE:
            data = data[:at] + data[at + length :]
        elif what == REPEAT:
            data = data[:at] + span * (1 + len(new)) + data[at:]
        elif what == CUT:
            data = data[:at]
        else:  # to another place
            rest = data[:at] + data[at + length :]
            to = int.from_bytes(new, 'big') % (len(rest) + 1)
            data = rest[:to] + span + rest[to:]
    return data


def edits(tokens: Sequence[bytes] = (), most: int = 6) -> st.SearchStrategy[list[Edit]]:
    """Up to ``most`` edits; ``tokens``: what has a meaning in the format."""
    new = st.one_of(
        st.sampled_from([*ENDS, *tokens]) if tokens else st.sampled_from(ENDS),
        st.binary(max_size=8),
    )
    edit = st.tuples(st.integers(0, 5), st.integers(0, 2**20), st.integers(0, 64), new)
    return st.lists(edit, max_size=1) | st.lists(edit, max_size=most)


def mutated(bases: Sequence[bytes], tokens: Sequence[bytes] = ()) -> st.SearchStrategy[tuple]:
    """Cases ``(number of the base, edits)``; the target makes the bytes by :func:`edited`."""
    return st.tuples(st.integers(0, len(bases) - 1), edits(tokens))


def numbers() -> st.SearchStrategy:
    """Numbers as JSON, YAML and Python have them, with the awkward ones among them."""
    return st.one_of(
        st.integers(-3, 200),
        st.sampled_from([2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
    )


def texts() -> st.SearchStrategy[str]:
    """Any text, surrogates and NUL among it."""
    awkward = [
        '',
        ' ',
        '.',
        '..',
        '/',
        '\0',
        '\ud800',
        '\u202e',
        'None',
        '1e9',
        '-1',
        'é',
        '\ufeff',
    ]
    return st.one_of(st.sampled_from(awkward), st.text(max_size=12))


def values(keys: Sequence[str] = ()) -> st.SearchStrategy:
    """Plain values, lists and dicts of them; keys often those that the format knows."""
    key = st.one_of(st.sampled_from(keys), texts()) if keys else texts()
    leaves = st.one_of(st.none(), numbers(), texts())
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(key, inner, max_size=4)
        ),
        max_leaves=8,
    )


def replaced(tree: Any, path: Sequence[int], value: Any, remove: bool = False) -> Any:
    """A copy of dicts and lists with the node at ``path`` replaced or left out.

    ``path``: which child at each depth, counted round; it ends early at a leaf.
    """
    if not path or not isinstance(tree, dict | list) or not tree:
        return value
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = keys[path[0] % len(keys)]
    copy = tree.copy()
    if remove and len(path) == 1:
        del copy[key]
    else:
        copy[key] = replaced(tree[key], path[1:], value, remove)
    return copy
