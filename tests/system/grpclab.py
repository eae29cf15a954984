# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A server of gRPC at a socket, by hand: what it says is bytes, which need not be right."""
import socket
import threading

DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1
OK, NOT_FOUND, UNIMPLEMENTED = 0, 5, 12


def frame(kind, flags, stream, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") +
            payload)


def header(**fields):
    """HPACK, nothing indexed."""
    out = b""
    for key, value in fields.items():
        key, value = key.replace("_", "-").encode(), str(value).encode()
        out += b"\0" + bytes([len(key)]) + key + bytes([len(value)]) + value
    return out


def head(status=200):
    return header(**{":status": status, "content_type": "application/grpc"})


def grpc(body=None, status=OK, stream=1, said="why"):
    """What gRPC's servers send; without a message the status stands in the header."""
    end = header(grpc_status=status, grpc_message=said)
    if body is None:
        return frame(HEADERS, END_HEADERS | END_STREAM, stream, head() + end)
    data = b"\0" + len(body).to_bytes(4, "big") + body
    return (frame(HEADERS, END_HEADERS, stream, head()) +
            b"".join(frame(DATA, 0, stream, data[i:i + 16384]) for i in range(0, len(data), 16384)) +
            frame(HEADERS, END_HEADERS | END_STREAM, stream, end))


class Runtime:
    """Answers each question, in turn, by what answers() says of its number and message: bytes, or
    None to say nothing for ever."""

    def __init__(self, path, answers):
        self.answers, self.asked = answers, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(16)
        self.open = True
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while self.open:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def talk(self, client):
        with client, client.makefile("rb") as file:
            try:
                file.read(24)
                client.sendall(frame(SETTINGS, 0, 0))
                body = b""
                while len(start := file.read(9)) == 9:
                    payload = file.read(int.from_bytes(start[:3], "big"))
                    if start[3] == SETTINGS and not start[4] & ACK:
                        client.sendall(frame(SETTINGS, ACK, 0))
                    body += payload if start[3] == DATA else b""
                    if start[3] == DATA and start[4] & END_STREAM:
                        self.asked.append(body[5:])
                        answer = self.answers(len(self.asked), body[5:])
                        client.sendall(answer or b"")
                        if answer is not None and not answer:
                            return
            except OSError:
                pass                    # who asked has heard enough

    def close(self):
        self.open = False
        self.listener.close()
