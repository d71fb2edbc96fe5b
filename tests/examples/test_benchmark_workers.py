"""Workers compute the kernels that they are asked for, and take turns."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

import measure
import processes
import worker
from arithmetic import entries
from jobs import ROWS
from networks import build
from ntkjax import stax
from processes import Worker, WorkerError, in_turn
from spec import OURS, PEER, Spec

TINY = Spec(OURS, "fully_connected", {"depth": 1, "activation": "Relu"}, (3,), (2, 4), keep=3)


def ntk(x1, x2):
    _, _, kernel_fn = build(stax, TINY.network, TINY.options)
    return np.asarray(kernel_fn(x1, x2, "ntk"))


def points(side, count):
    """float32 points of one side, in float64."""
    x = np.stack([worker.point(side, i, TINY.shape) for i in range(count)])
    return x.astype(np.float32).astype(np.float64)


def test_every_turn_takes_the_next_points():
    measurement = worker.Measurement(TINY)
    answers = [measurement.turn(), measurement.turn(0.1)]
    assert [answer["start"] for answer in answers] == [[0, 0], [2, 4]]
    assert all(answer["seconds"] > 0 and answer["peak_mib"] > 1 for answer in answers)
    expected = ntk(points(0, 4), points(1, 8))
    found = entries(answers)
    assert set(found) == {(i, j) for i in range(2) for j in range(3)} | {
        (i, j) for i in (2, 3) for j in (4, 5, 6)
    }
    for place, value in found.items():
        assert value == pytest.approx(expected[place], rel=1e-5)


def test_twins_lie_at_the_relative_distance():
    x = worker.twins((4, 4, 3), 6, 1e-3)
    assert x.shape == (6, 4, 4, 3)
    step = np.linalg.norm((x[3:] - x[:3]).reshape(3, -1), axis=1)
    np.testing.assert_allclose(step, 1e-3 * np.linalg.norm(x[:3].reshape(3, -1), axis=1))
    answer = worker.Measurement(TINY._replace(block=(6, 6), twins=1e-3, keep=6)).turn()
    kernel = np.array(answer["ntk"])
    assert kernel.shape == (6, 6)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(kernel[3:, :3]), np.diag(kernel[:3, :3]), rtol=0.05)


def test_a_gradient_is_that_of_the_loss():
    spec = TINY._replace(dtype="float64", keep=3)
    x1, x2 = (jnp.asarray(points(side, count)) for side, count in enumerate(TINY.block))
    loss = worker.loss_of(spec._replace(loss="value"))
    gradient = worker.loss_of(spec._replace(loss="gradient"))(x1, x2)
    assert gradient.shape == x1.shape
    step = 1e-5 * jnp.zeros_like(x1).at[1, 2].set(1.0)
    slope = (loss(x1 + step, x2) - loss(x1 - step, x2)) / 2e-5
    np.testing.assert_allclose(slope, [[gradient[1, 2]]], rtol=1e-6)
    answer = worker.Measurement(spec._replace(loss="gradient", dtype="float32")).turn()
    np.testing.assert_allclose(answer["ntk"], gradient, rtol=1e-3, atol=1e-6)


def test_slopes_are_those_of_the_loss():
    options = {"depth": 1, "pooling": "GlobalAvgPool"}
    spec = TINY._replace(
        network="convolutional", options=options, shape=(4, 4, 3), block=(2, 3), dtype="float64"
    )
    x1, x2 = worker.inputs(spec, [0, 0])
    found = worker.loss_of(spec._replace(loss="slopes"))(x1, x2)
    for i, (name, value) in enumerate([("W_std", worker.W_STD), ("b_std", worker.B_STD)]):
        ends = [
            worker.loss_of(spec._replace(options={**options, name: value + step}, loss="value"))(
                x1, x2
            )
            for step in (1e-5, -1e-5)
        ]
        np.testing.assert_allclose(found[0, i], (ends[0] - ends[1])[0, 0] / 2e-5, rtol=1e-6)


def test_a_spec_survives_the_command_line():
    assert Spec.from_json(TINY.to_json()) == TINY


def test_a_process_computes_in_the_precision_asked_for():
    with Worker(sys.executable, TINY._replace(dtype="float64")) as process:
        answers = [process.first, process.again()]
    assert set(answers[0]["versions"]) == {"ntkjax", "jax"}
    expected = ntk(points(0, 4), points(1, 8))
    for place, value in entries(answers).items():
        assert value == pytest.approx(expected[place], rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": {"depth": 1, "activation": "Swish2"}}, r"^no stax\.Swish2 in this version$"),
        ({"package": "no_such_library"}, "PackageNotFoundError: .*no-such-library"),
    ],
)
def test_a_process_that_cannot_says_why(change, message):
    with pytest.raises(WorkerError, match=message):
        Worker(sys.executable, TINY._replace(**change))


class FakeWorker:
    """Answers with given seconds, and fails when they run out."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, list(seconds), log
        self.first = self.again()

    def again(self):
        if not self.seconds:
            raise WorkerError("out of memory")
        self.log.append(self.name)
        seconds = self.seconds.pop(0)
        return {
            "seconds": seconds, "peak_mib": 100.0, "start": [0, 0], "ntk": [[2.0]],
            "versions": {},
        }  # fmt: skip

    def close(self):
        self.log.append(f"{self.name} closed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_turns_alternate_and_one_failure_leaves_the_other():
    log = []
    workers = {"a": FakeWorker("a", [9, 1, 2, 3], log), "b": FakeWorker("b", [9, 4], log)}
    answers, failures = in_turn(workers, 3)
    assert log == ["a", "b", "a", "b", "a", "a"]
    assert [answer["seconds"] for answer in answers["a"]] == [9, 1, 2, 3]
    assert [answer["seconds"] for answer in answers["b"]] == [9, 4]
    assert failures == {"b": "out of memory"}


def test_slow_workers_stop_after_the_least_number_of_repeats(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.0)
    answers, _ = in_turn({"a": FakeWorker("a", [1] * 9, [])}, 8)
    assert len(answers["a"]) == 1 + processes.LEAST_REPEATS


ROW = ROWS[2]._replace(block=16, peer_blocks=[1, 2, 4])  # whatever suits the machine best


@pytest.fixture
def fakes(monkeypatch):
    """Workers whose calls take given seconds, by library and block size; and what they did."""
    log = []

    def install(seconds):
        def start(python, spec):
            block = spec.block[0]
            if block not in seconds[spec.package]:
                raise WorkerError("out of memory")
            return FakeWorker(f"{python} {block}", seconds[spec.package][block], log)

        monkeypatch.setattr(measure, "Worker", start)
        return log

    return install


def test_a_row_takes_the_peer_s_best_block(fakes):
    # An entry takes 8, then 3 and then 4 seconds.
    log = fakes({OURS: {16: [9, 1, 3]}, PEER: {1: [9, 8], 2: [9, 12, 20, 16], 4: [9, 64]}})
    record = measure.measure_row(ROW, {OURS: "a", PEER: "b"}, 2, False, lambda _: None)
    assert record["ntkjax"]["seconds"] == [1, 3]
    assert record["neural_tangents"]["block"] == [2, 2]
    assert record["neural_tangents"]["seconds"] == [20, 16]
    assert (record["difference"], record["compared"], record["notes"]) == (0.0, 1, {})
    assert sorted(entry for entry in log if "closed" in entry) == [
        "a 16 closed", "b 1 closed", "b 2 closed", "b 4 closed",
    ]  # fmt: skip
    assert log.index("b 1 closed") < log.index("b 4 closed") < log.index("b 2 closed")


def test_a_block_that_does_not_fit_leaves_the_smaller_one(fakes):
    fakes({OURS: {16: [9, 1]}, PEER: {1: [9, 8, 8]}})
    record = measure.measure_row(ROW, {OURS: "a", PEER: "b"}, 1, False, lambda _: None)
    assert record["neural_tangents"]["block"] == [1, 1]
    assert record["notes"] == {}


def test_a_library_that_fails_leaves_the_other_s_times(fakes):
    fakes({OURS: {16: [9, 1]}, PEER: {}})
    record = measure.measure_row(ROW, {OURS: "a", PEER: "b"}, 1, False, lambda _: None)
    assert record["ntkjax"]["seconds"] == [1]
    assert "neural_tangents" not in record
    assert record["notes"] == {PEER: "out of memory"}


def test_quick_takes_the_peer_s_first_block(fakes):
    log = fakes({OURS: {16: [9, 1]}, PEER: {1: [9, 8]}})
    record = measure.measure_row(ROW, {OURS: "a", PEER: "b"}, 1, True, lambda _: None)
    assert record["neural_tangents"]["seconds"] == [8]
    assert log == ["a 16", "b 1", "a 16", "b 1", "b 1 closed", "a 16 closed"]
