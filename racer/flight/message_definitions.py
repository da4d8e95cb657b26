"""What a ROS 2 type looks like, in the text that MCAP's `ros2msg` encoding wants.

https://mcap.dev/spec/registry#ros2msg: the type's .msg file, then those of all types in it, each
after a line of 80 `=` and one that names it. The files come with the packages of the messages.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

_BUILT_IN = frozenset(
    {
        *("bool", "byte", "char", "string", "wstring"),
        *(f"float{bits}" for bits in (32, 64)),
        *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    }
)
_FIELD = re.compile(r"^([\w/]+)(?:<=\d+)?(?:\[[^]]*\])?\s+\w+", re.MULTILINE)


@cache
def definition(type_name: str) -> str:
    """Of a type like `nav_msgs/msg/Odometry`. Raises FileNotFoundError if no package has it."""
    texts = {type_name: _text(type_name)}
    waiting = [type_name]
    while waiting:
        outer = waiting.pop(0)
        for inner in _types_in(outer, texts[outer]):
            if inner not in texts:
                texts[inner] = _text(inner)
                waiting.append(inner)
    first, *others = texts
    parts = [texts[first]]
    parts += [f"{'=' * 80}\nMSG: {_short(name)}\n{texts[name]}" for name in others]
    return "\n".join(parts)


def _text(type_name: str) -> str:
    """A sourced ROS 2 comes before the packages in our own environment, as when importing."""
    prefixes = [
        *filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)),
        sys.prefix,
    ]
    for prefix in prefixes:
        path = Path(prefix, "share", f"{type_name}.msg")
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(f"No ROS 2 package has {type_name}; looked in {prefixes}.")


def _types_in(type_name: str, text: str) -> list[str]:
    """The message types of its fields, in order, by their full names."""
    package = type_name.split("/", maxsplit=1)[0]
    found = (match[1] for match in _FIELD.finditer(text))
    return [_full(name, package) for name in found if name not in _BUILT_IN]


def _full(name: str, package: str) -> str:
    """`Pose` in geometry_msgs, and `geometry_msgs/Pose`, are `geometry_msgs/msg/Pose`."""
    *outer, last = name.split("/")
    return f"{outer[0] if outer else package}/msg/{last}"


def _short(type_name: str) -> str:
    return type_name.replace("/msg/", "/")
