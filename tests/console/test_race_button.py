"""What stands between a person and a race, in words."""

from __future__ import annotations

from typing import Any

import pytest

from racer.console.race_button import obstacle

FLYING: dict[str, Any] = {"connected": True, "in_air": True, "phase": "hovering"}


def why(telemetry: dict[str, Any] | None = FLYING, **changes: bool) -> str | None:
    return obstacle(telemetry, **({"chosen": True, "trained": True, "racing": False} | changes))


def test_a_trained_model_and_a_flying_vehicle_can_race() -> None:
    assert why() is None
    assert why(FLYING | {"phase": "offboard"}) is None


@pytest.mark.parametrize(
    ("telemetry", "changes", "says"),
    [
        (FLYING, {"chosen": False, "trained": False}, "Choose a drone model"),
        (FLYING, {"trained": False}, "Train this model"),
        (None, {}, "no vehicle"),
        (FLYING | {"connected": False}, {}, "no vehicle"),
        (FLYING | {"in_air": False}, {}, "Take off first"),
        (FLYING, {"racing": True}, "Racing"),
        (FLYING | {"phase": "policy"}, {}, "Racing"),  # another page's
    ],
)
def test_what_is_missing_is_said(
    telemetry: dict[str, Any] | None, changes: dict[str, bool], says: str
) -> None:
    answer = why(telemetry, **changes)
    assert answer is not None
    assert says in answer
