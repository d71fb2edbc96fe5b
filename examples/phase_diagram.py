"""Order and chaos: what becomes of two inputs in a deep network, by the variances of its weights.

    python examples/phase_diagram.py --grid 60

A layer f -> W phi(f) + b maps the variance q of its inputs and the correlation c of two of them to
those of its outputs. Repeated, both settle: at q*, and at c*. Where c* = 1 every two inputs become
the same (order); where c* < 1 similar ones become different (chaos). Near the line between, this
takes many layers: the correlation depth xi = -1 / log(dc'/dc at c*) says how many.

Source: Schoenholz et al. 2017, arXiv 1611.01232, sections 3 and 4; Poole et al. 2016.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax import stax
from options import positive, small_parser
from plots import new_panels, save


class Phases(NamedTuple):
    """Arrays over a grid (bias, weight): q*, c*, and the slope of c at c*."""

    variance: np.ndarray
    correlation: np.ndarray
    slope: np.ndarray

    @property
    def depth(self) -> np.ndarray:
        """The correlation depth, in layers."""
        return -1 / np.log(np.clip(self.slope, 1e-6, 1 - 1e-6))


def after_layer(q: Any, c: Any, w_std: Any, b_std: Any) -> tuple[Any, Any]:
    """Variance and correlation behind one more layer, of two inputs of variance q."""
    # Two inputs of two channels, with q c as their inner product and q as their squares.
    x = jnp.stack([jnp.array([1.0, 0.0]), jnp.stack([c, jnp.sqrt(1 - c * c)])])
    layer = stax.serial(stax.Dense(1, 1.0), stax.Erf(), stax.Dense(1, w_std, b_std))
    k = layer.kernel_fn(jnp.sqrt(2 * q) * x, None, "nngp")
    return k[0, 0], k[0, 1] / k[0, 0]


def phases(w_std: np.ndarray, b_std: np.ndarray, layers: int) -> Phases:
    """The fixed points of each combination of weights and biases, after so many layers."""

    def settled(b, w):
        def variance(q, _):
            return after_layer(q, 0.5, w, b)[0] + 1e-12, None

        q, _ = jax.lax.scan(variance, jnp.asarray(1.0), length=layers)

        def correlation(c):
            # Short of 1, where the square root above has no slope.
            return jnp.minimum(after_layer(q, c, w, b)[1], 1 - 1e-4)

        c, _ = jax.lax.scan(lambda c, _: (correlation(c), None), jnp.asarray(0.5), length=layers)
        step = 1e-3
        slope = (after_layer(q, c, w, b)[1] - after_layer(q, c - step, w, b)[1]) / step
        return q, c, slope

    every = jax.jit(jax.vmap(jax.vmap(settled, (None, 0)), (0, None)))
    return Phases(*map(np.asarray, every(jnp.asarray(b_std), jnp.asarray(w_std))))


def several(text: str) -> int:
    """At least two points along either axis, between which contours are drawn."""
    if positive(text) < 2:
        raise argparse.ArgumentTypeError(f"{text} is too few points for a diagram: pass 2 or more")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> Phases:
    parser = small_parser("phase_diagram.py", __doc__)
    parser.add_argument("--grid", help="default: %(default)s", type=several, default=40)
    parser.add_argument("--layers", help="default: %(default)s", type=positive, default=100)
    options = parser.parse_args(arguments)
    w_std, b_std = np.linspace(0.3, 3.0, options.grid), np.linspace(0.02, 1.0, options.grid)
    found = phases(w_std, b_std, options.layers)
    names = ["variance q*", "correlation c*", "correlation depth (layers)"]
    title = f"Fully connected networks of erf units, after {options.layers} layers"
    figure, panels = new_panels(title, names)
    values = (found.variance, found.correlation, np.minimum(found.depth, options.layers))
    for axes, value in zip(panels, values, strict=True):
        mesh = axes.pcolormesh(w_std, b_std, value, cmap="viridis", shading="nearest")
        axes.contour(w_std, b_std, found.correlation, [0.99], colors="white", linewidths=1)
        axes.set_xlabel("$\\sigma_w$")
        figure.colorbar(mesh, ax=axes)
    panels[0].set_ylabel("$\\sigma_b$")
    save(figure, options.out / "phase_diagram.png")
    return found


if __name__ == "__main__":
    main()
