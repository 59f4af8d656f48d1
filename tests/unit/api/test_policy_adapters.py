"""A tenant's adapters in the compiled policy."""

from tierline.api.policy import compile_policy
from tierline.api.quota import TenantQuota


def test_adapters_are_those_that_the_quota_names() -> None:
    quota = TenantQuota.model_validate(
        {
            "metadata": {"name": "acme", "namespace": "demo"},
            "spec": {
                "tenant": "acme",
                "tierRefs": ["batch"],
                "apiKeySecretRefs": [{"name": "acme", "key": "key"}],
                "adapterRefs": ["poems", "code"],
            },
        }
    )
    assert compile_policy((), [quota], ()).tenants["acme"].adapters == ("poems", "code")
