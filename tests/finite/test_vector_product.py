"""Products with the NTK are those of the matrix."""

import jax
import numpy as np
import pytest

import ntkjax as nt
from ntkjax import stax

RNG = np.random.default_rng(0)
INIT, APPLY, _ = stax.serial(stax.Dense(16, 1.3, 0.1), stax.Erf(), stax.Dense(2))
X1, X2 = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))
_, PARAMS = INIT(jax.random.key(0), X1.shape)


@pytest.mark.parametrize("x2", [X2, None])
def test_it_is_the_product_of_the_matrix(x2):
    vectors = RNG.normal(size=(4 if x2 is None else 3, 2))
    kernel = nt.empirical_ntk_fn(APPLY, trace_axes=())(X1, x2, PARAMS)
    wanted = np.einsum("mnab,nb->ma", kernel, vectors)
    found = nt.empirical_ntk_vp_fn(APPLY, X1, x2, PARAMS)
    np.testing.assert_allclose(found(vectors), wanted, rtol=1e-10)
    np.testing.assert_allclose(jax.jit(found)(vectors), wanted, rtol=1e-10)


def test_trees_of_outputs_and_keywords():
    def f(params, x, factor=1.0):
        return {"a": factor * x @ params["w"], "b": x.sum() * params["w"][0]}

    params = {"w": RNG.normal(size=(3, 2)), "step": 7}
    product = nt.empirical_ntk_vp_fn(f, X1, X2, params, factor=(2.0, 3.0))
    vectors = {"a": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2)}
    gradient = 3.0 * X2.T @ vectors["a"]
    gradient[0] += X2.sum() * vectors["b"]
    found = product(vectors)
    np.testing.assert_allclose(found["a"], 2.0 * X1 @ gradient, rtol=1e-10)
    np.testing.assert_allclose(found["b"], X1.sum() * gradient[0], rtol=1e-10)


def test_errors():
    with pytest.raises(TypeError, match="f must be callable"):
        nt.empirical_ntk_vp_fn(1, X1, X2, PARAMS)
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(3, 2\).*one number for each output"):
        nt.empirical_ntk_vp_fn(APPLY, X1, X2, PARAMS)(np.ones((4, 2)))
