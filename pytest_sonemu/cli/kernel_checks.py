"""What the kernel can do, tried in a network namespace that is thrown away; nothing outside it is touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_sonemu.cli.check import Check, find_program, succeeds

REDIRECT = ["action", "mirred", "egress", "redirect", "dev", "veth-b"]
# In the order of ruling 35.
CLASSIFIERS = {
    "u32": ["u32", "match", "u32", "0", "0"],
    "bpf": ["bpf", "bytecode", "1,6 0 0 4294967295"],
    "matchall": ["matchall"],
}


class Scratch:
    """A namespace that ends with the process holding it; `run` is True if a command succeeds in it."""

    def __init__(self, holder: subprocess.Popen[bytes], user_namespace: bool) -> None:
        nsenter = find_program("nsenter") or "nsenter"
        self._enter = [nsenter, "-t", str(holder.pid), "-n"]
        if user_namespace:
            self._enter += ["-U", "--preserve-credentials"]

    def run(self, *argv: str) -> bool:
        return succeeds([*self._enter, find_program(argv[0]) or argv[0], *argv[1:]])


@contextmanager
def scratch_namespace() -> Iterator[Scratch | None]:
    """None where we may not have one (not root, and no user namespaces)."""
    unshare, cat = find_program("unshare"), find_program("cat")
    if unshare is None or cat is None:
        yield None
        return
    root = os.geteuid() == 0
    argv = [unshare, "-n", cat] if root else [unshare, "-r", "-n", cat]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        try:
            assert holder.stdin is not None
            assert holder.stdout is not None
            try:
                holder.stdin.write(b"?\n")
                holder.stdin.flush()
                ready = holder.stdout.readline()  # `cat` answers only once it is in the namespace
            except BrokenPipeError:
                ready = b""
            yield Scratch(holder, not root) if ready else None
        finally:
            holder.kill()


def kernel_checks() -> list[Check]:
    """veth pairs, bridges, redirecting filters, IPv6."""
    with scratch_namespace() as scratch:
        checks = list(_in_namespace(scratch)) if scratch is not None else [_untried()]
    return [*checks, check_ipv6()]


def _untried() -> Check:
    return Check("links", "missing", "cannot be tried as this user", "sudo sonemu doctor", needed=False)


def _in_namespace(scratch: Scratch) -> Iterator[Check]:
    veth = scratch.run("ip", "link", "add", "name", "veth-a", "type", "veth", "peer", "name", "veth-b")
    yield _module("veth pairs", veth, "veth")
    yield _module("bridges", scratch.run("ip", "link", "add", "name", "bridge-c", "type", "bridge"), "bridge")
    if veth:
        yield _classifier(scratch)


def _classifier(scratch: Scratch) -> Check:
    if not scratch.run("tc", "qdisc", "add", "dev", "veth-a", "clsact"):
        return _module("E-Line redirects", False, "sch_ingress")
    works = [
        name
        for name, match in CLASSIFIERS.items()
        if scratch.run(
            "tc", "filter", "add", "dev", "veth-a", "ingress", "protocol", "all", *match, *REDIRECT
        )
    ]
    if "u32" in works:
        return Check("E-Line redirects", "ok", "clsact with u32")
    mend = (
        "sudo modprobe cls_u32; on slim Ubuntu kernels: sudo apt-get install linux-modules-extra-$(uname -r)"
    )
    also = f" (this kernel has {', '.join(works)} instead)" if works else ""
    return Check("E-Line redirects", "missing", f"no u32 classifier{also}", mend)


def _module(name: str, works: bool, module: str) -> Check:
    if works:
        return Check(name, "ok", module)
    return Check(name, "missing", f"the kernel has no {module}", f"sudo modprobe {module}")


def check_ipv6() -> Check:
    if Path("/proc/net/if_inet6").exists():
        return Check("IPv6", "ok", "there", needed=False)
    return Check("IPv6", "missing", "off in this kernel; services with `ipv6` do not start", needed=False)
