"""What layers written for neural_tangents say of themselves, and how inputs become a kernel.

Requirements are notes on a `kernel_fn` here: which diagonals a network needs is worked out from its
layers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from ntkjax._kernel.algebra.graph import Serial
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.kernel_fn import KernelFn

_INPUT_REQ = "input_req"

_DEFAULT_INPUT_REQ = {
    "diagonal_batch": True,
    "diagonal_spatial": False,
    "batch_axis": 0,
    "use_dropout": False,
    "channel_axis": -1,
    "mask_constant": None,
}


def get_req(f: Callable[..., Any], default: Any = None) -> Any:
    """The requirements noted on a function."""
    return getattr(f, _INPUT_REQ, default)


def set_req(f: Callable[..., Any], req: Mapping[str, Any]) -> None:
    """Note requirements on a function."""
    setattr(f, _INPUT_REQ, req)


def has_req(f: Callable[..., Any]) -> bool:
    """Whether there are any."""
    return hasattr(f, _INPUT_REQ)


def fuse_requirements(
    kernel_fn_reqs: Mapping[str, Any], default_reqs: Mapping[str, Any], **user_reqs: Any
) -> dict[str, Any]:
    """The defaults, those of a function, and those of a call, the last one counting."""
    given = {name: value for name, value in user_reqs.items() if value is not None}
    return {**default_reqs, **kernel_fn_reqs, **given}


def inputs_to_kernel(
    x1: Any,
    x2: Any,
    *,
    diagonal_batch: bool = True,
    diagonal_spatial: Any = False,
    compute_ntk: bool = True,
    batch_axis: int = 0,
    channel_axis: int | None = -1,
    mask_constant: Any = None,
    eps: float = 1e-12,
    **kwargs: Any,
) -> Kernel:
    """The kernel of inputs themselves: mean products of their channels."""
    del eps, kwargs
    if channel_axis is None:
        x1, x2 = (
            None if x is None else jnp.moveaxis(x, batch_axis, 0).reshape(x.shape[batch_axis], -1)
            for x in (x1, x2)
        )
        batch_axis, channel_axis = 0, 1
    kernel = KernelFn(Serial(()), "inputs")(
        x1, x2, batch_axis=batch_axis, channel_axis=channel_axis, diagonal_batch=diagonal_batch,
        diagonal_spatial=bool(diagonal_spatial), mask_constant=mask_constant,
    )  # fmt: skip
    return kernel if compute_ntk else kernel.replace(ntk=None)


def elementwise(stax: Any, fn: Any, name: str, kernel_fn: Any) -> tuple[Any, Any, Any]:
    """A layer of a function of activations and of what it makes of a `Kernel`."""

    def apply_fn(params: Any, inputs: Any, **kwargs: Any) -> Any:
        if fn is None:
            raise NotImplementedError(f"{name}: has no finite network; give it a function.")
        return fn(inputs)

    @stax.requires(diagonal_spatial=stax.Diagonal())
    def new_kernel_fn(k: Kernel, **kwargs: Any) -> Kernel:
        if kernel_fn is None:
            raise NotImplementedError(f"{name}: has no kernel; give it a function of a Kernel.")
        if not k.is_gaussian:
            raise ValueError(f"{name}: its input is not Gaussian; put a Dense or Conv before it.")
        return kernel_fn(k).replace(is_gaussian=False)

    return (lambda rng, input_shape: (input_shape, ())), apply_fn, new_kernel_fn


NAMES = {
    "_DEFAULT_INPUT_REQ": _DEFAULT_INPUT_REQ,
    "_fuse_requirements": fuse_requirements,
    "_has_req": has_req,
    "_inputs_to_kernel": inputs_to_kernel,
    "_set_req": set_req,
    "get_req": get_req,
}
