"""How often a policy may act, and its simulation step, where others wait for the flight. No JAX.

A manifest may come from a stranger, and its rates are what a flight costs. They decide what is
physics, too: at ten steps a second a vehicle would gain speed from rounding, and fly from gate to
gate in one straight step.
"""

from __future__ import annotations

from racer.errors import InvalidInputError

CONTROL_HZ = (10.0, 200.0)  # as trainings may have it
PHYSICS_HZ = (100.0, 2000.0)  # coarser steps would not be physics, finer ones cost for nothing


def check_rates(control_hz: float, substeps: int) -> None:
    """Raises InvalidInputError unless races and evaluations fly such a policy: `control_hz` actions
    per second, `substeps` steps of the simulation per action."""
    for what, value, (low, high) in (
        ("actions", control_hz, CONTROL_HZ),
        ("steps of the simulation", control_hz * substeps, PHYSICS_HZ),
    ):
        if not low <= value <= high:
            raise InvalidInputError(
                f"The policy asks for {value:g} {what} per second; in races and evaluations it may "
                f"be {low:g} to {high:g}. Train it at such a rate."
            )
