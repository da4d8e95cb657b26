"""What is done with policies in a process of its own: `python -m racer.policy.tasks TASK …`.

    unpack ZIP FOLDER      take a stranger's archive in and check it as `check` does
    export FOLDER          policy.onnx and manifest.json of the weights in FOLDER, then check
    check FOLDER           load and probe; weights that are another network's are deleted
    safetensors FOLDER OUT
    openvino FOLDER OUT

A network's graph is run by native code, and a stranger's zip may grow: whatever they do happens to
this process, which has limits on time, memory and files. It answers with one JSON object on
standard output: `{"ok": …}`, or `{"error": "a sentence", "kind": …}`, the
kind being the name of a class in racer.errors.
"""

from __future__ import annotations

import errno
import hashlib
import json
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from racer.errors import InvalidInputError, RacerError, UnavailableError
from racer.files import write_new
from racer.process import die_with_parent

CPU_S = 30
_MEMORY_BYTES = 8 << 30  # of addresses: native libraries reserve far more than they use
_FILE_BYTES = 128 << 20
_DEEPEST = 16  # tables in each other, in a manifest; ours have four

Task = Callable[[list[Path]], dict[str, Any]]


def main(arguments: list[str]) -> int:
    """Do one task and print its answer; the exit code is 0 when there is one."""
    die_with_parent()
    for limit, ours in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        most = _lowest(limit, ours)
        resource.setrlimit(limit, (most, most))
    name, *paths = arguments
    print(json.dumps(_answer(_TASKS[name], [Path(path) for path in paths])), flush=True)
    return 0


def _lowest(limit: int, ours: int) -> int:
    """Whoever starts us may have set less, and more is not ours to ask for."""
    soft, _ = resource.getrlimit(limit)
    return ours if soft == resource.RLIM_INFINITY else min(soft, ours)


def _answer(task: Task, paths: list[Path]) -> dict[str, Any]:
    try:
        answer = {"ok": task(paths)}
        json.dumps(answer, allow_nan=False)
    except RacerError as error:
        return {"error": error.message, "kind": type(error).__name__}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        why = "The server's disk is full" if full else f"The server's disk: {error.strerror}"
        return {"error": f"{why}. Make room, then try again.", "kind": UnavailableError.__name__}
    except Exception as error:  # noqa: BLE001 - the last edge; what was to be read is a stranger's
        told = f"The policy cannot be read: {type(error).__name__}: {str(error)[:200]}"
        return {"error": told, "kind": InvalidInputError.__name__}
    return answer


def _unpack(paths: list[Path]) -> dict[str, Any]:
    from racer.policy.archive import read_archive  # noqa: PLC0415

    archive, folder = paths
    for name, content in read_archive(archive).items():
        write_new(folder / name, content)
    return _check([folder])


def _export(paths: list[Path]) -> dict[str, Any]:
    from racer.policy.export import export_run  # noqa: PLC0415 - not every task needs it

    export_run(paths[0])
    return _check(paths)


def _check(paths: list[Path]) -> dict[str, Any]:
    """What the policy's row needs to know. The manifest without keys that we do not know."""
    from racer.policy.archive import nesting  # noqa: PLC0415
    from racer.policy.conversion import weights_fit  # noqa: PLC0415
    from racer.policy.loading import load_policy  # noqa: PLC0415
    from racer.policy.manifest import POLICY_FILE, WEIGHTS_FILE  # noqa: PLC0415

    (folder,) = paths
    policy = load_policy(folder)
    weights = folder / WEIGHTS_FILE
    if weights.exists() and not weights_fit(weights, policy):
        weights.unlink()
    manifest = policy.manifest.model_dump(mode="json")
    if nesting(manifest) > _DEEPEST:
        raise InvalidInputError(f"manifest.json: more than {_DEEPEST} tables in each other.")
    return {
        "sha256": hashlib.sha256((folder / POLICY_FILE).read_bytes()).hexdigest(),
        "name": policy.manifest.name,
        "track": policy.track.name,
        "manifest": manifest,
    }


def _safetensors(paths: list[Path]) -> dict[str, Any]:
    from racer.policy.conversion import write_weights  # noqa: PLC0415

    write_weights(*paths)
    return {}


def _openvino(paths: list[Path]) -> dict[str, Any]:
    from racer.policy.conversion import write_openvino  # noqa: PLC0415

    # Its extra package reports usage to its maker; nobody asked this server's owner.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if it were missing
    write_openvino(*paths)
    return {}


_TASKS: Mapping[str, Task] = {
    "unpack": _unpack,
    "export": _export,
    "check": _check,
    "safetensors": _safetensors,
    "openvino": _openvino,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
