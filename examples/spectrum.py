"""What the spectrum of a kernel foretells: learning curves, and when to stop training.

    python examples/spectrum.py --repeats 10

The NTKs of networks on the bundled digits, and the linear kernel. From the eigenvalues of each and
the power of the labels in its modes, the error of kernel regression on n images is predicted, and
measured beside it on random subsets. On noisy labels, the spectrum says after how many steps of
gradient descent with momentum the error is least, and the steps are measured, too.

Source: Simon et al. 2021, arXiv 2110.03922; Canatar, Bordelon, Pehlevan 2021, arXiv 2006.13198.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import datasets
from kernels import standardized
from ntkjax import predict, stax
from ntkjax.spectrum import LearningCurve, Spectrum, Stopping, stopping_steps
from options import positive, sizes, small_parser
from plots import INK, new_panels, save, set_sizes
from report import progress, say

COLOURS = ("#0072b2", "#d55e00", "#009e73")
#: In units of the mean of a kernel's diagonal.
RIDGE = 1e-2
MOMENTUM = 0.9


def network(depth: int) -> Any:
    hidden = [layer for _ in range(depth) for layer in (stax.Dense(1, 2**0.5, 0.1), stax.Relu())]
    return stax.serial(*hidden, stax.Dense(1))


def kernels_of(x: np.ndarray) -> dict[str, np.ndarray]:
    """Kernels of all images, with a diagonal of mean one."""
    made = {
        "NTK, 4 hidden": network(4).kernel_fn(x, None, "ntk"),
        "NTK, 1 hidden": network(1).kernel_fn(x, None, "ntk"),
        "linear": network(0).kernel_fn(x, None, "ntk"),
    }
    # In the dtype that they were computed in, by which a Spectrum tells rounding from mistakes.
    each = {name: np.asarray(kernel) for name, kernel in made.items()}
    return {name: kernel / np.mean(np.diag(kernel)) for name, kernel in each.items()}


def measured(
    kernel: np.ndarray, y: np.ndarray, train_sizes: Sequence[int], repeats: int, seed: int
) -> np.ndarray:
    """Mean squared errors on all other points, (repeat, size)."""
    errors = np.empty((repeats, len(train_sizes)))
    for repeat in range(repeats):
        order = np.random.default_rng(seed + repeat).permutation(len(y))
        for k, n in enumerate(train_sizes):
            train, test = order[:n], order[n:]
            matrix = kernel[np.ix_(train, train)].astype(float) + RIDGE * np.eye(n)
            said = kernel[np.ix_(test, train)] @ np.linalg.solve(matrix, y[train])
            errors[repeat, k] = np.mean((said - y[test]) ** 2)
    return errors


def stopped(
    kernel: np.ndarray, y: np.ndarray, count: int, noise: float, seed: int
) -> tuple[Stopping, np.ndarray, np.ndarray]:
    """The predicted risk of training on noisy labels, and errors at steps on old and new points.

    Both errors are against the labels without their noise.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    train, test = order[:count], order[count:]
    noisy = y[train] + noise**0.5 * rng.normal(size=y[train].shape)
    matrix = kernel[np.ix_(train, train)]
    rate = 0.5 * float(predict.max_learning_rate(matrix, noisy.size, MOMENTUM))
    stop = stopping_steps(Spectrum(matrix), noisy, noise, rate, MOMENTUM)
    predict_fn = predict.gradient_descent_mse_steps(matrix, noisy, rate, MOMENTUM)
    steps = np.unique(np.logspace(0, 4.5, 40).astype(int))
    said = predict_fn(steps, 0.0, 0.0, kernel[np.ix_(test, train)])
    errors = [
        np.mean((np.asarray(f) - y[rows]) ** 2, axis=(1, 2))
        for f, rows in zip(said, (train, test), strict=True)
    ]
    return stop, steps, np.array(errors)


def main(arguments: Sequence[str] | None = None) -> dict[str, tuple[LearningCurve, np.ndarray]]:
    parser = small_parser("spectrum.py", __doc__)
    parser.add_argument(
        "--train-sizes", type=sizes, default=[10, 20, 50, 100, 200, 500, 1000], metavar="N,N,..."
    )
    parser.add_argument("--images", type=positive, default=1797, metavar="N")
    parser.add_argument("--repeats", type=positive, default=5, metavar="N")
    parser.add_argument(
        "--noise", type=float, default=0.1, metavar="X", help="variance (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    data = datasets.load()
    chosen = np.random.default_rng(options.seed).permutation(len(data.labels))[: options.images]
    train_sizes = [n for n in options.train_sizes if n < len(chosen)]
    x = standardized(data.images[chosen]).reshape(len(chosen), -1)
    y = np.eye(len(data.class_names))[data.labels[chosen]] - 1 / len(data.class_names)
    titles = ["error on new images", "power of the labels beyond k modes", "on noisy labels"]
    figure, (curves, shares, training) = new_panels(f"{len(chosen)} digits, ridge {RIDGE}", titles)
    say(f"predicted / measured error at n = {', '.join(map(str, train_sizes))}")
    found = {}
    advance = progress(3, "kernels")
    for colour, (name, kernel) in zip(COLOURS, kernels_of(x).items(), strict=True):
        spectrum = Spectrum(kernel)
        fine = np.unique(np.geomspace(train_sizes[0], train_sizes[-1], 40).round())
        line = spectrum.learning_curve(y, fine, ridge=RIDGE)
        curve = spectrum.learning_curve(y, train_sizes, ridge=RIDGE)
        errors = measured(kernel, y, train_sizes, options.repeats, options.seed)
        found[name] = (curve, errors)
        curves.loglog(line.sizes, line.test_mse, color=colour, label=name)
        curves.errorbar(
            train_sizes, errors.mean(axis=0), errors.std(axis=0), color=colour, fmt="o", ms=4
        )
        rest = 1 - spectrum.alignment(y)
        rank = np.arange(1, len(rest) + 1)
        shares.loglog(rank[rest > 1e-3], rest[rest > 1e-3], color=colour, label=name)
        ratios = curve.test_mse / errors.mean(axis=0)
        # Below 1 where single points count for so much that predictions are too low.
        doubt = spectrum.generalized_cross_validation(y, RIDGE) / spectrum.leave_one_out(y, RIDGE)
        listed = " ".join(f"{ratio:.3f}" for ratio in ratios)
        say(f"{name:<14} {listed}, GCV / leave-one-out {doubt:.2f}\n  {spectrum}")
        if not training.lines:
            count = len(chosen) // 3
            stop, steps, (old, new) = stopped(kernel, y, count, options.noise, options.seed)
            shown = (stop.times >= 1) & (stop.times <= steps[-1])
            training.loglog(stop.times[shown], stop.risks[shown], color=colour, label="predicted")
            training.loglog(steps, old, "o", color=colour, ms=3, label="training images")
            training.loglog(steps, new, "o", color="#e69f00", ms=3, label="new images")
            training.axvline(stop.when, color=INK, lw=0.8, dashes=(3, 3))
            say(
                f"{name}: stop after {stop.when} steps; error on new images {new.min():.4f} at "
                f"best, {np.interp(stop.when, steps, new):.4f} then, {new[-1]:.4f} at the end"
            )
        advance()
    set_sizes(curves, train_sizes)
    training.tick_params(which="both", labelsize=8)
    for axes, label in ((curves, "training images"), (shares, "k"), (training, "steps")):
        axes.set_xlabel(label, fontsize=9)
        axes.legend(frameon=False, fontsize=8)
    save(figure, options.out / "spectrum.png")
    return found


if __name__ == "__main__":
    main()
