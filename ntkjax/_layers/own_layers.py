"""The decorators with which users of neural-tangents write layers of their own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from ntkjax._kernel.algebra.graph import Named, Serial
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._kernel.operations.kernels import Custom
from ntkjax._kernel.operations.own_layer import OwnLayer
from ntkjax._layers.checks import check_axis, check_flag
from ntkjax._layers.layer import Layer
from ntkjax._layers.masking import with_masks
from ntkjax._layers.traceable import Traceable

#: What `requires` may name. Kernels here always hold what the others ask for.
_REQUIREMENTS = ("batch_axis", "channel_axis", "diagonal_batch", "diagonal_spatial", "use_dropout")


def layer(layer_fn: Callable[..., Any]) -> Callable[..., Layer]:
    """Make a layer of a function that returns `(init_fn, apply_fn, kernel_fn)`.

    A plain triple stands in `serial` and `parallel` as well; the decorator gives it the name of its
    function in errors and `repr`, and a `kernel_fn` that also takes inputs.

    Args:
      layer_fn: a function that returns a triple, whose `kernel_fn` takes a `Kernel` with all pairs
        of positions, and perhaps keywords, and returns one.

    Returns:
      A function of the same arguments that returns the layer.

    Raises:
      TypeError: when called, the function returns no triple of functions.

    Source: the name is that of neural-tangents 0.6.5; `KernelMap` and `PositionMap` are shorter.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> @stax.layer
      ... def Twice():
      ...     def kernel_fn(k, **kwargs):
      ...         return k * 2
      ...     return lambda rng, shape: (shape, ()), lambda params, x, **kwargs: 2 * x, kernel_fn
      >>> float(stax.serial(stax.Dense(8), Twice()).kernel_fn(jnp.ones((1, 3)), get="nngp")[0, 0])
      4.0
    """
    name = getattr(layer_fn, "__name__", "layer")

    @functools.wraps(layer_fn)
    def made(*args: Any, **kwargs: Any) -> Layer:
        triple = layer_fn(*args, **kwargs)
        if isinstance(triple, Layer):
            return triple
        if not isinstance(triple, tuple) or len(triple) < 3 or not all(map(callable, triple[:3])):
            raise TypeError(
                f"{name}: returned {describe(triple)}, expected a triple (init_fn, apply_fn, "
                "kernel_fn) of functions; return these from the function under @layer."
            )
        init_fn, apply_fn, kernel_fn = triple[:3]
        axes = kernel_fn.axes if isinstance(kernel_fn, Required) else (0, -1)
        inner = kernel_fn.kernel_fn if isinstance(kernel_fn, Required) else kernel_fn
        if isinstance(inner, KernelFn):  # of layers of ours, put together
            return Layer(init_fn, apply_fn, KernelFn(Serial((inner.part,)), f"{name}()"))
        custom = Custom(Traceable(kernel_fn, init_fn, apply_fn))
        part = Named((OwnLayer(custom),), name, axes)
        return Layer(init_fn, apply_fn, KernelFn(part, f"{name}()"))

    return made


def supports_masking(remask_kernel: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function that returns a layer and, as a fourth, what becomes of masks.

    Its `apply_fn` is handed `mask`, booleans where the inputs are masked (None where nothing is),
    and inputs that are zero there. The fourth function, of a mask and the shape of the inputs, says
    where outputs are masked, of the finite network; of the kernel, that is read off the layer.

    Args:
      remask_kernel: whether the kernel at masked positions must be made zero again.

    Returns:
      A decorator, whose function returns `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      TypeError: `remask_kernel` is no flag.

    Source: the name is that of neural-tangents 0.6.5.

    Example:
      >>> from ntkjax import stax
      >>> @stax.layer
      ... @stax.supports_masking(remask_kernel=False)
      ... def Same():
      ...     return (lambda rng, shape: (shape, ()), lambda params, x, **kwargs: x,
      ...             lambda k, **kwargs: k, lambda mask, shape: mask)
      >>> Same()
      Same()
    """
    check_flag("supports_masking", "remask_kernel", remask_kernel)

    def decorated(layer_fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(layer_fn)
        def made(*args: Any, **kwargs: Any) -> Any:
            init_fn, apply_fn, kernel_fn, *mask_fn = layer_fn(*args, **kwargs)
            name = getattr(layer_fn, "__name__", "layer")
            masked = with_masks(name, _with_mask(apply_fn), mask_fn[0] if mask_fn else None)
            return init_fn, masked, kernel_fn

        return made

    return decorated


def _with_mask(apply_fn: Callable[..., Any]) -> Callable[..., Any]:
    """An `apply_fn` that is handed a mask in every call, as in neural-tangents."""

    def applied(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return apply_fn(params, inputs, **{"mask": None, **kwargs})

    return applied


@dataclasses.dataclass(frozen=True)
class Required:
    """A user's `kernel_fn` with the axes that it requires of its input."""

    kernel_fn: Callable[..., Any]
    axes: tuple[int, int | None]

    def __call__(self, kernel: Any, **kwargs: Any) -> Any:
        return self.kernel_fn(kernel, **kwargs)


def requires(**requirements: Any) -> Callable[[Callable[..., Any]], Required]:
    """Say which axes a `kernel_fn` of one's own takes for batch and channels.

    Args:
      **requirements: `batch_axis` and `channel_axis`; `diagonal_batch`, `diagonal_spatial` and
        `use_dropout` are accepted, since a `Kernel` always holds all pairs of positions, and of
        examples with themselves.

    Returns:
      A decorator of a `kernel_fn`.

    Raises:
      TypeError: a requirement is unknown, or an axis no integer.

    Source: the name is that of neural-tangents 0.6.5.

    Example:
      >>> from ntkjax import stax
      >>> @stax.requires(batch_axis=0, channel_axis=1)
      ... def kernel_fn(k, **kwargs):
      ...     return k
      >>> kernel_fn.axes
      (0, 1)
    """
    unknown = [name for name in requirements if name not in _REQUIREMENTS]
    if unknown:
        raise TypeError(f"requires: unknown {unknown}; it takes {list(_REQUIREMENTS)}.")
    axes = (
        check_axis("requires", "batch_axis", requirements.get("batch_axis", 0)),
        check_axis("requires", "channel_axis", requirements.get("channel_axis", -1)),
    )
    return lambda kernel_fn: Required(kernel_fn, axes)
