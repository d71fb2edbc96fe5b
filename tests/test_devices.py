"""Arrays that the caller has put on several devices meet on one of them, in every function."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
import ntkjax as nt
from ntkjax import predict, stax

rng = np.random.default_rng(0)
x, y, x_test = (rng.normal(size=s).astype(np.float32) for s in ((4, 3), (4, 1), (3, 3)))
one, two = jax.devices()
init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(4), stax.Relu(), stax.Dense(1))
_, params = init_fn(jax.random.key(0), x.shape)


def check(call, *arrays):
    # The first array is on the second device, the next one on the first, and so on in turn.
    moved = [jax.device_put(a, (two, one)[k % 2]) for k, a in enumerate(arrays)]
    found = call(*moved)
    assert {device for a in jax.tree.leaves(found) for device in a.devices()} == {two}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, call(*arrays)
    )


check(lambda p, a, b: nt.empirical_nngp_fn(apply_fn)(a, b, p), params, x, x_test)
check(lambda p, a, b: nt.empirical_ntk_fn(apply_fn, vmap_axes=0)(a, b, p), params, x, x_test)
check(lambda p, c, a: nt.empirical_ntk_vp_fn(apply_fn, a, None, p)(c), params, y, x)
sampled = nt.monte_carlo_kernel_fn(init_fn, apply_fn, jax.random.key(0), 2)
check(lambda a, b: sampled(a, b, "nngp"), x, x_test)
check(lambda p, q, a: nt.linearize(apply_fn, p)(q, a), params, params, x)
check(lambda p, a, q: nt.taylor_expand(apply_fn, p, 2)(q, a), params, x, params)

k, cross, test = kernel_fn(x), kernel_fn(x_test, x), kernel_fn(x_test)
check(lambda k, y, c, t: predict.gp_inference(k, y)(None, c, t), k, y, cross, test)
flow = lambda k, y, t, c: predict.gradient_descent_mse(k, y)(t, y, 0.0, c)
check(flow, k, y, jnp.ones(2), cross)
check(lambda k, c, y: flow(k, y, None, c), k, cross, y)
loss = lambda f, y: 0.5 * jnp.mean((f - y) ** 2)
check(lambda k, y, t, c: predict.gradient_descent(loss, k, y)(t, y, 0.0, c), k, y, 1.0, cross)
ensemble = lambda x, y, t, z: predict.gradient_descent_mse_ensemble(kernel_fn, x, y)(t, z)
check(ensemble, x, y, jnp.ones(2), x_test)
check(lambda x, z, y: ensemble(x, y, None, z), x, x_test, y)
"""


def test_arrays_on_several_devices_meet_on_one():
    environment = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
