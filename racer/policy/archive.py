"""A policy as one zip file: to send it, and to take one in that a stranger sent.

Nothing is extracted by the names in the archive: two members of known names are read, each up to
its limit, and written under our own. What else is in it is a reason to refuse.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from racer.errors import InvalidInputError, NotFoundError, UnavailableError
from racer.policy.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    MAX_POLICY_BYTES,
    POLICY_FILE,
)

README_FILE = "README.txt"
MAX_ARCHIVE_BYTES = MAX_POLICY_BYTES + MAX_MANIFEST_BYTES + (64 << 10)
_LIMITS = {
    POLICY_FILE: MAX_POLICY_BYTES,
    MANIFEST_FILE: MAX_MANIFEST_BYTES,
    README_FILE: 64 << 10,  # ours; passed over
}
_NEEDED = (POLICY_FILE, MANIFEST_FILE)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1  # of a member's flags (APPNOTE 4.4.4)
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the same policy is the same archive


def write_archive(file: IO[bytes], folder: Path, *, sha256: str) -> None:
    """Write the policy in `folder` to `file` as a zip that `read_archive` takes.

    Raises as `read_network` does.
    """
    network = read_network(folder, sha256=sha256)
    manifest = _read(folder / MANIFEST_FILE)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (
            (POLICY_FILE, network),
            (MANIFEST_FILE, manifest),
            (README_FILE, _README.encode()),
        ):
            member = zipfile.ZipInfo(name, _NO_TIME)
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)


def read_network(folder: Path, *, sha256: str) -> bytes:
    """The network's file. NotFoundError when it is missing, UnavailableError when it is not the
    one of that checksum."""
    content = _read(folder / POLICY_FILE)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UnavailableError(
            f"The policy's {POLICY_FILE} is damaged on the server's disk (checksum). Put it back "
            "from a backup."
        )
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(
            f"The policy's {path.name} is gone from the server's disk. Put its folder back from a "
            "backup, or delete the policy."
        ) from error


def read_archive(path: Path) -> dict[str, bytes]:
    """The network's and the manifest's bytes by their file names.

    Raises InvalidInputError that says why the archive is none of a policy.
    """
    if path.stat().st_size > MAX_ARCHIVE_BYTES:
        raise InvalidInputError(f"A policy's zip has at most {MAX_ARCHIVE_BYTES} bytes.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive.infolist())
            return {name: _content(archive, members[name]) for name in _NEEDED}
    except InvalidInputError:
        raise
    except Exception as error:  # zipfile raises many that share no base class
        raise InvalidInputError(
            f"The upload is not a zip file that can be read ({type(error).__name__}). Send one of "
            f"{POLICY_FILE} and {MANIFEST_FILE}."
        ) from error


def _members(infos: list[zipfile.ZipInfo]) -> Mapping[str, zipfile.ZipInfo]:
    """By name, after a look at what the directory says of each."""
    if len(infos) > len(_LIMITS):
        raise _foreign(f"it has {len(infos)} files")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # orig_filename: zipfile cuts a name at a NUL
        name = info.orig_filename
        if name not in _LIMITS or name != info.filename:
            raise _foreign(f"{name[:80]!a} is none of its files")
        if name in members:
            raise _foreign(f"{name} is in it twice")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _foreign(f"{name} is a link or another special file")
        if info.flag_bits & _ENCRYPTED:
            raise _foreign(f"{name} is encrypted")
        if info.compress_type not in _METHODS:
            raise _foreign(f"{name} is compressed in another way than deflate")
        if info.file_size > _LIMITS[name]:
            raise _foreign(f"{name} is larger than {_LIMITS[name]} bytes")
        members[name] = info
    for name in _NEEDED:
        if name not in members:
            raise _foreign(f"{name} is missing")
    return members


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes. The directory may lie about the size, hence the limit while reading; the
    checksum is checked at the end."""
    with archive.open(info) as file:
        content = file.read(_LIMITS[info.filename] + 1)
    if len(content) != info.file_size:
        raise _foreign(f"{info.filename} has another size than the archive says")
    return content


def _foreign(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"The zip is none of a policy: {why}. It holds {POLICY_FILE} and {MANIFEST_FILE}, without "
        f"a folder around them, and nothing else but a {README_FILE}."
    )


def nesting(value: Any) -> int:
    """How deep lists and tables lie in each other."""
    deepest, level = 0, [value]
    while level:
        inner = [v.values() if isinstance(v, Mapping) else v for v in level if _is_inner(v)]
        level = [part for values in inner for part in values]
        deepest += bool(inner)
    return deepest


def _is_inner(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)


_README = """\
A trained policy for a racing drone, kept by Toledo Racer.

policy.onnx    the network: raw observation in, action out
manifest.json  what one must know to fly it: course, vehicle, limits, what each number means

Unpack both into a folder of their own, here called DIR. Then, with Toledo Racer installed:

  python -m racer evaluate --policy DIR     fly it in simulation: lap times, crashes
  python -m racer fly --policy DIR          race it on a vehicle over MAVSDK

Another server takes this zip as it is: POST it to /users/NAME/policies, content type
application/zip. docs/policies.md describes both files.
"""
