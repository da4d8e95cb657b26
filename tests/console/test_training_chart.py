"""The learning curve's data: what was measured, on the axis where it belongs."""

from __future__ import annotations

import json

from racer.console.training_chart import Epoch, options


def test_loss_and_accuracy_are_drawn_as_measured_on_their_own_axes() -> None:
    chart = options([Epoch(1, 0.42, 0.25), Epoch(2, -0.1, 0.5)], total=20)
    loss, accuracy = chart["series"]
    assert (loss["name"], loss["yAxisIndex"]) == ("Loss", 0)
    assert loss["data"] == [[1.0, 0.42], [2.0, -0.1]]
    assert (accuracy["name"], accuracy["yAxisIndex"]) == ("Accuracy", 1)
    assert accuracy["data"] == [[1.0, 25.0], [2.0, 50.0]]
    assert (chart["yAxis"][1]["min"], chart["yAxis"][1]["max"]) == (0, 100)


def test_the_axis_spans_the_whole_training_from_the_start() -> None:
    assert options([], total=20)["xAxis"]["max"] == 20
    assert options([], total=1)["xAxis"]["max"] > options([], total=1)["xAxis"]["min"]


def test_a_loss_that_is_no_number_is_a_gap_and_still_json() -> None:
    chart = options([Epoch(1, float("nan"), 0.5)], total=2)
    assert json.loads(json.dumps(chart, allow_nan=False))["series"][0]["data"] == [[1.0, None]]
