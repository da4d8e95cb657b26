"""The course that training flies, which may differ from the one that is evaluated.

Wide openings let early flights get on; later ones a little narrower than the real ones leave the
policy a margin. Frames where the course has none end the flights that miss a gate: a drone that may
turn round and try again learns to do so, and slowly. It ends half-way to the nearest gate, so that
none stands in the way to another. What a crash costs may be scaled, and change towards the end. All
of this is data, so nothing is compiled anew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from racer.learning.config import TrainingConfig
from racer.sim.task import Ranges, Task

_NARROWED = 0.5  # share of the training after which openings stay as they are, and caution changes


def training_task(task: Task, config: TrainingConfig, *, epoch: int) -> Task:
    """The task as training flies it in an epoch (1, 2, …)."""
    done = (epoch - 1) / max(1.0, _NARROWED * config.epochs)
    wide, narrow = config.first_opening, config.last_opening
    scale = np.float32(wide + (narrow - wide) * min(done, 1.0))
    gates = task.gates._replace(
        half_size=scale * task.gates.half_size,
        frame=np.maximum(task.gates.frame, np.minimum(_room(task), np.float32(config.miss_m))),
    )
    last = config.caution if config.final_caution is None else config.final_caution
    late = max(0.0, ((epoch - 1) / config.epochs - _NARROWED) / (1.0 - _NARROWED))
    caution = np.float32(config.caution + (last - config.caution) * late)
    return task._replace(
        gates=gates,
        rewards=task.rewards._replace(crash=caution * task.rewards.crash),
        ranges=_widened(task.ranges, np.float32(config.course_variation)),
    )


def _widened(ranges: Ranges | None, times: np.float32) -> Ranges | None:
    """Gates and poles that move farther than the course says; rare cases become usual ones."""
    if ranges is None:
        return None
    return ranges._replace(
        gate_position=times * ranges.gate_position,
        gate_yaw=times * ranges.gate_yaw,
        obstacle_position=times * ranges.obstacle_position,
    )


def _room(task: Task) -> NDArray[np.float32]:
    """(G,) m from every gate's opening to half-way to the nearest gate that stands elsewhere."""
    centres = np.stack(task.gates.centre, axis=-1)
    distances = np.linalg.norm(centres[:, None] - centres, axis=-1)
    apart = np.where(distances > 0.0, distances, np.inf).min(axis=1)
    room: NDArray[np.float32] = np.maximum(0.5 * apart - task.gates.half_size, 0.0)
    return room.astype(np.float32)
