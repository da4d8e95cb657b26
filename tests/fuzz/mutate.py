"""Valid inputs made hostile: cut, spliced, repeated, nested, and full of values that break parsers.

Everything is drawn from the `random.Random` that is given, so that a seed and an index are an
input. Inputs are bytes; text is UTF-8 in which half a surrogate pair is allowed (`surrogatepass`),
because JSON's escapes can say one.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

Mutator = Callable[[random.Random, Sequence[bytes]], bytes]

_HUGE = ("9" * 400, "9" * 4299, "9" * 5000, "1e999", "-1e999", "1" + "0" * 20, "0." + "1" * 900)
_NUMBERS = (
    *("0", "-0", "-1", "1", "1e-400", "2147483648", "9223372036854775808", "-9223372036854775809"),
    *("NaN", "nan", "Infinity", "-inf", "0x1F", "1_000", "1.", ".5", "1e", "+1", "٣", "１"),
    *_HUGE,
)
_TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\\u0000",
        "\ud83d",
        "\\ud83d",
        "\u202e",
        "\ufeff",
        "é",
        "e\u0301",
        "\U0001f681",
    ),
    *("../../etc/passwd", "%00", "%s%n", "'; --", "<script>", "${x}", "\x1b[31m", "\r\n", "\x85"),
    *("a" * 300, "\\" * 500, '"' * 99, "x\n" * 400, "me", "null", "true", "1979-05-27"),
)
_NESTS = (
    "[" * 40,
    "[" * 3000,
    '{"a":' * 40,
    '{"a":' * 1500,
    "(" * 40,
    "(" * 3000,
    "-" * 40,
    "]" * 9,
)
NASTY = (*_NUMBERS, *_TEXTS, *_NESTS)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 1e-320, 2**31, 2**63, -(2**63) - 1, 10**400),
    *(float("nan"), float("inf"), float("-inf"), [], {}, [[]], [None], {"": None}, [1, 2, 3]),
    *_TEXTS,
)
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


_MOST_PLACES = 3000


def encoded(text: str) -> bytes:
    """As inputs hold it."""
    return text.encode("utf-8", "surrogatepass")


def decoded(data: bytes) -> str:
    """The text of an input; bytes that are none come out as what a decoder puts in their place."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def raw(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Bytes flipped, overwritten, cut out, repeated and spliced."""
    data = bytearray(rng.choice(corpus))
    for _ in range(_times(rng)):
        at, size = _span(rng, len(data))
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 4] = rng.choice(
                    (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f")
                )
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size] * rng.choice((1, 1, 2, 50))
            case 4:
                del data[at:]
            case 5:
                other = rng.choice(corpus)
                start, length = _span(rng, len(other))
                data[at:at] = other[start : start + length]
            case 6:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case _:
                data[at:at] = encoded(rng.choice(NASTY))
    return bytes(data)


def words(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Words and lines of a text exchanged, dropped, doubled, and taken from other texts."""
    text = decoded(rng.choice(corpus))
    parts = _TOKEN.findall(text) if rng.random() < 0.7 else text.splitlines(keepends=True)
    for _ in range(_times(rng)):
        at, size = _span(rng, len(parts))
        match rng.randrange(8):
            case 0 | 1:
                parts[at : at + 1] = [rng.choice(NASTY)]
            case 2:
                del parts[at : at + size]
            case 3:
                parts[at:at] = parts[at : at + size] * rng.choice((1, 1, 2, 40))
            case 4 if parts:
                other = rng.randrange(len(parts))
                at %= len(parts)
                parts[at], parts[other] = parts[other], parts[at]
            case 5:
                others = _TOKEN.findall(decoded(rng.choice(corpus)))
                start, length = _span(rng, len(others))
                parts[at:at] = others[start : start + length]
            case 6 if parts:
                parts[at % len(parts)] = rng.choice(parts)
            case _:
                parts[at : at + 1] = [rng.choice(_NUMBERS)]
    return encoded("".join(parts))


def tree(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """JSON with values exchanged, keys dropped, added and doubled, and wrapped in each other."""
    chosen = rng.choice(corpus)
    if chosen[:1] not in (b"{", b"["):  # bare words
        return words(rng, corpus)
    value = json.loads(chosen)
    try:
        for _ in range(_times(rng)):
            value = _changed(rng, value)
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    except RecursionError:  # deeper than Python can write
        return encoded(rng.choice(_NESTS))
    if rng.random() < 0.1 and (place := text.find("{")) >= 0:  # the same key twice
        text = f"{text[: place + 1]}{json.dumps(_any_key(rng, value))}: 7, {text[place + 1 :]}"
    return encoded(text)


def mixed(*mutators: tuple[float, Mutator]) -> Mutator:
    """One of several, each as often as its weight says."""
    weights, kinds = [weight for weight, _ in mutators], [kind for _, kind in mutators]

    def one(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
        return rng.choices(kinds, weights)[0](rng, corpus)

    return one


as_json = mixed((6, tree), (2, words), (1, raw))
as_text = mixed((5, words), (1, raw))


def _times(rng: random.Random) -> int:
    return rng.choice((0, 1, 1, 1, 1, 2, 2, 3, 5, 8))


def _span(rng: random.Random, length: int) -> tuple[int, int]:
    """Where something begins and how long it is; mostly short."""
    at = rng.randrange(length + 1)
    return at, rng.choice((1, 1, 1, 2, 4, 8, 32, length))


def _changed(rng: random.Random, value: Any) -> Any:  # noqa: PLR0912 - a branch a change
    places = _places(value)
    many = 70 if len(places) < 500 else 1  # what grows each time would fill the memory
    if len(places) > _MOST_PLACES:
        return value
    if not places or rng.random() < 0.03:
        return rng.choice((_value(rng), [value], {"a": value}, [value] * many))
    holder, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1:
            depth = rng.choice((1, 3, 17, 90))
            for _ in range(depth):
                holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
        case 2 if isinstance(holder, dict):
            holder[rng.choice((*_TEXTS, "extra", "a" * 3000))] = _value(rng)
        case 2 if isinstance(holder, list):
            holder[key:key] = [holder[key]] * rng.choice((1, 2, many))
        case 3:
            other, name = rng.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                holder[key] = copy.deepcopy(other[name])
        case 4 if isinstance(holder[key], (int, float)):
            holder[key] = holder[key] * rng.choice((-1, 2, 1000))
        case 4 if isinstance(holder[key], str):
            holder[key] += rng.choice(_TEXTS)
        case 5:
            holder[key] = rng.choice(_NUMBERS)
        case _:
            holder[key] = _value(rng)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in it where a value stands, as its holder and the key or index there."""
    found: list[tuple[Any, Any]] = []
    level = [value]
    while level and len(found) <= _MOST_PLACES:  # parts are shared: all of it may be endless
        holder = level.pop()
        keys = (
            holder
            if isinstance(holder, dict)
            else range(len(holder))
            if isinstance(holder, list)
            else ()
        )
        for key in keys:
            found.append((holder, key))
            level.append(holder[key])
    return found


def _value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(_VALUES))  # what it goes into is changed further


def _any_key(rng: random.Random, value: Any) -> str:
    keys = [key for holder, key in _places(value) if isinstance(holder, dict)]
    return rng.choice(keys) if keys else "a"
