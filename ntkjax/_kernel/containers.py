"""Lists and tuples of results, as the inputs of a network are: tuples of inputs give tuples.

`parallel` keeps the container of what it is given, FanOut makes lists, FanIn leaves one result:

    serial(parallel(a, b))                    (x1, x2) -> (k1, k2)
    serial(parallel(a, b), FanInSum())        (x1, x2) -> k
    serial(FanOut(2), parallel(a, b))         x        -> [k1, k2]
"""

from collections.abc import Callable
from typing import Any

from ntkjax._kernel.algebra.graph import Copies, Named, Parallel, Part, Serial

#: A container is (list or tuple, the containers of its items); a single value is None.
Container = Any


def container_of(value: Any, is_list: Callable[[Any], bool]) -> Container:
    """The container that inputs come in."""
    if not is_list(value):
        return None
    kind = tuple if isinstance(value, tuple) else list
    return kind, [container_of(one, is_list) for one in value]


def container_after(part: Part, container: Container) -> Container:
    """The container that a network returns its results in."""
    if isinstance(part, (Serial, Named)):
        for one in part.parts:
            container = container_after(one, container)
        return container
    if isinstance(part, Copies):
        return list, [container] * part.count
    if isinstance(part, Parallel) and container is not None:
        kind, items = container
        both = zip(part.parts, items, strict=False)
        return kind, [container_after(one, item) for one, item in both]
    return None


def filled(values: Any, container: Container, picked: Callable[[Any], Any]) -> Any:
    """What is picked of each of nested tuples, in a container; lists where it says nothing."""
    if not isinstance(values, tuple):
        return picked(values)
    kind, items = container or (list, [None] * len(values))
    return kind(filled(value, item, picked) for value, item in zip(values, items, strict=True))
