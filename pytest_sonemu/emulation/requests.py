"""One client's requests to the keeper, each carried out and answered."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from typing import Protocol

from pytest_sonemu import errors
from pytest_sonemu.emulation import between, inside, namespaces, processes, protocol, readings, survey
from pytest_sonemu.emulation.bed import Bed
from pytest_sonemu.emulation.codec import Channel
from pytest_sonemu.emulation.failures import failure
from pytest_sonemu.emulation.spawning import Caller
from pytest_sonemu.relay.socket_filter import Instruction, attach

_TCP_REPAIR = 19
_NOTHING: list[Instruction] = [(0x06, 0, 0, 0)]


class Lease(Protocol):
    """How long the bed lives: the keeper's own part in a client's requests."""

    def booted(self) -> protocol.Booted: ...
    def keep(self, seconds: float) -> None: ...
    def stop(self) -> None: ...


class Requests:
    """`caller` is what the other end of the connection runs as."""

    def __init__(self, lease: Lease, bed: Bed, channel: Channel, caller: Caller) -> None:
        self.lease, self.bed, self.channel, self.caller = lease, bed, channel, caller

    def answer(self, request: protocol.Request, descriptors: Sequence[int]) -> None:
        """Carry out a request and send its reply, or the failure."""
        handed_out: list[int] = []
        try:
            reply = self._carry_out(request, descriptors, handed_out)
        except errors.BedGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told, and raises it
            reply = failure(error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            self.channel.send(reply, handed_out)
        finally:
            for descriptor in handed_out:
                os.close(descriptor)
        if isinstance(request, protocol.End):
            self.lease.stop()

    def _carry_out(  # noqa: C901 - one case a request
        self, request: protocol.Request, descriptors: Sequence[int], handed_out: list[int]
    ) -> protocol.Reply:
        bed = self.bed
        match request:
            case protocol.Attach():
                return self.lease.booted()
            case protocol.Apply(plan, generation):
                return bed.apply(plan, generation, lambda text: self.channel.send(protocol.Progress(text)))
            case protocol.Amend(plan, generation):
                return bed.amend(plan, generation, lambda text: self.channel.send(protocol.Progress(text)))
            case protocol.Undo(instance):
                bed.undo(instance)
            case protocol.OpenSocket():
                handed_out.append(self._open_socket(request))
            case protocol.Spawn():
                pid = bed.spawned.spawn(
                    request,
                    bed.instance(request.instance).endpoint(request.endpoint),
                    self.caller,
                    descriptors,
                )
                return protocol.Spawned(pid)
            case protocol.Wait(pid, timeout):
                status = bed.spawned.wait(pid, timeout)
                if status is not None:
                    return protocol.Exited(pid, status)
            case protocol.Signal(pid, number):
                bed.spawned.signal(pid, signal.Signals(number))
            case protocol.OpenFile(instance, endpoint, path):
                handed_out.append(inside.open_file(self._first_process(instance, endpoint), path))
            case protocol.SignalInside(instance, endpoint, pid, number):
                family = inside.session_of(self._first_process(instance, endpoint), pid)
                processes.end_processes(family, signal.Signals(number), 0.0)
            case readings.ReadPast():
                return readings.Past(bed.past())
            case readings.ReadEvents(since):
                return readings.Events(bed.events_since(since))
            case readings.ReadRules(instance, endpoint):
                return readings.Rules(survey.rules(bed.instance(instance).endpoint(endpoint)))
            case readings.Survey(instance, endpoint, ignore):
                vnf = bed.instance(instance).vnf(endpoint)
                return readings.Surveyed(survey.files(vnf, ignore), survey.processes(vnf))
            case readings.BetweenTests(instance, forget):
                return readings.Found(between.between_tests(bed.instance(instance), forget=forget))
            case protocol.ChangeVnf(instance, endpoint, verb, grace):
                vnf = bed.instance(instance).change(endpoint, verb, grace)
                bed.write_state()
                return protocol.Changed(vnf.state())
            case protocol.Impair(target, forward, backward):
                bed.shaping.impair(target, forward, backward)
            case readings.ReadImpairment(target):
                own, base = bed.shaping.impairment(target)
                return readings.Impairments(
                    base=(base.forward, base.backward),
                    own=None if own is None else (own.forward, own.backward),
                )
            case readings.CountRelayed():
                return readings.RelayCounters(dict(bed.shaping.counters()))
            case protocol.DescribeVnf(instance, endpoint):
                return protocol.Changed(bed.instance(instance).vnf(endpoint).state())
            case protocol.SetSysctl(instance, endpoint, name, value):
                namespace = self._namespace(instance, endpoint)
                before = namespaces.read_sysctl(namespace, name)
                namespaces.write_sysctls(namespace, [(name, value)])
                return readings.Sysctl(before)
            case readings.ReadSysctl(instance, endpoint, name):
                return readings.Sysctl(namespaces.read_sysctl(self._namespace(instance, endpoint), name))
            case readings.CountNoRoutes(instance, endpoint):
                return readings.NoRoutes(namespaces.count_no_routes(self._namespace(instance, endpoint)))
            case protocol.Cut(instance):
                bed.instance(instance).cut(request)
            case protocol.Forward(instance, endpoint, port, kind, outer):
                forwarded = bed.instance(instance).forward(endpoint, port, kind, outer)
                bed.write_state()
                return protocol.Forwarded(forwarded)
            case protocol.Unforward(instance, endpoint, outer):
                bed.forwarder.close(instance, endpoint, outer)
                bed.write_state()
            case protocol.Describe():
                return bed.state()
            case protocol.Keep(seconds):
                self.lease.keep(seconds)
            case protocol.End():
                bed.end()
            case protocol.Boot():
                raise errors.EmulationError("the bed is booted already")
        return protocol.Done()

    def _open_socket(self, request: protocol.OpenSocket) -> int:
        def make() -> int:
            with socket.socket(request.family, request.type, request.protocol) as made:
                if request.mute:
                    attach(made, _NOTHING)
                if request.mute == "connection":
                    made.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
                return made.detach()

        if request.instance is None or request.endpoint is None:
            return make()
        return namespaces.inside(self._namespace(request.instance, request.endpoint), make)

    def _first_process(self, instance: str, endpoint: str) -> int:
        pid, _started = self.bed.instance(instance).vnf(endpoint).own_process
        if not pid:
            raise errors.NotRunningError.of(endpoint)
        return pid

    def _namespace(self, instance: str, endpoint: str) -> int:
        namespace = self.bed.endpoint(instance, endpoint).namespace
        if namespace is None:
            raise errors.NotRunningError.of(endpoint)
        return namespace
