"""Learning curves: how the error of infinite networks falls with the number of examples.

    python examples/learning_curves.py --repeats 5

A random network is the teacher: a function of points on a sphere. Students that are infinitely wide
learn it from n examples: those of the teacher's own depth, and deeper and shallower ones, by their
NNGP (only the last layer learns) and by their NTK (all layers do). What the kernel expects to be
likely is learned from few examples; on logarithmic axes the curves are nearly straight.

Source: Bordelon et al. 2020, arXiv 2002.02561.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import ntkjax
from ntkjax import stax
from options import positive, sizes, small_parser
from plots import new_panels, save, set_sizes
from report import say

TEACHER_DEPTH, DEPTHS = 1, (1, 3)


def network(depth: int, width: int = 1) -> Any:
    hidden = [layer for _ in range(depth) for layer in (stax.Dense(width, 2**0.5), stax.Relu())]
    return stax.serial(*hidden, stax.Dense(1, 1.0))


def problem(count: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on a sphere, and what a wide random network says of them, of variance one."""
    points = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    points *= np.sqrt(dimension) / np.linalg.norm(points, axis=1, keepdims=True)
    init_fn, teacher, _ = network(TEACHER_DEPTH, 2048)
    _, params = init_fn(jax.random.key(seed), points.shape)
    values = np.asarray(teacher(params, points))
    return points, (values - values.mean()) / values.std()


def curves(
    train_sizes: Sequence[int], test_size: int, dimension: int, repeats: int, seed: int
) -> dict[str, np.ndarray]:
    """Mean squared errors on test points, (repeat, size), by student."""
    found: dict[str, np.ndarray] = {}
    for repeat in range(repeats):
        x, y = problem(train_sizes[-1] + test_size, dimension, seed + repeat)
        for depth in DEPTHS:
            kernels = network(depth).kernel_fn(x, None, ("nngp", "ntk"))
            for kind in kernels._fields:
                kernel = np.asarray(getattr(kernels, kind))
                name = f"{kind.upper()}, {depth} hidden"
                errors = found.setdefault(name, np.empty((repeats, len(train_sizes))))
                for k, n in enumerate(train_sizes):
                    train = slice(test_size, test_size + n)
                    k_train, k_test = kernel[train, train], kernel[:test_size, train]
                    reg = 1e-5 * float(np.mean(np.diag(k_train)))
                    said = ntkjax.ntk_predict(k_train, k_test, y[train], reg=reg)
                    errors[repeat, k] = np.mean((np.asarray(said) - y[:test_size]) ** 2)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    parser = small_parser("learning_curves.py", __doc__)
    parser.add_argument(
        "--train-sizes", type=sizes, default=[16, 32, 64, 128, 256, 512, 1024], metavar="N,N,..."
    )
    parser.add_argument("--test-size", type=positive, default=500, metavar="N")
    parser.add_argument("--dimension", type=positive, default=8, metavar="N")
    parser.add_argument("--repeats", type=positive, default=3, metavar="N")
    options = parser.parse_args(arguments)
    found = curves(
        options.train_sizes, options.test_size, options.dimension, options.repeats, options.seed
    )
    title = f"A teacher of {TEACHER_DEPTH} hidden layer, {options.dimension} dimensions"
    figure, (axes,) = new_panels(title, ["mean squared error on test points"])
    for name, errors in found.items():
        mean = errors.mean(axis=0)
        axes.loglog(options.train_sizes, mean, marker="o", markersize=4, label=name)
        rate = ""
        if len(mean) > 1:  # one point has no slope
            slope = np.polyfit(np.log(options.train_sizes), np.log(mean), 1)[0]
            rate = f"error ~ n^{slope:.2f}, "
        say(f"{name:<16} {rate}{mean[-1]:.4f} at n = {options.train_sizes[-1]}")
    set_sizes(axes, options.train_sizes)
    axes.set_xlabel("training points", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    save(figure, options.out / "learning_curves.png")
    return found


if __name__ == "__main__":
    main()
