"""A client and a server built on h11, which refuses what RFC 9112 does not allow; the router stands between them."""
import random
import socket
import sys
import threading

import h11

WAIT = 15


def events(connection, sock):
    """The events of one message; raises what h11 objects to."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(sock.recv(random.choice((1, 7, 100, 65536))))
            continue
        yield event
        if isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) or event is h11.PAUSED:
            return


def serve(sock):
    """Answers each request with its own body, framed as the target says."""
    sock.settimeout(WAIT)
    connection = h11.Connection(h11.SERVER)
    while True:
        request, body = None, b""
        for event in events(connection, sock):
            if isinstance(event, h11.Request):
                request = event
                if connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    sock.sendall(connection.send(go_on))
            elif isinstance(event, h11.Data):
                body += event.data
        if request is None:
            return
        kind = request.target.rsplit(b"/", 1)[1].decode()
        headers = [("X-Method", request.method), ("X-Bytes", str(len(body)))]
        status = 200
        if kind == "length" or request.method == b"HEAD":
            headers.append(("Content-Length", str(len(body))))
        elif kind == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
        elif kind == "close":
            headers.append(("Connection", "close"))
        else:
            status = int(kind)
        out = connection.send(h11.Response(status_code=status, headers=headers))
        if request.method != b"HEAD" and status not in (204, 304):
            for at in range(0, len(body), 1000):
                out += connection.send(h11.Data(data=body[at:at + 1000]))
        out += connection.send(h11.EndOfMessage())
        sock.sendall(out)
        if connection.our_state is h11.MUST_CLOSE:
            sock.close()
            return
        connection.start_next_cycle()


def listen():
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    random.seed(7)
    origin = listen()
    sock, connection = None, None
    exchanges = [(method, framing, kind)
                 for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
                 for framing in ("length", "chunked", "expect")
                 for kind in ("length", "chunked", "close", "204", "304")]
    random.shuffle(exchanges)
    connects = 0
    for method, framing, kind in exchanges:
        if sock is None:
            sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), WAIT)
            connection = h11.Connection(h11.CLIENT)
            connects += 1
        body = random.randbytes(random.choice((0, 1, 1000, 30000)))
        headers = [("Host", "tv.home")]
        if framing == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
        else:
            headers.append(("Content-Length", str(len(body))))
        if framing == "expect" and body:
            headers.append(("Expect", "100-continue"))
        request = h11.Request(method=method, target=f"/http/127.0.0.1:{origin}/x/{kind}", headers=headers)
        sock.sendall(connection.send(request))
        if connection.client_is_waiting_for_100_continue:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(sock.recv(65536))
                else:
                    break
            assert isinstance(event, h11.InformationalResponse) and event.status_code == 100, event
        for at in range(0, len(body), 700):
            sock.sendall(connection.send(h11.Data(data=body[at:at + 700])))
        sock.sendall(connection.send(h11.EndOfMessage()))
        response, received = None, b""
        for event in events(connection, sock):
            if isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                received += event.data
        what = (method, framing, kind, len(body), response)
        fields = dict(response.headers)
        assert fields[b"x-method"] == method.encode(), what
        assert fields[b"x-bytes"] == str(len(body)).encode(), what
        bodyless = method == "HEAD" or kind in ("204", "304")
        assert received == (b"" if bodyless else body), what
        assert response.status_code == (int(kind) if kind.isdigit() and method != "HEAD" else 200), what
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            connection.start_next_cycle()
        else:
            sock.close()
            sock = None
    assert connects < len(exchanges) / 2, connects
    print("good")


main()
