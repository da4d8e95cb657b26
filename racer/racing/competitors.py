"""Who is rated and has a row on a leaderboard: a competitor. No JAX.

That is an account with a network and the manner in which it is flown. The network alone would not
do: everybody may upload a copy of it, and would take over what the first one has won, or lose it
for him. Nor would the account's id alone: SQLite may give that of a deleted account again.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import NamedTuple

from racer.policy.manifest import Manifest
from racer.sim.interface import ActionSpace


class Manner(NamedTuple):
    """All that a race takes from a manifest: the same network in another manner flies differently.

    What is told of a policy, its name and its training, is not in here.
    """

    action_space: ActionSpace
    control_hz: float
    substeps: int
    seen_obstacles: int
    velocity_limit_m_s: float
    yaw_limit_rad_s: float


def manner_of(manifest: Manifest) -> Manner:
    """How the manifest says that its network is to be flown."""
    return Manner(
        action_space=manifest.action_space,
        control_hz=manifest.control_hz,
        substeps=manifest.substeps,
        seen_obstacles=manifest.seen_obstacles,
        velocity_limit_m_s=manifest.limits.velocity_m_s,
        yaw_limit_rad_s=manifest.limits.yaw_rate_rad_s,
    )


def pilot_key(account_id: int, account_made: datetime) -> str:
    """The key of an account that flies by hand itself, as `competitor` makes it."""
    return _digest(account_id, account_made, "by hand")


def competitor(account_id: int, account_made: datetime, sha256: str, manner: Manner) -> str:
    """The competitor's key, 64 hexadecimal digits. `sha256` is the network's.

    Migration 0010 has a copy of this for what was entered before.
    """
    return _digest(account_id, account_made, sha256, *manner)


def _digest(account_id: int, account_made: datetime, *known: object) -> str:
    made = account_made.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(json.dumps([account_id, made, *known]).encode()).hexdigest()
