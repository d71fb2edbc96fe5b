"""Every public layer, in a small network that it may stand in, with its twin.

A new layer adds one `Case` to the file of its family in `families/`: a line for its network, and a
line for its twin. It is thereby held to every law of this folder. Networks of a case are lists, so
that a law may put something between any two of their layers.
"""

from tests.contract.families import closed_forms, masks, numerical, positions, sequences, spine

CASES = [
    *closed_forms.CASES,
    *masks.CASES,
    *numerical.CASES,
    *positions.CASES,
    *sequences.CASES,
    *spine.CASES,
]
