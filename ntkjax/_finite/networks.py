"""A network as a function of its parameters alone, for one batch of inputs."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.arrays import default_float, describe, is_numbers, native


@dataclasses.dataclass(frozen=True)
class Batch:
    """Inputs of a network, with the keyword arguments that go with them."""

    x: Any
    keywords: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ExampleAxes:
    """Along which axes of inputs, outputs and keywords the examples of a batch are stacked."""

    inputs: Any
    output: int
    keywords: Mapping[str, Any]


def batches(x1: Any, x2: Any, keywords: Mapping[str, Any]) -> tuple[Batch, Batch | None]:
    """The two batches, the second None where `x2` is.

    A keyword that is a pair gives one value to each. A key `rng` is split, since two batches are
    two draws of what is random in the network.
    """
    x1, x2, keywords = _inputs(x1), _inputs(x2), native_arrays(dict(keywords))
    first = {name: v[0] if _is_pair(v) else v for name, v in keywords.items()}
    if x2 is None:
        return Batch(x1, first), None
    second = {name: v[1] if _is_pair(v) else v for name, v in keywords.items()}
    rng = keywords.get("rng")
    if rng is not None and not _is_pair(rng):
        first["rng"], second["rng"] = jax.random.split(rng)
    return Batch(x1, first), Batch(x2, second)


def native_arrays(tree: Any) -> Any:
    """Arrays in the byte order that JAX takes."""
    return jax.tree.map(native, tree)


def _inputs(x: Any) -> Any:
    """Inputs as arrays; nested lists of numbers are one."""
    is_array = isinstance(x, list) and is_numbers(x)
    return np.asarray(x, default_float()) if is_array else native_arrays(x)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def example_axes(vmap_axes: Any) -> ExampleAxes | None:
    """What `vmap_axes` says: None, one axis for inputs and outputs, or a triple."""
    if vmap_axes is None:
        return None
    if isinstance(vmap_axes, int):
        return ExampleAxes(vmap_axes, vmap_axes, {})
    if (
        isinstance(vmap_axes, tuple)
        and len(vmap_axes) == 3
        and isinstance(vmap_axes[1], int)
        and isinstance(vmap_axes[2], dict | None)
    ):
        return ExampleAxes(vmap_axes[0], vmap_axes[1], vmap_axes[2] or {})
    raise ValueError(
        "vmap_axes must be None, an axis, or a triple (axes of x, axis of f(x), dict of axes of"
        f" keywords), got {describe(vmap_axes)}: pass vmap_axes=0 where inputs and outputs are"
        " stacked along their first axis"
    )


def per_example(fn: Callable[..., Any], axes: ExampleAxes, *batches: Batch) -> Any:
    """`fn` of the i-th example of each batch, for all i; results are stacked along the first axis.

    An example keeps its axis, of length 1, since networks as a rule want one.
    """

    def one(*examples: tuple[Any, Mapping[str, Any]]) -> Any:
        return fn(
            *[
                Batch(_expand(x, axes.inputs), {**batch.keywords, **_expand(mapped, keyword_axes)})
                for batch, (x, mapped), keyword_axes in zip(
                    batches, examples, mapped_axes, strict=True
                )
            ]
        )

    mapped = [{n: v for n, v in b.keywords.items() if n in axes.keywords} for b in batches]
    mapped_axes = [{n: axes.keywords[n] for n in m} for m in mapped]
    return jax.vmap(one, in_axes=tuple((axes.inputs, m) for m in mapped_axes))(
        *[(batch.x, m) for batch, m in zip(batches, mapped, strict=True)]
    )


def _expand(tree: Any, axes: Any) -> Any:
    def at(axis: int | None, part: Any) -> Any:
        return part if axis is None else jax.tree.map(lambda a: jnp.expand_dims(a, axis), part)

    return jax.tree.map(at, axes, tree, is_leaf=lambda a: a is None)


def floating_parameters(params: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """The leaves that a network is differentiated by, and how to put them back among the others."""
    leaves, tree = jax.tree.flatten(params)
    kinds = [jnp.result_type(leaf) for leaf in leaves]
    if any(jnp.issubdtype(kind, jnp.complexfloating) for kind in kinds):
        raise TypeError(
            "params must be real, got complex leaves: pass real and imaginary parts as two leaves"
        )
    places = [i for i, kind in enumerate(kinds) if jnp.issubdtype(kind, jnp.floating)]
    if not places:
        raise TypeError(
            "params must hold arrays of floats to differentiate by, got"
            f" {[str(kind) for kind in kinds] or 'no leaves'}: is the order (x1, x2, params)?"
        )

    def restore(floating: list[Array]) -> Any:
        filled = list(leaves)
        for place, value in zip(places, floating, strict=True):
            filled[place] = value
        return jax.tree.unflatten(tree, filled)

    return [jnp.asarray(leaves[i]) for i in places], restore
