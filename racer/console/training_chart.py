"""Options of the learning curve: loss on the left axis, accuracy on the right. Pure data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LOSS_COLOUR = "#ffb347"
ACCURACY_COLOUR = "#43d6a8"
_TEXT = "#9db0c3"
_LINE = "#263445"


@dataclass(frozen=True)
class Epoch:
    """One epoch as the trainer reported it; accuracy is a share in [0, 1]."""

    number: int
    loss: float
    accuracy: float


Point = list[float | None]


def series(epochs: Sequence[Epoch]) -> tuple[list[Point], list[Point]]:
    """(epoch, loss) and (epoch, accuracy in percent) points; None draws a gap."""
    losses: list[Point] = [[float(epoch.number), _known(epoch.loss)] for epoch in epochs]
    accuracies: list[Point] = [
        [float(epoch.number), _known(100.0 * epoch.accuracy)] for epoch in epochs
    ]
    return losses, accuracies


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def options(epochs: Sequence[Epoch], *, total: int) -> dict[str, Any]:
    """ECharts options for the epochs so far of a training with `total` epochs."""
    losses, accuracies = series(epochs)
    return {
        "animationDuration": 200,
        "backgroundColor": "transparent",
        "textStyle": {"fontFamily": "Roboto, system-ui, sans-serif"},
        "grid": {"left": 48, "right": 46, "top": 34, "bottom": 40},
        "legend": {
            "top": 0,
            "itemHeight": 8,
            "textStyle": {"color": _TEXT},
            "data": ["Loss", "Accuracy"],
        },
        "tooltip": {
            "trigger": "axis",
            "backgroundColor": "#1a2430",
            "borderColor": _LINE,
            "textStyle": {"color": "#e8eef5"},
        },
        "xAxis": {
            "type": "value",
            "name": "Epoch",
            "nameLocation": "middle",
            "nameGap": 24,
            "min": 1,
            "max": max(total, 2),
            "minInterval": 1,
            **_axis(grid=False),
        },
        "yAxis": [
            {"type": "value", "scale": True, "splitNumber": 4, **_axis(grid=True)},
            {"type": "value", "min": 0, "max": 100, "interval": 25, **_axis(grid=False)}
            | {"axisLabel": {"color": _TEXT, "formatter": "{value} %"}},
        ],
        "series": [
            _line("Loss", LOSS_COLOUR, losses, axis=0),
            _line("Accuracy", ACCURACY_COLOUR, accuracies, axis=1),
        ],
    }


def _axis(*, grid: bool) -> dict[str, Any]:
    return {
        "nameTextStyle": {"color": _TEXT},
        "axisLabel": {"color": _TEXT, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": _LINE}},
        "splitLine": {"show": grid, "lineStyle": {"color": _LINE}},
    }


def _line(name: str, colour: str, data: list[Point], *, axis: int) -> dict[str, Any]:
    return {
        "name": name,
        "type": "line",
        "yAxisIndex": axis,
        "data": data,
        "showSymbol": len(data) < 3,
        "symbolSize": 6,
        "lineStyle": {"width": 2.5, "color": colour},
        "itemStyle": {"color": colour},
    }
