"""A small MAVLink 2 codec: messages are data (`racer.autopilot.messages`), framing is one page.

Why our own: pymavlink is LGPL and spends most of a control tick on building one message object.
Here a message is a name and a dict; encoding packs the wire-ordered values with one compiled
`struct`. Sends version 2 frames only; reads versions 1 and 2. Whatever arrives, parsing never
raises: bytes that are no valid frame are skipped one at a time, so that a frame behind garbage or
behind a cut-off frame is still found.

Sources: mavlink.io "Packet Serialization" (framing, truncation, CRC) and "MAVLink XML Schema"
(field reordering, CRC_EXTRA).
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from racer.autopilot.messages import DEFINITIONS

_STX_V1: Final = 0xFE
_STX_V2: Final = 0xFD
_SIGNED: Final = 0x01  # incompatibility flag; the only one that exists
_SIGNATURE_BYTES: Final = 13
_HEADER_V1: Final = struct.Struct("<BBBBBB")
_HEADER_V2: Final = struct.Struct("<BBBBBBBHB")  # the message id is 24 bits: low 16, high 8

# short name -> (struct code, bytes, the name that CRC_EXTRA hashes)
_TYPES: Final = {
    "u8": ("B", 1, "uint8_t"),
    "i8": ("b", 1, "int8_t"),
    "char": ("s", 1, "char"),
    "u16": ("H", 2, "uint16_t"),
    "i16": ("h", 2, "int16_t"),
    "u32": ("I", 4, "uint32_t"),
    "i32": ("i", 4, "int32_t"),
    "f32": ("f", 4, "float"),
    "u64": ("Q", 8, "uint64_t"),
    "i64": ("q", 8, "int64_t"),
}
_MIRROR: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ENTRY: Final = re.compile(r"^(\d+) (\w+): (.*)$", re.DOTALL)
_FIELD: Final = re.compile(r"^(\w+?)(?:\[(\d+)\])?\s+(\w+)$")


def x25_crc(data: bytes) -> int:
    """MAVLink's checksum (CRC-16/MCRF4XX), at C speed.

    It is the CCITT polynomial, which `binascii.crc_hqx` computes, with every bit order mirrored.
    """
    crc = binascii.crc_hqx(data.translate(_MIRROR), 0xFFFF)
    return _MIRROR[crc & 0xFF] << 8 | _MIRROR[crc >> 8]


@dataclass(frozen=True)
class Field:
    """One field: `length` is 0 for a scalar; `kind` is a key of the type table."""

    name: str
    kind: str
    length: int

    @property
    def code(self) -> str:
        """The `struct` code of the whole field."""
        return f"{self.length or ''}{_TYPES[self.kind][0]}"


@dataclass(frozen=True)
class Definition:
    """One message: `fields` in wire order, the first `base` of them before the extensions."""

    id: int
    name: str
    fields: tuple[Field, ...]
    base: int

    @cached_property
    def layout(self) -> struct.Struct:
        """Packs and unpacks a whole payload."""
        return struct.Struct("<" + "".join(f.code for f in self.fields))

    @cached_property
    def base_size(self) -> int:
        """Payload bytes without extensions: all that a version 1 frame carries."""
        return struct.calcsize("<" + "".join(f.code for f in self.fields[: self.base]))

    @cached_property
    def crc_extra(self) -> int:
        """The byte by which both sides agree on the definition."""
        text = bytearray(f"{self.name} ".encode())
        for item in self.fields[: self.base]:
            text += f"{_TYPES[item.kind][2]} {item.name} ".encode()
            if item.length:
                text.append(item.length)
        crc = x25_crc(bytes(text))
        return (crc & 0xFF) ^ (crc >> 8)

    @cached_property
    def blank(self) -> dict[str, Any]:
        """Each field in wire order, as it is when nobody fills it in."""
        return {f.name: _blank(f) for f in self.fields}

    @cached_property
    def scalar(self) -> bool:
        """No field is an array or a text."""
        return not any(f.length for f in self.fields)

    def pack(self, values: Mapping[str, Any]) -> bytes:
        """The payload, untruncated; absent fields are zero. Raises KeyError on a foreign field."""
        filled = {**self.blank, **values}
        if len(filled) != len(self.fields):
            unknown = sorted(set(values) - set(self.blank))
            raise KeyError(f"{self.name} has no field {', '.join(unknown)}")
        if self.scalar:
            return self.layout.pack(*filled.values())
        flat: list[Any] = []
        for item, value in zip(self.fields, filled.values(), strict=True):
            if item.kind == "char":
                flat.append(value.encode("ascii", "replace")[: item.length])
            elif item.length:
                flat.extend(value)
            else:
                flat.append(value)
        return self.layout.pack(*flat)

    def unpack(self, payload: bytes) -> dict[str, Any]:
        """Every field of a payload that may be truncated or longer than we know."""
        size = self.layout.size
        flat = iter(self.layout.unpack(payload[:size].ljust(size, b"\0")))
        return {item.name: _take(item, flat) for item in self.fields}


def _blank(item: Field) -> Any:
    if item.kind == "char":
        return ""
    return (0,) * item.length if item.length else 0


def _take(item: Field, flat: Iterator[Any]) -> Any:
    """The next field's value: a number, a tuple of numbers, or text up to its first NUL."""
    if item.kind == "char":
        return next(flat).split(b"\0", 1)[0].decode("ascii", "replace")
    if item.length:
        return tuple(next(flat) for _ in range(item.length))
    return next(flat)


def _define(entry: str) -> Definition:
    match = _ENTRY.match(entry)
    if match is None:
        raise ValueError(f"Not a message definition: {entry!r}")
    base_text, _, extension_text = match[3].partition("|")
    base, extensions = _fields(base_text), _fields(extension_text)
    base.sort(key=lambda f: -_TYPES[f.kind][1])  # stable: largest types first, else as written
    return Definition(int(match[1]), match[2], tuple(base + extensions), len(base))


def _fields(text: str) -> list[Field]:
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _FIELD.match(part)
        if match is None or match[1] not in _TYPES:
            raise ValueError(f"Not a field: {part!r}")
        found.append(Field(match[3], match[1], int(match[2] or 0)))
    return found


_ENTRIES: Final = re.split(r"\n(?=\d)", " ".join(DEFINITIONS.strip().split("\n    ")))
BY_NAME: Final = {d.name: d for d in map(_define, _ENTRIES)}
BY_ID: Final = {d.id: d for d in BY_NAME.values()}


@dataclass(frozen=True)
class Message:
    """A received message; `fields` holds every field of its definition."""

    name: str
    fields: dict[str, Any]
    system: int
    component: int
    sequence: int = 0
    id: int = field(default=0, compare=False)


def encode(
    name: str,
    values: Mapping[str, Any],
    *,
    system: int,
    component: int,
    sequence: int,
) -> bytes:
    """One version 2 frame. Raises KeyError on an unknown message or field, struct.error on a value
    that does not fit its field.
    """
    definition = BY_NAME[name]
    payload = definition.pack(values).rstrip(b"\0") or b"\0"  # the first byte always stays
    header = _HEADER_V2.pack(
        _STX_V2,
        len(payload),
        0,
        0,
        sequence & 0xFF,
        system,
        component,
        definition.id & 0xFFFF,
        definition.id >> 16,
    )
    crc = x25_crc(header[1:] + payload + bytes((definition.crc_extra,)))
    return header + payload + crc.to_bytes(2, "little")


class Parser:
    """Finds messages in a byte stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes; an unfinished frame waits for the next call."""
        messages, self._rest = parse(self._rest + data)
        return messages


def parse(data: bytes) -> tuple[list[Message], bytes]:
    """Every valid message in `data`, and the tail that may be the beginning of another.

    A datagram is parsed on its own: its tail can be dropped.
    """
    messages: list[Message] = []
    position = 0
    tail: int | None = None
    while position < len(data):
        if data[position] not in (_STX_V1, _STX_V2):
            position += 1
            continue
        size = _frame_size(data, position)
        if size is None or position + size > len(data):
            # Perhaps a frame that is still arriving, perhaps garbage that looks like one: keep
            # the bytes, and look behind it only when a complete frame there proves it garbage.
            tail = position if tail is None else tail
            position += 1
            continue
        message = _read(data[position : position + size])
        if message is None:
            position += 1
            continue
        messages.append(message)
        position += size
        tail = None
    return messages, b"" if tail is None else data[tail:]


def _frame_size(data: bytes, start: int) -> int | None:
    """Bytes of the frame that begins at `start`; None while its header is incomplete."""
    if len(data) - start < 3:
        return None
    payload = data[start + 1]
    if data[start] == _STX_V1:
        return _HEADER_V1.size + payload + 2
    signature = _SIGNATURE_BYTES if data[start + 2] & _SIGNED else 0
    return _HEADER_V2.size + payload + 2 + signature


def _read(frame: bytes) -> Message | None:
    """The message in one complete frame; None if it is none, unknown to us or damaged."""
    if frame[0] == _STX_V1:
        _, length, sequence, system, component, message_id = _HEADER_V1.unpack_from(frame)
        start = _HEADER_V1.size
    else:
        if frame[2] & ~_SIGNED:
            return None  # a flag we do not know changes what the bytes mean
        header = _HEADER_V2.unpack_from(frame)
        _, length, _, _, sequence, system, component, low, high = header
        message_id = low | high << 16
        start = _HEADER_V2.size
    definition = BY_ID.get(message_id)
    if definition is None or (frame[0] == _STX_V1 and length < definition.base_size):
        return None
    end = start + length
    crc = x25_crc(frame[1:end] + bytes((definition.crc_extra,)))
    if crc != int.from_bytes(frame[end : end + 2], "little"):
        return None
    fields = definition.unpack(frame[start:end])
    return Message(definition.name, fields, system, component, sequence, message_id)
