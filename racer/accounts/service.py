"""What the API and the console both check in a new drone model beyond its fields' own ranges."""

from __future__ import annotations

from racer.rewards.check import compile_source
from schemas import DroneDetails


def check_reward(details: DroneDetails) -> None:
    """Raises racer.rewards.diagnostics.InvalidRewardError when the reward function has errors.

    It takes up to half a second of one core for the worst text: call it in a thread.
    """
    source = details.flight_settings().reward
    if source is not None:
        compile_source(source)
