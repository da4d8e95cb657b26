"""Whether a controller would hear a command now: pure, no clock, no ROS 2.

DDS keeps a killed process's endpoints in its graph until their lease runs out (20 s with Fast DDS),
so "somebody subscribes to /control_commands" alone lies after a `kill -9`: a command published to
the dead subscription, before the new one is discovered, is lost. Two facts together do not lie:

- `/drone/state` (5 Hz) was heard within the last 1.5 s. Our subscription to it is announced after
  the one to the results, and DDS announces in order: who sends us states also sends us results.
- more subscriptions are matched than were matched when the controller was last known to be gone.
"""

from __future__ import annotations

SILENCE_S = 1.5  # seven missed states: the controller is gone, hung or stopped
THAW_S = 0.5  # a controller heard again without a new match for this long was only frozen


class ControllerPresence:
    """Fed with what the node hears; times are monotonic seconds."""

    def __init__(self) -> None:
        self._matched = 0
        self._matched_at_state = 0
        self._stale = 0
        self._must_match = False
        self._heard_s: float | None = None
        self._resumed_s = 0.0

    def on_matched(self, count: int) -> None:
        """The number of matched subscriptions to /control_commands is now `count`."""
        self._stale = max(0, self._stale - max(0, self._matched - count))  # the dead leave first
        self._matched = count
        if count > self._stale:
            self._must_match = False

    def on_state(self, now_s: float) -> None:
        """A state message was heard."""
        if self._heard_s is None or now_s - self._heard_s > SILENCE_S:
            self._resumed_s = now_s
            if not self._must_match:
                self._stale = min(self._matched, self._matched_at_state)
        self._heard_s = now_s
        self._matched_at_state = self._matched

    def on_death(self) -> None:
        """The controller is known to have ended: everything matched now belongs to the dead."""
        self._stale = self._matched
        self._must_match = True
        self._heard_s = None

    def ready(self, now_s: float) -> bool:
        """Whether a command published now reaches a living controller and is answered to us."""
        if self._heard_s is None or now_s - self._heard_s > SILENCE_S or self._matched == 0:
            return False
        if self._matched > self._stale:
            return True
        return not self._must_match and now_s - self._resumed_s > THAW_S
