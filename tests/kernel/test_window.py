"""The geometry of windows: against positions counted by hand, and against JAX's own convolution."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkjax._kernel.algebra.window import Window
from tests.contract.twins import window_axis

WINDOWS = [
    (size, taps, stride, dilation, padding)
    for size in (1, 2, 5, 8)
    for taps in (1, 2, 3, 5)
    for stride in (1, 2, 3)
    for dilation in (1, 2)
    for padding in ("SAME", "VALID", "CIRCULAR")
    if padding != "VALID" or size >= dilation * (taps - 1) + 1
]


def window_of(size, taps, stride, dilation, padding):
    return Window(taps, stride, dilation, padding)


def test_positions_and_counts():
    for case in WINDOWS:
        size, window, axis = case[0], window_of(*case), window_axis(*case)
        assert window.size_out(size) == len(axis), case
        for tap in range(window.taps):
            positions, live = window.positions(tap, size, np.arange(len(axis)))
            seen = [int(p) if inside else None for p, inside in zip(positions, live, strict=True)]
            assert seen == [output[tap] for output in axis], case
        counts = [sum(position is not None for position in output) for output in axis]
        assert window.counts(size).tolist() == counts, case


def test_same_padding_is_that_of_jax():
    for size, taps, stride, dilation, padding in WINDOWS:
        if padding == "SAME":
            window = Window(taps, stride, dilation, padding)
            ((before, _),) = lax.padtype_to_pads((size,), (window.extent,), (stride,), "SAME")
            assert window.before(size) == before


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR"])
def test_slide_takes_what_a_tap_sees(padding):
    for size, taps, stride, dilation in [(7, 3, 1, 1), (7, 3, 2, 1), (8, 2, 3, 2), (5, 3, 1, 2)]:
        window = Window(taps, stride, dilation, padding)
        values = jnp.arange(10.0, 10 + size)[None, :]
        outputs = window_axis(size, taps, stride, dilation, padding)
        for tap in range(taps):
            halo = window.halo(size, size, len(outputs))
            ringed = jnp.asarray(np.pad(values, ((0, 0), halo), mode="wrap"))
            slid = window.slide(ringed, 1, tap, size, len(outputs))
            assert slid.shape == (1, len(outputs))
            for value, output in zip(slid[0], outputs, strict=True):
                assert output[tap] is None or value == 10 + output[tap]


def test_too_large_a_window_has_no_output():
    assert Window(3).size_out(2) == 0
    assert Window(2, dilation=3).size_out(3) == 0
    assert Window(3, padding="SAME").size_out(2) == 2
