"""Derivatives of nonlinearities of a closed form: finite at corners, right where all is smooth."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ntkjax._kernel.algebra.roots import safe_sqrt
from tests.activations.closed_form_duals import FORMS
from tests.helpers import fast_jit

NAMES = [
    "Sin(2, 0.5, 0.3)",
    "Gabor",
    "Gaussian",
    "Exp",
    "ExpNormalized",
    "Sign",
    "RectifiedMonomial(2)",
    "Polynomial",
]
HOMOGENEOUS = ("Sign", "RectifiedMonomial(2)")
# v1, v2, D.
CORNERS = {
    "equal": (1.0, 1.0, 0.0),
    "nearly equal": (1.0, 1.0, 1e-12),
    "parallel": (1.0, 4.0, 1.0),
    "opposite": (1.0, 1.0, 4.0),
    "beyond opposite": (1.0, 1.0, 4.0 + 1e-6),
    "opposite, of two sizes": (1.0, 4.0, 9.0),
    "one is zero": (0.0, 1.0, 1.0),
    "other is zero": (2.0, 0.0, 2.0),
    "both are zero": (0.0, 0.0, 0.0),
    "tiny": (1e-12, 1e-12, 1e-13),
    "one is tiny": (1.0, 1e-24, 1.0),
    "large": (20.0, 20.0, 5.0),
}
GENERIC = [(1.0, 1.3, 0.4), (0.5, 2.0, 3.9), (3.0, 2.9, 6.0), (0.2, 4.0, 3.0)]
EQUAL = [(1.0, 1.0, 0.0), (0.3, 0.3, 0.0)]


def activation_of(name):
    (operation,) = FORMS[name].layer.kernel_fn.part.parts
    return operation.activation


def values(activation, numbers):
    """E (f(u) - f(v))^2 and E f'(u) f'(v), of a pair as such and as one of any sizes."""
    v1, v2, distance = numbers
    first, second = activation.point(v1), activation.point(v2)
    pair = activation.pair(first, second, distance)
    found = [pair.distance, pair.slope]
    if not activation.is_homogeneous:
        covariance = 0.5 * (v1 + v2 - distance)
        rest = safe_sqrt(v1) * safe_sqrt(v2) - jnp.abs(covariance)
        far = activation.far(first, second, covariance, rest=jnp.abs(rest))
        found += [far.distance, far.slope, far.covariance]
    return jnp.stack(found)


def textbook(name, numbers):
    """E (f(u) - f(v))^2 and E f'(u) f'(v)."""
    v1, v2, distance = numbers
    formula = FORMS[name].formula
    value, slope = formula(jnp, v1, v2, 0.5 * (v1 + v2 - distance))
    if name in HOMOGENEOUS:
        # Their formulas have no derivative at equal points.
        ratio = float(formula(mpmath, 1, 1, 1)[0] / formula(mpmath, 1, 1, mpmath.mpf(0.5))[0])
        own = [ratio * formula(jnp, v, v, 0.5 * v)[0] for v in (v1, v2)]
    else:
        own = [formula(jnp, v, v, v)[0] for v in (v1, v2)]
    return jnp.stack([own[0] + own[1] - 2 * value, slope])


@functools.cache
def derivatives(name):
    """Values, first and second derivatives, of rows of numbers."""

    def function(numbers):
        of = functools.partial(values, activation_of(name))
        return of(numbers), jax.jacfwd(of)(numbers), jax.jacfwd(jax.jacrev(of))(numbers)

    return fast_jit(jax.vmap(function))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_corners_are_finite_with_their_derivatives(name, dtype):
    rows = np.array([*CORNERS.values(), *GENERIC, *EQUAL], dtype)
    for order, array in enumerate(derivatives(name)(rows)):
        assert array.dtype == dtype
        finite = np.isfinite(array).reshape(len(rows), -1).all(1)
        wrong = [c for c, is_fine in zip(CORNERS, finite, strict=False) if not is_fine]
        assert not wrong, f"derivatives of order {order}: {wrong}"
        assert np.all(finite)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_agree_with_those_of_the_textbook(name):
    is_smooth = FORMS[name].is_smooth
    rows = np.array([*CORNERS.values(), *GENERIC, *EQUAL])
    start = len(CORNERS)
    end = None if is_smooth else start + len(GENERIC)
    chosen = rows[start:end]

    def function(numbers):
        of = functools.partial(textbook, name)
        return of(numbers), jax.jacfwd(of)(numbers), jax.jacfwd(jax.jacfwd(of))(numbers)

    wanted = fast_jit(jax.vmap(function))(chosen)
    for actual, exact in zip(derivatives(name)(rows), wanted, strict=True):
        actual, size = np.asarray(actual)[start:end], np.max(np.abs(exact))
        np.testing.assert_allclose(actual[:, :2], exact, rtol=1e-8, atol=1e-9 * size)
        if actual.shape[1] > 2:
            # Of sizes and K: the same, where the pair is no corner.
            inner = slice(None, len(GENERIC))
            far, same = actual[inner, 2:4], exact[inner]
            np.testing.assert_allclose(far, same, rtol=1e-8, atol=1e-9 * size)
