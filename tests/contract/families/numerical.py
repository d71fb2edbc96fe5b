"""Cases of nonlinearities of a function, or an expectation, that the user gives."""

import jax
import jax.numpy as jnp

from ntkjax import stax
from ntkjax.stax import Conv, Dense, Elementwise, ElementwiseNumerical
from tests.contract import twins
from tests.contract.case import Case
from tests.contract.expectations import (
    by_quadrature,
    error_function,
    scaled_erf,
    scaled_erf_slope,
)
from tests.contract.expectations_smooth import FUNCTIONS


def erf_dual(cov12, var1, var2):
    """Williams 1997, as a user would write it."""
    return 2 / jnp.pi * jnp.arcsin(2 * cov12 / jnp.sqrt((1 + 2 * var1) * (1 + 2 * var2)))


def shallow_erf(x):
    """A function so flat that a few nodes integrate it."""
    return 0.8 * jax.scipy.special.erf(0.4 * x) + 0.3


#: The integral of the twins knows lines through the origin alone.
NO_TWIN = "its kinks are not at zero; tests/activations/test_smooth.py has another integral"


def smooth(name):
    """A layer without a closed form."""
    twin = twins.serial(twins.dense(), twins.activation(by_quadrature(*FUNCTIONS[name])))
    return Case(
        name,
        ("Silu", "Swish") if name == "Silu" else (name,),
        lambda n: [Dense(n), getattr(stax, name)()],
        NO_TWIN if name == "HardTanh" else twin,
        (3,),
    )


CASES = [
    *map(smooth, FUNCTIONS),
    Case(
        "Elementwise", ("Elementwise",),
        lambda n: [Dense(n, 1.3, 0.2), Elementwise(jax.scipy.special.erf, erf_dual)],
        twins.serial(twins.dense(W_std=1.3, b_std=0.2), twins.activation(error_function())), (3,),
    ),
    Case(
        "ElementwiseNumerical", ("ElementwiseNumerical",),
        lambda n: [
            Conv(n, (3,), padding="SAME", W_std=1.3, b_std=0.2),
            ElementwiseNumerical(shallow_erf, deg=40),
        ],
        twins.serial(
            twins.conv((3,), padding="SAME", W_std=1.3, b_std=0.2),
            twins.activation(
                by_quadrature(scaled_erf(0.8, 0.4, 0.3), scaled_erf_slope(0.8, 0.4))
            ),
        ), (4, 2),
    ),
]  # fmt: skip
