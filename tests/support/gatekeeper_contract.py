"""The gatekeeper's contract, row by row, whatever emulation stands behind it.

`tests/pure` runs it on an emulation that only plans, `tests/many` on a real bed. Each module gives
the fixture `served`: a gatekeeper just started, on a bed where nothing runs.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests

from tests.pure.package_writing import MANIFEST, NSD, members, nsd, vnfd
from tests.support import old_clients as old
from tests.support.http import Served, assert_problem
from tests.support.small_packages import BASE, small, zipped

NOT_FOUND = "Service not found"
NO_FILE = "upload failed. file not found."
LOST_IMAGE = {"vnfs": {"fw": {"image": "nobody.invalid/none:1"}}}

every_packages = pytest.mark.parametrize("packages", ["/packages", "/api/v2/packages"])
every_instances = pytest.mark.parametrize(
    "instances", ["/instantiations", "/api/v2/instantiations", "/api/v2/requests"]
)
every_content_type = pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "application/json", "text/plain", None]
)


def stopped(instance: str) -> str:
    return f"service instance with uuid '{instance}' stopped."


def is_uuid4(text: str) -> bool:
    return str(UUID(text)) == text and UUID(text).version == 4


class PackagesContract:
    """Rows of `/packages`."""

    @every_packages
    def test_none(self, served: Served, packages: str) -> None:
        answer = served.get(packages)
        assert answer.status == 200
        assert answer.body == {"service_uuid_list": []}

    @every_packages
    @pytest.mark.parametrize("field", ["package", "file"])
    def test_form(self, served: Served, packages: str, field: str) -> None:
        content = small()
        answer = served.ask("POST", packages, files={field: ("x.son", content)})
        assert answer.status == 201
        assert answer.body == {
            "service_uuid": answer.body["service_uuid"],
            "size": len(content),
            "sha1": hashlib.sha1(content).hexdigest(),
            "error": None,
        }
        assert is_uuid4(answer.body["service_uuid"])
        assert served.get("/packages").body == {"service_uuid_list": [answer.body["service_uuid"]]}
        assert answer.headers["Location"] == f"{packages}/{answer.body['service_uuid']}"

    @every_packages
    @pytest.mark.parametrize(
        "content_type",
        ["application/zip", "application/octet-stream", "application/x-www-form-urlencoded", None],
    )
    def test_raw_body(self, served: Served, packages: str, content_type: str | None) -> None:
        content = small()
        headers = {"Content-Type": content_type} if content_type else {}
        answer = served.ask("POST", packages, data=content, headers=headers)
        assert answer.status == 201
        assert answer.body["size"] == len(content)
        assert answer.body["sha1"] == hashlib.sha1(content).hexdigest()

    def test_body_in_chunks(self, served: Served) -> None:
        content = small()
        parts = iter([content[:100], content[100:]])
        answer = served.ask("POST", "/packages", data=parts, headers={"Content-Type": "application/zip"})
        assert answer.body["sha1"] == hashlib.sha1(content).hexdigest()

    @every_packages
    @pytest.mark.parametrize(
        "request_of",
        [
            {"files": {"other": ("x.son", b"content")}},
            {"files": {"package": ("x.son", b"")}},
            {"data": b"", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            {"data": b"no form", "headers": {"Content-Type": "multipart/form-data"}},
            {"data": b""},
            {"data": {"package": "text"}},
        ],
        ids=["other field", "empty file", "empty form", "no form", "empty body", "form without files"],
    )
    def test_no_file(self, served: Served, packages: str, request_of: dict[str, Any]) -> None:
        answer = served.ask("POST", packages, **request_of)
        assert answer.status == 500
        self.assert_refused(served, answer.body, NO_FILE)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            pytest.param(b"PK no zip", "zip", id="no zip"),
            pytest.param(b"text", "zip", id="text"),
            pytest.param(small()[:-30], "zip", id="cut"),
            pytest.param(zipped({"readme": b"hello"}), MANIFEST, id="no manifest"),
            pytest.param(zipped({MANIFEST: b"- a list"}), "manifest", id="manifest is a list"),
            pytest.param(zipped({MANIFEST: b"a: [b"}), "MANIFEST.MF", id="manifest is no YAML"),
            pytest.param(
                zipped({name: data for name, data in members(nsd({}, {})).items() if name != NSD}),
                NSD,
                id="no NSD",
            ),
            pytest.param(
                zipped(members(nsd({"fw": "other"}, {}), vnfd("vnf", unit=BASE))), "other", id="no VNFD"
            ),
        ],
    )
    def test_no_package(self, served: Served, content: bytes, reason: str) -> None:
        answer = served.ask("POST", "/packages", files={"package": ("x.son", content)})
        assert answer.status == 500
        self.assert_refused(served, answer.body, "upload failed")
        assert reason.lower() in answer.body["detail"].lower()
        assert "/proc/" not in json.dumps(answer.body)
        assert "x.son" in answer.body["detail"]

    def assert_refused(self, served: Served, body: dict[str, Any], error: str) -> None:
        assert_problem(body)
        expected = {"service_uuid": None, "size": 0, "sha1": None, "error": error}
        assert {key: body[key] for key in expected} == expected
        assert served.get("/packages").body == {"service_uuid_list": []}
        assert served.running() == []

    def test_too_large_is_refused_before_it_is_sent(self, served: Served) -> None:
        """What curl does with a large body: it asks first, and reads the answer instead of sending."""
        import socket

        host, _, port = served.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /packages HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\n"
                b"Content-Length: 629145600\r\nExpect: 100-continue\r\n\r\n"
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"Content-Type: application/json" in head
        self.assert_refused(served, json.loads(body), "upload failed")
        assert "512 MiB" in json.loads(body)["detail"]

    @every_packages
    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
    def test_other_methods(self, served: Served, packages: str, method: str) -> None:
        answer = served.ask(method, packages)
        assert answer.status == 405
        assert answer.body["message"] == "The method is not allowed for the requested URL."
        assert_problem(answer.body)
        assert set(answer.headers["Allow"].split(", ")) == {"HEAD", "GET", "POST", "OPTIONS"}

    def test_head_and_options(self, served: Served) -> None:
        assert served.ask("HEAD", "/packages").status == 200
        response = requests.options(served.url + "/packages", timeout=10)
        assert response.status_code == 200
        assert set(response.headers["Allow"].split(", ")) == {"HEAD", "GET", "POST", "OPTIONS"}

    def test_order_and_duplicates(self, served: Served) -> None:
        uuids = [served.onboard(content) for content in (small(name="b"), small(name="a"), small(name="b"))]
        assert len(set(uuids)) == 3
        assert served.get("/packages").body == {"service_uuid_list": uuids}

    @every_packages
    def test_one(self, served: Served, packages: str) -> None:
        content = small("fw", "ids", name="chain")
        before = time.time()
        package = served.onboard(content)
        body = served.get(f"{packages}/{package}").body
        assert body["service"] == "chain"
        assert (body["vendor"], body["name"], body["version"]) == ("acme", "chain-package", "0.1")
        assert body["vnfs"] == ["fw", "ids"]
        assert body["saps"] == ["input", "output"]
        assert body["file"] == "service.son"
        assert body["sha1"] == hashlib.sha1(content).hexdigest()
        assert before <= body["onboarded"] <= time.time()
        assert body["instances"] == []
        instance = served.start({"service_uuid": package})
        assert served.get(f"{packages}/{package}").body["instances"] == [instance]

    @every_packages
    def test_remove(self, served: Served, packages: str) -> None:
        kept, removed = served.onboard(small()), served.onboard(small())
        answer = served.ask("DELETE", f"{packages}/{removed}")
        assert answer.status == 200
        assert answer.body["service_uuid"] == removed
        assert served.get("/packages").body == {"service_uuid_list": [kept]}
        assert served.get(f"{packages}/{removed}").status == 404
        assert served.ask("DELETE", f"{packages}/{removed}").status == 404
        assert served.ask("POST", "/instantiations", json={"service_uuid": removed}).body == NOT_FOUND

    def test_remove_while_it_runs(self, served: Served) -> None:
        package = served.onboard(small())
        instance = served.start({"service_uuid": package})
        answer = served.ask("DELETE", f"/packages/{package}")
        assert answer.status == 409
        assert instance in answer.body["detail"]
        assert served.running() == [[instance]]
        served.ask("DELETE", "/instantiations", json={})
        assert served.ask("DELETE", f"/packages/{package}").status == 200

    @every_packages
    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_unknown_one(self, served: Served, packages: str, method: str) -> None:
        answer = served.ask(method, f"{packages}/{uuid4()}")
        assert answer.status == 404
        assert answer.body == NOT_FOUND


class StartContract:
    """Rows of `POST` and `GET /instantiations`."""

    @every_instances
    def test_none(self, served: Served, instances: str) -> None:
        assert served.get(instances).body == {"service_instantiations_list": []}

    def test_an_empty_list_for_each_package(self, served: Served) -> None:
        first, second = served.onboard(small(name="a")), served.onboard(small(name="b"))
        assert served.running() == [[], []]
        instance = served.start({"service_uuid": second})
        assert served.running() == [[], [instance]]
        other = served.start({"service_uuid": first})
        assert served.running() == [[other], [instance]]

    @every_instances
    @every_content_type
    def test_by_uuid(self, served: Served, instances: str, content_type: str | None) -> None:
        package = served.onboard(small())
        served.onboard(small(name="newer"))
        headers = {"Content-Type": content_type} if content_type else {}
        data = json.dumps({"service_uuid": package}).encode()
        answer = served.ask("POST", instances, data=data, headers=headers)
        assert answer.status == 201
        assert list(answer.body) == ["service_instance_uuid"]
        assert is_uuid4(answer.body["service_instance_uuid"])
        assert served.running() == [[answer.body["service_instance_uuid"]], []]

    @every_instances
    @pytest.mark.parametrize("body", [{}, {"service_uuid": None}, {"service_uuid": "latest"}], ids=str)
    def test_the_latest(self, served: Served, instances: str, body: dict[str, Any]) -> None:
        served.onboard(small(name="older"))
        served.onboard(small(name="newer"))
        served.ask("POST", "/packages", data=b"PK refused")
        instance = served.start(body, instances)
        assert served.running() == [[], [instance]]

    @pytest.mark.parametrize("name", ["older", "older-package"])
    def test_by_name(self, served: Served, name: str) -> None:
        served.onboard(small(name="older"))
        served.onboard(small(name="newer"))
        instance = served.start({"service_name": name})
        assert served.running() == [[instance], []]
        assert served.ask("POST", "/instantiations", json={"service_name": "no"}).body == NOT_FOUND

    @every_instances
    @pytest.mark.parametrize(
        "body", [{"service_uuid": str(UUID(int=1))}, {"service_uuid": "no"}, {"service_uuid": 7}], ids=str
    )
    @pytest.mark.parametrize("onboarded", [0, 1])
    def test_unknown(self, served: Served, instances: str, body: dict[str, Any], onboarded: int) -> None:
        for _ in range(onboarded):
            served.onboard(small())
        answer = served.ask("POST", instances, json=body)
        assert answer.status == 404
        assert answer.body == NOT_FOUND

    @every_instances
    def test_nothing_onboarded(self, served: Served, instances: str) -> None:
        answer = served.ask("POST", instances, json={})
        assert answer.status == 404
        assert answer.body == NOT_FOUND

    @every_instances
    @every_content_type
    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    @pytest.mark.parametrize("data", [b"", b"service", b"{", b"\xff\xfe\x00", b"[" * 100_000], ids=range(5))
    def test_no_json(
        self, served: Served, instances: str, content_type: str | None, method: str, data: bytes
    ) -> None:
        served.onboard(small())
        headers = {"Content-Type": content_type} if content_type else {}
        answer = served.ask(method, instances, data=data, headers=headers)
        assert answer.status == 400
        assert answer.body["message"].startswith("Failed to decode JSON object: ")
        assert_problem(answer.body)

    @every_instances
    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    @pytest.mark.parametrize("data", [b"[]", b'"text"', b"null", b"7", b"true"])
    def test_no_object(self, served: Served, instances: str, method: str, data: bytes) -> None:
        served.onboard(small())
        answer = served.ask(method, instances, data=data)
        assert answer.status == 400
        assert_problem(answer.body)

    def test_a_body_without_end(self, served: Served) -> None:
        answer = served.ask("POST", "/instantiations", data=b" " * (1024**2 + 1))
        assert answer.status == 413
        assert_problem(answer.body)

    @every_instances
    def test_a_start_that_fails(self, served: Served, instances: str) -> None:
        package = served.onboard(small())
        for options, reason in (
            ({"placement": {"fw": "nowhere"}}, "nowhere"),
            (LOST_IMAGE, "nobody.invalid/none:1"),
        ):
            answer = served.ask("POST", instances, json={"service_uuid": package, **options})
            assert answer.status == 500
            assert_problem(answer.body)
            assert reason in answer.body["detail"]
            assert "/proc/" not in json.dumps(answer.body)
            assert served.running() == [[]]
            assert served.left() == []
        instance = served.start({}, instances)
        assert served.running() == [[instance]]

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"placement": 7}, "placement"),
            ({"placement": "round-robbin"}, "did you mean 'round-robin'"),
            ({"address_plan": "sead"}, "did you mean 'seed'"),
            ({"vnfs": {"fw": {"imagge": "x"}}}, "did you mean 'image'"),
            ({"vnfs": {"fw": {"mounts": ["/etc:/host"]}}}, "vnfs.fw.mounts cannot be set over HTTP"),
            ({"vnfs": {"*": {"cap_add": ["SYS_ADMIN"]}}}, "vnfs.*.cap_add cannot be set over HTTP"),
            ({"vnfs": {"fw": {"build": "/root"}}}, "vnfs.fw.build cannot be set over HTTP"),
            ({"vnfs": "fw"}, "vnfs"),
            (
                {"links": {"far": {"dely": "5ms"}}},
                "links: far: dely: no such impairment (did you mean 'delay'?)",
            ),
        ],
        ids=str,
    )
    def test_wrong_options(self, served: Served, options: dict[str, Any], reason: str) -> None:
        served.onboard(small())
        answer = served.ask("POST", "/instantiations", json=options)
        assert answer.status == 400
        assert reason in answer.body["detail"]
        assert served.left() == []

    def test_options(self, served: Served) -> None:
        served.onboard(small("fw", "ids"))
        placed = served.start({"placement": {"fw": "pop2", "ids": "pop2"}, "address_plan": "seed"})
        body = served.get(f"/instantiations/{placed}").body
        assert [vnf["pop"] for vnf in body["vnfs"]] == ["pop2", "pop2"]
        assert body["address_plan"] == "seed"
        (between,) = [i for i in body["vnfs"][0]["interfaces"] if i["name"] == "output"]
        assert between["addresses"] == ["200.0.0.1/24"]
        usual = served.start({})
        body = served.get(f"/instantiations/{usual}").body
        assert [vnf["pop"] for vnf in body["vnfs"]] == ["pop1", "pop2"]

    def test_links_that_are_impaired(self, served: Served) -> None:
        served.onboard(small())
        instance = served.start({"links": {"link-1": {"delay": "5ms", "fw->output": {"loss": "1%"}}}})
        body = served.get(f"/instantiations/{instance}").body
        assert [link["realisation"] for link in body["links"]] == ["direct", "relayed"]
        assert body["ignored"] == []

    def test_keys_of_other_clients_are_named_and_ignored(self, served: Served) -> None:
        served.onboard(small())
        instance = served.start({"ingresses": [], "palcement": "first"})
        assert served.get(f"/instantiations/{instance}").body["ignored"] == ["ingresses", "palcement"]

    @every_instances
    def test_one(self, served: Served, instances: str) -> None:
        package = served.onboard(small())
        instance = served.start({}, instances)
        body = served.get(f"{instances}/{instance}").body
        assert body["service_instance_uuid"] == instance
        assert body["service_uuid"] == package
        assert body["state"] == "running"
        assert body["service"] == "small"
        (vnf,) = body["vnfs"]
        assert vnf["id"] == "fw"
        assert vnf["pop"] == "pop1"
        assert vnf["container"]["name"].startswith(f"sonemu-{served.emulation.name}-fw")
        assert vnf["container"]["phase"] == "running"
        assert [interface["name"] for interface in vnf["interfaces"]] == ["input", "output"]
        assert all(interface["addresses"] for interface in vnf["interfaces"])
        assert [sap["id"] for sap in body["saps"]] == ["input", "output"]
        assert [(link["id"], link["kind"]) for link in body["links"]] == [
            ("link-0", "E-Line"),
            ("link-1", "E-Line"),
        ]
        assert body["links"][0]["endpoints"] == ["input", "fw:input"]
        assert body["problem"] is None

    @every_instances
    def test_unknown_one(self, served: Served, instances: str) -> None:
        served.onboard(small())
        answer = served.get(f"{instances}/{uuid4()}")
        assert answer.status == 404
        assert answer.body == NOT_FOUND

    def test_several_at_once(self, served: Served) -> None:
        """Of one service, and of two with the same vnf_ids: each with containers and addresses of its own."""
        first, second = served.onboard(small()), served.onboard(small(name="other"))
        uuids = [served.start({"service_uuid": package}) for package in (first, first, second)]
        assert served.running() == [uuids[:2], uuids[2:]]
        views = [served.get(f"/instantiations/{uuid}").body for uuid in uuids]
        names = [view["vnfs"][0]["container"]["name"] for view in views]
        base = f"sonemu-{served.emulation.name}-fw"
        assert names == [base, f"{base}-2", f"{base}-3"]
        addresses = [i["addresses"][0] for view in views for i in view["vnfs"][0]["interfaces"]]
        assert len(set(addresses)) == 6

    @every_instances
    def test_behind(self, served: Served, instances: str) -> None:
        served.onboard(small())
        answer = served.ask("POST", f"{instances}?wait=0", json={})
        assert answer.status == 202
        instance = answer.body["service_instance_uuid"]
        assert is_uuid4(instance)
        assert answer.headers["Location"] == f"{instances}/{instance}"
        body = until_decided(served, answer.headers["Location"])
        assert body["state"] == "running"
        assert served.running() == [[instance]]

    def test_behind_and_failed(self, served: Served) -> None:
        package = served.onboard(small())
        answer = served.ask("POST", "/instantiations?wait=0", json=LOST_IMAGE)
        assert answer.status == 202
        instance = answer.body["service_instance_uuid"]
        body = until_decided(served, f"/instantiations/{instance}")
        assert body["state"] == "failed"
        assert body["problem"]["kind"] == "ImageError"
        assert "nobody.invalid/none:1" in body["problem"]["detail"]
        assert served.running() == [[]]
        assert served.left() == []
        assert served.ask("DELETE", "/instantiations", json={"service_instance_uuid": instance}).status == 404
        assert served.ask("DELETE", f"/packages/{package}").status == 200

    @pytest.mark.parametrize("query", ["?", "?wait=1", "?wait=yes", "?other=0"])
    def test_other_queries(self, served: Served, query: str) -> None:
        served.onboard(small())
        assert served.ask("POST", f"/instantiations{query}", json={}).status == 201


class StopContract:
    """Rows of `DELETE /instantiations`."""

    @every_instances
    @every_content_type
    def test_both(self, served: Served, instances: str, content_type: str | None) -> None:
        package = served.onboard(small())
        instance = served.start({})
        data = json.dumps({"service_uuid": package, "service_instance_uuid": instance}).encode()
        headers = {"Content-Type": content_type} if content_type else {}
        answer = served.ask("DELETE", instances, data=data, headers=headers)
        assert answer.status == 200
        assert answer.body == stopped(instance)
        assert served.running() == [[]]
        assert served.left() == []
        assert served.get(f"/instantiations/{instance}").status == 404
        assert served.ask("DELETE", instances, data=data).body == NOT_FOUND

    @every_instances
    def test_only_the_instance(self, served: Served, instances: str) -> None:
        """Of a service that is not the first: what LLCMClient sends."""
        served.onboard(small(name="first"))
        served.onboard(small(name="second"))
        instance = served.start({})
        other = served.start({})
        answer = served.ask("DELETE", instances, json={"service_instance_uuid": instance})
        assert answer.body == stopped(instance)
        assert served.running() == [[], [other]]

    @every_instances
    @pytest.mark.parametrize("null", [{}, {"service_instance_uuid": None}], ids=str)
    def test_only_the_service(self, served: Served, instances: str, null: dict[str, None]) -> None:
        package = served.onboard(small(name="first"))
        served.onboard(small(name="second"))
        uuids = [served.start({"service_uuid": package}) for _ in range(2)]
        other = served.start({})
        answers = [served.ask("DELETE", instances, json={"service_uuid": package, **null}) for _ in range(3)]
        assert [answer.body for answer in answers] == [stopped(uuids[1]), stopped(uuids[0]), NOT_FOUND]
        assert [answer.status for answer in answers] == [200, 200, 404]
        assert served.running() == [[], [other]]

    @every_instances
    def test_nothing_named(self, served: Served, instances: str) -> None:
        first, second = served.onboard(small(name="first")), served.onboard(small(name="second"))
        uuids = [served.start({"service_uuid": package}) for package in (second, first)]
        answers = [served.ask("DELETE", instances, data=b"{}") for _ in range(3)]
        assert [answer.body for answer in answers] == [stopped(uuids[1]), stopped(uuids[0]), NOT_FOUND]
        assert answers[2].status == 404
        assert served.left() == []

    @every_instances
    def test_unknown(self, served: Served, instances: str) -> None:
        mine, other = served.onboard(small(name="mine")), served.onboard(small(name="other"))
        instance = served.start({"service_uuid": mine})
        for body in (
            {"service_instance_uuid": str(uuid4())},
            {"service_uuid": mine, "service_instance_uuid": str(uuid4())},
            {"service_uuid": str(uuid4())},
            {"service_uuid": str(uuid4()), "service_instance_uuid": instance},
            {"service_uuid": other, "service_instance_uuid": instance},
            {"service_uuid": other},
            {"service_uuid": 7},
            {"service_instance_uuid": [instance]},
        ):
            answer = served.ask("DELETE", instances, json=body)
            assert (answer.status, answer.body) == (404, NOT_FOUND), body
        assert served.running() == [[instance], []]

    @every_instances
    def test_nothing_onboarded(self, served: Served, instances: str) -> None:
        answer = served.ask("DELETE", instances, json={})
        assert (answer.status, answer.body) == (404, NOT_FOUND)

    def test_again_with_the_same_addresses(self, served: Served) -> None:
        served.onboard(small())
        seen = []
        for _ in range(3):
            instance = served.start({})
            body = served.get(f"/instantiations/{instance}").body
            seen.append([i["addresses"] for i in body["vnfs"][0]["interfaces"]])
            served.ask("DELETE", "/instantiations", json={})
        assert seen[0] == seen[1] == seen[2]


class BedContract:
    """The rest of the routes, and what is no route."""

    def test_root(self, served: Served) -> None:
        answer = served.get("/")
        assert answer.status == 200
        assert answer.body["bed"] == served.emulation.name

    def test_health(self, served: Served) -> None:
        served.onboard(small())
        served.start({})
        body = served.get("/health").body
        assert (body["status"], body["packages"], body["instances"]) == ("ok", 1, 1)

    def test_topology(self, served: Served) -> None:
        body = served.get("/topology").body
        assert [pop["name"] for pop in body["pops"]] == ["pop1", "pop2"]
        assert [(link["a"], link["b"]) for link in body["links"]] == [("pop1", "pop2")]

    @pytest.mark.parametrize(
        "path",
        ["/no", "/packages/", "/api/packages", "/api/v2/", "/api/v2/services", "/api/v3", "/restapi/compute"],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
    def test_unknown_path(self, served: Served, path: str, method: str) -> None:
        answer = served.ask(method, path)
        assert answer.status == 404
        assert_problem(answer.body)

    @every_instances
    def test_other_methods(self, served: Served, instances: str) -> None:
        answer = served.ask("PUT", instances)
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == {"HEAD", "GET", "POST", "DELETE", "OPTIONS"}

    def test_exit_in_a_test(self, served: Served) -> None:
        answer = served.ask("PUT", "/emulator/exit")
        assert answer.status == 403
        assert_problem(answer.body)
        assert served.get("/health").body["status"] == "ok"

    def test_exit_by_get(self, served: Served) -> None:
        answer = served.get("/emulator/exit")
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == {"PUT", "OPTIONS"}

    def test_pages_of_other_sites(self, served: Served) -> None:
        """A page in a visitor's browser can send such a request, and always says where it is from."""
        served.onboard(small())
        for origin, status in (("http://example.com", 403), (served.url, 201)):
            answer = served.ask("POST", "/instantiations", data=b"{}", headers={"Origin": origin})
            assert answer.status == status
        assert len(served.left()) == 1

    def test_changes_are_said(self, served: Served) -> None:
        package = served.onboard(small())
        instance = served.start({})
        served.ask("DELETE", "/instantiations", json={})
        said = "\n".join(served.said)
        for text in (
            "received service.son",
            f"onboarded small (service.son) as {package}",
            f"small runs as {instance}",
        ):
            assert text in said
        assert said.endswith(f"small {instance} stopped")


class ParallelContract:
    """Many clients at once."""

    def test_twenty_clients(self, served: Served) -> None:
        barrier = threading.Barrier(20)
        content = small()

        def client(number: int) -> tuple[str, str]:
            with requests.Session() as session:
                barrier.wait(30)
                uploaded = session.post(f"{served.url}/packages", files={"package": content}, timeout=60)
                package = uploaded.json()["service_uuid"]
                begun = session.post(
                    f"{served.url}/instantiations", json={"service_uuid": package}, timeout=60
                )
                assert begun.status_code == 201, begun.text
                instance = begun.json()["service_instance_uuid"]
                listed = session.get(f"{served.url}/instantiations", timeout=60).json()
                assert [instance] in listed["service_instantiations_list"]
                if number % 2:
                    ended = session.delete(
                        f"{served.url}/instantiations", json={"service_instance_uuid": instance}, timeout=60
                    )
                    assert ended.json() == stopped(instance)
                return package, instance

        with ThreadPoolExecutor(20) as pool:
            outcomes = list(pool.map(client, range(20)))
        packages = served.get("/packages").body["service_uuid_list"]
        assert sorted(packages) == sorted(package for package, _ in outcomes)
        kept = {instance for number, (_, instance) in enumerate(outcomes) if number % 2 == 0}
        assert {uuid for group in served.running() for uuid in group} == kept
        assert len(served.left()) == 10

        with ThreadPoolExecutor(20) as pool:
            ends = list(pool.map(lambda _: served.ask("DELETE", "/instantiations", json={}), range(20)))
        assert sorted(end.body for end in ends if end.status == 200) == sorted(map(stopped, kept))
        assert [end.body for end in ends if end.status != 200] == [NOT_FOUND] * 10
        assert served.running() == [[]] * 20
        assert served.left() == []

    def test_one_instance_stopped_by_many(self, served: Served) -> None:
        served.onboard(small())
        instance = served.start({})
        body = {"service_instance_uuid": instance}
        with ThreadPoolExecutor(8) as pool:
            ends = list(pool.map(lambda _: served.ask("DELETE", "/instantiations", json=body), range(8)))
        assert sorted(end.status for end in ends) == [200] + [404] * 7
        assert served.left() == []


class OldClientsContract:
    """What old clients sent, byte for byte; each conversation as the client held it."""

    @pytest.fixture
    def content(self) -> bytes:
        return small()

    def test_curl(self, served: Served, content: bytes) -> None:
        """The transcript of the contract, from the first listing to the last stop."""

        def say(request: bytes, status: int) -> Any:
            answer = old.send(served.url, request)
            assert answer.status == status, answer
            assert "Content-Type: application/json" in answer.head
            return json.loads(answer.body)

        assert say(old.curl_get("/packages"), 200) == {"service_uuid_list": []}
        package = say(old.curl_upload(content), 201)["service_uuid"]
        first = say(old.curl_data("POST", "/instantiations", f'{{"service_uuid":"{package}"}}'), 201)[
            "service_instance_uuid"
        ]
        assert say(old.curl_get("/instantiations"), 200) == {"service_instantiations_list": [[first]]}
        second = say(old.curl_data("POST", "/instantiations", "{}"), 201)["service_instance_uuid"]
        assert say(old.curl_get("/instantiations"), 200) == {"service_instantiations_list": [[first, second]]}
        both = f'{{"service_uuid":"{package}", "service_instance_uuid":"{first}"}}'
        assert say(old.curl_data("DELETE", "/instantiations", both), 200) == stopped(first)
        assert say(old.curl_data("DELETE", "/instantiations", "{}"), 200) == stopped(second)
        assert say(old.curl_get("/instantiations"), 200) == {"service_instantiations_list": [[]]}
        assert say(old.curl_data("POST", "/instantiations", '{"service_name":"small"}'), 201)

    def test_son_push(self, served: Served, content: bytes) -> None:
        assert old.send(served.url, old.python_get("/")).status == 200
        pushed = old.send(served.url, old.python_upload("/packages", "service.son", content))
        assert pushed.status == 201
        package = json.loads(pushed.body)["service_uuid"]
        assert json.loads(old.send(served.url, old.python_get("/packages")).body) == {
            "service_uuid_list": [package]
        }
        begun = old.send(
            served.url, old.python_json("POST", "/instantiations", f'{{"service_uuid": "{package}"}}')
        )
        assert begun.status == 201
        listed = json.loads(old.send(served.url, old.python_get("/instantiations")).body)
        assert listed["service_instantiations_list"] == [[json.loads(begun.body)["service_instance_uuid"]]]

    def test_tng_bench(self, served: Served, content: bytes) -> None:
        """LLCMClient deletes by the instance's uuid alone; its service is not the first."""
        served.onboard(small(name="first"))
        pushed = old.send(served.url, old.python_upload("/packages", "package", content))
        assert pushed.status == 201
        package = json.loads(pushed.body)["service_uuid"]
        begun = old.send(
            served.url, old.python_json("POST", "/instantiations", f'{{"service_uuid": "{package}"}}')
        )
        assert begun.status == 201
        instance = json.loads(begun.body)["service_instance_uuid"]
        ended = old.send(
            served.url,
            old.python_json("DELETE", "/instantiations", f'{{"service_instance_uuid": "{instance}"}}'),
        )
        assert ended.status == 200
        assert served.left() == []

    def test_son_access(self, served: Served, content: bytes) -> None:
        key = old.send(served.url, old.python_get("/api/v2/micro-services/public-key"))
        assert key.status == 404
        assert_problem(json.loads(key.body))
        pushed = old.send(served.url, old.python_upload("/api/v2/packages", "service.son", content))
        assert pushed.status == 201
        begun = old.send(
            served.url, old.python_json("POST", "/api/v2/requests", '{"service_uuid": "latest"}')
        )
        assert begun.status == 201
        listed = old.send(served.url, old.python_get("/api/v2/packages"))
        assert json.loads(listed.body) == {"service_uuid_list": [json.loads(pushed.body)["service_uuid"]]}
        for path in ("/api/v2/services", f"/api/v2/packages/{uuid4()}/download"):
            assert_problem(json.loads(old.send(served.url, old.python_get(path)).body))

    def test_son_profile(self, served: Served, content: bytes) -> None:
        """It sends JSON without a content type, and deletes by both uuids."""
        pushed = old.send(served.url, old.python_upload("/packages", "service.son", content))
        package = json.loads(pushed.body)["service_uuid"]
        begun = old.send(
            served.url, old.python_untyped("POST", "/instantiations", f'{{"service_uuid": "{package}"}}')
        )
        instance = json.loads(begun.body)["service_instance_uuid"]
        both = f'{{"service_instance_uuid": "{instance}", "service_uuid": "{package}"}}'
        ended = old.send(served.url, old.python_untyped("DELETE", "/instantiations", both))
        assert (ended.status, json.loads(ended.body)) == (200, stopped(instance))


def until_decided(served: Served, path: str, seconds: float = 60) -> dict[str, Any]:
    """Poll an instance until it is no longer starting."""
    for _ in _until(seconds):
        body: dict[str, Any] = served.get(path).body
        if body["state"] != "starting":
            return body
    raise AssertionError(f"{path} is still starting")


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
