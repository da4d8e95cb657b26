"""What one installation allows in the air, and how long it waits for a pilot."""

from __future__ import annotations

from dataclasses import dataclass, field

from racer.flight.authority import Patience
from racer.flight.fence import Fence, SpeedLimits


@dataclass(frozen=True, slots=True)
class Rules:
    """The defaults keep a newcomer over the courses that we ship."""

    fence: Fence = field(default_factory=Fence)
    limits: SpeedLimits = field(default_factory=SpeedLimits)
    patience: Patience = field(default_factory=Patience)
