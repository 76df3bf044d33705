"""Whether the head of a Ray cluster is there: asked before Ray is, and while it works."""

import socket
import threading

import pytest

from hltm.base import cluster
from hltm.base.errors import InputError


@pytest.fixture
def listener():
    """A port of loopback, and what it answers to whoever connects (None: nothing, ever)."""
    held, answers, lines = socket.create_server(("127.0.0.1", 0)), [], []

    def serve():
        while True:
            try:
                line, _ = held.accept()
            except OSError:
                return
            lines.append(line)
            if answers and answers[0] is not None:
                line.recv(100)
                line.sendall(answers[0])
                line.close()

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{held.getsockname()[1]}", answers
    held.close()
    for line in lines:
        line.close()


def knock(address):
    cluster._knock(address, *cluster.host_and_port(address))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "no answer in 0.5 seconds: must be a Ray cluster"),
        (b"", "what answers is no Ray"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers is no Ray"),
        (b"\0", "what answers is no Ray"),
    ],
)
def test_a_port_at_which_no_ray_answers_is_one_line(listener, monkeypatch, answer, words):
    monkeypatch.setattr(cluster, "KNOCK_SECONDS", 0.5)
    address, answers = listener
    answers.append(answer)
    with pytest.raises(InputError, match=words) as caught:
        knock(address)
    assert "\n" not in str(caught.value)


def test_what_speaks_http_2_is_let_through(listener):
    address, answers = listener
    answers.append(bytes([0, 0, 6, 4, 0, 0, 0, 0, 0]) + bytes(6))
    knock(address)


@pytest.mark.parametrize("address", ["", "nothing", "host:", ":1", "host:x", "host:65536", "host:-1", "host:²"])
def test_an_address_without_host_and_port_is_one_line(address):
    with pytest.raises(InputError, match="as host:port, ray://host:port or auto"):
        cluster.host_and_port(address)


def test_auto_is_the_cluster_that_was_started_last(tmp_path, monkeypatch):
    for name in ("RAY_ADDRESS", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(InputError, match="no Ray cluster was started on this machine"):
        cluster.current_address()
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1\n")
    assert cluster.current_address() == "127.0.0.1:1"
    monkeypatch.setenv("RAY_ADDRESS", "localhost:2")
    assert cluster.current_address() == "localhost:2"


def test_auto_is_asked_before_ray_is(monkeypatch):
    """Ray would wait minutes for a cluster that is gone."""
    monkeypatch.setattr(cluster, "need_ray", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"--ray='127\.0\.0\.1:1': Connection refused"):
        cluster.connected("auto")


def test_a_head_that_comes_back_is_not_gone(monkeypatch):
    """Only silence without a pause ends a sweep."""
    now = [0.0]
    monkeypatch.setattr(cluster.time, "monotonic", lambda: now[0])
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        found = cluster.Head(f"127.0.0.1:{port}")
        assert found.answers()
    assert not found.answers()
    assert found.gone
    now[0] += cluster.GONE_SECONDS - 1
    assert not found.answers()
    with socket.create_server(("127.0.0.1", port)):
        assert found.answers()
        assert not found.gone
    assert not found.answers()
    now[0] += cluster.GONE_SECONDS + 1
    with pytest.raises(InputError, match="the cluster is gone; nothing that is done is lost"):
        found.answers()
