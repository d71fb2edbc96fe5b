"""A network as a function of its parameters and of one example, for a batch of inputs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._finite.checks import checked_arrays, checked_inputs
from ntkjax._finite.example_axes import ExampleAxes, axes_of_leaves
from ntkjax._kernel.arrays import native
from ntkjax._kernel.devices import on_one_device

Network = Callable[[Any, "Batch"], Array]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Inputs of a network, with the keyword arguments that go with them."""

    x: Any
    keywords: Mapping[str, Any]


class Side(NamedTuple):
    """A network on the examples of a batch, each by itself.

    Attributes:
      arrays: of the examples, which are stacked along the first axis.
      network: from the parameters and the arrays of one example to its output.
    """

    arrays: list[Array]
    network: Callable[[Any, Sequence[Array]], Array]

    @property
    def count(self) -> int:
        """Number of examples."""
        return self.arrays[0].shape[0]

    @property
    def example(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of one example."""
        return [jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in self.arrays]

    def some(self, numbers: Array | np.ndarray) -> list[Array]:
        """The arrays of some examples."""
        return [jnp.take(a, numbers, axis=0) for a in self.arrays]


def whole(network: Network, batch: Batch) -> Side:
    """A network that takes its batch as a whole: one example, whose output is that of the batch."""
    return Side([jnp.zeros((1,))], lambda params, _: network(params, batch))


def stacked(network: Network, batch: Batch, axes: ExampleAxes, output: int) -> Side:
    """A network that treats each example by itself.

    It is called with batches of one, since networks as a rule want the axis of examples; `output`
    is that axis of its output.
    """
    given = batch.x, {name: batch.keywords[name] for name in axes.keywords}
    leaves, tree = jax.tree.flatten(given)
    along = axes_of_leaves(axes, batch)
    mapped = {i: axis for i, axis in enumerate(along) if axis is not None}

    def of_example(params: Any, arrays: Sequence[Array]) -> Array:
        filled = list(leaves)
        for (i, axis), array in zip(mapped.items(), arrays, strict=True):
            filled[i] = jnp.expand_dims(array, axis)
        x, keywords = jax.tree.unflatten(tree, filled)
        made = network(params, Batch(x, {**batch.keywords, **keywords}))
        return jnp.squeeze(made, output)

    return Side([jnp.moveaxis(jnp.asarray(leaves[i]), a, 0) for i, a in mapped.items()], of_example)


def network_arguments(
    x1: Any, x2: Any, params: Any, keywords: Mapping[str, Any]
) -> tuple[Batch, Batch | None, Any]:
    """The two batches, the second None where `x2` is, and the parameters; raises on bad ones.

    A keyword that is a pair gives one value to each. A key `rng` is split, since two batches are
    two draws of what is random in the network.
    """
    keywords = native_arrays(dict(keywords))
    first = {name: v[0] if _is_pair(v) else v for name, v in keywords.items()}
    second = {name: v[1] if _is_pair(v) else v for name, v in keywords.items()}
    params, x1, x2 = on_one_device(
        checked_arrays("params", params),
        checked_inputs("x1", x1, first.get("mask_constant")),
        checked_inputs("x2", x2, second.get("mask_constant")),
    )
    if x1 is None:
        raise TypeError(
            "x1 is None, expected inputs of the network; x2=None alone stands for x1 again."
        )
    if not jax.tree.leaves(x2):
        return Batch(x1, first), None, params
    rng = keywords.get("rng")
    if rng is not None and not _is_pair(rng):
        first["rng"], second["rng"] = jax.random.split(rng)
    return Batch(x1, first), Batch(x2, second), params


def native_arrays(tree: Any) -> Any:
    """Arrays in the byte order that JAX takes."""
    return jax.tree.map(native, tree)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def floating_parameters(
    params: Any, name: str = "params", mend: str = "is the order (x1, x2, params)?"
) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """The leaves that a network is differentiated by, and how to put them back among the others.

    A message calls them `name`, and ends in `mend` where there are none.
    """
    leaves, tree = jax.tree.flatten(params)
    kinds = [_kind(leaf) for leaf in leaves]
    if any(jnp.issubdtype(kind, jnp.complexfloating) for kind in kinds):
        raise TypeError(
            f"{name} must be real, got complex leaves: pass real and imaginary parts as two leaves"
        )
    places = [i for i, kind in enumerate(kinds) if jnp.issubdtype(kind, jnp.floating)]
    if not places:
        raise TypeError(
            f"{name} must hold arrays of floats to differentiate by, got"
            f" {[str(kind) for kind in kinds] or 'no leaves'}: {mend}"
        )

    def restore(floating: list[Array]) -> Any:
        filled = list(leaves)
        for place, value in zip(places, floating, strict=True):
            filled[place] = value
        return jax.tree.unflatten(tree, filled)

    return [jnp.asarray(leaves[i]) for i in places], restore


def _kind(leaf: Any) -> Any:
    """The dtype of an array or a number; that of objects for anything else."""
    is_known = hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))
    return jnp.result_type(leaf) if is_known else np.dtype(object)
