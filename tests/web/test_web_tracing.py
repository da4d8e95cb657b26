"""Traces reach a collector when one is configured, without anybody's values."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from racer.accounts.routes import router as accounts
from racer.errors import ConfigurationError
from racer.settings import Settings
from racer.web.app import assemble, spine
from racer.web.health import router as health

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """The address of a collector, and the spans that it gets."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()
        thread.join()


def running(directory: Path, endpoint: str) -> TestClient:
    settings = Settings(
        _env_file=None, data_dir=directory, database_url="", otel_exporter_otlp_endpoint=endpoint
    )
    app = assemble(settings, routers=[accounts, health], lifespan=spine)
    return TestClient(app, base_url="http://localhost")


def facts(span: Any) -> dict[str, Any]:
    return {item.key: item.value.int_value or item.value.string_value for item in span.attributes}


def test_a_request_and_its_statements_are_told(
    tmp_path: Path, collector: tuple[str, list[Any]]
) -> None:
    endpoint, spans = collector
    with running(tmp_path, endpoint) as client:
        client.post("/users/", json={"username": "ada", "password": "correct horse"})
        parent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "mine"}
        token = client.post("/token", data={"username": "ada", "password": "correct horse"}).json()
        signed_in = {"Authorization": f"Bearer {token['access_token']}"}
        assert client.get("/users/ada", headers=parent | signed_in).status_code == 200
        client.get("/livez")
    asked = [span for span in spans if span.trace_id.hex() == TRACE]
    [request] = [span for span in asked if span.name == "GET /users/{username}"]
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    told = facts(request)
    assert told["http.response.status_code"] == 200
    assert (told["http.route"], told["request.id"]) == ("/users/{username}", "mine")
    statements = [span for span in asked if span.name == "SELECT"]
    assert statements
    for span in statements:
        assert span.parent_span_id == request.span_id
        assert facts(span)["db.system.name"] == "sqlite"
        assert "FROM user" in facts(span)["db.query.text"]
    everything = repr(spans)
    assert "INSERT INTO users" in everything
    assert "correct horse" not in everything
    assert "$2b$" not in everything  # a password's hash is a value
    assert token["access_token"] not in everything
    assert "livez" not in everything


def test_an_error_is_an_error_in_the_trace(
    tmp_path: Path, collector: tuple[str, list[Any]]
) -> None:
    endpoint, spans = collector
    with running(tmp_path, endpoint) as client:
        client.post("/users/", json={"username": "ada"})
        assert client.post("/users/", json={"username": "ada"}).status_code == 400
    failed = [span for span in spans if span.status.code == 2]
    assert [(span.name, span.status.message) for span in failed] == [("INSERT", "IntegrityError")]
    assert "ada" not in repr(failed)


def test_a_collector_that_is_away_hinders_nobody(tmp_path: Path) -> None:
    with running(tmp_path, "http://127.0.0.1:9") as client:
        assert client.post("/users/", json={"username": "ada"}).status_code == 200


def test_missing_packages_stop_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(ConfigurationError, match=r"pip install -r requirements-otel\.txt"),
        running(tmp_path, "http://127.0.0.1:9"),
    ):
        pass


def test_without_a_collector_there_are_no_traces(tmp_path: Path) -> None:
    with running(tmp_path, "") as client:
        assert client.get("/livez").status_code == 200
        assert getattr(client.app.state, "tracer_provider", None) is None  # type: ignore[attr-defined]
