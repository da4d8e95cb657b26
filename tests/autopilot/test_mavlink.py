"""The codec against pymavlink, both directions, and against bytes that are no MAVLink at all."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymavlink.dialects.v10 import common as dialect_v1
from pymavlink.dialects.v20 import development as dialect
from pymavlink.generator.mavcrc import x25crc

from racer.autopilot import mavlink
from racer.autopilot.mavlink import BY_NAME, Definition, Message, Parser, encode, parse, x25_crc

NAMES = sorted(BY_NAME)
per_message = settings(deadline=None, max_examples=15)  # times every message
thorough = settings(deadline=None, max_examples=200)
RANGES = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


def values_of(definition: Definition) -> st.SearchStrategy[dict[str, Any]]:
    """Every field of a message with any value that fits."""

    def scalar(kind: str) -> st.SearchStrategy[Any]:
        if kind == "f32":
            return st.floats(width=32, allow_nan=False)
        bits = RANGES[kind]
        if kind[0] == "u":
            return st.integers(0, 2**bits - 1)
        return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def whole(item: mavlink.Field) -> st.SearchStrategy[Any]:
        if item.kind == "char":
            return st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=item.length)
        if item.length:
            return st.lists(scalar(item.kind), min_size=item.length, max_size=item.length).map(
                tuple
            )
        return scalar(item.kind)

    return st.fixed_dictionaries({item.name: whole(item) for item in definition.fields})


def normal(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def peer(module: Any = dialect) -> Any:
    link = module.MAVLink(None, srcSystem=7, srcComponent=9)
    link.robust_parsing = True
    return link


@thorough
@given(st.binary(max_size=300))
def test_crc_is_pymavlinks(data: bytes) -> None:
    assert x25_crc(data) == x25crc(data).crc


@pytest.mark.parametrize("name", NAMES)
def test_definition_is_pymavlinks(name: str) -> None:
    ours, theirs = BY_NAME[name], dialect.mavlink_map[BY_NAME[name].id]
    assert theirs.msgname == name
    assert ours.crc_extra == theirs.crc_extra
    assert ours.layout.size == theirs.unpacker.size
    assert [item.name for item in ours.fields] == theirs.ordered_fieldnames


@pytest.mark.parametrize("name", NAMES)
@per_message
@given(data=st.data())
def test_pymavlink_reads_what_we_write(name: str, data: st.DataObject) -> None:
    values = data.draw(values_of(BY_NAME[name]))
    frame = encode(name, values, system=7, component=9, sequence=300)
    (message,) = peer().parse_buffer(frame)
    assert message.get_type() == name
    assert (message.get_srcSystem(), message.get_srcComponent(), message.get_seq()) == (7, 9, 44)
    assert {key: normal(getattr(message, key)) for key in values} == values


@pytest.mark.parametrize("name", NAMES)
@per_message
@given(data=st.data())
def test_we_read_what_pymavlink_writes(name: str, data: st.DataObject) -> None:
    definition = BY_NAME[name]
    values = data.draw(values_of(definition))
    theirs = dialect.mavlink_map[definition.id]
    in_xml_order = [
        values[key].encode() if isinstance(values[key], str) else values[key]
        for key in theirs.fieldnames
    ]
    frame = theirs(*in_xml_order).pack(peer())
    assert parse(bytes(frame)) == ([Message(name, values, 7, 9, 0)], b"")


@thorough
@given(values_of(BY_NAME["COMMAND_LONG"]))
def test_version_one_frames_are_read(values: dict[str, Any]) -> None:
    theirs = dialect_v1.mavlink_map[76]
    frame = theirs(*(values[key] for key in theirs.fieldnames)).pack(peer(dialect_v1))
    assert frame[0] == 0xFE
    assert parse(bytes(frame))[0] == [Message("COMMAND_LONG", values, 7, 9, 0)]


def test_a_signed_frame_is_read() -> None:
    link = peer()
    link.signing.secret_key = b"k" * 32
    link.signing.sign_outgoing = True
    frame = bytes(dialect.mavlink_map[4](123, 5, 1, 1).pack(link))
    follower = encode("PING", {"seq": 6}, system=1, component=1, sequence=0)
    assert [m.fields["seq"] for m in parse(frame + follower)[0]] == [5, 6]


def test_a_foreign_field_and_an_overflow_are_refused() -> None:
    with pytest.raises(KeyError, match="velocity"):
        encode("PING", {"velocity": 1}, system=1, component=1, sequence=0)
    with pytest.raises(struct.error):
        encode("PING", {"target_system": 256}, system=1, component=1, sequence=0)


@thorough
@given(st.binary(max_size=600))
def test_garbage_never_raises_and_is_no_message(data: bytes) -> None:
    messages, rest = parse(data)
    assert messages == []
    assert len(rest) <= 280 or rest[0] in (0xFD, 0xFE)


@thorough
@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 97))
def test_frames_are_found_between_garbage_in_any_pieces(junk: list[bytes], piece: int) -> None:
    stream, sent = b"", []
    for index, noise in enumerate([*junk, b""]):
        stream += noise + encode("PING", {"seq": index}, system=1, component=1, sequence=index)
        sent.append(index)
    stream += bytes(300)  # lets a half frame inside the noise prove itself garbage
    parser = Parser()
    found = [
        message.fields["seq"]
        for start in range(0, len(stream), piece)
        for message in parser.feed(stream[start : start + piece])
    ]
    assert found == sent


@thorough
@given(st.integers(1, 40), st.integers(0, 255))
def test_a_cut_off_or_damaged_frame_costs_only_itself(cut: int, flip: int) -> None:
    good = encode("PING", {"seq": 1, "time_usec": 2**60}, system=1, component=1, sequence=0)
    short = good[: min(cut, len(good) - 1)]
    assert [m.fields["seq"] for m in parse(short + good)[0]] == [1]
    damaged = bytearray(good)
    damaged[12] ^= flip
    assert len(parse(bytes(damaged) + good)[0]) == (1 if flip else 2)
