"""A viewer of the status that shares no code with flowgate: JSON and HTTP by the standard library.

peer.py CASE PORT runs one case against a server on that port of 127.0.0.1 and fails with what was wrong.
"""

import http.client
import json
import socket
import sys
import threading
import time

SOON = 20
STATES = range(0, 31)
CLIENT_FIELDS = [
    "clientId", "workerPid", "durationMs", "clientAddr", "serviceUrl", "state", "bytesSent", "currentBandwidth",
    "queueBytes", "queueLimitBytes", "queueBytesHighwater", "droppedBytes", "slow",
]
TOP_FIELDS = [
    "serverStartTime", "uptimeMs", "currentLogLevel", "version", "maxClients", "clients", "totalClients",
    "totalBytesSent", "totalBandwidth", "workers", "logsMode", "logs",
]
WORKER_FIELDS = ["id", "pid", "activeClients", "totalBandwidth", "totalBytes", "send", "pool", "controlPool"]
LEVELS = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"]


def ask(port, method, path, body=None, headers=None):
    """Status, headers and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.headers, response.read().decode()


def snapshot(port):
    status, headers, body = ask(port, "GET", "/status/api/status")
    assert status == 200 and headers["Content-Type"] == "application/json", (status, headers)
    return check(json.loads(body))


def check(event):
    """An event has the fields of the specification, in their order, before all others."""
    assert list(event)[: len(TOP_FIELDS)] == TOP_FIELDS, list(event)
    for client in event["clients"]:
        assert list(client)[: len(CLIENT_FIELDS)] == CLIENT_FIELDS, client
        assert client["state"] in STATES and client["slow"] in (0, 1), client
    for worker in event["workers"]:
        assert list(worker)[: len(WORKER_FIELDS)] == WORKER_FIELDS, worker
    assert event["logsMode"] in ("full", "incremental", "none")
    assert (event["logsMode"] == "none") <= (event["logs"] == [])
    for line in event["logs"]:
        assert line["levelName"] == LEVELS[line["level"]], line
        assert line["message"].startswith("[") and line["message"].endswith("\n"), line
    return event


class Viewer:
    """Reads the event stream, strictly: lines `data: <object>`, each followed by an empty one."""

    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SOON)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(b"GET /status/sse HTTP/1.1\r\nHost: a\r\n\r\n")
        self.lines = self.socket.makefile("rb")
        self.read = 0
        head = {}
        assert self.lines.readline() == b"HTTP/1.1 200 OK\r\n"
        while (line := self.lines.readline().strip()) != b"":
            name, value = line.split(b": ", 1)
            head[name] = value
        assert head[b"Content-Type"] == b"text/event-stream", head
        assert head[b"Cache-Control"] == b"no-cache", head
        # Or a proxy takes the body for empty and keeps the connection.
        assert head[b"Connection"] == b"close", head

    def event(self):
        line = self.lines.readline()
        self.read += len(line)
        assert line.startswith(b"data: {") and line.endswith(b"}\n"), line[:80]
        assert self.lines.readline() == b"\n"
        return check(json.loads(line[len(b"data: "):]))

    def until(self, wanted):
        """The first event for which this holds."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            event = self.event()
            if wanted(event):
                return event
        raise AssertionError("no such event came")


class Origin:
    """Sends as many bytes as it is asked for, and then leaves the connection open."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.kept = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            self.kept.append(connection)
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        wanted = int(head.split(b"/")[1].split(b" ")[0])
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + bytes(wanted))
        except ConnectionError:
            pass  # The player has left.


class Player:
    """Asks for so many bytes through the server; reads nothing by itself."""

    def __init__(self, port, origin, wanted):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SOON)
        request = f"GET /http/127.0.0.1:{origin.port}/{wanted}?r2h-token=hidden HTTP/1.1\r\nHost: a\r\n\r\n"
        self.socket.sendall(request.encode())
        self.received = 0

    def take(self, count):
        while count > 0:
            piece = self.socket.recv(min(count, 1 << 16))
            assert piece, "the stream has ended"
            count -= len(piece)
            self.received += len(piece)

    def name(self):
        host, port = self.socket.getsockname()
        return f"{host}:{port}"


def case_api(port):
    def call(method, name, form=None, headers=None):
        status, head, body = ask(port, method, f"/status/api/{name}", form, headers)
        assert head["Content-Type"] == "application/json" and head["Connection"] == "close", head
        return status, json.loads(body), head

    def refused(expected, error, *request):
        status, body, head = call(*request)
        assert (status, body) == (expected, {"success": False, "error": error}), (request, status, body)
        return head

    def done(message, *request):
        status, body, _ = call(*request)
        assert (status, body) == (200, {"success": True, "message": message}), (request, status, body)

    for name, allow, error in [
        ("disconnect", "POST, DELETE", "Method not allowed. Use POST or DELETE"),
        ("log-level", "PUT, PATCH", "Method not allowed. Use PUT or PATCH"),
        ("clear-logs", "POST", "Method not allowed. Use POST"),
        ("reload-config", "POST", "Method not allowed. Use POST"),
        ("restart-workers", "POST", "Method not allowed. Use POST"),
    ]:
        assert refused(405, error, "GET", name)["Allow"] == allow
    missing = "Missing 'client_id' parameter in request body"
    refused(400, "Missing request body", "POST", "disconnect")
    refused(400, missing, "POST", "disconnect", "client=1")
    refused(400, "Empty client_id", "POST", "disconnect", "client_id=")
    refused(404, "Client not found or already disconnected", "POST", "disconnect", "client_id=nobody")
    refused(400, "Missing request body", "PUT", "log-level")
    refused(400, "Missing 'level' parameter in request body", "PUT", "log-level", "lev=1")
    for level in ["5", "-1", "", "info", "3x"]:
        refused(400, "Invalid log level (must be 0-4)", "PUT", "log-level", f"level={level}")
    for headers in [{"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]:
        refused(403, "Requests from other sites are not accepted", "POST", "clear-logs", None, headers)
    with socket.create_connection(("127.0.0.1", port), 10) as patient:
        head = "PUT /status/api/log-level HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n"
        patient.sendall(head.encode())
        asked = patient.recv(4096)
        assert asked == b"HTTP/1.1 100 Continue\r\n\r\n", asked
        patient.sendall(b"level=x")
        assert patient.recv(4096).startswith(b"HTTP/1.1 400 ")
    own = {"Origin": f"http://127.0.0.1:{port}", "Host": f"127.0.0.1:{port}"}
    done("Logs cleared", "POST", "clear-logs", None, own)
    assert ask(port, "POST", "/status/api/other")[0] == 404

    viewer = Viewer(port)
    viewer.event()
    done("Log level changed to WARN", "PUT", "log-level", "level=2")
    viewer.until(lambda event: event["currentLogLevel"] == 2)
    before = len(snapshot(port)["logs"])
    ask(port, "GET", "/nobody-logs-this")
    assert len(snapshot(port)["logs"]) == before
    done("Log level changed to DEBUG", "PATCH", "log-level", "a=b&level=4")
    ask(port, "GET", "/somebody-logs-this")
    seen = lambda event: any("/somebody-logs-this" in line["message"] for line in event["logs"])
    assert viewer.until(seen)["logsMode"] == "incremental"
    done("Logs cleared", "POST", "clear-logs")
    cleared = viewer.until(lambda event: event["logsMode"] == "full")
    assert not seen(cleared)
    assert not seen(snapshot(port))


def case_clients(port):
    origin = Origin()
    viewer = Viewer(port)
    assert viewer.event()["logsMode"] == "full"
    player = Player(port, origin, 100_000)
    event = viewer.until(lambda event: event["totalClients"] == 1 and event["clients"][0]["state"] == 29)
    client = event["clients"][0]
    assert client["clientId"] == f"{player.name()}-worker0-seq0", client
    assert client["clientAddr"] == player.name(), client
    assert client["serviceUrl"] == f"/http/127.0.0.1:{origin.port}/100000", client
    upstream = event["upstreams"][0]
    assert upstream["clientId"] == client["clientId"] and upstream["transport"] == "tcp", upstream
    assert upstream["address"] == f"http://127.0.0.1:{origin.port}", upstream

    # The bytes of a client are those that its socket takes, to the last one.
    player.take(100_000)
    viewer.until(lambda event: event["clients"][0]["bytesSent"] >= 100_000)
    form = f"client_id={client['clientId'].replace(':', '%3A')}"
    assert ask(port, "POST", "/status/api/disconnect", form)[0] == 200
    began = time.monotonic()
    while piece := player.socket.recv(1 << 16):
        player.received += len(piece)
    assert time.monotonic() - began < 1, "it is disconnected at once"
    event = viewer.until(lambda event: event["totalClients"] == 0)
    assert event["totalBytesSent"] == player.received, (event["totalBytesSent"], player.received)

    # A client that reads nothing throttles its upstream, and this can be seen while it happens.
    greedy = Player(port, origin, 64 << 20)
    event = viewer.until(lambda event: event["clients"] and event["clients"][0]["upstreamPaused"] == 1)
    client = event["clients"][0]
    assert client["backpressureEvents"] >= 1 and client["droppedPackets"] == 0, client
    assert client["queueLowBytes"] < client["queueHighBytes"] < client["queueLimitBytes"], client
    start, length = client["pauseHistory"][-1]
    assert abs(start + length - (event["serverStartTime"] + event["uptimeMs"])) < 1000, client
    later = viewer.until(lambda event: event["clients"][0]["pausedMs"] > client["pausedMs"])
    assert later["clients"][0]["pausedMs"] >= 1000
    greedy.socket.close()
    viewer.until(lambda event: event["totalClients"] == 0)


def case_guarded(port):
    """Everything of the status asks for name and password, here a:b, and tells nothing without."""
    for method, path in [
        ("GET", "sse"), ("GET", "metrics"), ("GET", "api/status"), ("POST", "api/clear-logs"), ("PUT", "api/log-level"),
    ]:
        status, headers, body = ask(port, method, f"/status/{path}")
        assert status == 401 and headers["WWW-Authenticate"].startswith("Basic "), (path, status, headers)
        assert "uptimeMs" not in body
    right = {"Authorization": "Basic YTpi"}
    assert ask(port, "GET", "/status/api/status", None, right)[0] == 200
    assert ask(port, "POST", "/status/api/clear-logs", None, right)[0] == 200


def case_burst(port):
    """A thousand requests in a row: every line is in the log, and every one reaches a viewer or is counted."""
    viewer = Viewer(port)
    viewer.event()
    seen, missed = set(), 0

    def note(event):
        nonlocal missed
        missed += event["logLinesMissed"]
        for line in event["logs"]:
            if "/burst-" in line["message"]:
                seen.add(line["message"].split("/burst-")[1].split(" ")[0])

    def send():
        for number in range(1000):
            ask(port, "GET", f"/burst-{number}")

    sender = threading.Thread(target=send)
    sender.start()
    deadline = time.monotonic() + 3 * SOON
    while len(seen) + missed < 1000 and time.monotonic() < deadline:
        note(viewer.event())
    sender.join()
    assert len(seen) + missed >= 1000, (len(seen), missed)
    kept = [line for line in snapshot(port)["logs"] if "/burst-" in line["message"]]
    assert len(kept) == 1000, len(kept)


class SlowReader(threading.Thread):
    """Takes an event every three seconds: who takes nothing for half a minute is let go."""

    def __init__(self, viewer):
        super().__init__(daemon=True)
        self.viewer = viewer
        self.events = []
        self.is_over = threading.Event()
        self.start()

    def run(self):
        self.events.append(self.viewer.event())
        while not self.is_over.wait(3):
            self.events.append(self.viewer.event())

    def end(self):
        self.is_over.set()
        self.join(2 * SOON)
        assert not self.is_alive(), "no event came"
        return self.events


def case_slow(port):
    """A viewer that takes an event now and then skips events, and never gets half of one."""
    slow = Viewer(port, receive_buffer=65536)
    fast = Viewer(port)
    reader = SlowReader(slow)
    path = "/" + "x" * 900
    told = 0
    # More than the buffers of a connection hold, and more events than the slow one could take.
    while fast.read < 12_000_000 or told < 2 * len(reader.events):
        for _ in range(100):
            ask(port, "GET", path)
        fast.event()
        told += 1
    events = reader.end()
    assert events[0]["logsMode"] == "full"
    while events[-1]["uptimeMs"] < snapshot(port)["uptimeMs"] - 2000:
        events.append(slow.event())
    assert len(events) < told, "some were skipped"
    modes = [event["logsMode"] for event in events[1:]]
    assert "full" in modes, modes


def case_metrics(port):
    from prometheus_client.parser import text_string_to_metric_families

    origin = Origin()
    player = Player(port, origin, 5000)
    player.take(5000)
    status, headers, text = ask(port, "GET", "/status/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name, family in families.items():
        assert name.startswith("flowgate_") and family.documentation and family.type in ("counter", "gauge"), name
        labels = [tuple(sorted(sample.labels.items())) for sample in family.samples]
        assert len(labels) == len(set(labels)), f"{name} has two samples with the same labels"
    value = lambda name: families[name].samples[0].value
    told = snapshot(port)
    assert value("flowgate_clients") == told["totalClients"] == 1
    assert value("flowgate_clients_max") == told["maxClients"]
    assert value("flowgate_client_sent_bytes") == told["totalBytesSent"] >= 5000
    assert value("flowgate_start_time_seconds") == told["serverStartTime"] / 1000


if __name__ == "__main__":
    globals()[f"case_{sys.argv[1]}"](int(sys.argv[2]))
