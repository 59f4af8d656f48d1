"""A pod speaks to the API server as its own service account, and as nobody else."""

import pytest
from cluster_client import Namespace, is_ready, python, sleeper

pytestmark = pytest.mark.controlplane

RBAC = "apis/rbac.authorization.k8s.io/v1"
ASK = """
import os, ssl, sys, urllib.error, urllib.request, json, base64, tempfile
config = json.load(open(os.environ['KUBECONFIG']))
cluster = config['clusters'][0]['cluster']
ca = base64.b64decode(cluster['certificate-authority-data']).decode()
for path in sys.argv[1:]:
    request = urllib.request.Request(cluster['server'] + path)
    request.add_header('Authorization', 'Bearer ' + config['users'][0]['user']['token'])
    try:
        print(urllib.request.urlopen(request, context=ssl.create_default_context(cadata=ca)).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


async def test_a_pod_may_what_its_account_may_and_no_more(namespace: Namespace) -> None:
    await namespace.create("serviceaccounts", {"metadata": {"name": "reader"}})
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    await namespace.create("roles", {"metadata": {"name": "reader"}, "rules": [rule]}, RBAC)
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader"}],
    }
    await namespace.create("rolebindings", binding, RBAC)
    paths = [namespace.path("configmaps"), namespace.path("secrets"), "/api/v1/nodes"]
    asks = python(ASK, args=paths)
    await namespace.run("asks", asks, serviceAccountName="reader", restartPolicy="Never")
    await namespace.until("asks", lambda status: status.get("phase") == "Succeeded")
    assert (await namespace.kubectl("logs", "asks")).stdout.split() == ["200", "403", "403"]


async def test_a_pod_without_a_mounted_token_gets_no_identity(namespace: Namespace) -> None:
    await namespace.run("nobody", sleeper(), automountServiceAccountToken=False)
    await namespace.until("nobody", is_ready)
    shown = await namespace.kubectl("exec", "nobody", "--", "env")
    assert "KUBECONFIG" not in shown.stdout
    assert "TIERLINE_BIND_HOST" in shown.stdout
