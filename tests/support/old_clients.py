"""What old clients put on the wire, byte for byte, but for host, port, uuids and the package's bytes."""

from __future__ import annotations

import socket
from dataclasses import dataclass

BORDER = "------------------------d74496d66958873e"
HASHED = "1b0a4a8d6f0c4fda9a7e9b6b5f1a2c3d"


@dataclass(frozen=True)
class Answer:
    """An answer as it came: status, head and body."""

    status: int
    head: str
    body: str


def send(url: str, request: bytes) -> Answer:
    """Send bytes and read until the server closes, or what it announced has come."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        received = b""
        while not _whole(received):
            part = connection.recv(65536)
            if not part:
                break
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return Answer(int(head.split()[1]), head.decode(), body.decode())


def _whole(received: bytes) -> bool:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return False


def _request(lines: list[str], body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode() + body


def _form(border: str, part: list[str], content: bytes) -> bytes:
    return "\r\n".join([f"--{border}", *part, "", ""]).encode() + content + f"\r\n--{border}--\r\n".encode()


# curl, as in the transcripts of son-emu's README and wiki


def _curl(method: str, path: str, more: list[str], body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:5000", "User-Agent: curl/7.47.0", "Accept: */*"]
    return _request([*head, *more], body)


def curl_get(path: str) -> bytes:
    return _request(
        [f"GET {path} HTTP/1.1", "Host: 127.0.0.1:5000", "User-Agent: curl/7.47.0", "Accept: */*"]
    )


def curl_upload(content: bytes, path: str = "/packages") -> bytes:
    """`curl -i -X POST -F package=@sonata-demo-service.son http://127.0.0.1:5000/packages`."""
    part = [
        'Content-Disposition: form-data; name="package"; filename="sonata-demo-service.son"',
        "Content-Type: application/octet-stream",
    ]
    body = _form(BORDER, part, content)
    more = [f"Content-Length: {len(body)}", f"Content-Type: multipart/form-data; boundary={BORDER}"]
    return _curl("POST", path, more, body)


def curl_data(method: str, path: str, data: str) -> bytes:
    """`curl -X POST http://127.0.0.1:5000/instantiations -d "{}"`: curl calls it a form."""
    more = [f"Content-Length: {len(data)}", "Content-Type: application/x-www-form-urlencoded"]
    return _curl(method, path, more, data.encode())


def curl_put(path: str) -> bytes:
    return _request(
        [f"PUT {path} HTTP/1.1", "Host: 127.0.0.1:5000", "User-Agent: curl/7.47.0", "Accept: */*"]
    )


# Clients in Python, by requests


def _python(method: str, path: str, more: list[str], body: bytes = b"") -> bytes:
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1:5000",
        "User-Agent: python-requests/2.10.0",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        *more,
    ]
    return _request(head, body)


def python_get(path: str) -> bytes:
    return _python("GET", path, [])


def python_upload(path: str, file_name: str, content: bytes) -> bytes:
    """son-push names the file; LLCMClient's is called `package`, son-access calls `/api/v2/packages`."""
    body = _form(HASHED, [f'Content-Disposition: form-data; name="package"; filename="{file_name}"'], content)
    more = [f"Content-Length: {len(body)}", f"Content-Type: multipart/form-data; boundary={HASHED}"]
    return _python("POST", path, more, body)


def python_json(method: str, path: str, text: str) -> bytes:
    """`requests.post(url, json=…)`: son-push, LLCMClient, son-access."""
    return _python(
        method, path, [f"Content-Length: {len(text)}", "Content-Type: application/json"], text.encode()
    )


def python_untyped(method: str, path: str, text: str) -> bytes:
    """`requests.post(url, data=json.dumps(…))`: son-profile and the emulators' own tests; no content type."""
    return _python(method, path, [f"Content-Length: {len(text)}"], text.encode())
