"""Outputs of an ensemble during training: sums over the modes of the training kernel."""

from typing import Any

import jax
from jax import Array

from ntkjax._inference.arguments import kernel_array
from ntkjax._inference.clock import Timing
from ntkjax._inference.dynamics import Dynamics
from ntkjax._inference.gaussian import Gaussian
from ntkjax._inference.layout import interleaved
from ntkjax._inference.modal_prior import between, lower_bands
from ntkjax._inference.modes import Modes
from ntkjax._inference.posterior import transported
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._solve.symmetric import highest, symmetric_part


def outputs_on_train(
    training: TrainingKernel,
    y: Array,
    name: str,
    timing: Timing,
    with_covariance: bool,
) -> Array | Gaussian:
    """Outputs on the training points at times of any shape."""
    layout = training.layout
    matrices = training.matrices((name, "nngp") if with_covariance else (name,))
    begun = timing.of(training, name, matrices[name], y)
    (modes, dynamics, times), dtype = begun, begun.dtype
    targets = layout.target_matrix(y.astype(dtype))
    made = _means_on_train(times.reshape(-1), dynamics, modes, targets)
    outputs = layout.outputs(_shaped(made, times), layout.row_shape)
    if not with_covariance:
        return outputs
    bands = None if name == "nngp" else lower_bands(matrices["nngp"].astype(dtype), modes.vectors)
    made = _covariances_on_train(times.reshape(-1), dynamics, modes, bands)
    covariance = _shaped(made, times)
    return Gaussian(outputs, interleaved(covariance, layout.row_shape))


def outputs_on_test(
    training: TrainingKernel,
    y: Array,
    name: str,
    timing: Timing,
    cross: Any,
    test: Any,
) -> Array | Gaussian:
    """Outputs on test points at times of any shape; a mean alone where `test` is None."""
    layout, label = training.layout, "kernel_fn(x_test, x_train)"
    matrices = training.matrices((name,) if test is None else (name, "nngp"))
    begun = timing.of(training, name, matrices[name], y)
    (modes, dynamics, times), dtype = begun, begun.dtype
    k_cross, rows = layout.cross_matrix(kernel_array(cross, name, label), label)
    targets = layout.target_matrix(y.astype(dtype))
    coupling = highest(k_cross.astype(dtype), modes.vectors)
    made = _means_on_test(times.reshape(-1), dynamics, modes, coupling, targets)
    outputs = layout.outputs(_shaped(made, times), rows)
    if test is None:
        return outputs
    k_test = kernel_array(test, "nngp", "kernel_fn(x_test)")
    k_test = layout.square_matrix(k_test, "kernel_fn(x_test)", rows).astype(dtype)
    if name == "nngp":
        made = _posterior_covariances(times.reshape(-1), dynamics, modes, coupling, k_test)
        return Gaussian(outputs, interleaved(_shaped(made, times), rows))
    k_prior = layout.cross_matrix(kernel_array(cross, "nngp", label), label)[0].astype(dtype)
    prior, bands = matrices["nngp"].astype(dtype), None
    if times.size * len(coupling) > len(prior):
        # So many weights that the prior in the basis of the modes costs less than it saves.
        prior, bands = None, lower_bands(prior, modes.vectors)
    made = _ensemble_covariances(
        times.reshape(-1), dynamics, modes, coupling, k_test, k_prior, prior, bands
    )
    return Gaussian(outputs, interleaved(_shaped(made, times), rows))


@jax.jit
def _means_on_train(times: Array, dynamics: Dynamics, modes: Modes, targets: Array) -> Array:
    """Outputs on the training points, as matrices, at times `(k,)`."""
    targets = highest(modes.vectors.T, targets)
    shares = jax.vmap(dynamics.learned, (None, 0))(modes.values, times)
    return highest(modes.vectors, shares[:, :, None] * targets[None])


@jax.jit
def _means_on_test(
    times: Array, dynamics: Dynamics, modes: Modes, coupling: Array, targets: Array
) -> Array:
    """Outputs on test points, as matrices, at times `(k,)`."""
    targets = highest(modes.vectors.T, targets)
    shares = jax.vmap(dynamics.response, (None, 0))(modes.values, times)
    return highest(coupling, shares[:, :, None] * targets[None])


@jax.jit
def _covariances_on_train(times: Array, dynamics: Dynamics, modes: Modes, bands: Any) -> Array:
    """What is left of the prior on the training points, at times `(k,)`."""

    def covariance(s: Array) -> Array:
        left = dynamics.decay(modes.values, s)[:, None] * modes.vectors.T
        if bands is not None:
            return between(bands, left)
        # The regularised one, as a prior with observation noise: the noise is trained away too.
        return symmetric_part(highest(left.T, modes.values[:, None] * left))

    return jax.lax.map(covariance, times)


@jax.jit
def _posterior_covariances(
    times: Array, dynamics: Dynamics, modes: Modes, coupling: Array, test: Array
) -> Array:
    """The covariance on test points where the last layer alone is trained, at times `(k,)`."""

    def covariance(s: Array) -> Array:
        # With the weights R of a mode of eigenvalue v: 2 R - v R^2, in one product.
        weights = dynamics.response(modes.values, s)
        known = weights * (2 - modes.values * weights)
        return symmetric_part(test - highest(coupling, known[:, None] * coupling.T))

    return jax.lax.map(covariance, times)


@jax.jit
def _ensemble_covariances(
    times: Array,
    dynamics: Dynamics,
    modes: Modes,
    coupling: Array,
    test: Array,
    prior_cross: Array,
    prior: Array | None,
    bands: Any,
) -> Array:
    """The covariance on test points of an ensemble, at times `(k,)`.

    The NNGP of the training points is `prior`, or is in the `bands` of `lower_bands`.
    """
    prior_coupling = highest(prior_cross, modes.vectors)

    def covariance(s: Array) -> Array:
        weights = dynamics.response(modes.values, s)[:, None] * coupling.T
        if prior is not None:
            on_points = highest(modes.vectors, weights)
            return symmetric_part(transported(test, prior_cross, prior, on_points))
        mixed = highest(prior_coupling, weights)
        return symmetric_part(test + between(bands, weights) - mixed - mixed.T)

    return jax.lax.map(covariance, times)


def _shaped(values: Array, times: Array) -> Array:
    """Values `[k, ...]` of times of any shape, whose axes come first."""
    return values.reshape(*times.shape, *values.shape[1:])
