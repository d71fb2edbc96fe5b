"""Outputs during training, at times that are finite: sums over the modes of the training kernel."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._inference.arguments import common_dtype, kernel_array
from ntkjax._inference.flow import Spectrum, decay, learned, response
from ntkjax._inference.gaussian import Gaussian
from ntkjax._inference.layout import interleaved
from ntkjax._inference.posterior import transported
from ntkjax._inference.symmetric import highest
from ntkjax._inference.training_kernel import TrainingKernel


def outputs_on_train(
    training: TrainingKernel,
    y: Array,
    name: str,
    times: Array,
    forever: bool,
    with_covariance: bool,
) -> Array | Gaussian:
    """Outputs on the training points at scaled times of any shape."""
    layout = training.layout
    matrices = training.matrices((name, "nngp") if with_covariance else (name,))
    modes, dtype = _modes(training, matrices, name, y, forever)
    targets = highest(modes.vectors.T, layout.target_matrix(y.astype(dtype)))

    def mean(s: Array) -> Array:
        return highest(modes.vectors, learned(modes.values, s)[:, None] * targets)

    outputs = layout.outputs(_at_each(mean, times.astype(dtype)), layout.row_shape)
    if not with_covariance:
        return outputs
    prior = _prior(matrices, modes, name, dtype)

    def covariance(s: Array) -> Array:
        left = decay(modes.values, s)
        return highest(
            modes.vectors, highest(left[:, None] * prior * left[None, :], modes.vectors.T)
        )

    return Gaussian(
        outputs,
        interleaved(_symmetric(_at_each(covariance, times.astype(dtype))), layout.row_shape),
    )


def outputs_on_test(
    training: TrainingKernel,
    y: Array,
    name: str,
    times: Array,
    forever: bool,
    cross: Any,
    test: Any,
) -> Array | Gaussian:
    """Outputs on test points at scaled times of any shape; a mean alone where `test` is None."""
    layout, label = training.layout, "kernel_fn(x_test, x_train)"
    matrices = training.matrices((name,) if test is None else (name, "nngp"))
    modes, dtype = _modes(training, matrices, name, y, forever)
    k_cross, rows = layout.cross_matrix(kernel_array(cross, name, label), label)
    targets = highest(modes.vectors.T, layout.target_matrix(y.astype(dtype)))
    coupling = highest(k_cross.astype(dtype), modes.vectors)

    def mean(s: Array) -> Array:
        return highest(coupling, response(modes.values, s)[:, None] * targets)

    outputs = layout.outputs(_at_each(mean, times.astype(dtype)), rows)
    if test is None:
        return outputs
    k_test = kernel_array(test, "nngp", "kernel_fn(x_test)")
    k_test = layout.square_matrix(k_test, "kernel_fn(x_test)", rows).astype(dtype)
    k_prior = layout.cross_matrix(kernel_array(cross, "nngp", label), label)[0].astype(dtype)
    prior_coupling = highest(k_prior, modes.vectors)
    prior = _prior(matrices, modes, name, dtype)

    def covariance(s: Array) -> Array:
        weights = response(modes.values, s)[:, None] * coupling.T
        return transported(k_test, prior_coupling, prior, weights)

    return Gaussian(
        outputs, interleaved(_symmetric(_at_each(covariance, times.astype(dtype))), rows)
    )


def _modes(
    training: TrainingKernel, matrices: dict[str, Array], name: str, y: Array, forever: bool
) -> tuple[Spectrum, Any]:
    found = training.modes(name, matrices[name], forever)
    dtype = common_dtype(y, found.values)
    return Spectrum(found.values.astype(dtype), found.vectors.astype(dtype)), dtype


def _prior(matrices: dict[str, Array], modes: Spectrum, name: str, dtype: Any) -> Array:
    """The NNGP of the training points in the basis of the modes."""
    if name == "nngp":
        # The regularised one, as a prior with observation noise: the noise is trained away too.
        return jnp.diag(modes.values)
    return highest(modes.vectors.T, highest(matrices["nngp"].astype(dtype), modes.vectors))


def _at_each(fn: Callable[[Array], Array], times: Array) -> Array:
    """`fn` of each time: a matrix `[*times.shape, rows, columns]`."""
    values = jax.vmap(fn)(times.reshape(-1))
    return values.reshape(*times.shape, *values.shape[1:])


def _symmetric(matrix: Array) -> Array:
    return (matrix + jnp.swapaxes(matrix, -1, -2)) / 2
