"""Rules of what an emulator needs of a package, and no schema asks for."""

from __future__ import annotations

from pytest_sonemu.descriptors.rule_types import Example, Rule

EMULATOR_RULES = (
    Rule(
        "sonemu_image_format",
        "emulator",
        (
            "A unit has an image of a virtual machine. Only Docker images run here; choose a stand-in "
            "by `vnfs: {fw: {image: …}}` or `images:` in `sonemu.yml`."
        ),
        "never",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: firewall.qcow2
    vm_image_format: qcow2
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
""",
        ),
    ),
    Rule(
        "sonemu_image_name",
        "emulator",
        (
            "An image's name is none that Docker could fetch: a web address, a placeholder, a disk of a "
            "virtual machine."
        ),
        "sometimes",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: "http://registry:5000/fw"
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: "registry:5000/fw"
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
""",
        ),
    ),
    Rule(
        "sonemu_interface_name",
        "emulator",
        (
            "A connection point's id cannot name an interface: the kernel takes up to 15 bytes without "
            "'/', ':' and white space. It gets a short name; two that get the same are an error."
        ),
        "sometimes",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
  - {id: administration-network, interface: ipv4, type: external}
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
  - {id: administration, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "sonemu_vnf_id",
        "emulator",
        "A vnf_id cannot name a container, or names the container of another VNF.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
network_functions:
  - {vnf_id: "fw 1", vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
virtual_links: []
connection_points: []
""",
            """\
network_functions:
  - {vnf_id: fw1, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
virtual_links: []
connection_points: []
""",
        ),
    ),
    Rule(
        "sonemu_shared_vnfd",
        "emulator",
        "Several vnf_ids use one VNFD; each gets a container of its own.",
        "never",
        "info",
        "info",
        Example(
            "nsd",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
  - {vnf_id: fw2, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
        ),
    ),
    Rule(
        "sonemu_duplicate_vnfd",
        "emulator",
        "Two VNFDs have the same vendor, name and version; the first of them is taken.",
        "never",
        "warning",
        "warning",
        Example(
            "archive",
            "function_descriptors/fw.yml and function_descriptors/fw-copy.yml both describe acme/fw 0.1",
            "give the copy another name or version",
        ),
    ),
    Rule(
        "sonemu_sap_name",
        "emulator",
        "A SAP has the name of a VNF, so that a reference could mean either.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
  - {id: fw, interface: ipv4, type: external}
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "sonemu_sap_link",
        "emulator",
        "A virtual link joins SAPs only: users reach each other without any VNF.",
        "never",
        "info",
        "info",
        Example(
            "nsd",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
  - id: back
    connectivity_type: E-Line
    connection_points_reference: [output, input]
""",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
""",
        ),
    ),
    Rule(
        "sonemu_fwgraph_links",
        "emulator",
        "Virtual links are in no forwarding graph. They are set up all the same.",
        "never",
        "info",
        "info",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    constituent_virtual_links: [link-in]
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 2}
          - {connection_point_ref: "fw:output", position: 3}
          - {connection_point_ref: output, position: 4}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
    constituent_virtual_links: [link-in, link-out]
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 2}
          - {connection_point_ref: "fw:output", position: 3}
          - {connection_point_ref: output, position: 4}
""",
        ),
    ),
    Rule(
        "sonemu_units",
        "emulator",
        "A VNF has units that cannot run in a container: 5GTANGO's physical_deployment_units.",
        "always",
        "error",
        "error",
        Example(
            "vnfd",
            """\
physical_deployment_units:
  - {id: pdu01, address: 10.0.0.1, port: 22}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
""",
        ),
    ),
    Rule(
        "sonemu_resources",
        "emulator",
        "A limit is no number, has an unknown unit, or is 0. It is not set.",
        "never",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: XB}}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
""",
        ),
    ),
    Rule(
        "sonemu_cpu_ids",
        "emulator",
        "`cores` names cores that this machine does not have, or is no list of cores.",
        "never",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1, cores: many}, memory: {size: 256, size_unit: MB}}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1, cores: "0"}, memory: {size: 256, size_unit: MB}}
""",
        ),
    ),
    Rule(
        "sonemu_archive",
        "emulator",
        (
            "A member of the archive is not safe to unpack: a symbolic link, an absolute or '..' name, "
            "a name that is there twice, or one that grows out of bounds."
        ),
        "always",
        "error",
        "error",
        Example("archive", "docker_files/fw/shadow -> /etc/shadow", "pack the file itself"),
    ),
    Rule(
        "sonemu_archive_litter",
        "emulator",
        "The archive has files that macOS leaves behind (__MACOSX, ._name). They are not read.",
        "never",
        "info",
        "info",
        Example("archive", "__MACOSX/._nsd.yml", "zip -X web.son …, or `sonemu pack`"),
    ),
    Rule(
        "sonemu_root_folder",
        "emulator",
        "All of a 5GTANGO package lies in one folder of the archive. It is read all the same.",
        "never",
        "warning",
        "warning",
        Example("archive", "web-1.0/TOSCA-Metadata/NAPD.yaml", "TOSCA-Metadata/NAPD.yaml"),
    ),
    Rule(
        "sonemu_yaml",
        "emulator",
        (
            "YAML that is not read in descriptors: a key that is there twice, tags that make objects, "
            "aliases that grow or name themselves, too many values or levels, several documents."
        ),
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
description: one
description: two
""",
            "description: two\n",
        ),
    ),
    Rule(
        "sonemu_old_vocabulary",
        "emulator",
        (
            "A descriptor has words of 2016 (`type: interface`, `ns_group`), which the published schema "
            "no longer has."
        ),
        "never",
        "info",
        "error",
        Example(
            "nsd",
            """\
connection_points:
  - {id: input, type: interface}
  - {id: output, type: interface}
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "sonemu_unknown_key",
        "emulator",
        (
            "A key that nobody reads here and that no schema forbids: a slip, or an extension of "
            "another emulator."
        ),
        "never",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1, coers: "0"}, memory: {size: 256, size_unit: MB}}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1, cores: "0"}, memory: {size: 256, size_unit: MB}}
""",
        ),
    ),
    Rule(
        "sonemu_paired_elines",
        "emulator",
        ("Two E-Lines join the same two points. An E-Line carries both directions, so both are one circuit."),
        "never",
        "warning",
        "warning",
        Example(
            "nsd",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
  - id: link-in-back
    connectivity_type: E-Line
    connection_points_reference: ["fw:input", input]
""",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
""",
        ),
    ),
    Rule(
        "sonemu_unlinked_point",
        "emulator",
        (
            "A connection point of a VNF is in no virtual link of the service: its interface is there, "
            "without address."
        ),
        "never",
        "info",
        "info",
        Example(
            "vnfd",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
  - {id: spare, interface: ipv4, type: external}
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "sonemu_unused_vnfd",
        "emulator",
        "A VNFD of the package is not used by its service.",
        "never",
        "info",
        "info",
        Example(
            "archive",
            "function_descriptors/old.yml is listed, but no entry of network_functions names it",
            "leave it out of the package",
        ),
    ),
    Rule(
        "sonemu_unlisted_file",
        "emulator",
        "A file in the folders of descriptors is not listed in the manifest, so it is not read.",
        "never",
        "info",
        "info",
        Example(
            "archive",
            "function_descriptors/ids.yml is there, but not in package_content",
            "list it in package_content",
        ),
    ),
    Rule(
        "sonemu_empty_service",
        "emulator",
        "The service has no VNFs.",
        "never",
        "warning",
        "warning",
        Example(
            "nsd",
            """\
network_functions: []
virtual_links: []
""",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
""",
        ),
    ),
    Rule(
        "sonemu_nested_service",
        "emulator",
        "The service is made of other services, which are not deployed.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            "network_services: [dns]\n",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
        ),
    ),
    Rule(
        "sonemu_limit_not_set",
        "emulator",
        (
            "A requirement is kept, but no limit is set by it: storage, network, PCIe, GPU, hypervisor, "
            "switch. In `strict` only: nearly every VNFD has one."
        ),
        "never",
        "off",
        "info",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}, storage: {size: 10, size_unit: GB}}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
""",
        ),
    ),
    Rule(
        "sonemu_not_emulated",
        "emulator",
        (
            "A part of the descriptor is kept but not acted upon: SSMs and FSMs, monitoring, life-cycle "
            "events, policies, flavours."
        ),
        "never",
        "info",
        "info",
        Example(
            "vnfd",
            """\
monitoring_rules:
  - name: busy
    duration: 10
    condition: "vdu01:vm_cpu_perc > 10"
    notification: [{name: n, type: t}]
""",
            "author: acme\n",
        ),
    ),
    Rule(
        "sonemu_address",
        "emulator",
        (
            "A static IP or MAC address of a connection point is none, or has no prefix length (/24 is "
            "taken then)."
        ),
        "sometimes",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external, address: 10.0.0.300/24}
  - {id: output, interface: ipv4, type: external}
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external, address: 10.0.0.30/24}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "sonemu_publish",
        "emulator",
        "A published port is none, or is asked for twice.",
        "never",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal, publish: {http: 8080}}
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal, publish: {80: 8080}}
""",
        ),
    ),
    Rule(
        "sonemu_environment",
        "emulator",
        "A variable of `parameters: {env: …}` is no text.",
        "never",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
cloudnative_deployment_units:
  - id: cdu01
    image: acme/fw:1
    parameters: {env: {MODE: [fast]}}
virtual_deployment_units:
""",
            """\
cloudnative_deployment_units:
  - id: cdu01
    image: acme/fw:1
    parameters: {env: {MODE: fast}}
virtual_deployment_units:
""",
        ),
    ),
    Rule(
        "sonemu_reference_file",
        "emulator",
        "A `.ref` file of a 5GTANGO package points to a file elsewhere, which is not fetched.",
        "never",
        "info",
        "info",
        Example(
            "archive", "Images/fw.ref, of content-type application/vnd.5gtango.ref", "pack the file itself"
        ),
    ),
    Rule(
        "sonemu_signature",
        "emulator",
        "The package has a signature. It is not verified here.",
        "never",
        "info",
        "info",
        Example("manifest", "signature: aGVsbG8gd29ybGQ=\n", "sealed: true\n"),
    ),
    Rule(
        "sonemu_options",
        "emulator",
        "`sonemu.yml` cannot be read.",
        "always",
        "error",
        "error",
        Example("sonemu.yml", "- routes\n", "routes: none\n"),
    ),
    Rule(
        "sonemu_project",
        "emulator",
        "`project.yml` is not that of a project.",
        "sometimes",
        "warning",
        "warning",
        Example("project.yml", "package: web\n", 'package: {name: web, vendor: acme, version: "0.1"}\n'),
    ),
)
