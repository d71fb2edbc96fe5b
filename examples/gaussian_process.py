"""A Gaussian process with the kernel of a network: its best parameters, and what it is sure of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkjax import gp, stax
from options import positive, small_parser
from plots import INK, new_panels, save


def network(W_std: float, b_std: float) -> Any:
    """Two hidden layers of erf units."""
    hidden = stax.serial(stax.Dense(512, W_std, b_std), stax.Erf())
    return stax.serial(hidden, hidden, stax.Dense(1, W_std))


def main(arguments: Sequence[str] | None = None) -> gp.GaussianProcess:
    parser = small_parser("gaussian_process.py", __doc__)
    parser.add_argument("--points", help="default: %(default)s", type=positive, default=25)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    x = np.sort(np.concatenate([rng.uniform(-3, 0, options.points), rng.uniform(1.5, 3, 8)]))
    y = np.sin(3 * x) + 0.5 * x + 0.15 * rng.normal(size=len(x))
    x, y = (a.astype(np.float32) for a in (x[:, None], y))
    process = gp.GaussianProcess(network, noise=0.1, params={"W_std": 1.5, "b_std": 0.5})
    process = process.fit(x, y)
    fitted = process.optimize()
    figure, panels = new_panels("A network of erf units", ["as it starts", "after optimize()"])
    grid = np.linspace(-4.5, 4.5, 200, dtype=np.float32)[:, None]
    for axes, each in zip(panels, (process, fitted), strict=True):
        mean, variance = each.predict(grid, noisy=True)
        width = 1.645 * np.sqrt(variance)
        axes.fill_between(grid[:, 0], mean - width, mean + width, color="#56b4e9", alpha=0.3, lw=0)
        axes.plot(grid[:, 0], each.sample(grid, 3).T, color="#56b4e9", lw=0.8)
        axes.plot(grid[:, 0], mean, color="#0072b2", lw=1.8)
        axes.plot(x[:, 0], y, ".", color=INK)
        axes.set_ylim(-4, 4)
        axes.set_xlabel(f"log likelihood {each.log_marginal_likelihood():.1f}")
    save(figure, options.out / "gaussian_process.png")
    print(f"{fitted.params}, noise {fitted.noise:.3g}")
    return fitted


if __name__ == "__main__":
    main()
