"""What an image reference of a descriptor is: a name Docker can fetch, or something else, by name."""

from __future__ import annotations

import re

BASE_IMAGE = "sonemu/vnf-base"
OURS = "sonemu/"
DOCKER_FORMATS = {"", "docker", "container", "oci"}
PLACEHOLDERS = {"image", "tbd", "tba", "todo", "none", "null", "n/a", "na", "dummy", "placeholder",
                "sample_docker", "docker_image", "vm_image", "unknown", "xxx", "-", "..."}  # fmt: skip
VM_FILES = (".qcow2", ".qcow", ".img", ".vmdk", ".vdi", ".vhd", ".iso", ".ova", ".ovf", ".raw")
REFERENCE = re.compile(
    r"(?:(?P<registry>[\w.-]*[.:][\w.:-]*|localhost)/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


def is_base(reference: str) -> bool:
    """Whether this names our base image, which is built here and never pulled."""
    return reference in {BASE_IMAGE, f"{BASE_IMAGE}:latest"}


def problem_of(reference: str) -> str | None:
    """Why a reference cannot be pulled at all: a placeholder, a URL, a VM's disk; None if it looks sound."""
    plain = reference.strip()
    if not plain:
        return "the descriptor names no image"
    if plain.lower() in PLACEHOLDERS or plain.startswith("<"):
        return f"'{plain}' is a placeholder, not an image"
    if plain.lower().endswith(VM_FILES):
        return f"'{plain}' is a virtual machine's disk, and only Docker containers run here"
    if plain.startswith("file:"):
        return f"'{plain}' names a Dockerfile that is not in the package"
    if "://" in plain:
        bare = plain.partition("://")[2]
        hint = f"; Docker writes it without a scheme: '{bare}'" if REFERENCE.fullmatch(bare) else ""
        return f"'{plain}' is a URL, not an image reference{hint}"
    if not REFERENCE.fullmatch(plain):
        lower = plain.lower()
        hint = f" (lower case only: '{lower}')" if lower != plain and REFERENCE.fullmatch(lower) else ""
        return f"'{plain}' is not an image reference{hint}"
    if plain.startswith(OURS) and not is_base(plain):
        return f"'{plain}' is not present, and what is named {OURS}… is built here and never pulled"
    return None
