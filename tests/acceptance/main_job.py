"""The main job as a stranger's client does it: account, drone model, training, flight.

Only HTTP and WebSockets; every step is checked on what came back. Flight is judged by the
telemetry that the drone controller publishes over ROS 2 and the service passes on.

    python tests/acceptance/main_job.py --url http://127.0.0.1:5000
"""

from __future__ import annotations

import argparse
import json
import math
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

# As the existing web client sends it: every field a string, "" where nothing was typed,
# a key of its own beside them.
DRONE_DETAILS = {
    "raceType": "time-trial",
    "algorithm": "ppo",
    "flightAltitude": "",
    "velocityLimit": "",
    "yawLimit": "",
    "enableWind": "",
    "windSpeed": "",
    "colour": "orange",
}

Telemetry = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """A base URL and the few calls that the steps need."""

    url: str

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, timeout=30, **kwargs)

    def json(self, method: str, path: str, **kwargs: Any) -> Any:
        response = self.request(method, path, **kwargs)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def socket(self, path: str) -> connect:
        return connect(self.url.replace("http", "ws", 1) + path, open_timeout=30)


def create_account(client: Client, username: str) -> None:
    """A bare username is enough; a taken one is a 400 whose `detail` is text."""
    user = client.json("POST", "/users/", json={"username": username})
    assert user["username"] == username
    assert client.json("GET", f"/users/{username}")["id"] == user["id"]
    again = client.request("POST", "/users/", json={"username": username})
    assert again.status_code == 400
    assert isinstance(again.json()["detail"], str)
    unknown = client.request("GET", f"/users/nobody-{uuid.uuid4().hex}")
    assert unknown.status_code == 404
    assert isinstance(unknown.json()["detail"], str)


def create_drone_model(client: Client, username: str) -> str:
    """Strings come back unchanged; nonsense is a 422 that names the field."""
    model = {"title": "First", "description": "", "drone_details": DRONE_DETAILS}
    created = client.json("POST", f"/users/{username}/drone-models/", json=model)
    assert created["drone_details"] == DRONE_DETAILS
    assert created["status"] == "initializing"
    assert created["training_epochs"] == 20
    nonsense = model | {"drone_details": DRONE_DETAILS | {"velocityLimit": "fast"}}
    refused = client.request("POST", f"/users/{username}/drone-models/", json=nonsense)
    assert refused.status_code == 422
    assert "velocityLimit" in refused.json()["detail"]
    drone_id = str(created["drone_id"])
    listed = client.json("GET", f"/users/{username}/drone-models/")
    assert [entry["drone_id"] for entry in listed] == [drone_id]
    return drone_id


def train_as_the_web_client_does(client: Client, username: str) -> None:
    """The client's own example, wind and all, for two epochs: real numbers, nothing refused."""
    details = DRONE_DETAILS | {
        "velocityLimit": "15",
        "yawLimit": "45",
        "enableWind": "true",
        "windSpeed": "5",
    }
    model = {"title": "Windy", "description": "", "training_epochs": 2, "drone_details": details}
    created = client.json("POST", f"/users/{username}/drone-models/", json=model)
    epochs = list(_follow_training(client, created["drone_id"]))
    assert [entry["epoch"] for entry in epochs] == [1, 2]


def train(client: Client, username: str, drone_id: str) -> list[dict[str, Any]]:
    """Follow the training to its end; a second, late client sees the same epochs."""
    epochs = list(_follow_training(client, drone_id))
    assert [entry["epoch"] for entry in epochs] == list(range(1, 21)), epochs
    assert all(math.isfinite(entry["loss"]) for entry in epochs)
    accuracies = [entry["accuracy"] for entry in epochs]
    assert accuracies[0] < 0.5 < accuracies[-1], f"It did not learn: {accuracies}"
    assert list(_follow_training(client, drone_id)) == epochs
    model = client.json("GET", f"/users/{username}/drone-models/{drone_id}")
    assert model["status"] == "finished"
    assert model["train_accuracy"] == accuracies[-1]
    assert model["train_loss"] == epochs[-1]["loss"]
    return epochs


def _follow_training(client: Client, drone_id: str) -> Iterator[dict[str, Any]]:
    with client.socket(f"/ws/train?drone_id={drone_id}") as socket:
        while True:
            message = json.loads(socket.recv(timeout=300))
            if message.get("done"):
                assert message == {"done": True, "message": "Training completed!"}, message
                return
            yield message


class Pilot:
    """Sends the seed's text commands and watches telemetry on a second socket."""

    def __init__(self, control: ClientConnection, telemetry: ClientConnection) -> None:
        self._control = control
        self._telemetry = telemetry

    def command(self, text: str, *, timeout_s: float = 60) -> str:
        """Send `text`, expect `command_sent` at once and then a good `command_result`."""
        self._control.send(text)
        sent = self._next_of_type("command_sent", timeout_s=5)
        assert sent["command"] == text, sent
        result = self._next_of_type("command_result", timeout_s=timeout_s)
        assert result["command"] == text, result
        assert result["ok"], result
        return str(result["message"])

    def refused(self, text: str) -> str:
        """Send something that is no command and return the error's text."""
        self._control.send(text)
        return str(self._next_of_type("error", timeout_s=5)["message"])

    def _next_of_type(self, kind: str, *, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            message = json.loads(self._control.recv(timeout=deadline - time.monotonic()))
            if message["type"] == kind:
                return dict(message)
            assert message["type"] != "error", message

    def simulation_statuses(self, count: int) -> list[str]:
        """The next `count` statuses of the simulation that are told to every socket."""
        messages = (self._next_of_type("simulation_status", timeout_s=60) for _ in range(count))
        return [str(message["status"]) for message in messages]

    def telemetry(self, duration_s: float) -> list[Telemetry]:
        """Fresh samples of the next `duration_s` seconds."""
        self.wait_until(lambda sample: time.time() - sample["stamp"] < 0.5, "fresh telemetry", 5)
        samples = []
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            samples.append(json.loads(self._telemetry.recv(timeout=5)))
        return samples

    def wait_until(
        self, condition: Callable[[Telemetry], bool], what: str, timeout_s: float
    ) -> Telemetry:
        """The first sample that fulfils `condition`."""
        deadline = time.monotonic() + timeout_s
        sample: Telemetry = {}
        while time.monotonic() < deadline:
            sample = json.loads(self._telemetry.recv(timeout=timeout_s))
            if condition(sample):
                return sample
        raise AssertionError(f"Waited {timeout_s} s in vain for {what}; last: {sample}")


def turn_between(before: Telemetry, after: Telemetry) -> float:
    """Change of heading in degrees, clockwise positive, in (-180, 180]."""
    return float((after["heading_deg"] - before["heading_deg"] + 180) % 360 - 180)


def along_nose(sample: Telemetry) -> float:
    """Speed in m/s along the nose's horizontal direction, from the world velocity."""
    yaw = math.radians(sample["yaw_deg"])
    east, north, _ = sample["velocity"]
    return float(east * math.cos(yaw) + north * math.sin(yaw))


def fly(client: Client, username: str, drone_id: str) -> dict[str, float]:
    """Take off, turn left, fly forward, stop, land; returns what was measured."""
    simulation = f"/users/{username}/drone-models/{drone_id}"
    with (
        client.socket("/ws/control") as control,
        client.socket("/ws/telemetry?hz=20") as telemetry,
    ):
        pilot = Pilot(control, telemetry)
        assert client.json("POST", f"{simulation}/start-simulation")["status"] == "success"
        assert pilot.simulation_statuses(2) == ["initializing", "training"]
        again = client.json("POST", f"{simulation}/start-simulation")
        assert again["status"] == "already_running"
        look(client, username, drone_id)
        pilot.wait_until(lambda t: t["connected"] and not t["armed"], "a connected vehicle", 60)
        assert "takeoff" in pilot.refused("loop the loop")
        measured = _fly(pilot)
        assert client.json("POST", f"{simulation}/stop-simulation")["status"] == "success"
        assert pilot.simulation_statuses(1) == ["idle"]
    return measured


def look(client: Client, username: str, drone_id: str) -> None:
    """The MJPEG stream sends one whole JPEG after the other."""
    url = f"{client.url}/gazebo-stream/{drone_id}"
    with httpx.stream("GET", url, params={"username": username}, timeout=30) as stream:
        assert stream.headers["content-type"].startswith("multipart/x-mixed-replace")
        received = b""
        for chunk in stream.iter_raw():
            received += chunk
            if received.count(b"\xff\xd9") >= 3:
                break
    assert received.count(b"\xff\xd8") >= 3


def _fly(pilot: Pilot) -> dict[str, float]:
    pilot.command("takeoff")
    height = median(t["position"][2] for t in pilot.telemetry(2))
    assert abs(height - 2.5) <= 0.3, f"Hovering at {height:.2f} m"

    before = pilot.telemetry(0.2)[-1]
    pilot.command("turn_left")
    after = pilot.telemetry(3)[-1]
    assert turn_between(before, after) < -45, "turn_left did not turn left"
    pilot.command("stop")
    held = pilot.telemetry(2)
    drift = math.dist(held[len(held) // 2]["position"], held[-1]["position"])
    assert drift < 0.5, f"stop drifted {drift:.2f} m in a second"

    pilot.command("move_forward")
    pilot.wait_until(lambda t: along_nose(t) > 1.72, "1.72 m/s along the nose", 20)
    cruise = pilot.telemetry(2)
    forward = median(along_nose(t) for t in cruise)
    assert abs(forward - 2.0) <= 0.3, f"Flies {forward:.2f} m/s along the nose"
    assert abs(median(t["velocity_body"][0] for t in cruise) - 2.0) <= 0.3
    assert all(abs(turn_between(held[-1], t)) < 10 for t in cruise), "the heading wandered"
    pilot.command("stop")

    pilot.command("land", timeout_s=90)
    landed = pilot.wait_until(lambda t: not t["armed"], "disarmed", 20)
    assert abs(landed["position"][2]) < 0.4
    return {"height_m": height, "forward_m_s": forward, "drift_m": drift}


def main_job(url: str) -> dict[str, Any]:
    """The whole job against the service at `url`; returns what was measured."""
    client = Client(url.rstrip("/"))
    username = f"ada-{uuid.uuid4().hex[:8]}"
    create_account(client, username)
    drone_id = create_drone_model(client, username)
    started = time.monotonic()
    epochs = train(client, username, drone_id)
    training_s = time.monotonic() - started
    train_as_the_web_client_does(client, username)
    flight = fly(client, username, drone_id)
    return {"training_s": training_s, "accuracy": epochs[-1]["accuracy"]} | flight


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:5000")
    print(json.dumps(main_job(parser.parse_args().url), indent=2))
