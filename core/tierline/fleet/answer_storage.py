"""What a gateway's pod has for the requests that it answers later, and what the fleet says of their durability.

An emptyDir lives as long as its pod: a process that starts again finds everything, the pod's successor nothing. A claim
outlives the pod; since one pod at a time may have it, the old one goes before the new one comes. The store that
gateways share serves any number of pods.
"""

from typing import Any

from tierline.fleet.verdicts import Verdict
from tierline.fleet.wanted import AnswersIn, StoredAnswers
from tierline.fleet.worker_pod import SCRATCH_PATH

IMAGE_GROUP = 65532
"""The group of the gateway image's user, who must be able to write on the claim."""
_VOLUME = "answers"
_CLAIM_PATH = "/var/lib/tierline"
_SCRATCH_FOLDER = "answers"
"""Relative to the process's folder for temporary files, where the emptyDir is mounted."""
_SLACK_MEBIBYTES = 64
_ALONE: dict[str, Any] = {"type": "Recreate"}
_ROLLING: dict[str, Any] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def answer_env(answers: StoredAnswers) -> list[dict[str, Any]]:
    """Return what the gateway is told; nothing where it keeps no answers."""
    if answers.place is AnswersIn.NOWHERE:
        return []
    folders = {AnswersIn.SCRATCH: _SCRATCH_FOLDER, AnswersIn.CLAIM: _CLAIM_PATH}
    folder = folders.get(answers.place)
    bound = {"name": "TIERLINE_STORED_MEBIBYTES", "value": str(answers.mebibytes)}
    return [*([{"name": "TIERLINE_STATE_DIR", "value": folder}] if folder else []), bound]


def answer_mounts(answers: StoredAnswers) -> dict[str, Any]:
    """Return what the container mounts."""
    paths = {AnswersIn.SCRATCH: SCRATCH_PATH, AnswersIn.CLAIM: _CLAIM_PATH}
    path = paths.get(answers.place)
    return {"volumeMounts": [{"name": _VOLUME, "mountPath": path}]} if path else {}


def answer_volumes(answers: StoredAnswers) -> dict[str, Any]:
    """Return the pod's part: the volume, and for a claim the group that may write on it."""
    if answers.place is AnswersIn.SCRATCH:
        # A kubelet evicts a pod that is over its limit, so there is room for the log and the tree around the records.
        limit = answers.mebibytes * 5 // 4 + _SLACK_MEBIBYTES
        return {"volumes": [{"name": _VOLUME, "emptyDir": {"sizeLimit": f"{limit}Mi"}}]}
    if answers.place is AnswersIn.CLAIM:
        volume = {"name": _VOLUME, "persistentVolumeClaim": {"claimName": answers.claim}}
        security = {"fsGroup": IMAGE_GROUP, "fsGroupChangePolicy": "OnRootMismatch"}
        return {"volumes": [volume], "securityContext": security}
    return {}


def rollout_strategy(answers: StoredAnswers) -> dict[str, Any]:
    return _ALONE if answers.place is AnswersIn.CLAIM else _ROLLING


def answers_verdict(answers: StoredAnswers) -> Verdict:
    """Say whether what is to be answered later survives the gateway's pod."""
    kind, fix = "AnswersDurable", "name a claim in spec.gateway.storedAnswers.claimName"
    if answers.place is AnswersIn.CLAIM:
        return Verdict(kind, True, "OnClaim", f"They are kept on the claim {answers.claim!r}.", is_news=False)
    if answers.place is AnswersIn.STORE:
        message = "They are in the stateStore, as durable as that server's data: it must persist and evict nothing."
        return Verdict(kind, True, "InStore", message, is_news=False)
    if answers.place is AnswersIn.SCRATCH:
        message = f"Stored requests, files and batches end with the gateway's pod: to keep them, {fix}."
        return Verdict(kind, False, "OnPodOnly", message, is_news=False)
    message = f"Several gateways alone keep none: set spec.gateway.stateStore, or one replica and {fix}."
    return Verdict(kind, False, "NotKept", message, is_news=False)
