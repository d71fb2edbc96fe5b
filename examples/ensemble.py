"""The infinite ensemble in time, beside finite networks that are trained.

    python examples/ensemble.py --networks 50

Networks of random weights are random functions, and gradient descent moves all of them towards the
data. Of infinitely wide ones, mean and covariance at every time are known in closed form
(`predict.gradient_descent_mse_ensemble`). Here they stand beside those of many finite networks.

Source: Lee et al. 2019, arXiv 1902.06720, section 2.3.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import ntkjax
from ntkjax import stax
from options import positive, small_parser
from plots import new_panels, save

TIMES = np.array([0.0, 5.0, 200.0])
RATE = 0.1


class Moments(NamedTuple):
    """Mean and standard deviation of the outputs at test points, (time, point)."""

    mean: np.ndarray
    std: np.ndarray


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five training points of a sine, and a grid of test points."""
    x = np.array([-1.6, -0.9, 0.1, 0.6, 1.4], np.float32)[:, None]
    return x, np.sin(3 * x), np.linspace(-2.5, 2.5, 61, dtype=np.float32)[:, None]


def network(width: int) -> Any:
    hidden = [layer for _ in range(2) for layer in (stax.Dense(width, 1.5, 0.2), stax.Erf())]
    return stax.serial(*hidden, stax.Dense(1, 1.5, 0.2))


def infinite(kernel: str = "ntk") -> Moments:
    x, y, test = data()
    predict_fn = ntkjax.predict.gradient_descent_mse_ensemble(network(1).kernel_fn, x, y)
    mean, cov = predict_fn(t=TIMES, x_test=test, get=kernel, compute_cov=True)
    variance = np.diagonal(np.asarray(cov), axis1=-2, axis2=-1)
    return Moments(np.asarray(mean)[..., 0], np.sqrt(np.maximum(variance, 0)))


def finite(width: int, networks: int, seed: int) -> Moments:
    """Of networks that gradient descent trains, all at a time."""
    x, y, test = data()
    init_fn, f, _ = network(width)

    def outputs(key):
        _, params = init_fn(key, x.shape)
        params = jax.tree.map(lambda p: p.astype(jnp.float32), params)

        def loss(params):
            return 0.5 * jnp.mean((f(params, x) - y) ** 2)

        def step(_, params):
            return jax.tree.map(lambda p, g: p - RATE * g, params, jax.grad(loss)(params))

        made = []
        for count in np.diff(TIMES / RATE, prepend=0).astype(int):
            params = jax.lax.fori_loop(0, int(count), step, params)
            made.append(f(params, test)[:, 0])
        return jnp.stack(made)

    every = jax.jit(jax.vmap(outputs))(jax.random.split(jax.random.key(seed), networks))
    return Moments(*(np.asarray(moment(every, axis=0)) for moment in (jnp.mean, jnp.std)))


def main(arguments: Sequence[str] | None = None) -> tuple[Moments, Moments]:
    parser = small_parser("ensemble.py", __doc__)
    parser.add_argument("--width", help="default: %(default)s", type=positive, default=256)
    parser.add_argument("--networks", help="default: %(default)s", type=positive, default=40)
    options = parser.parse_args(arguments)
    exact, sampled = infinite(), finite(options.width, options.networks, options.seed)
    x, y, test = data()
    title = f"The infinite ensemble (band: two standard deviations) and {options.networks} networks"
    figure, panels = new_panels(title, [f"time {time:g}" for time in TIMES])
    for k, axes in enumerate(panels):
        for moments, colour, name in (
            (exact, "#0072b2", "infinite"),
            (sampled, "#d55e00", f"width {options.width}"),
        ):
            low, high = (moments.mean[k] + sign * 2 * moments.std[k] for sign in (-1, 1))
            axes.plot(test[:, 0], moments.mean[k], color=colour, label=name)
            if name == "infinite":
                axes.fill_between(test[:, 0], low, high, color=colour, alpha=0.15, linewidth=0)
            else:
                axes.plot(test[:, 0], low, test[:, 0], high, color=colour, linestyle=":")
        axes.plot(x[:, 0], y[:, 0], "o", color="#404040", markersize=4)
        axes.set_ylim(-4, 4)
    panels[0].legend(frameon=False, fontsize=8)
    save(figure, options.out / "ensemble.png")
    return exact, sampled


if __name__ == "__main__":
    main()
