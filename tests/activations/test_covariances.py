"""Activations that know E f(u) f(v) alone: what the base class makes of it, corners included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._activations.covariances import CovarianceActivation
from ntkjax._activations.error_function import ErrorFunction
from ntkjax._activations.rectifier import Rectifier
from ntkjax._kernel.algebra.operation import operation
from tests.activations.test_duals import CORNERS, COSINES, VARIANCES
from tests.helpers import fast_jit


@operation
class TextbookRelu(CovarianceActivation):
    """ReLU as papers print it: no value at zero, no derivative at equal points."""

    def nngp_fn(self, cov12, var1, var2):
        """Cho & Saul 2009."""
        product = jnp.sqrt(var1 * var2)
        theta = jnp.arccos(cov12 / product)
        return (product * jnp.sin(theta) + (np.pi - theta) * cov12) / (2 * np.pi)


@operation
class TextbookErf(CovarianceActivation):
    """The error function, with both formulas."""

    def nngp_fn(self, cov12, var1, var2):
        """Williams 1997."""
        return 2 / np.pi * jnp.arcsin(2 * cov12 / jnp.sqrt((1 + 2 * var1) * (1 + 2 * var2)))

    def d_nngp_fn(self, cov12, var1, var2):
        """Williams 1997."""
        return 4 / np.pi / jnp.sqrt((1 + 2 * var1) * (1 + 2 * var2) - 4 * cov12**2)


KNOWN = {
    "relu": (TextbookRelu(), Rectifier(0.0, 1.0)),
    "erf": (TextbookErf(), ErrorFunction(1.0, 1.0, 0.0)),
}


def values(activation, v1, v2, distance):
    return jnp.stack(activation.pair(activation.point(v1), activation.point(v2), distance))


first = jax.jacrev(values, (1, 2, 3))
second = jax.jacfwd(first, (1, 2, 3))
PROGRAMS = [fast_jit(jax.vmap(f, (None, 0, 0, 0))) for f in (values, first, second)]


@pytest.mark.parametrize("name", list(KNOWN))
def test_agrees_with_the_stable_form(name):
    grid = [(*variances, cosine) for variances in VARIANCES for cosine in COSINES]
    v1, v2, cosine = np.array(grid).T
    distance = v1 + v2 - 2 * cosine * np.sqrt(v1 * v2)
    ours, exact = (PROGRAMS[0](activation, v1, v2, distance) for activation in KNOWN[name])
    np.testing.assert_allclose(ours[:, 0], exact[:, 0], atol=1e-13 * np.max(v1 + v2))
    # The root of four rounding errors, where the slope has a root of the angle.
    np.testing.assert_allclose(ours[:, 1], exact[:, 1], atol=1e-7)
    np.testing.assert_allclose(ours[:, 2], exact[:, 2], atol=1e-13)
    energies = [np.asarray(a.variance(jnp.asarray(v1))) for a in KNOWN[name]]
    np.testing.assert_allclose(*energies, rtol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", list(KNOWN))
def test_corners_are_finite_with_two_derivatives(name, dtype):
    arguments = [jnp.asarray(column, dtype) for column in zip(*CORNERS.values(), strict=True)]
    for function in PROGRAMS:
        for array in jax.tree.leaves(function(KNOWN[name][0], *arguments)):
            assert array.dtype == dtype
            finite = np.isfinite(array).reshape(len(CORNERS), -1).all(1)
            assert [c for c, is_fine in zip(CORNERS, finite, strict=True) if not is_fine] == []


@pytest.mark.parametrize("name", list(KNOWN))
def test_equal_points_have_no_distance_and_the_right_derivatives(name):
    v = np.array([1e-3, 1.0, 50.0])
    ours, exact = (PROGRAMS[0](activation, v, v, 0 * v) for activation in KNOWN[name])
    np.testing.assert_allclose(ours[:, 0], 0, atol=1e-16)
    np.testing.assert_allclose(ours[:, 1], exact[:, 1], atol=2e-8)
    # By the distance, whose derivative is the slope.
    (_, _, ours), (_, _, exact) = (PROGRAMS[1](a, v, v, 0 * v) for a in KNOWN[name])
    np.testing.assert_allclose(ours[:, 0], exact[:, 0], atol=2e-8)


def test_far_pairs_are_those_of_the_covariance():
    activation = TextbookErf()
    v1, v2 = jnp.array([1e-4, 1.0, 1e4]), jnp.array([1e3, 1e-3, 1e4])
    covariance = jnp.array([0.3, -0.5, 0.99]) * jnp.sqrt(v1 * v2)
    ours, exact = (
        a.far(a.point(v1), a.point(v2), covariance)
        for a in (activation, ErrorFunction(1.0, 1.0, 0.0))
    )
    np.testing.assert_allclose(ours.covariance, exact.covariance, rtol=1e-13)
    np.testing.assert_allclose(ours.slope, exact.slope, rtol=1e-11)
