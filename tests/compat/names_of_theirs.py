"""The public names of neural_tangents 0.6.5 with their signatures, and what is here instead.

`python tests/compat/names_of_theirs.py` writes the table of docs/migrating.md.
"""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrating.md"
START = "<!-- table of names: tests/compat/names_of_theirs.py -->"
END = "<!-- end of the table -->"

#: By name, without `neural_tangents.`: the signature; of enumerations, the members.
NAMES = dict(
    line.split(" ", 1)
    for line in (Path(__file__).parent / "signatures.txt").read_text().splitlines()
)

#: What is different, by name; all else is the same.
_BACKPROP = "further argument `do_backprop`, of no effect"
NOTES = {
    **dict.fromkeys(
        (
            "stax.ABRelu",
            "stax.Abs",
            "stax.Erf",
            "stax.Gelu",
            "stax.LeakyRelu",
            "stax.Relu",
            "stax.ElementwiseNumerical",
        ),
        _BACKPROP,
    ),
    "stax.Conv": "further arguments `dilation`, `feature_group_count`",
    "Kernel": "one field more, `distance`: what the covariances of near-equal points lose",
    "NtkImplementation": "the same members; AUTO takes STRUCTURED_DERIVATIVES, or "
    "NTK_VECTOR_PRODUCTS where this takes less than half of the multiplications",
    "batch": "batch sizes need not divide anything; `device_count` also takes 0 and n",
    "empirical_kernel_fn": "AUTO is the default: the size decides",
    "empirical_ntk_fn": "AUTO is the default: the size decides",
    "monte_carlo_kernel_fn": "AUTO is the default; `standard_error=True` gives the scatter",
    "predict.gradient_descent": "for problems of any stiffness, of up to 4,000 outputs on the "
    "training points (2,000 with momentum): larger ones are integrated by explicit steps, and "
    "stiff ones then raise; it needs the optional package `diffrax` (`pip install 'ntkjax[ode]'`)",
    "stax.Elementwise": "`fn` without a formula is integrated",
    "stax.ExpNormalized": "`do_clip` has no effect; a negative `gamma` is an error",
    "stax.FanInProd": "branches that are not independent are an error",
    "stax.FanInSum": "branches that are not independent are an error",
    "stax.Gaussian": "a positive `b` is an error",
    "stax.Hermite": "does not warn",
    "stax.ImageResize": "every method of `jax.image.resize`; see below",
    "stax.Index": "an index of examples by an integer is refused, as there",
    "stax.Monomial": "degrees up to 20",
    "stax.Rbf": "a negative `gamma` is an error",
    "stax.repeat": "a layer may change the shape: its parameters are then held one by one",
    "stax.requires": "an unknown requirement is an error",
}


def table() -> str:
    """The rows of the page."""
    lines = ["| `neural_tangents` | arguments | here |", "| --- | --- | --- |"]
    for name, signature in NAMES.items():
        lines.append(f"| `{name}` | `{signature}` | {NOTES.get(name, 'the same')} |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """A page with the table in its place."""
    return re.sub(
        f"{re.escape(START)}.*?{re.escape(END)}",
        lambda _: f"{START}\n\n{table()}\n\n{END}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
