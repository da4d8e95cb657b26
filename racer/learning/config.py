"""What one training is told: a flat JSON object, read into a frozen dataclass and checked once.

The keys are the fields of TrainingConfig; beside them stand the hyperparameters of the chosen
algorithm (racer.learning.settings and the algorithm's module). `recipe` names a file of such keys
in racer/learning/recipes: known tasks with settings that were found to work; what is given beside
it wins.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from racer.errors import InvalidInputError, NotFoundError
from racer.learning.algorithm import settings_class
from racer.learning.settings import AlgorithmSettings, PpoSettings
from racer.sim.interface import ActionSpace

_RECIPES = Path(__file__).parent / "recipes"
_RANGES = {  # the same as the product's front door promises
    "velocity_limit_m_s": (0.5, 20.0),
    "yaw_limit_deg_s": (5.0, 360.0),
    "wind_speed_m_s": (0.0, 15.0),
    "control_hz": (10.0, 200.0),
    "heading_spread_deg": (0.0, 90.0),
    "start_spread_m": (0.0, 1.5),
    "altitude_m": (1.5, 100.0),
    "calm": (0.0, 10.0),
    "first_opening": (0.5, 5.0),
    "last_opening": (0.5, 5.0),
    "miss_m": (0.0, 2.0),
    "caution": (0.0, 100.0),
    "real_course_from": (0.0, 1.0),
    "course_variation": (0.0, 3.0),
    "first_sight": (1.0, 10.0),
    "first_poles": (0.0, 1.0),
}
_COUNTS = {
    "epochs": (1, 10_000),
    "seed": (0, 2**31 - 1),
    "substeps": (1, 32),
    "evaluation_starts": (1, 4096),
    "laps": (1, 20),
}
_MAY_BE_NULL = {"altitude_m", "heading_spread_deg", "start_spread_m", "laps"}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """A training, key by key. Any field of the algorithm's settings may stand beside."""

    algorithm: str = "ppo"
    epochs: int = 20
    seed: int = 0
    track: str = "toledo"  # a shipped course or a path to a TOML file
    airframe: str = "x500"  # likewise
    laps: int | None = None  # null: as many as the course says
    altitude_m: float | None = None  # mean height of the gates; null: where the course has them
    velocity_limit_m_s: float = 8.0
    yaw_limit_deg_s: float = 90.0
    wind_speed_m_s: float = 0.0  # mean; gusts come with it
    heading_spread_deg: float | None = None  # starts look at most so far off; null: 57, or any way
    start_spread_m: float | None = None  # starts are at most so far off along an axis; null: 1.5
    randomise: bool = False  # every flight gets a slightly different vehicle and course
    vary_vehicle: bool = True  # randomise vehicle and wind too; false: only what the course says
    action_space: ActionSpace = "velocity"  # "velocity" or "ctbr"
    control_hz: float = 25.0  # actions per second
    substeps: int = 8  # of flight controller and physics per action
    whole_legs: bool = False  # the built-in reward's metres do not depend on the line through gates
    calm: float = 1.0  # scales what body rates cost in the built-in reward
    first_opening: float = 2.0  # in training, gates are this many times as wide at first …
    last_opening: float = 1.0  # … and this many times later
    first_sight: float = 1.0  # what is displaced is seen from so many times as far at first
    first_poles: float = 1.0  # share of a pole and of the hull around it that is solid at first
    real_course_from: float = 0.5  # share of the training after which these change no more
    miss_m: float = 1.0  # in training, frames are this wide at least: missing a gate ends a flight
    course_variation: float = 1.0  # with randomise: gates and poles move so many times as far
    caution: float = 1.0  # scales what a crash costs in the built-in reward
    reward: str | None = None  # a user's reward function; null: the built-in reward
    evaluation_starts: int = 64  # deterministic flights that `accuracy` is counted on
    initial: str | None = None  # another training's policy.safetensors; from the output folder
    compile_cache: str | None = None  # folder that keeps compiled programs for the next training
    settings: AlgorithmSettings = dataclasses.field(default_factory=PpoSettings)

    def __post_init__(self) -> None:
        for key, (low, high) in _COUNTS.items():
            _check(key, getattr(self, key), low, high, kind="whole number", types=(int,))
        for key, (least, most) in _RANGES.items():
            _check(key, getattr(self, key), least, most, kind="number", types=(int, float))
        for key in ("algorithm", "track", "airframe"):
            if not isinstance(getattr(self, key), str):
                raise InvalidInputError(f"'{key}' must be a text.")
        for key in ("compile_cache", "reward", "initial"):
            if not isinstance(getattr(self, key), str | None):
                raise InvalidInputError(f"'{key}' must be a text or null.")
        for key in ("randomise", "vary_vehicle", "whole_legs"):
            if not isinstance(getattr(self, key), bool):
                raise InvalidInputError(f"'{key}' must be true or false.")
        if self.action_space not in (spaces := get_args(ActionSpace)):
            raise InvalidInputError(f"'action_space' must be one of {', '.join(spaces)}.")
        if not isinstance(self.settings, settings_class(self.algorithm)):
            raise InvalidInputError(f"The settings are not those of '{self.algorithm}'.")

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> TrainingConfig:
        """Read a parsed JSON object; InvalidInputError names the key that is wrong.

        A key `recipe` stands for the keys of that recipe, which the others override.
        """
        given = dict(given)
        if (recipe := given.pop("recipe", None)) is not None:
            given = read_recipe(recipe) | given
        own = {field.name for field in dataclasses.fields(cls)} - {"settings"}
        algorithm = given.get("algorithm", "ppo")
        if not isinstance(algorithm, str):
            raise InvalidInputError("'algorithm' must be a text.")
        settings = settings_class(algorithm)
        tuning = {field.name for field in dataclasses.fields(settings)}
        if unknown := set(given) - own - tuning:
            raise InvalidInputError(f"Unknown key '{min(unknown)}' in the training configuration.")
        chosen = settings(**{key: value for key, value in given.items() if key in tuning})
        return cls(**{key: value for key, value in given.items() if key in own}, settings=chosen)

    def to_mapping(self) -> dict[str, Any]:
        """The flat JSON object of everything that has to do with the result, defaults included."""
        flat = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        settings = flat.pop("settings")
        del flat["compile_cache"]
        return flat | dataclasses.asdict(settings)


def recipes() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(file.stem for file in _RECIPES.glob("*.toml"))


def read_recipe(name: object) -> dict[str, Any]:
    """The keys of a shipped recipe; NotFoundError when there is none of that name."""
    if name not in recipes():
        raise NotFoundError(f"There is no recipe '{name}'. Shipped ones: {', '.join(recipes())}.")
    return tomllib.loads((_RECIPES / f"{name}.toml").read_text(encoding="utf-8"))


def _check(
    key: str, value: object, low: float, high: float, *, kind: str, types: tuple[type, ...]
) -> None:
    if value is None and key in _MAY_BE_NULL:
        return
    right = isinstance(value, types) and not isinstance(value, bool)
    if not right or not low <= value <= high:  # type: ignore[operator]  # a number, by `right`
        raise InvalidInputError(f"'{key}' must be a {kind} from {low:g} to {high:g}.")
