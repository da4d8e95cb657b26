"""Load a policy's folder for flying: NumPy and onnxruntime, nothing that trains, nothing pickled.

    policy = load_policy(Path("data/runs/…"))
    action = policy.act(observation)  # (O,) raw observation -> (4,) action

The graph is looked at before it is run: a chain of a few plain operations on small finite
matrices is all that a policy is, so anything else is refused (files that name other files,
operations that could grow without bound, other libraries' operators).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from racer.errors import InvalidInputError
from racer.policy.manifest import (
    MAX_POLICY_BYTES,
    POLICY_FILE,
    Manifest,
    read_limited,
    read_manifest,
)
from racer.sim.airframe import Airframe
from racer.sim.interface import ACTION_SIZE, ActionSpace
from racer.sim.track import Track

FloatArray: TypeAlias = NDArray[np.float32]

INPUT, OUTPUT = "observation", "action"
MAX_WIDTH = 1024  # of a layer
OPERATIONS = frozenset({"Add", "Clip", "Gemm", "MatMul", "Mul", "Relu", "Sigmoid", "Sub", "Tanh"})
_MAX_NODES = 64
_PROBES = 64


class Policy:
    """A loaded network and its manifest. `act` may be called from one thread at a time."""

    def __init__(self, manifest: Manifest, session: onnxruntime.InferenceSession) -> None:
        """Use `load_policy`, which checks that the two belong together."""
        self.manifest = manifest
        self.track: Track = manifest.load_track()
        self.airframe: Airframe = manifest.load_airframe()
        self._session = session

    @property
    def action_space(self) -> ActionSpace:
        """Which of the interface's observations and actions it speaks."""
        return self.manifest.action_space

    @property
    def control_hz(self) -> float:
        """Actions per second that it was trained with."""
        return self.manifest.control_hz

    def act(self, observation: FloatArray) -> FloatArray:
        """Actions (A,) or (N, A) for raw observations (O,) or (N, O), float32."""
        rows = np.atleast_2d(np.asarray(observation, np.float32))
        actions: FloatArray = self._session.run([OUTPUT], {INPUT: rows})[0]
        return actions if np.ndim(observation) == 2 else actions[0]


def load_policy(folder: str | Path) -> Policy:
    """Load `policy.onnx` and `manifest.json` of a folder and check that they fit together.

    Raises NotFoundError when a file is missing and InvalidInputError, which says what to do,
    when one is damaged, foreign, too large or means something that this installation cannot fly.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    content = read_limited(folder / POLICY_FILE, MAX_POLICY_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != manifest.policy.size_bytes or digest != manifest.policy.sha256:
        raise InvalidInputError(
            f"{POLICY_FILE} is not the file that the manifest describes (checksum): it is damaged "
            "or was exchanged. Export the policy again."
        )
    return Policy(manifest, open_network(content, observations=len(manifest.observation)))


def open_network(content: bytes, *, observations: int) -> onnxruntime.InferenceSession:
    """A session of a network that was looked at and probed; InvalidInputError says why not."""
    _check_graph(content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # tiny: threads only wait
    options.log_severity_level = 4  # what is wrong is raised; nothing goes to stderr beside it
    try:
        session = onnxruntime.InferenceSession(
            content,
            sess_options=options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would try the same again and print what went wrong
        )
        _probe(session, observations)
    except InvalidInputError:
        raise
    except Exception as error:  # onnxruntime's errors share no base class but this
        raise InvalidInputError(f"{POLICY_FILE} cannot be run: {str(error)[:300]}") from error
    return session


def _check_graph(content: bytes) -> None:
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors differ between its implementations
        raise InvalidInputError(f"{POLICY_FILE} is not an ONNX file.") from error
    graph = model.graph
    if model.functions or len(graph.node) > _MAX_NODES or graph.sparse_initializer:
        raise _foreign("it is not a small network")
    for node in graph.node:
        if node.op_type not in OPERATIONS or node.domain not in ("", "ai.onnx"):
            raise _foreign(f"the operation '{node.op_type[:40]}' is not one of a policy")
        if any(attribute.type not in _PLAIN_ATTRIBUTES for attribute in node.attribute):
            raise _foreign(f"the operation '{node.op_type}' carries a tensor or a graph")
    for tensor in graph.initializer:
        _check_tensor(tensor)


_PLAIN_ATTRIBUTES = (onnx.AttributeProto.FLOAT, onnx.AttributeProto.INT)


def _check_tensor(tensor: Any) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise _foreign("its weights are in another file")
    if tensor.data_type != onnx.TensorProto.FLOAT:
        raise _foreign("its weights are not of 32-bit floats")
    if len(tensor.dims) > 2 or any(not 0 < size <= MAX_WIDTH for size in tensor.dims):
        raise _foreign(f"a layer is wider than {MAX_WIDTH}")
    try:
        weights = numpy_helper.to_array(tensor)
    except ValueError as error:
        raise _foreign("a layer's weights are incomplete") from error
    if not np.all(np.isfinite(weights)):
        raise InvalidInputError(
            f"{POLICY_FILE}: '{tensor.name[:40]}' has values that are no finite numbers: its "
            "training diverged. Train again, with another seed or a lower learning rate."
        )


def _probe(session: onnxruntime.InferenceSession, observations: int) -> None:
    """Shapes, by asking; answers to ordinary and extreme observations are finite."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [port.name for port in inputs] != [INPUT] or [port.name for port in outputs] != [OUTPUT]:
        raise _foreign(f"its input and output are not '{INPUT}' and '{OUTPUT}'")
    shape = inputs[0].shape
    if len(shape) != 2 or isinstance(shape[0], int) or shape[1] != observations:
        raise _foreign(f"it does not take batches of {observations} observations: {shape}")
    normal = np.random.default_rng(0).normal(size=(_PROBES, observations)).astype(np.float32)
    for probe in (np.zeros_like(normal[:1]), normal, 1e6 * normal):
        answer = session.run([OUTPUT], {INPUT: probe})[0]
        if answer.shape != (len(probe), ACTION_SIZE) or answer.dtype != np.float32:
            raise _foreign(f"it answers with {answer.shape} instead of {ACTION_SIZE} actions")
        if not np.all(np.isfinite(answer)):
            raise _foreign("it answers an observation with what is no finite number")


def _foreign(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{POLICY_FILE} is no policy of ours: {why}. Export it with `python -m racer export`."
    )
