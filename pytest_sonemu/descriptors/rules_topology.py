"""Rules of topology files."""

from __future__ import annotations

from pytest_sonemu.descriptors.rule_types import Example, Rule

TOPOLOGY_RULES = (
    Rule(
        "topology_yaml",
        "topology",
        "The topology file is not YAML, or YAML that is not read.",
        "always",
        "error",
        "error",
        Example("topology", "pops: [pop1, pop2\n", "pops: [pop1, pop2]\n"),
    ),
    Rule(
        "topology_shape",
        "topology",
        "A part of the topology is missing, unknown or of the wrong kind.",
        "always",
        "error",
        "error",
        Example("topology", "popz: [pop1]\n", "pops: [pop1]\n"),
    ),
    Rule(
        "topology_value",
        "topology",
        "A value of the topology cannot be used.",
        "always",
        "error",
        "error",
        Example(
            "topology",
            "links:\n  - {between: [pop1, pop2], delay: 10 parsecs}\n",
            "links:\n  - {between: [pop1, pop2], delay: 10ms}\n",
        ),
    ),
    Rule(
        "topology_link",
        "topology",
        "A link or a place of the topology names a PoP that is not there, or has no two ends.",
        "always",
        "error",
        "error",
        Example("topology", "links:\n  - [pop1, pop3]\n", "links:\n  - [pop1, pop2]\n"),
    ),
    Rule(
        "topology_duplicate",
        "topology",
        "A name or a link is there twice.",
        "always",
        "error",
        "error",
        Example("topology", "pops: [pop1, pop1]\n", "pops: [pop1, pop2]\n"),
    ),
)
