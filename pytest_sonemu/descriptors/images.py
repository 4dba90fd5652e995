"""The image of a unit: a reference for Docker, a Dockerfile of the package, or something else by name."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sonemu.descriptors.archive import PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.image_names import DOCKER_FORMATS, problem_of
from pytest_sonemu.descriptors.manifest import member_name
from pytest_sonemu.descriptors.section import Section

NOT_FOUND, FORMAT, NAME = "evt_vnfd_itg_vdu_image_not_found", "sonemu_image_format", "sonemu_image_name"


@dataclass(frozen=True, slots=True)
class Image:
    """As `Unit` has it: `reference` as written, `context` a folder of the package with a Dockerfile."""

    reference: str | None
    format: str = "docker"
    context: str | None = None


def read_vdu_image(section: Section, vnf: str, files: PackageFiles, findings: Findings) -> Image:
    """The image of a VDU. Any other than a docker image may still run on a stand-in."""
    image_format = (section.text("vm_image_format") or "docker").lower()
    image = section.text("vm_image")
    if image_format not in DOCKER_FORMATS:
        other = _docker_alternative(section)
        if other is not None:
            message = (
                f"VNF '{vnf}' has an image of format {image_format}; '{other}' of its alternatives is taken"
            )
            findings.warning(FORMAT, message, section.place_of("vm_image_format"))
            return _judged(other, section, vnf, files, findings)
        if image is not None:
            message = f"VNF '{vnf}' has an image of format {image_format}; only docker images run here"
            findings.warning(FORMAT, message, section.place_of("vm_image_format"), _stand_in(vnf))
            return Image(image, image_format)
    if image is None:
        findings.warning(
            NOT_FOUND, f"a VDU of VNF '{vnf}' names no image", section.place, _stand_in(vnf), "-vm_image"
        )
        return Image(None, image_format)
    return _judged(image, section, vnf, files, findings)


def read_cdu_image(section: Section, vnf: str, files: PackageFiles, findings: Findings) -> Image:
    """The image of a CDU."""
    image = section.text("image")
    if image is None:
        findings.warning(
            NOT_FOUND, f"a CDU of VNF '{vnf}' names no image", section.place, _stand_in(vnf), "-image"
        )
        return Image(None)
    return _judged(image, section, vnf, files, findings, key="image")


def _judged(
    image: str, section: Section, vnf: str, files: PackageFiles, findings: Findings, key: str = "vm_image"
) -> Image:
    place = section.place_of(key)
    if not image.startswith("file://"):
        problem = problem_of(image)
        if problem is not None and not image.startswith("sonemu/"):
            findings.warning(NAME, f"image of VNF '{vnf}': {problem}", place, _stand_in(vnf))
        return Image(image)
    member = member_name(image)
    folder, _, name = member.rpartition("/")
    if member not in files:
        message = f"'{image}' of VNF '{vnf}' is not in the package"
        findings.error(NOT_FOUND, message, place, findings.near(member, files))
    elif name != "Dockerfile" or not folder:
        message = f"'{image}' of VNF '{vnf}' is not a Dockerfile in a folder of its own"
        findings.error(NAME, message, place, "write it like file:///docker_files/fw/Dockerfile")
    else:
        return Image(None, context=folder)
    return Image(None)


def _docker_alternative(section: Section) -> str | None:
    listed = section.node_of("alternative_images")
    for item in listed.value if listed is not None and isinstance(listed.value, list) else ():
        if not isinstance(item.value, dict):
            continue
        image, kind = item.value.get("vm_image"), item.value.get("vm_image_format")
        if image is not None and kind is not None and kind.text.lower() == "docker" and image.text.strip():
            return str(image.text.strip())
    return None


def _stand_in(vnf: str) -> str:
    return f"choose an image for the VNF '{vnf}' in the map 'images' or in sonemu.yml"
