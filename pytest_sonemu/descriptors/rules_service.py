"""Rules of network service descriptors. Names as in son-validate."""

from __future__ import annotations

from pytest_sonemu.descriptors.rule_types import Example, Rule

SERVICE_RULES = (
    Rule(
        "evt_service_invalid_descriptor",
        "service",
        "The NSD cannot be read: it is not YAML, not UTF-8, or too large.",
        "always",
        "error",
        "error",
        Example("nsd", "description: web: and more\n", 'description: "web: and more"\n'),
    ),
    Rule(
        "evt_nsd_stx_invalid",
        "service",
        "The NSD is not as its schema demands.",
        "sometimes",
        "warning",
        "error",
        Example("nsd", "version: 0.1\n", 'version: "0.1"\n'),
    ),
    Rule(
        "evt_nsd_itg_function_unavailable",
        "service",
        "No VNFD of the package has the vendor, name and version that the NSD asks for.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fv, vnf_version: "0.1"}
""",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
        ),
    ),
    Rule(
        "evt_nsd_itg_function_invalid",
        "service",
        "An entry of network_functions cannot be used: its id is taken, or its VNFD cannot be read.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
  - {vnf_id: fw2, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
        ),
    ),
    Rule(
        "evt_nsd_itg_badsection_cpoints",
        "service",
        "The connection points of the NSD are not a list of mappings with ids.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            "connection_points: input\n",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "evt_nsd_itg_badsection_vlinks",
        "service",
        "The virtual links of the NSD are not a list of mappings with ids and ends.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
virtual_links:
  - connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
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
        "evt_nsd_itg_undeclared_cpoint",
        "service",
        "A virtual link refers to a SAP that the NSD does not declare.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [inptu, "fw:input"]
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
        "evt_nsd_itg_undefined_cpoint",
        "service",
        "A virtual link refers to a connection point that its VNF does not have.",
        "always",
        "error",
        "error",
        Example(
            "nsd",
            """\
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:inptu"]
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
        "evt_nsd_itg_unused_cpoint",
        "service",
        "A SAP is in no virtual link: who attaches there reaches nothing.",
        "never",
        "warning",
        "warning",
        Example(
            "nsd",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
  - {id: mgmt, interface: ipv4, type: external}
""",
            """\
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
        ),
    ),
    Rule(
        "evt_nsd_top_topgraph_failed",
        "service",
        "No virtual link of the service joins anything, so it has no topology.",
        "never",
        "warning",
        "error",
        Example(
            "nsd",
            "virtual_links: []\n",
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
        "evt_nsd_top_topgraph_disconnected",
        "service",
        "The service falls into parts that no virtual link joins.",
        "never",
        "warning",
        "warning",
        Example(
            "nsd",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
  - {vnf_id: alone, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
            """\
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
""",
        ),
    ),
    Rule(
        "evt_nsd_top_badsection_fwgraph",
        "service",
        (
            "A forwarding graph has a part that cannot be read, or names a VNF or virtual link that is "
            "not there."
        ),
        "never",
        "warning",
        "error",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    constituent_virtual_links: [link-in, link-uot]
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
        "evt_nsd_top_fwgraph_cpoint_undefined",
        "service",
        "A forwarding path passes a connection point that is not there; the path is left out.",
        "never",
        "warning",
        "error",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:inptu", position: 2}
          - {connection_point_ref: "fw:output", position: 3}
          - {connection_point_ref: output, position: 4}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
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
        "evt_nsd_top_fwpath_invalid",
        "service",
        (
            "A forwarding path goes into a VNF and comes out of another one: of each VNF it names the "
            "point in and the point out."
        ),
        "never",
        "warning",
        "error",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 2}
          - {connection_point_ref: output, position: 3}
          - {connection_point_ref: "fw:output", position: 4}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
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
        "evt_nsd_top_fwpath_inside_vnf",
        "service",
        (
            "A forwarding path stays in one VNF where it should cross a link: its stations come in "
            "pairs, and the two of a pair are the ends of a link."
        ),
        "never",
        "warning",
        "error",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: "fw:input", position: 1}
          - {connection_point_ref: "fw:output", position: 2}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
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
        "evt_nsd_top_fwpath_disrupted",
        "service",
        "Two stations of a forwarding path are not joined by a virtual link.",
        "never",
        "warning",
        "error",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:output", position: 2}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 2}
""",
        ),
    ),
    Rule(
        "evt_nsd_top_fwgraph_position_duplicate",
        "service",
        "Two stations of a forwarding path have the same position.",
        "never",
        "warning",
        "warning",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 1}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 2}
""",
        ),
    ),
    Rule(
        "evt_nsd_top_fwgraph_cpoints_odd",
        "service",
        "A forwarding path has an odd number of stations, so that one of them has no partner.",
        "never",
        "warning",
        "warning",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 2}
          - {connection_point_ref: "fw:output", position: 3}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
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
        "evt_nsd_top_fwgraph_cycles",
        "service",
        "A forwarding path passes a connection point twice.",
        "never",
        "warning",
        "warning",
        Example(
            "nsd",
            """\
forwarding_graphs:
  - fg_id: fg01
    network_forwarding_paths:
      - fp_id: fp01
        connection_points:
          - {connection_point_ref: input, position: 1}
          - {connection_point_ref: "fw:input", position: 2}
          - {connection_point_ref: "fw:input", position: 3}
          - {connection_point_ref: input, position: 4}
""",
            """\
forwarding_graphs:
  - fg_id: fg01
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
        "evt_nsd_top_fwgraph_unavailable",
        "service",
        (
            "The NSD has no forwarding graph, which is fine: routes then follow the links. Off unless "
            "it is set."
        ),
        "never",
        "off",
        "off",
        Example(
            "nsd",
            "forwarding_graphs: []\n",
            """\
forwarding_graphs:
  - fg_id: fg01
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
)
