"""Convolutions of all kinds: the tangent kernel of one layer of any width is exact.

One layer is linear in its parameters, so that the products of its derivatives do not depend on
them, and, on average over output channels, are the tangent kernel of the infinite network. Without
biases and in the NTK parameterization this is the NNGP kernel, too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax.stax import Conv, ConvLocal, ConvTranspose, DepthwiseConv

X = np.random.default_rng(0).normal(size=(2, 3, 2, 4))
NCHW = ("NCHW", "OIHW", "NCHW")
STANDARD = {"parameterization": "standard", "b_std": 0.3}
NTK = {"W_std": 1.3}

LAYERS = {
    "local, same": (ConvLocal(1, (2, 2), (2, 1), "SAME", **NTK), X),
    "local, circular": (ConvLocal(2, (3, 1), padding="CIRCULAR", **STANDARD, s=(2, 1)), X),
    "local, other axes": (
        ConvLocal(1, (2, 1), (1, 2), dimension_numbers=("NCHW", "WHIO", "NCHW"), **NTK),
        X.transpose(0, 3, 1, 2),
    ),
    "transposed, same": (ConvTranspose(1, (2, 5), (3, 2), "SAME", **NTK), X),
    "transposed, valid": (ConvTranspose(1, (3, 2), (2, 3), "VALID", **STANDARD, s=(2, 3)), X),
    "transposed, circular": (ConvTranspose(1, (3, 5), (2, 2), "CIRCULAR", **NTK), X),
    "transposed, other axes": (
        ConvTranspose(
            1, (1, 3), (2, 1), "CIRCULAR", dimension_numbers=("NCHW", "WHIO", "NCHW"), **NTK
        ),
        X.transpose(0, 3, 1, 2),
    ),
    "depthwise": (DepthwiseConv((2, 2), (1, 2), "SAME", depth_multiplier=2, **NTK), X),
    "depthwise, standard": (
        DepthwiseConv((3, 1), padding="CIRCULAR", dimension_numbers=NCHW, **STANDARD),
        X.transpose(0, 3, 1, 2),
    ),
    "groups": (Conv(4, (2, 1), padding="SAME", feature_group_count=2, **NTK), X),
    "groups, standard": (Conv(2, (2, 2), feature_group_count=2, **STANDARD, s=(2, 2)), X),
}


@pytest.mark.parametrize("name", list(LAYERS))
def test_derivatives_of_one_layer_are_its_kernel(name):
    (init_fn, apply_fn, kernel_fn), x = LAYERS[name]
    shape, params = init_fn(jax.random.key(0), x.shape)
    channels_first = x.shape[1] == X.shape[-1]

    def outputs(params):
        out = apply_fn(params, x)
        assert out.shape == shape
        return out if channels_first else jnp.moveaxis(out, -1, 1)

    jacobian = jax.jit(jax.jacobian(outputs))(params)
    wanted = 0
    for of_param in jax.tree.leaves(jacobian):
        flat = np.asarray(of_param).reshape(*of_param.shape[:4], -1)
        wanted = wanted + np.einsum("mchwk,ncHWk->mnhHwW", flat, flat) / flat.shape[1]
    kernel = kernel_fn(x)
    np.testing.assert_allclose(kernel.ntk, wanted, rtol=1e-10, atol=1e-12)
    if "b_std" not in repr(kernel_fn):
        np.testing.assert_allclose(kernel.nngp, wanted, rtol=1e-10, atol=1e-12)
    assert kernel.shape1 == shape


@pytest.mark.parametrize("layer", [ConvLocal, ConvTranspose, Conv])
def test_finite_networks_refuse_other_inputs(layer):
    init_fn, apply_fn, _ = layer(2, (2, 2))
    _, params = init_fn(jax.random.key(0), X.shape)
    name = layer.__name__
    with pytest.raises(ValueError, match=f"{name}: its input of shape .* has 3 axes"):
        apply_fn(params, X[0])
    with pytest.raises(ValueError, match=f"{name}: its input .* has 3 channels, but its weights"):
        apply_fn(params, X[..., :3])


def test_weights_of_positions_that_are_not_there():
    init_fn, apply_fn, _ = ConvLocal(2, (2, 2))
    _, params = init_fn(jax.random.key(0), X.shape)
    with pytest.raises(ValueError, match=r"ConvLocal: .* leads to \(1, 1\) positions"):
        apply_fn(params, X[:, :2])


def test_groups_divide_channels():
    with pytest.raises(ValueError, match="does not divide its 3 output channels"):
        Conv(3, (2, 2), feature_group_count=2)
    with pytest.raises(ValueError, match="does not divide the 4 channels"):
        Conv(3, (2, 2), feature_group_count=3).init_fn(jax.random.key(0), X.shape)
