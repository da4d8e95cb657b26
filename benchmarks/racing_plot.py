"""A flown line over its track, seen from above and from the side, coloured by speed."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection

from racer.learning.policy_evaluation import Evaluated

_VIEWS = ((0, 1, "x (m)", "y (m)"), (0, 2, "x (m)", "z (m)"))


def draw_flight(evaluated: Evaluated, path: Path) -> None:
    """Write a PNG of the first flight of an evaluation."""
    position = np.asarray(evaluated.flight["position"], np.float64)
    time = np.asarray(evaluated.flight["t"], np.float64)
    speed = np.linalg.norm(np.gradient(position, time, axis=0), axis=1)
    figure, axes = plt.subplots(2, 1, figsize=(7.0, 9.0), height_ratios=(3, 1), dpi=110)
    for axis, (right, up, x_label, y_label) in zip(axes, _VIEWS, strict=True):
        points = position[:, [right, up]]
        pieces = np.stack([points[:-1], points[1:]], axis=1)
        line = LineCollection(list(pieces), cmap="viridis", array=speed[:-1], linewidths=1.4)
        axis.add_collection(line)
        for number, gate in enumerate(evaluated.track.gates, start=1):
            ends = np.stack([gate.position + s * 0.5 * gate.size * gate.axes[1] for s in (-1, 1)])
            if up == 2:
                ends = np.stack(
                    [gate.position + s * 0.5 * gate.size * gate.axes[2] for s in (-1, 1)]
                )
            axis.plot(ends[:, right], ends[:, up], color="crimson", linewidth=2.5)
            axis.annotate(str(number), (gate.position[right], gate.position[up]), fontsize=9)
        for pole in evaluated.track.obstacles:
            foot = pole.position
            tip = foot + np.array([0.0, 0.0, pole.height])
            axis.plot([foot[right], tip[right]], [foot[up], tip[up]], "k.-")
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.set_aspect("equal")
        axis.autoscale_view()
    figure.colorbar(line, ax=axes, label="speed (m/s)", shrink=0.6)
    report = evaluated.report
    what = "flying lap" if report.laps > 1 else "from the start"
    lap = f", {what} {report.lap_time.mean:.3f} s" if report.lap_time else ""
    axes[0].set_title(f"{evaluated.track.name}: {report.completion:.0%} of {report.starts}{lap}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
