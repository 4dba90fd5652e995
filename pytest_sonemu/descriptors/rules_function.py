"""Rules of VNF descriptors, and of what both kinds have. Names as in son-validate."""

from __future__ import annotations

from pytest_sonemu.descriptors.rule_types import Example, Rule

FUNCTION_RULES = (
    Rule(
        "evt_function_invalid_descriptor",
        "function",
        "The VNFD cannot be read: it is not YAML, not UTF-8, or too large.",
        "always",
        "error",
        "error",
        Example("vnfd", "description: fw: and more\n", 'description: "fw: and more"\n'),
    ),
    Rule(
        "evt_vnfd_stx_invalid",
        "function",
        "The VNFD is not as its schema demands.",
        "sometimes",
        "warning",
        "error",
        Example("vnfd", "version: 0.1\n", 'version: "0.1"\n'),
    ),
    Rule(
        "evt_vnfd_itg_badsection_cpoints",
        "function",
        "The connection points of the VNFD are not a list of mappings with ids.",
        "always",
        "error",
        "error",
        Example(
            "vnfd",
            "connection_points: input\n",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "evt_vnfd_itg_badsection_vdus",
        "function",
        "The VNFD has no deployment units, or one that cannot be read.",
        "always",
        "error",
        "error",
        Example(
            "vnfd",
            "virtual_deployment_units: []\n",
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
        "evt_vnfd_itg_badsection_vlinks",
        "function",
        "The virtual links of the VNFD are not a list of mappings with ids and ends.",
        "sometimes",
        "warning",
        "error",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [input, "a:eth0"]
  - connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [input, "a:eth0"]
  - id: mid
    connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
        ),
    ),
    Rule(
        "evt_vnfd_itg_vdu_badsection_cpoints",
        "function",
        "The connection points of a unit are not a list of mappings with ids.",
        "sometimes",
        "warning",
        "error",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
    connection_points: eth0
""",
            """\
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
""",
        ),
    ),
    Rule(
        "evt_vnfd_itg_undeclared_cpoint",
        "function",
        "A virtual link of the VNFD refers to a connection point that the VNFD does not declare.",
        "sometimes",
        "warning",
        "error",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [inptu, "a:eth0"]
  - id: mid
    connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [input, "a:eth0"]
  - id: mid
    connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
        ),
    ),
    Rule(
        "evt_vnfd_itg_undefined_cpoint",
        "function",
        "A virtual link of the VNFD refers to a connection point that its unit does not have.",
        "sometimes",
        "warning",
        "error",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [input, "a:eth0"]
  - id: mid
    connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth7"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [input, "a:eth0"]
  - id: mid
    connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
        ),
    ),
    Rule(
        "evt_vnfd_itg_unused_cpoint",
        "function",
        "A connection point is in none of the virtual links of its VNFD.",
        "never",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-LAN
    connection_points_reference: [input, "a:eth0"]
  - id: mid
    connectivity_type: E-LAN
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-LAN
    connection_points_reference: ["b:eth1", "b:eth0"]
""",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [input, "a:eth0"]
  - id: mid
    connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
        ),
    ),
    Rule(
        "evt_vnfd_itg_vdu_image_not_found",
        "function",
        "A unit names no image, or a Dockerfile that is not in the package.",
        "sometimes",
        "warning",
        "warning",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: vdu01
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
        "evt_vnfd_top_topgraph_failed",
        "function",
        (
            "A VNF of several units has no virtual links, so its units reach neither each other nor the "
            "service."
        ),
        "never",
        "warning",
        "error",
        Example(
            "vnfd",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
""",
            """\
virtual_deployment_units:
  - id: a
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
  - id: b
    vm_image: acme/ids:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256}}
    connection_points:
      - {id: eth0, interface: ipv4, type: internal}
      - {id: eth1, interface: ipv4, type: internal}
virtual_links:
  - id: in
    connectivity_type: E-Line
    connection_points_reference: [input, "a:eth0"]
  - id: mid
    connectivity_type: E-Line
    connection_points_reference: ["a:eth1", "b:eth0"]
  - id: out
    connectivity_type: E-Line
    connection_points_reference: ["b:eth1", output]
""",
        ),
    ),
    Rule(
        "evt_duplicate_cpoint",
        "general",
        "A connection point is declared twice.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
  - {id: input, interface: ipv4, type: external}
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "evt_invalid_cpoint",
        "general",
        "A connection point has a ':' in its id, which parts VNF and point in references.",
        "never",
        "warning",
        "error",
        Example(
            "nsd",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
  - {id: "a:b", interface: ipv4, type: external}
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: ["a:b", "fw:input"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "evt_invalid_vlink",
        "general",
        (
            "A virtual link is none that can be: an E-Line has two ends, an E-LAN and an E-Tree at "
            "least one, none twice."
        ),
        "sometimes",
        "warning",
        "error",
        Example(
            "nsd",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input", output]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
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
        "evt_duplicate_vlink",
        "general",
        "A virtual link is declared twice.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
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
        "evt_invalid_cpoint_ref",
        "general",
        "A reference to a connection point is not of the form `vnf_id:point` or `sap`.",
        "sometimes",
        "warning",
        "error",
        Example(
            "nsd",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input:0"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
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
        "evt_invalid_descriptor",
        "general",
        "A descriptor is no mapping, or of another kind than the manifest says.",
        "always",
        "error",
        "error",
        Example(
            "manifest",
            "entry_service_template: /function_descriptors/fw.yml\n",
            "entry_service_template: /service_descriptors/nsd.yml\n",
        ),
    ),
)
