"""The argument `get`: which kernels a caller asks for, and the shape of the answer."""

import collections
import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def _named_tuple(type_name: str, names: tuple[str, ...]) -> Any:
    # One class for each set of names, so that two answers are the same pytree.
    return collections.namedtuple(type_name, names)


def requested_names(get: object, known: tuple[str, ...], default: tuple[str, ...]) -> tuple:
    """The kernels that `get` names, in order; raises ValueError or TypeError on any other value."""
    if get is None:
        return default
    names = (get,) if isinstance(get, str) else get
    if not isinstance(names, tuple | list) or not all(isinstance(n, str) for n in names):
        raise TypeError(
            f"get must be a string, a tuple of strings or None, got {get!r}: pass one of {known} or"
            " a tuple of them"
        )
    if not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(
            f"get must name one or more of {known}, each once, got {get!r}: pass get={default[0]!r}"
            f" or get={default}"
        )
    return tuple(names)


def answer(
    get: object, names: tuple[str, ...], compute: Callable[[str], Any], type_name: str
) -> Any:
    """`compute(name)` alone when `get` is a string, else a named tuple over all names."""
    if isinstance(get, str):
        return compute(get)
    return _named_tuple(type_name, names)(*[compute(name) for name in names])
