"""Dataclasses that are pytrees, as the helpers of neural_tangents make them."""

import dataclasses
from typing import Any

import jax


def field(pytree_node: bool = True, **kwargs: Any) -> Any:
    """A field; with `pytree_node=False`, one that is part of the program and not a number in it."""
    metadata = {**kwargs.pop("metadata", {}), "pytree_node": pytree_node}
    return dataclasses.field(metadata=metadata, **kwargs)


def dataclass(clz: type) -> type:
    """A class decorator: a frozen dataclass that is a pytree.

    It has the methods `replace`, `asdict` and `astuple`.
    """
    made: Any = dataclasses.dataclass(frozen=True)(clz)
    names: tuple[list[str], list[str]] = [], []
    for one in dataclasses.fields(made):
        if one.init:
            names[bool(one.metadata.get("pytree_node", True))].append(one.name)
    jax.tree_util.register_dataclass(made, data_fields=names[True], meta_fields=names[False])

    def asdict(self: Any) -> dict[str, Any]:
        """Fields by name; arrays are not copied."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}

    made.replace = dataclasses.replace
    made.asdict = asdict
    made.astuple = lambda self: tuple(asdict(self).values())
    return made
