"""What network an estimator's parameters describe.

A `Recipe` is a network in the form that the cache and the compiler need: its structure, which
decides the compiled program, apart from its numbers, which are arguments of the program. So a grid
over `W_std` compiles once, and equal networks are equal although scikit-learn copies its
estimators.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import numpy as np

from ntkjax._kernel.arrays import describe
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._layers.combinators import serial
from ntkjax._layers.dense import Dense
from ntkjax._layers.error_functions import Erf, Gelu
from ntkjax._layers.exponentials import Gaussian
from ntkjax._layers.rectifiers import Abs, Relu
from ntkjax._layers.smooth import Elu, HardTanh, Mish, Selu, Sigmoid, Silu, Softplus, Tanh
from ntkjax._layers.trigonometric import Cos, Sin

#: Activations by name; any other layer is passed itself.
ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "abs": Abs, "cos": Cos, "elu": Elu, "erf": Erf, "gaussian": Gaussian, "gelu": Gelu,
    "hard_tanh": HardTanh, "mish": Mish, "relu": Relu, "selu": Selu, "sigmoid": Sigmoid,
    "silu": Silu, "sin": Sin, "softplus": Softplus, "tanh": Tanh,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Structure:
    """A network without its numbers: equal ones share a compiled program.

    `build(numbers)` is the kernel function of the network with these numbers.
    """

    key: Hashable
    build: Callable[[Any], Callable[..., Any]] = dataclasses.field(compare=False)
    #: Whether more channels, all zero, change the kernel by a known factor alone.
    is_dense: bool = dataclasses.field(compare=False)
    #: Whether the kernel function may be traced by JAX.
    is_ours: bool = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A network, which of its kernels is meant, and the shape of one of its inputs."""

    structure: Structure
    numbers: tuple[Any, ...] = dataclasses.field(compare=False)
    #: The same numbers, as they are compared.
    values: Hashable
    get: str
    #: None for rows as they are.
    input_shape: tuple[int, ...] | None


class Parameters(NamedTuple):
    """The parameters of an estimator that say which kernel it has; all of it pickles."""

    depth: Any
    activation: Any
    W_std: Any
    b_std: Any
    kernel: Any
    network: Any
    input_shape: Any

    @classmethod
    def of(cls, owner: Any) -> "Parameters":
        """Those of an estimator, as they are now."""
        return cls(*(without_functions(getattr(owner, name)) for name in cls._fields))


def recipe_of(name: str, given: Parameters) -> Recipe:
    """The network that parameters describe, those of an estimator with this name."""
    get = given.kernel
    if not isinstance(get, str) or get not in ("ntk", "nngp"):
        raise ValueError(f"{name}: kernel={describe(get)}, expected 'ntk' or 'nngp'.")
    shape = _input_shape(name, given.input_shape)
    if given.network is not None:
        structure, leaves, values = _of_network(name, given.network)
        return Recipe(structure, leaves, values, get, shape)
    if shape is not None:
        raise ValueError(
            f"{name}: input_shape={shape} without a network; the fully connected network takes "
            "rows as they are: leave it out, or pass network=stax.serial(...)."
        )
    depth = given.depth
    if not isinstance(depth, (int, np.integer)) or isinstance(depth, bool) or depth < 1:
        raise ValueError(
            f"{name}: depth={describe(depth)}, expected a number of hidden layers, 1 or more."
        )
    W_std = checked_number(name, "W_std", given.W_std, above=0.0)
    b_std = checked_number(name, "b_std", given.b_std, least=0.0)
    structure = _fully_connected(int(depth), _activation(name, given.activation))
    return Recipe(structure, (W_std, b_std), (W_std, b_std), get, None)


def checked_number(
    owner: str, argument: str, value: Any, *, least: float = -math.inf, above: float = -math.inf
) -> float:
    """A finite real number within bounds, as a float."""
    is_number = isinstance(value, (numbers.Real, np.number)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < least or value <= above:
        wanted = f"above {above:g}" if above > -math.inf else f"of at least {least:g}"
        raise ValueError(
            f"{owner}: {argument}={describe(value)}, expected a finite number {wanted}."
        )
    return float(value)


def without_functions(network: Any) -> Any:
    """The kernel function of a triple, which pickles; anything else as it is."""
    is_triple = isinstance(network, tuple) and len(network) == 3
    return network[2] if is_triple and isinstance(network[2], KernelFn) else network


def _input_shape(owner: str, shape: Any) -> tuple[int, ...] | None:
    if shape is None:
        return None
    is_shape = isinstance(shape, (tuple, list)) and len(shape) > 0
    if not is_shape or not all(isinstance(n, numbers.Integral) and int(n) > 0 for n in shape):
        raise ValueError(
            f"{owner}: input_shape={describe(shape)}, expected the shape of one input, such as "
            "(28, 28, 1), or None for rows as they are."
        )
    return tuple(int(n) for n in shape)


def _activation(owner: str, activation: Any) -> KernelFn:
    """The kernel function of an activation, by name or as a layer."""
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"{owner}: activation={activation!r} is unknown; there are "
                f"{', '.join(ACTIVATIONS)}, or pass a layer such as stax.LeakyRelu(0.1)."
            )
        return ACTIVATIONS[activation]()[2]
    found = without_functions(activation)
    if isinstance(found, KernelFn):
        return found
    raise ValueError(
        f"{owner}: activation={describe(activation)}, expected a name such as 'relu' or a layer "
        "of ntkjax.stax such as stax.Erf()."
    )


def _fully_connected(depth: int, activation: KernelFn) -> Structure:
    """`depth` hidden layers and a readout, all with the same W_std and b_std."""
    layer = (_no_finite_network, _no_finite_network, activation)

    def build(numbers: Any) -> Callable[..., Any]:
        W_std, b_std = numbers
        hidden = [Dense(1, W_std, b_std), layer] * depth
        return serial(*hidden, Dense(1, W_std, b_std)).kernel_fn

    return Structure((depth, *_split(activation)), build, is_dense=True, is_ours=True)


def _no_finite_network(*args: Any, **kwargs: Any) -> Any:
    """In place of `init_fn` and `apply_fn`, which the kernel does not need."""
    raise NotImplementedError


def _of_network(owner: str, network: Any) -> tuple[Structure, tuple[Any, ...], Hashable]:
    """The structure and the numbers of a user's triple or kernel function."""
    kernel_fn = network[2] if isinstance(network, tuple) and len(network) == 3 else network
    if not callable(kernel_fn):
        raise ValueError(
            f"{owner}: network={describe(network)}, expected a triple (init_fn, apply_fn, "
            "kernel_fn), such as stax.serial(...), or a kernel function alone."
        )
    if not isinstance(kernel_fn, KernelFn):
        alone = Structure(kernel_fn, lambda _: kernel_fn, is_dense=False, is_ours=False)
        return alone, (), ()
    leaves, tree = jax.tree.flatten(kernel_fn.part)
    label = kernel_fn.label

    def build(numbers: Any) -> Callable[..., Any]:
        return KernelFn(jax.tree.unflatten(tree, numbers), label)

    structure, values = _split(kernel_fn)
    return Structure(structure, build, is_dense=False, is_ours=True), tuple(leaves), values


def _split(kernel_fn: KernelFn) -> tuple[Hashable, Hashable]:
    """What two kernel functions of one structure have in common, and the values of the numbers."""
    leaves, tree = jax.tree.flatten(kernel_fn.part)
    arrays = [np.asarray(leaf) for leaf in leaves]
    return tree, tuple((a.dtype.str, a.shape, a.tobytes()) for a in arrays)
