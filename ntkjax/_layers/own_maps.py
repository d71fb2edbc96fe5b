"""Layers of one's own, of a function of the activations: the rest follows from it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.algebra.signal import Shape, Signal
from ntkjax._kernel.arrays import default_float
from ntkjax._kernel.operations.fixed_map import MatrixMap
from ntkjax._kernel.operations.kernels import Custom
from ntkjax._layers.checks import check_axis, check_flag
from ntkjax._layers.finite import axis_of, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.traceable import Traceable

Axes = tuple[int, int]


def PositionMap(fn: Callable[[Array], Array], batch_axis: int = 0, channel_axis: int = -1) -> Layer:
    r"""A layer of one's own: any fixed linear map of positions, given as a function of arrays.

    .. math::
        z[P] = \sum_p A_{Pp}\, x[p], \qquad K'[P, Q] = \sum_{p, q} A_{Pp} A_{Qq}\, K[p, q],

    and the same for :math:`\Theta`. The weights A are read off `fn`, by what it makes of images
    with one bright position each. Kernels of near-equal points keep their digits.

    Args:
      fn: takes activations and returns others, with the same examples and channels along
        `batch_axis` and `channel_axis`, and any other axes. It is linear, treats all examples and
        channels alike, and is written with `jax.numpy`.
      batch_axis: which axis of input and output runs over examples.
      channel_axis: which axis of input and output runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, `fn` is not linear, or mixes examples or channels.
      TypeError: `fn` is no function, or an axis no integer.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> mirrored = stax.PositionMap(lambda x: 0.5 * (x + jnp.flip(x, 2)))
      >>> mirrored.kernel_fn(jnp.ones((2, 4, 4, 3)), get="nngp", diagonal_spatial=True).shape
      (2, 2, 4, 4)
    """
    axes = _checked("PositionMap", fn, batch_axis, channel_axis)
    parts = (_MapByFunction(fn, axes),)
    return _layer("PositionMap", fn, parts, axes)


def KernelMap(
    fn: Callable[[Array], Array],
    kernel_map: Callable[[Array, Array, Array], Array],
    is_gaussian: bool = False,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""A layer of one's own: any map of the kernel of a pair of images, of all their positions.

    .. math::
        K' = F(K;\, K_{11}, K_{22}), \qquad
        \Theta' = \frac{\partial F}{\partial K}[\Theta], \qquad K'_{11} = F(K_{11}; K_{11}, K_{11}),

    where :math:`K_{11}` and :math:`K_{22}` are the kernels of either image with itself: what a
    finite network averages over its channels does not depend on its weights when it is infinitely
    wide, so that the derivative is with respect to K alone. It is taken by JAX. Shapes are those of
    `fn`. Outside of this layer distances are kept; inside, near-equal points are as good as
    covariances are.

    Args:
      fn: the finite network, from activations to activations; it has no parameters.
      kernel_map: F, of one pair of images. Takes three arrays, each interleaved over all pairs of
        positions, (h, h, w, w) for images of h times w positions, and returns one for the positions
        after it; written with `jax.numpy`.
      is_gaussian: whether the outputs are Gaussian with independent channels, given that the inputs
        are, so that a nonlinearity may follow.
      batch_axis: which axis of input and output runs over examples.
      channel_axis: which axis of input and output runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, `kernel_map` does not return the positions that `fn` leaves.
      TypeError: an argument is no function, no flag, or no integer.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2; Yang 2019, arXiv 1902.04760 (averages
    over channels).

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> def normalized(x):
      ...     return x / jnp.sqrt(jnp.mean(x**2, axis=(1, 2), keepdims=True))
      >>> def kernel_map(k, k11, k22):
      ...     mean1, mean2 = (jnp.trace(own) / len(own) for own in (k11, k22))
      ...     return k / jnp.sqrt(mean1 * mean2)
      >>> norm = stax.KernelMap(normalized, kernel_map, is_gaussian=True)
      >>> network = stax.serial(stax.Dense(8, W_std=3.0), norm, stax.Relu())
      >>> round(float(network.kernel_fn(jnp.ones((2, 5, 3)), get="nngp")[0, 0, 0, 0]), 6)
      0.5
    """
    axes = _checked("KernelMap", fn, batch_axis, channel_axis)
    if not callable(kernel_map):
        raise TypeError(
            f"KernelMap: kernel_map={kernel_map!r}, expected a function of three arrays."
        )
    gaussian = check_flag("KernelMap", "is_gaussian", is_gaussian)
    kernel_fn = Traceable(_OfKernels(fn, kernel_map, gaussian, axes))
    return _layer("KernelMap", fn, (Custom(kernel_fn),), axes)


def _checked(layer: str, fn: Any, batch_axis: Any, channel_axis: Any) -> Axes:
    if not callable(fn):
        raise TypeError(f"{layer}: fn={fn!r}, expected a function of an array of activations.")
    return (
        check_axis(layer, "batch_axis", batch_axis),
        check_axis(layer, "channel_axis", channel_axis),
    )


def _layer(name: str, fn: Callable[[Array], Array], parts: Any, axes: Axes) -> Layer:
    """The triple, with the finite network `fn`."""

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return _signal_after(name, fn, axes, one_shape(name, input_shape)).shape1, ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        return fn(one_array(name, inputs))

    def mask_fn(mask: Array, shape: Shape) -> Array:
        raise ValueError(
            f"{name}: what its function makes of masked positions is not known; mask inputs of "
            "networks without this layer."
        )

    label = getattr(fn, "__name__", "fn")
    return make_layer(name, label, parts, init_fn, apply_fn, axes, mask_fn)


def _signal_after(place: str, fn: Callable[[Array], Array], axes: Axes, shape: Shape) -> Signal:
    """Shapes and axes of what a function makes of one batch."""
    x = jax.ShapeDtypeStruct(shape, default_float())
    out = tuple(jax.eval_shape(fn, x).shape)
    if not all(-len(out) <= axis < len(out) for axis in axes):
        raise LayerError(
            f"{place}: fn makes shape {out} of {shape}, which lacks batch_axis={axes[0]} or "
            f"channel_axis={axes[1]}; return an array with both."
        )
    before, after = ([axis_of(place, "axis", axis, s) for axis in axes] for s in (shape, out))
    sizes = [(shape[a], out[b]) for a, b in zip(before, after, strict=True)]
    if any(old != new for old, new in sizes):
        raise LayerError(
            f"{place}: fn makes shape {out} of {shape}, with other numbers of examples or channels "
            f"along batch_axis={axes[0]}, channel_axis={axes[1]}; keep both as they are."
        )
    batch, channel = after
    return Signal(out, out, batch, channel)


@operation
class _MapByFunction(Structure):
    """A linear map of positions, once the shape of the input is known."""

    fn: Callable[[Array], Array] = static()
    axes: Axes = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        signal = graph.nodes[index].signal
        first, second = (
            _signal_after(place, self.fn, self.axes, shape)
            for shape in (signal.shape1, signal.shape2)
        )
        result = dataclasses.replace(first, shape2=second.shape1)
        layout = signal.batch_axis, signal.channel_axis, signal.shape1
        matrix, error = _matrix(self.fn, self.axes, layout)
        if error > 1e-3:
            raise LayerError(
                f"{place}: fn is no linear map of positions that treats channels alike: of random "
                f"numbers it makes what differs by {error:.1e} from a weighted sum over positions; "
                "use KernelMap, or a layer for each part of it."
            )
        return graph.add(MatrixMap(jnp.asarray(matrix, default_float()), result), (index,), place)


@functools.lru_cache(maxsize=256)
def _matrix(
    fn: Callable[[Array], Array], axes: Axes, layout: tuple[int, int, Shape]
) -> tuple[np.ndarray, float]:
    """The weights of a function, and how far it is from being a map of these weights."""
    batch, channel, shape = layout
    sizes = [n for axis, n in enumerate(shape) if axis not in (batch, channel)]
    count = int(np.prod(sizes))

    def mapped(x: np.ndarray) -> np.ndarray:
        """Of images [example, position, channel], the same afterwards."""
        array = np.moveaxis(x.reshape(len(x), *sizes, x.shape[-1]), (0, -1), (batch, channel))
        out = np.asarray(fn(jnp.asarray(array, default_float())))
        out = np.moveaxis(out, axes, (0, -1))
        return out.reshape(len(out), -1, out.shape[-1])

    # Known also within a program of the caller's.
    with jax.ensure_compile_time_eval():
        (matrix,) = mapped(np.eye(count)[None])
        x = np.random.default_rng(0).normal(size=(2, count, count))
        wanted = np.einsum("Pp,npc->nPc", matrix, x)
        error = np.max(np.abs(mapped(x) - wanted), initial=0) / max(np.max(np.abs(wanted)), 1e-30)
    return matrix, float(error)


@dataclasses.dataclass(frozen=True)
class _OfKernels:
    """What a user's map of kernels makes of a `Kernel`."""

    fn: Callable[[Array], Array]
    kernel_map: Callable[[Array, Array, Array], Array]
    is_gaussian: bool
    axes: Axes

    def __call__(self, kernel: Kernel) -> Kernel:
        one, two = (
            _signal_after("KernelMap", self.fn, self.axes, shape)
            for shape in (kernel.shape1, kernel.shape2)
        )
        positions = tuple(size for size in one.sizes for _ in range(2))
        own1: Any = kernel.cov1
        own2 = own1 if kernel.cov2 is None else kernel.cov2

        def of_pair(k: Array, k11: Array, k22: Array, tangent: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda k: self.of(k, k11, k22, positions), (k,), (tangent,))

        of_second = jax.vmap(of_pair, (0, None, 0, 0))
        ntk = jnp.zeros_like(kernel.nngp) if kernel.ntk is None else kernel.ntk
        nngp, tangent = jax.vmap(of_second, (0, 0, None, 0))(kernel.nngp, own1, own2, ntk)

        def alone(cov: Array | None) -> Array | None:
            return None if cov is None else jax.vmap(lambda k: self.of(k, k, k, positions))(cov)

        return kernel.replace(
            nngp=nngp,
            ntk=None if kernel.ntk is None else tangent,
            cov1=alone(kernel.cov1),
            cov2=alone(kernel.cov2),
            shape1=one.shape1,
            shape2=two.shape1,
            batch_axis=one.batch_axis,
            channel_axis=one.channel_axis,
            is_gaussian=self.is_gaussian and kernel.is_gaussian,
        )

    def of(self, k: Array, k11: Array, k22: Array, positions: Shape) -> Array:
        """The user's map of one pair of images; refuses another shape than that of `fn`."""
        made = self.kernel_map(k, k11, k22)
        if getattr(made, "shape", None) != positions:
            raise LayerError(
                f"kernel_map makes shape {getattr(made, 'shape', type(made).__name__)} of "
                f"{k.shape}, but the positions that fn leaves have {positions}, interleaved; "
                "return one entry for each pair of these."
            )
        return made
