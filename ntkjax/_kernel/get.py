"""The argument `get`: which kernels a caller asks for, and the shape of the answer.

It means the same in `kernel_fn`, in the functions that predict, and in the empirical kernels: a
name, in upper or lower case, gives one value, a tuple of names a named tuple of values.
"""

import collections
import functools
from collections.abc import Callable
from typing import Any

from ntkjax._kernel.algebra.errors import UnsupportedError
from ntkjax._kernel.arrays import describe


def requested_names(get: object, known: tuple[str, ...], meaning: str) -> tuple[str, ...] | None:
    """The names in `get`, in order; None where it is None, which stands for `meaning`."""
    if get is None:
        return None
    names = (get,) if isinstance(get, str) else get
    mend = f"pass a name, a non-empty tuple of names, or None for {meaning}"
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"get must be a string, a tuple of strings or None, of {known}, got {describe(get)}: "
            f"{mend}"
        )
    names = tuple(name.lower() for name in names)
    if not names or not set(names) <= set(known):
        raise UnsupportedError(f"get must name one or more of {known}, got get={get!r}: {mend}")
    return names


def answer(
    get: object, names: tuple[str, ...], compute: Callable[[str], Any], type_name: str
) -> Any:
    """`compute(name)` alone when `get` is a string, else a named tuple over all names."""
    if isinstance(get, str):
        return compute(names[0])
    return named_tuple(type_name, names, [compute(name) for name in names])


def named_tuple(type_name: str, names: tuple[str, ...], values: Any) -> Any:
    """A named tuple, which can be pickled; repeated names are told apart by their place."""
    return _named_tuple_type(type_name, names)(*values)


@functools.cache
def _named_tuple_type(type_name: str, names: tuple[str, ...]) -> Any:
    # One class for each set of names, so that two answers are the same pytree.
    base = collections.namedtuple(type_name, names, rename=True)

    def reduced(self: Any) -> Any:
        # `pickle` looks a class up by its name in its module; this one is made when asked for.
        return named_tuple, (type_name, names, tuple(self))

    return type(
        type_name, (base,), {"__slots__": (), "__reduce__": reduced, "__doc__": base.__doc__}
    )
