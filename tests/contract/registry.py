"""Every public layer, in a small network that it may stand in, with its twin.

A new layer adds one `Case` to the file of its family in `families/`: a line for its network, and a
line for its twin. It is thereby held to every law of this folder. Networks of a case are lists, so
that a law may put something between any two of their layers.
"""

from tests.contract.families import (
    branches,
    closed_forms,
    convolutions,
    masks,
    numerical,
    positions,
    sequences,
    spine,
)

CASES = [
    *branches.CASES,
    *closed_forms.CASES,
    *convolutions.CASES,
    *masks.CASES,
    *numerical.CASES,
    *positions.CASES,
    *sequences.CASES,
    *spine.CASES,
]
#: Layers of finite networks alone, whose `kernel_fn` raises (see `tests/layers/test_no_kernel.py`).
WITHOUT_KERNEL = ("MaxPool", "Softmax")
