"""What `get` asks for comes back in one form everywhere, which can be sent and stored."""

import copy
import pickle

import jax
import numpy as np
import pytest

import ntkjax
from ntkjax.stax import Dense, Relu, serial

NETWORK = serial(Dense(2), Relu(), Dense(1))
X, Y = np.eye(3), np.array([[1.0], [0.0], [2.0]])
PARAMS = NETWORK.init_fn(jax.random.key(0), X.shape)[1]
KERNELS = NETWORK.kernel_fn(X, None, ("nngp", "ntk"))
ENSEMBLE = ntkjax.predict.gradient_descent_mse_ensemble(NETWORK.kernel_fn, X, Y)

ANSWERS = {
    "kernels": KERNELS,
    "repeated names": NETWORK.kernel_fn(X, None, ("nngp", "nngp")),
    "a Kernel": NETWORK.kernel_fn(X),
    "means": ENSEMBLE(x_test=X),
    "Gaussians": ENSEMBLE(t=1.0, x_test=X, compute_cov=True),
    "posterior": ntkjax.predict.gp_inference(KERNELS, Y)(None, KERNELS, KERNELS),
    "one Gaussian": ntkjax.predict.gp_inference(KERNELS, Y)("ntk", KERNELS, KERNELS),
    "empirical": ntkjax.empirical_kernel_fn(NETWORK.apply_fn)(X, None, None, PARAMS),
    "kernels of the paper": ntkjax.compute_ntk_relu(X, None, 1),
}


@pytest.mark.parametrize("name", list(ANSWERS))
@pytest.mark.parametrize("duplicate", [lambda v: pickle.loads(pickle.dumps(v)), copy.deepcopy])
def test_answers_can_be_pickled_and_copied(name, duplicate):
    value = ANSWERS[name]
    other = duplicate(value)
    assert type(other) is type(value)
    assert jax.tree.structure(other) == jax.tree.structure(value)
    for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(value), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "call",
    [
        lambda get: NETWORK.kernel_fn(X, None, get),
        lambda get: ENSEMBLE(x_test=X, get=get),
        lambda get: ntkjax.predict.gp_inference(KERNELS, Y)(get, KERNELS),
        lambda get: ntkjax.empirical_kernel_fn(NETWORK.apply_fn)(X, None, get, PARAMS),
    ],
    ids=["kernel_fn", "ensemble", "gp_inference", "empirical"],
)
def test_get_means_the_same_everywhere(call):
    both = call(("ntk", "nngp"))
    assert both._fields == ("ntk", "nngp")
    np.testing.assert_array_equal(both.nngp, call("nngp"))
    np.testing.assert_array_equal(call(["ntk"]).ntk, both.ntk)
    for wrong, error in (("kernel", ValueError), ((), ValueError), (3, TypeError), (X, TypeError)):
        with pytest.raises(error, match=r"get must .*'nngp', 'ntk'") as caught:
            call(wrong)
        assert "None for" in str(caught.value)
        assert len(str(caught.value)) < 500
