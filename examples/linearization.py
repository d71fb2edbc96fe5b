"""A wide network, its linearization in weights, and its linearization in function space.

    python examples/linearization.py --width 256

Gradient descent moves the weights of a wide network so little that its outputs are nearly linear in
them. Then three things do the same: training the network; training its first Taylor polynomial
(`linearize`) by the same steps; and, without any steps, solving the linear differential equation of
its outputs, whose matrix is the empirical NTK (`predict.gradient_descent_mse`).

Source: Lee et al. 2019, arXiv 1902.06720.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkjax
from ntkjax import stax
from options import positive, small_parser
from plots import new_panels, save

#: Small beside 2 / (largest eigenvalue of the kernel / points), so that steps follow the flow.
RATE = 0.02
COLOURS = {"network": "#009e73", "linear in weights": "#e69f00", "function space": "#0072b2"}


def data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the interval from -2 to 2, and a noisy sine of them, (n, 1) each."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 1)).astype(np.float32)
    return x, np.sin(2 * x) + 0.05 * rng.normal(size=(n, 1)).astype(np.float32)


def network(width: int) -> Any:
    hidden = [layer for _ in range(2) for layer in (stax.Dense(width, 1.5, 0.3), stax.Erf())]
    return stax.serial(*hidden, stax.Dense(1, 1.5, 0.3))


def trained(f: Any, params: Any, train: Any, test: Any, rate: float, steps: np.ndarray) -> Any:
    """Outputs of training and of test points after each of these numbers of steps."""
    x, y = train

    def loss(params):
        return 0.5 * jnp.mean((f(params, x) - y) ** 2)

    @jax.jit
    def after(params, count):
        def step(_, params):
            return jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params))

        return jax.lax.fori_loop(0, count, step, params)

    outputs = []
    for count in np.diff(steps, prepend=0):
        params = after(params, int(count))
        outputs.append((f(params, x), f(params, test)))
    return tuple(np.stack(each) for each in zip(*outputs, strict=True))


def three_ways(width: int, n: int, steps: np.ndarray, rate: float, seed: int) -> dict[str, Any]:
    """Outputs (time, point, 1) of training and of test points by each of the three ways."""
    train, (test, _) = data(n, seed), data(50, seed + 1)
    init_fn, f, _ = network(width)
    _, params = init_fn(jax.random.key(seed), train[0].shape)
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    made = {"network": trained(f, params, train, test, rate, steps)}
    linear = ntkjax.linearize(f, params)
    made["linear in weights"] = trained(linear, params, train, test, rate, steps)
    ntk_fn = jax.jit(ntkjax.empirical_ntk_fn(f, vmap_axes=0))
    predict_fn = ntkjax.predict.gradient_descent_mse(ntk_fn(train[0], None, params), train[1])
    start = f(params, train[0]), f(params, test)
    outputs = predict_fn(rate * steps, *start, ntk_fn(test, train[0], params))
    made["function space"] = tuple(map(np.asarray, outputs))
    return made


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = small_parser("linearization.py", __doc__)
    parser.add_argument("--width", help="default: %(default)s", type=positive, default=512)
    parser.add_argument("--points", help="default: %(default)s", type=positive, default=20)
    parser.add_argument("--steps", help="default: %(default)s", type=positive, default=5000)
    options = parser.parse_args(arguments)
    steps = np.unique(np.geomspace(1, options.steps, 30).astype(int))
    made = three_ways(options.width, options.points, steps, RATE, options.seed)
    _, y = data(options.points, options.seed)
    _, truth = data(50, options.seed + 1)
    title = f"Two hidden layers of {options.width} units, {options.points} training points"
    figure, panels = new_panels(title, ["training loss", "test loss", "distance from the network"])
    reference = made["network"][1]
    for name, outputs in made.items():
        style = {"color": COLOURS[name], "label": name}
        if name == "function space":
            style["linestyle"] = "--"
        for axes, found, target in zip(panels, outputs, (y, truth), strict=False):
            axes.loglog(steps, 0.5 * np.mean((found - target) ** 2, axis=(1, 2)), **style)
        if name != "network":
            gap = np.sqrt(np.mean((outputs[1] - reference) ** 2, axis=(1, 2)))
            panels[2].loglog(steps, gap, **style)
    for axes in panels:
        axes.set_xlabel("steps of gradient descent", fontsize=9)
    panels[0].legend(frameon=False, fontsize=8)
    save(figure, options.out / "linearization.png")
    return made


if __name__ == "__main__":
    main()
