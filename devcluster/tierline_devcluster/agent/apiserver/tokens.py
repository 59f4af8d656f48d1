"""The identity of a pod: a short-lived token of its service account, bound to the pod and kept fresh."""

import asyncio
import logging
from pathlib import Path

from tierline_devcluster.agent.apiserver.client import TRANSIENT, Api
from tierline_devcluster.agent.apiserver.credentials import write_pod_kubeconfig
from tierline_devcluster.agent.pod.spec import Json, Pod

_LOG = logging.getLogger(__name__)
# Never 3607: API servers silently extend exactly that lifetime to a year.
_LIFETIME_S = 3600
_REFRESH_AFTER_S = 0.8 * _LIFETIME_S
_RETRY_S = 30.0


def token_request(pod: Pod) -> Json:
    """Return the TokenRequest for `pod`'s own token; it ends with the pod."""
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.uid}
    spec = {"audiences": [], "expirationSeconds": _LIFETIME_S, "boundObjectRef": bound}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


async def issue_kubeconfig(api: Api, pod: Pod, path: Path) -> None:
    """Ask for a token and write the kubeconfig that carries it; raises `ApiError` when it is refused."""
    account = f"/api/v1/namespaces/{pod.metadata.namespace}/serviceaccounts/{pod.spec.service_account_name}"
    answer = await api.create(f"{account}/token", token_request(pod))
    write_pod_kubeconfig(path, api.access, pod.metadata.namespace, answer["status"]["token"])


async def keep_fresh(api: Api, pod: Pod, path: Path) -> None:
    """Replace the token in time, for ever; a failure is tried again while the old one still holds."""
    pause_s = _REFRESH_AFTER_S
    while True:
        await asyncio.sleep(pause_s)
        try:
            await issue_kubeconfig(api, pod, path)
            pause_s = _REFRESH_AFTER_S
        except TRANSIENT as error:
            _LOG.warning("%s: token not refreshed: %s", pod.label, error)
            pause_s = _RETRY_S
