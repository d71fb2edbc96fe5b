"""Weights of products and convolutions, in all their forms, against plain Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkjax._finite import empirical_ntk_fn
from ntkjax._finite.program import traced
from ntkjax._finite.sites import sites

RNG = np.random.default_rng(0)
IMAGES, OTHERS = RNG.normal(size=(3, 6, 5, 4)), RNG.normal(size=(2, 6, 5, 4))


def conv(w, x, strides=(1, 1), padding="SAME", spec=("NHWC", "HWIO", "NHWC"), **more):
    return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=spec, **more)


def convolutions(p, x):
    """Strides, asymmetric padding, dilations, groups, channels first: one after the other."""
    y = jnp.tanh(conv(p[0], x, (2, 1), ((1, 0), (2, 1))))
    y = jnp.tanh(conv(0.7 * p[1], y, rhs_dilation=(1, 2), feature_group_count=2))
    y = jnp.tanh(conv(p[2], y.transpose(0, 3, 1, 2), spec=("NCHW", "OIHW", "NCHW")))
    y = conv(p[3], y.transpose(0, 2, 3, 1), (1, 1), ((0, 1), (-1, 2)), lhs_dilation=(2, 1))
    return y.mean((1, 2))


def products(p, x):
    """Weights on the left, of heads, transposed, of several axes that are summed."""
    y = jnp.einsum("oc,nhwc->nohw", p[0].T, x)
    y = jnp.tanh(jnp.einsum("nohw,wok->nwk", y, p[1].reshape(5, 4, 3)))
    y = jnp.tanh(jnp.einsum("nwk,kab->nwab", y, p[2])) + y.sum()[None, None, None, None] * 0
    return jnp.einsum("nwab,wabo->no", y, p[3])


def unusual(p, x):
    """A weight that is used twice, one that is normalised, one as both operands, one alone."""
    y = jnp.tanh(jnp.einsum("nhwc,cd->nhwd", x, p[0]))
    y = jnp.tanh(jnp.einsum("nhwc,cd->nhwd", y, p[0]))
    y = jnp.einsum("nhwc,cd->nhd", y, p[1] / jnp.linalg.norm(p[1]))
    y = jnp.tanh(y * p[3][0]) @ (p[2] @ p[2].T)
    return y.sum(1) * jnp.exp(p[3][:1])[None] + (p[0] ** 2).sum()[None, None]


CASES = {
    convolutions: ([(2, 3, 4, 4), (2, 2, 2, 6), (4, 6, 2, 3), (2, 2, 4, 3)], 4),
    products: ([(4, 4), (20, 3), (3, 2, 2), (5, 2, 2, 3)], 4),
    unusual: ([(4, 4), (4, 3), (3, 3), (2,)], 0),
}


@pytest.mark.parametrize("network", CASES, ids=lambda f: f.__name__)
def test_gradients_at_sites_are_those_of_jacobians(network):
    shapes, count = CASES[network]
    params = [0.5 * RNG.normal(size=shape) for shape in shapes]
    program = traced(network, list(map(jnp.asarray, params)), IMAGES)
    assert len(sites(program, len(params))) == count
    for trace_axes, x2 in (((), OTHERS), ((-1,), None)):
        plain = jax.jit(empirical_ntk_fn(network, trace_axes, implementation=1))
        wanted = plain(IMAGES, x2, params)
        for axes in (None, 0):
            found = empirical_ntk_fn(network, trace_axes, (), axes, implementation=3)
            found = jax.jit(found)(IMAGES, x2, params)
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
