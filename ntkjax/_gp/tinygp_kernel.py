"""A network's kernel as one of tinygp's kernels."""

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._gp.arguments import one_kernel, parameters
from ntkjax._gp.covariance import covariance_of, in_chunks


def tinygp_kernel(network: Any, params: Mapping[str, Any] | None = None, get: str = "nngp") -> Any:
    r"""The kernel of an infinitely wide network as a kernel of tinygp.

    It adds to and multiplies with the kernels of tinygp, and goes into `tinygp.GaussianProcess`.
    `kernel(X1, X2)` computes all pairs at once, as the network's `kernel_fn` does; within sums and
    products tinygp evaluates kernels pair by pair, under `vmap`, which is slower for convolutional
    networks. The parameters are leaves of the kernel, a pytree: `jax.jit` and `jax.grad` see them.

    .. math::
        k(x, x') = K(x, x') \quad \text{or} \quad \Theta(x, x').

    Args:
      network: a triple `(init_fn, apply_fn, kernel_fn)` or a `kernel_fn(x1, x2, get)`; with
        `params`, a function of them that returns either.
      params: numbers by name that `network` takes, which may be traced.
      get: which kernel, "nngp" or "ntk".

    Returns:
      A `tinygp.kernels.Kernel` of points `(d,)`, or of numbers, which are points with one feature.

    Raises:
      ImportError: tinygp is not installed.
      ValueError: `get` is unknown; a parameter is no finite number.
      TypeError: `network` has no kernel.

    Source: Lee et al. 2018, arXiv 1711.00165; tinygp, https://tinygp.readthedocs.io.

    Example:
      >>> import importlib.util
      >>> import numpy as np
      >>> from ntkjax import gp, stax
      >>> network = stax.serial(stax.Dense(1, 2.0, 1.0), stax.Erf(), stax.Dense(1))
      >>> if importlib.util.find_spec("tinygp"):  # pip install 'ntkjax[tinygp]'
      ...     import tinygp
      ...     kernel = gp.tinygp_kernel(network) + 0.1 * tinygp.kernels.ExpSquared(2.0)
      ...     x = np.linspace(-2, 2, 12)
      ...     process = tinygp.GaussianProcess(kernel, x, diag=0.01)
      ...     assert np.isfinite(process.log_probability(np.sin(x)))
    """
    one_kernel(get)
    parameters(params)
    covariance_of(network, params, get)
    return _kernel_class()(None if params is None else dict(params), network, get)


@functools.cache
def _kernel_class() -> Any:
    """The class, whose base comes with tinygp."""
    try:
        base: Any = importlib.import_module("tinygp.kernels").Kernel
    except ImportError as error:
        raise ImportError(
            "tinygp_kernel needs the optional package tinygp, which is not installed: run pip "
            "install 'ntkjax[tinygp]', or pip install tinygp; GaussianProcess needs none"
        ) from error

    class NetworkKernel(base):
        """The kernel of a network, with its parameters as leaves."""

        params: Any
        network: Any = dataclasses.field(metadata={"static": True})
        get: str = dataclasses.field(metadata={"static": True})

        def evaluate(self, X1: Any, X2: Any) -> Array:
            """Of a pair of points."""
            covariance = covariance_of(self.network, self.params, self.get)
            return covariance.cross(_one(X1), _one(X2))[0, 0]

        def evaluate_diag(self, X: Any) -> Array:
            """Of a point with itself."""
            return covariance_of(self.network, self.params, self.get).variances(_one(X))[0]

        def __call__(self, X1: Any, X2: Any = None) -> Array:
            """Of all pairs of points, `(n1, n2)`, or of each with itself, `(n,)`."""
            covariance = covariance_of(self.network, self.params, self.get)
            first = _points(X1)
            if X2 is None:
                return in_chunks(first, lambda part: (covariance.variances(part),))[0]
            return covariance.matrix(first) if X2 is X1 else covariance.cross(first, _points(X2))

    return NetworkKernel


def _one(point: Any) -> Array:
    """A point, or a number, as a batch of one."""
    return jnp.atleast_1d(jnp.asarray(point))[None]


def _points(x: Any) -> Array:
    """Points `(n, ...)`; numbers have one feature."""
    array = jnp.asarray(x)
    return array[:, None] if array.ndim == 1 else array
