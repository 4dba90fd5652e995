"""Small packages for tests of the gatekeeper: one or two VNFs of the base image between two SAPs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from tests.pure.package_writing import members, nsd, vnfd

BASE = {"vm_image": "sonemu/vnf-base"}


def small(*vnf_ids: str, name: str = "small", **more: object) -> bytes:
    """A chain of VNFs (default: one, "fw") from SAP `input` to SAP `output`."""
    ids = vnf_ids or ("fw",)
    stations = ["input", *(f"{vnf_id}:{point}" for vnf_id in ids for point in ("input", "output")), "output"]
    links = {f"link-{number}": stations[2 * number : 2 * number + 2] for number in range(len(stations) // 2)}
    service = {**nsd(dict.fromkeys(ids, "vnf"), links), "name": name}
    return zipped(members(service, vnfd("vnf", unit={**BASE, **more}), name=f"{name}-package"))


def zipped(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()
