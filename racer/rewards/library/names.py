"""Every name that is there without being defined, and every module that can be imported."""

from __future__ import annotations

from collections.abc import Mapping

from racer.rewards.library.arrays import NUMPY
from racer.rewards.library.maths import MATH
from racer.rewards.library.python import PYTHON
from racer.rewards.values import Module, Value

BUILTINS: Mapping[str, Value] = PYTHON
MODULES: Mapping[str, Module] = {"math": MATH, "numpy": NUMPY}
