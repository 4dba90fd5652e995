"""An image with nothing in it but one static program: no shell, no libc, no tools."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_sonemu.emulation.docker_api import connect

# Answers each TCP connection on port 80 with one HTTP page, when it has read a whole request.
PROGRAM = r"""
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nstatic";
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(80)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bind(listener, (struct sockaddr *)&here, sizeof here);
    listen(listener, 64);
    for (;;) {
        char request[4096];
        int client = accept(listener, 0, 0);
        size_t size = 0;
        ssize_t part;
        while ((part = read(client, request + size, sizeof request - 1 - size)) > 0) {
            request[size += part] = 0;
            if (strstr(request, "\r\n\r\n")) {
                write(client, page, sizeof page - 1);
                break;
            }
        }
        close(client);
    }
}
"""


@contextmanager
def static_image() -> Iterator[str]:
    """The reference of a new image; it is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "only.c"), Path(folder, "only")
        source.write_text(PROGRAM)
        subprocess.run(["cc", "-static", "-Os", "-w", "-o", binary, source], check=True)
        content = binary.read_bytes()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        dockerfile = b'FROM scratch\nCOPY only /only\nENTRYPOINT ["/only"]\n'
        for name, data, mode in (("Dockerfile", dockerfile, 0o644), ("only", content, 0o755)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    context.seek(0)
    reference = f"sonemu-test/static:{os.getpid()}-{os.urandom(4).hex()}"
    client = connect()
    try:
        said = list(client.build(fileobj=context, custom_context=True, tag=reference, rm=True, decode=True))
        assert not any("error" in line for line in said), said
        yield reference
        client.remove_image(reference, force=True)
    finally:
        client.close()
