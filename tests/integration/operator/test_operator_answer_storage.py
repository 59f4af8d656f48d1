"""What a fleet's gateway keeps its answers on, against a real API server: a claim is mounted, and given up."""

import pytest
from operator_testing import eventually, fleet

pytestmark = pytest.mark.controlplane

KEPT = {"storedAnswers": {"claimName": "kept"}}


async def test_a_claim_comes_and_goes_with_the_spec(world, start_operator):
    start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,), gateway=KEPT))
    await world.objects.until("LLMFleet", "chat", "AnswersDurable", "True", "OnClaim")

    async def deployed(strategy, volume):
        spec = (await world.objects.get("Deployment", "chat-gateway"))["spec"]
        (mounted,) = spec["template"]["spec"]["volumes"]
        return (spec["strategy"]["type"], volume in mounted) == (strategy, True)

    await eventually(lambda: deployed("Recreate", "persistentVolumeClaim"), "the pod has the claim to itself")

    await world.objects.patch("LLMFleet", "chat", {"spec": {"gateway": None}})
    await world.objects.until("LLMFleet", "chat", "AnswersDurable", "False", "OnPodOnly")
    await eventually(lambda: deployed("RollingUpdate", "emptyDir"), "the pod has a place of its own")
