"""A keyword's value that is part of a program: hashed by what it holds, lists included.

JAX keeps one compiled program for each combination of static values, and finds it by their hashes.
A list has none. `kernel_fn(x, axes=[0, 1])` is therefore held as the list and, for the hash, as
`("list", ((int, 0), (int, 1)))`; the type beside each number tells 1 from 1.0 and from True.
"""

import copy
import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, eq=False)
class FixedValue:
    """A value, and a key with a hash that is equal where the contents are."""

    value: Any
    key: Any

    @classmethod
    def of(cls, name: str, value: Any) -> "FixedValue":
        """The value of the keyword `name` as it is now, whatever becomes of the caller's list."""
        return cls(_copied(value), _key(name, value))

    def given(self) -> Any:
        """The value, for a function that may change it."""
        return _copied(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedValue) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _copied(value: Any) -> Any:
    """The same value, in lists, dictionaries and sets of its own."""
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    if type(value) is dict:
        return {name: _copied(one) for name, one in value.items()}
    return copy.copy(value) if type(value) is set else value


def _key(name: str, value: Any) -> Any:
    """What has a hash, and tells values apart."""
    if type(value) in (list, tuple):
        return type(value).__name__, tuple(_key(name, one) for one in value)
    if type(value) is dict:
        return "dict", tuple((one, _key(name, held)) for one, held in value.items())
    if type(value) is set:
        return "set", frozenset(value)
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"kernel_fn: {name} holds a {type(value).__name__}, which is no array and has no hash, "
            "so that no compiled program can be kept for it; give numbers, strings, arrays, or "
            "lists, tuples, dictionaries and sets of them, or give its class a __hash__ and an "
            "__eq__."
        ) from None
    return type(value), value
