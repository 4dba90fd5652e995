"""The tests of the examples are worth something: break what they speak of, and they fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "example_packages"


@pytest.mark.parametrize(
    ("example", "file", "sound", "broken", "fails", "passes"),
    [
        pytest.param(
            "firewall",
            "sources/vnf/fw/rules.nft",
            "filter; policy drop;",
            "filter; policy accept;",
            ["test_telnet_is_blocked"],
            ["test_the_web_is_reachable"],
            id="a-firewall-that-lets-everything-pass",
        ),
        pytest.param(
            "chain",
            "sonemu.yml",
            "vnfs:",
            "vnfs:\n  hop2: {routes: none}",
            ["test_the_chain_is_crossed_both_ways"],
            ["test_a_frame_of_one_link_is_seen_on_no_other"],
            id="a-hop-that-passes-nothing-on",
        ),
        pytest.param(
            "chain",
            "sources/vnf/hop/Dockerfile",
            'CMD ["nginx", "-g", "daemon off;"]',
            'ENV VIM_EMU_CMD="sonemu-forward bridge input output && nginx"',
            ["test_a_frame_of_one_link_is_seen_on_no_other"],
            [],
            id="hops-that-join-their-links",
        ),
        pytest.param(
            "load-balancer",
            "sources/vnf/lb/balancer.conf",
            "    server web2 max_fails=1 fail_timeout=1s;\n",
            "",
            ["test_both_servers_answer_by_turns"],
            ["test_a_server_is_reached_through_the_balancer_only[web1]"],
            id="a-balancer-that-knows-one-server",
        ),
    ],
)
def test_a_broken_example_fails(
    pytester: pytest.Pytester,
    example: str,
    file: str,
    sound: str,
    broken: str,
    fails: list[str],
    passes: list[str],
) -> None:
    shutil.copytree(EXAMPLES / example, pytester.path / example)
    target = pytester.path / example / file
    text = target.read_text()
    assert text.count(sound) >= 1
    target.write_text(text.replace(sound, broken, 1))
    chosen = " or ".join(test.partition("[")[0] for test in (*fails, *passes))
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-v", "-k", chosen, example)
    outcomes = result.stdout.str()
    for test in fails:
        assert f"{test} FAILED" in outcomes
    for test in passes:
        assert f"{test} PASSED" in outcomes
