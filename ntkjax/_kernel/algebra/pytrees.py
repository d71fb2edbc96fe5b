"""Operations as pytrees: frozen dataclasses whose numbers may be traced."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax


def static(**kwargs: Any) -> Any:
    """A field that is part of the program, not a number in it."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
def operation(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that is a pytree; mark static fields with `static()`."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, eq=False)(cls))
