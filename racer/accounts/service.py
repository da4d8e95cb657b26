"""What other slices have of accounts: the audit log, signing in, the check of a new drone model
beyond its fields' own ranges, and its deletion.

    from racer.accounts.service import audit
    audit.record(session, "race.delete", race.id)
"""

from __future__ import annotations

from racer.accounts import audit, tokens
from racer.accounts.deletion import delete_drone_model
from racer.accounts.signing_in import check_password, limits_of, sign_in
from racer.rewards.check import compile_source
from schemas import DroneDetails

__all__ = [
    "audit",
    "check_password",
    "check_reward",
    "delete_drone_model",
    "limits_of",
    "sign_in",
    "tokens",
]


def check_reward(details: DroneDetails) -> None:
    """Raises racer.rewards.diagnostics.InvalidRewardError when the reward function has errors.

    It takes up to half a second of one core for the worst text: call it in a thread.
    """
    source = details.flight_settings().reward
    if source is not None:
        compile_source(source)
