"""The course that training flies, which may differ from the one that is evaluated.

Wide openings let early flights get on; later ones a little narrower than the real ones leave the
policy a margin. Frames where the course has none end the flights that miss a gate: a drone that may
turn round and try again learns to do so, and slowly. It ends half-way to the nearest gate, so that
none stands in the way to another. Where displaced gates are seen from nearby only, a policy first
learns to steer at what it sees in time, then to fly so that the real range is enough: without that
it flies where gates should be, too fast to correct. All of this is data, so nothing is compiled
anew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from racer.learning.config import TrainingConfig
from racer.sim.task import Ranges, Task


def training_task(task: Task, config: TrainingConfig, *, epoch: int, hull_m: float) -> Task:
    """The task as training flies it in an epoch (1, 2, …); `hull_m`: the vehicle's radius."""
    done = min(1.0, (epoch - 1) / max(1.0, config.real_course_from * config.epochs))
    wide, narrow = config.first_opening, config.last_opening
    scale = np.float32(wide + (narrow - wide) * done)
    farther = np.float32(config.first_sight + (1.0 - config.first_sight) * done)
    gates = task.gates._replace(
        half_size=scale * task.gates.half_size,
        frame=np.maximum(task.gates.frame, np.minimum(_room(task), np.float32(config.miss_m))),
    )
    # A hull in front of a pole is hit with it: what is missing of both is taken from the pole.
    missing = np.float32((1.0 - config.first_poles) * (1.0 - done))
    radius = task.obstacles.radius - missing * (task.obstacles.radius + np.float32(hull_m))
    return task._replace(
        gates=gates,
        obstacles=task.obstacles._replace(radius=radius.astype(np.float32)),
        rewards=task.rewards._replace(crash=np.float32(config.caution) * task.rewards.crash),
        sight_range=farther * task.sight_range,
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
