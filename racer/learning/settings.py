"""Hyperparameters of the trainer: one documented place, checked once.

The defaults were found by measurement; docs/decisions/0007-learning.md has the numbers.
"""

from __future__ import annotations

import dataclasses

from racer.errors import InvalidInputError

MAX_HIDDEN = 1024  # units: as wide as a policy may be to be exported
_MAX_WHOLE, _MAX_NUMBER = 2**21, 1e6  # beyond this nothing is meant, and memory or float32 ends
_SHARES = frozenset(
    {
        *("discount", "gae_lambda", "final_learning_rate", "along_course", "good_starts"),
        *("restarts", "finish_value", "target_rate", "average_rate"),
    }
)
_POSITIVE = frozenset({"initial_std", "initial_temperature", "guide_softness_m"})


@dataclasses.dataclass(frozen=True)
class AlgorithmSettings:
    """Hyperparameters of an algorithm: a frozen dataclass of whole numbers and numbers.

    Fields whose default is a whole number take whole numbers from 1, the others numbers from 0;
    shares end at 1. A subclass that wants more calls `super().__post_init__()` first.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = isinstance(field.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise InvalidInputError(f"Training: '{field.name}' must be {kind}.")
            low, high = (1, _MAX_WHOLE) if whole else (0, _MAX_NUMBER)
            high = {"hidden": MAX_HIDDEN}.get(field.name, 1 if field.name in _SHARES else high)
            if not low <= value <= high:  # also not when it is no number
                raise InvalidInputError(
                    f"Training: '{field.name}' must be from {low} to {high:,.0f}."
                )
            if field.name in _POSITIVE and value == 0.0:
                raise InvalidInputError(f"Training: '{field.name}' must be above 0.")


@dataclasses.dataclass(frozen=True)
class PpoSettings(AlgorithmSettings):
    """Proximal policy optimisation (Schulman et al. 2017) with the field's usual details."""

    num_envs: int = 1024  # drones flown at once
    rollout_steps: int = 64  # control steps of each between updates
    iterations_per_epoch: int = 3  # rollouts with their updates that make one epoch
    update_epochs: int = 3  # passes over a rollout
    minibatches: int = 32  # per pass
    hidden: int = 64  # units in each of the two hidden layers, of policy and value each
    learning_rate: float = 5e-3  # of Adam; falls linearly over the training
    final_learning_rate: float = 0.1  # share of it that is left at the end
    discount: float = 0.98  # per control step
    gae_lambda: float = 0.95  # bias against variance of the advantages
    clip: float = 0.3  # of the probability ratio
    value_weight: float = 0.5  # of the value error in the total loss
    entropy_weight: float = 0.001  # of the entropy bonus in the total loss
    initial_std: float = 0.4  # of the action noise, in units of the limits
    max_gradient_norm: float = 1.0  # gradients longer than this are shortened
    averaging: float = 0.99  # of the shown policy: share of it that an update keeps; 0: the newest
    along_course: float = 0.8  # share of training flights that start somewhere on the course
    good_starts: float = 0.0  # share that goes on where a good flight was a rollout ago instead
    restarts: float = 0.0  # share of the drones that return to the start before every rollout
    finish_value: float = 1.0  # what lies behind a finish or time-out: a share of the mean value
    std_floor: float = 0.0  # the action noise's standard deviation stays above this, …
    final_std_floor: float = 0.0  # … which moves in a straight line to this

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.averaging >= 1.0:
            raise InvalidInputError("Training: 'averaging' must be below 1.")
        if self.num_envs % self.minibatches:
            raise InvalidInputError(
                f"Training: 'minibatches' must divide num_envs = {self.num_envs}."
            )
        if self.batch_size > 2**21:
            raise InvalidInputError("Training: num_envs × rollout_steps must be 2,097,152 or less.")
        if self.batch_size * self.hidden > 2**28:  # numbers of a hidden layer: 1 GiB
            raise InvalidInputError(
                "Training: num_envs × rollout_steps × hidden must be 268,435,456 or less."
            )

    @property
    def batch_size(self) -> int:
        """Control steps of one rollout of all drones."""
        return self.num_envs * self.rollout_steps

    @property
    def steps_per_epoch(self) -> int:
        """Control steps flown in one epoch."""
        return self.batch_size * self.iterations_per_epoch
