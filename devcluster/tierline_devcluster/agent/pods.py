"""The pods of all nodes of the agent: from watch events to runners."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from tierline_devcluster.agent.pod.addresses import AddressPool
from tierline_devcluster.agent.pod.recovery import recovered
from tierline_devcluster.agent.pod.runner import Host, PodRunner
from tierline_devcluster.agent.pod.spec import Json, Pod, parse_pod
from tierline_devcluster.agent.pod.state import Backoff, PodState, refused
from tierline_devcluster.agent.pod.status import is_terminal
from tierline_devcluster.agent.pod.subset import unsupported_fields, wants_token

_LOG = logging.getLogger(__name__)
UNSUPPORTED = "UnsupportedPodSpec"


@dataclass(slots=True)
class PodKeeper:
    """Starts a runner for each pod bound to a live node of this agent, and tells it when its pod has to go."""

    host: Host
    addresses: AddressPool
    backoff: Backoff
    live_nodes: set[str]
    runners: dict[str, PodRunner] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _refusals: dict[str, int] = field(default_factory=dict)

    def present(self, obj: Json) -> None:
        """Take note of a pod as the API has it now."""
        if obj["spec"].get("nodeName") not in self.live_nodes:
            return
        meta = obj["metadata"]
        try:
            runner = self.runners.get(meta["uid"]) or self._begin(obj)
        except msgspec.ValidationError as error:
            # A pod of a later Kubernetes with a field of another type must not end the agent.
            _LOG.error("%s/%s cannot be read: %s", meta["namespace"], meta["name"], error)
            return
        if meta.get("deletionTimestamp"):
            runner.stop(float(meta.get("deletionGracePeriodSeconds") or 0))

    def gone(self, obj: Json) -> None:
        """Take note that a pod's object is gone: nobody waits for its processes any more."""
        if (runner := self.runners.get(obj["metadata"]["uid"])) is not None:
            runner.stop(0.0, removed=True)

    def of_node(self, node: str) -> Iterable[PodRunner]:
        return tuple(each for each in self.runners.values() if each.pod.spec.node_name == node)

    def find(self, namespace: str, name: str) -> PodRunner | None:
        """Return the runner of a pod by name, for logs and exec."""
        for runner in self.runners.values():
            meta = runner.pod.metadata
            if (meta.namespace, meta.name) == (namespace, name):
                return runner
        return None

    async def silence(self, runners: Iterable[PodRunner], grace_s: float = 0.0) -> None:
        """End pods without a word to the API, and wait until their processes are gone."""
        chosen = list(runners)
        for runner in chosen:
            runner.fall_silent(grace_s)
        tasks = [self._tasks[each.pod.uid] for each in chosen if each.pod.uid in self._tasks]
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, obj: Json) -> PodRunner:
        runner = self._runner(obj)
        self.runners[runner.pod.uid] = runner
        self._tasks[runner.pod.uid] = asyncio.create_task(self._keep(runner))
        return runner

    async def _keep(self, runner: PodRunner) -> None:
        try:
            await runner.run()
        except Exception:
            _LOG.exception("%s: its runner broke", runner.pod.label)
            raise
        finally:
            self.addresses.give_back(runner.pod_ip)
            del self.runners[runner.pod.uid], self._tasks[runner.pod.uid]

    def _runner(self, obj: Json) -> PodRunner:
        pod = parse_pod(obj)
        status = obj.get("status", {})
        problems = () if is_terminal(status.get("phase", "")) else unsupported_fields(obj)
        if problems:
            return PodRunner(pod, self._refuse(pod, obj, "; ".join(problems)), "", self.host, identity=False)
        state = recovered(pod, status, self.backoff, time.time())
        address = self.addresses.take(status.get("podIP", ""))
        return PodRunner(pod, state, address, self.host, identity=wants_token(obj))

    def _refuse(self, pod: Pod, obj: Json, message: str) -> PodState:
        """Say why at once; fail the pod after a growing pause, since its owner makes the next one without any."""
        self.host.events.warn(pod, UNSUPPORTED, message)
        owners = obj["metadata"].get("ownerReferences", [])
        owner = owners[0]["uid"] if owners else pod.uid
        self._refusals[owner] = refusals = self._refusals.get(owner, 0) + 1
        pause_s = self.backoff.pause_s(refusals - 1) if refusals > 1 else 0.0
        now_s = time.time()
        return refused(pod, UNSUPPORTED, message, now_s + pause_s, now_s)
