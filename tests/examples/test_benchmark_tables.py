"""Ratios, verdicts and pages from made-up measurements."""

import json
import math

import numpy as np
import pytest

import run
from arithmetic import accuracy, by_law, cost_ms, digits, largest_difference, speedup
from charts import plot
from command_line import USUAL, parse
from gradients import GRADIENTS, gradients_table
from jobs import ROWS
from nonlinearities import activations_table
from processes import WorkerError
from spec import OURS, PEER
from tables import all_tables


def made_up_side(seconds, block=2, first=5.0, peak=500.0):
    return {
        "block": [block, block], "first": first, "seconds": seconds, "peak_mib": peak,
        "versions": {OURS: "1", PEER: "2", "jax": "3"},
    }  # fmt: skip


@pytest.fixture
def results():
    """Row 1 exactly on target, row 2 above, row 6 below; a note, and everything else once."""

    def row(number, ours, peer, notes=(), **more):
        return {"row": number, OURS: ours, PEER: peer, "notes": dict(notes), **more}

    return {
        "machine": {"processor": "abacus", "cores": 2, "system": "Linux"},
        "rows": [
            row(
                1, made_up_side([0.4, 0.1, 0.2]), made_up_side([5.0], 1),
                difference=2e-6, compared=4,
            ),
            row(
                2, made_up_side([1.0], first=7.5), made_up_side([10.0]),
                difference=math.nan, compared=2,
            ),
            row(6, made_up_side([0.2], 2000), made_up_side([0.3], 2000)),
            row(8, None, made_up_side([0.3], 2000), [(OURS, "no stax.Gelu in this version")]),
        ],
        "blocks": [{"case": n, **made_up_side([n * n / 100], n)} for n in (8, 16)],
        "depths": [{"case": n, **made_up_side([n / 10])} for n in (5, 21)],
        "sizes": [{"case": n, **made_up_side([n**4 / 1e4])} for n in (8, 16, 32)],
        "memory": {"case": 64, **made_up_side([64**2 / 50], 64, peak=1100.0)},
        "accuracy": [
            {
                "case": "deep", "notes": {PEER: "out of memory"},
                OURS: {"error": 1e-6, "eigenvalue": 0.5, "true_eigenvalue": 1.0},
            },
        ],
    }  # fmt: skip


def cells(table, start):
    """The cells of the only row that starts so."""
    (found,) = [list(row) for row in table.rows if row[0].startswith(start)]
    return found


def test_nonlinearities_are_compared_by_the_pair():
    fast = {"row": 0, OURS: made_up_side([0.001], 10), PEER: made_up_side([0.02], 20), "notes": {}}
    slow = {"row": 4, OURS: made_up_side([0.3], 10), PEER: made_up_side([0.2], 10), "notes": {}}
    alone = {"row": 26, OURS: made_up_side([0.1], 10), "notes": {PEER: "no stax.Tanh"}}
    table = activations_table([fast, slow, alone])
    assert cells(table, "Relu")[1:5] == ["10000 (10)", "50000 (20)", "5 x", "yes"]
    assert cells(table, "Erf")[3:5] == ["0.667 x", "NO"]
    assert cells(table, "Tanh")[2:5] == ["–", "–", "–"]
    assert table.notes == [f"Tanh, {PEER}: no stax.Tanh"]


def test_gradients_stand_beside_their_loss_and_the_peer():
    flat, _, _, pooled, _ = GRADIENTS
    both = {
        "case": flat.title,
        f"{OURS}, value": made_up_side([0.01]),
        f"{OURS}, gradient": made_up_side([0.04]),
        f"{PEER}, gradient": made_up_side([0.2]),
        "difference": 1e-6,
        "compared": 64,
        "notes": {},
    }
    alone = {"case": pooled.title, "notes": {f"{OURS}, value": "out of memory"}}
    table = gradients_table([both, alone])
    assert cells(table, flat.title)[1:7] == ["10", "40", "4", "200", "5 x", "1.0e-06 (of 64)"]
    assert cells(table, pooled.title)[1:6] == ["–"] * 5
    assert table.notes == [f"{pooled.title}, {OURS}, value: out of memory"]


def test_costs_are_shared_between_pairs():
    side = made_up_side([0.4, 0.1, 0.2], block=10)
    assert cost_ms(side) == pytest.approx(2.0)
    assert cost_ms(side, whole=True) == pytest.approx(200.0)


def test_the_ratio_is_that_of_costs_per_entry():
    record = {OURS: made_up_side([1.0], 10), PEER: made_up_side([2.0], 1)}
    assert speedup(record) == pytest.approx(200)
    assert speedup(record, whole=True) == pytest.approx(2)
    assert speedup({OURS: made_up_side([1.0])}) is None
    assert speedup({PEER: made_up_side([1.0]), OURS: None}) is None


def test_the_difference_is_that_of_shared_entries():
    ours = {(0, 0): 1.0, (0, 1): 2.0, (5, 5): 9.0}
    assert largest_difference(ours, {(0, 0): 1.0, (0, 1): 4.0, (7, 7): 0.0}) == (0.5, 2)
    assert largest_difference(ours, {(1, 1): 1.0}) == (None, 0)
    difference, _ = largest_difference(ours, {(0, 0): math.nan, (0, 1): 2.0})
    assert math.isnan(difference)


def test_accuracy_is_that_of_the_single_against_the_double():
    true = np.array([[2.0, 1.0], [1.0, 2.0]])
    found = accuracy(np.array([[2.0, 1.5], [1.5, 2.0]]), true)
    assert found == pytest.approx({"error": 0.5, "eigenvalue": 0.5, "true_eigenvalue": 1.0})
    assert math.isnan(accuracy(np.full((2, 2), np.nan), true)["eigenvalue"])


@pytest.mark.parametrize(
    ("number", "text"), [(3666.3, "3670"), (0.09403, "0.094"), (5.0, "5"), (12.345, "12.3")]
)
def test_numbers_have_three_digits_and_no_exponent(number, text):
    assert digits(number) == text


def test_a_law_that_holds_leaves_ones():
    assert by_law([1, 2, 4], [3.0, 12.0, 48.0], 2, 2) == ([3.0] * 3, [1.0] * 3)
    _, relative = by_law([1, 2, 4], [3.0, 6.0, 24.0], 1, 99)
    assert relative == [0.5, 0.5, 1.0]


def test_the_comparison_shows_ratios_beside_targets(results):
    table = next(all_tables(results))
    assert cells(table, "1 ")[1:] == [
        "50 (2 x 2)", "5000 (1 x 1)", "100 x", ">= 100 (aim 250)", "yes", "2.0e-06 (of 4)",
    ]  # fmt: skip
    assert cells(table, "2 ")[3:] == ["10 x", ">= 8", "yes", "NOT A NUMBER (of 2)"]
    assert cells(table, "6 ")[1:] == [
        "200* (2000 x 2000)", "300* (2000 x 2000)", "1.5 x", ">= 6", "NO", "–",
    ]  # fmt: skip
    assert cells(table, "8 ")[1:4] == ["–", "300* (2000 x 2000)", "–"]
    assert table.notes == ["Row 8, ntkjax: no stax.Gelu in this version"]


def test_limits_are_judged(results):
    _, first, *_, memory, near = all_tables(results)
    assert cells(first, "1 ")[1:] == ["2 x 2", "5.00", "0.20", "4.80", "6", "yes"]
    assert cells(first, "2 ")[2:] == ["7.50", "1.00", "6.50", "6", "NO"]
    assert len(first.rows) == 3
    assert memory.rows == [["64 x 64", "1100", "1024", "NO"]]
    assert near.rows == [["deep", OURS, "1.0e-06", "0.5000"]]
    assert near.notes == ["deep, neural_tangents: out of memory"]


def test_scaling_is_relative_to_the_first_row(results):
    _, _, blocks, depths, sizes, *_ = all_tables(results)
    # The block of the memory measurement, twice as dear, is one of the blocks.
    assert [row[0] for row in blocks.rows] == ["8", "16", "64"]
    assert [row[3] for row in blocks.rows] == ["1.00", "1.00", "2.00"]
    assert [row[3] for row in depths.rows] == ["1.00", "1.00"]
    assert [row[3] for row in sizes.rows] == ["1.00"] * 3
    # 25 ms, of which each of 8**4 pairs of positions takes its share.
    assert sizes.rows[0][1:3] == ["102", "25000"]


def test_only_what_was_measured_is_shown(results):
    assert not list(all_tables({"machine": results["machine"]}))
    (only,) = all_tables({"memory": results["memory"]})
    assert only.title.startswith("Peak memory")


def test_text_lines_up_and_markdown_has_a_row_for_each(results):
    for table in all_tables(results):
        lines = table.as_text().splitlines()[2:]
        ends = [
            i for i, letter in enumerate(lines[1]) if letter == "-" and lines[1][i + 1 :][:1] != "-"
        ]
        for line in lines[2 : 2 + len(table.rows)]:
            assert len(line) <= len(lines[1])
            assert all(line[end] != " " for end in ends[1:])
        pipes = [line for line in table.as_markdown().splitlines() if line.startswith("|")]
        assert len(pipes) == 2 + len(table.rows)
        assert {line.count("|") for line in pipes} == {len(table.headers) + 1}


def test_the_plot_is_saved_if_there_is_one(results, tmp_path):
    path = tmp_path / "new" / "plot.png"
    assert plot(path, results)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not plot(tmp_path / "none.png", {"memory": results["memory"]})
    assert not (tmp_path / "none.png").exists()


def test_saved_measurements_are_shown_again(results, tmp_path, capsys):
    saved, picture = tmp_path / "saved.json", tmp_path / "plot.png"
    saved.write_text(json.dumps(results))
    run.main(["--load", str(saved), "--markdown", "--plot", str(picture)])
    text = capsys.readouterr().out
    assert (
        "| 1  21 x (Conv, Relu), GlobalAvgPool, Dense | 50 (2 x 2) | 5000 (1 x 1) | 100 x |" in text
    )
    assert "abacus, 2 cores, Linux; neural_tangents 2 with jax 3; ntkjax 1 with jax 3." in text
    assert picture.exists()


def test_an_interrupt_and_a_failure_keep_the_rest(monkeypatch, tmp_path, capsys):
    def fail(_):
        raise WorkerError("out of memory")

    def interrupt(_):
        raise KeyboardInterrupt

    memory = {"case": 64, **made_up_side([1.0], 64)}
    tasks = [
        ("depths", "first", fail), ("memory", "second", lambda _: memory),
        ("sizes", "third", interrupt), ("blocks", "fourth", lambda _: []),
    ]  # fmt: skip
    monkeypatch.setattr(run, "planned", lambda _: tasks)
    saved = tmp_path / "new" / "saved.json"
    run.main(["--json", str(saved), "--plot", "-"])
    assert json.loads(saved.read_text())["memory"] == memory
    assert set(json.loads(saved.read_text())) == {"machine", "memory"}
    text = capsys.readouterr().out
    assert "out of memory" in text
    assert "[3/4] third" in text
    assert "fourth" not in text


def test_the_plan_holds_what_was_asked_for():
    def parts(*arguments):
        return [part for part, _, _ in run.planned(parse(arguments, None))]

    assert parts("--what", "memory,rows", "--rows", "6,1") == ["rows", "rows", "memory"]
    usual = parts()
    assert usual.count("rows") == len(ROWS)
    assert set(usual) == set(USUAL)
    assert "memory" not in usual
    assert set(parts("--what", "all")) == {*USUAL, "memory", "activations", "gradients"}


def test_defaults_and_quick():
    assert parse([], None).repeats == 5
    assert parse(["--quick"], None).repeats == 1
    assert parse(["--quick", "--repeats", "3"], None).repeats == 3
    assert parse(["--rows", "7,2"], None).rows == ["2", "7"]


@pytest.mark.parametrize("argument", ["--rows=12", "--what=speed", "--repeats=0", "--rows="])
def test_bad_arguments_are_refused(argument, capsys):
    with pytest.raises(SystemExit):
        parse([argument], None)
    assert argument.split("=")[0] in capsys.readouterr().err


def test_help_lists_rows_and_parts(capsys):
    with pytest.raises(SystemExit):
        run.main(["--help"])
    text = capsys.readouterr().out
    for row in ROWS:
        assert f"{row.number}  {row.title}" in text
    for part in [*USUAL, "memory", "activations", "gradients"]:
        assert f"  {part} " in text
