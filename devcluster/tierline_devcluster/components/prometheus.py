"""Prometheus of a development cluster: its configuration and its command line.

Debian builds Prometheus without Kubernetes discovery, so the node agent serves the list of pods over HTTP.
"""

from pathlib import Path

import yaml

SCRAPE_INTERVAL = "2s"


def write_config(path: Path, discovery_port: int | None) -> None:
    """Write a configuration that scrapes the pods listed at the agent's `/sd`; without an agent, nothing."""
    document = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "scrape_configs": [] if discovery_port is None else [_pods(discovery_port)],
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def prometheus_flags(config: Path, data_dir: Path, port: int) -> list[str]:
    """Return Prometheus's flags; it listens on 127.0.0.1 and forgets after two hours."""
    return [
        f"--config.file={config}",
        f"--storage.tsdb.path={data_dir}",
        "--storage.tsdb.retention.time=2h",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def _pods(discovery_port: int) -> dict[str, object]:
    return {
        "job_name": "pods",
        "http_sd_configs": [{"url": f"http://127.0.0.1:{discovery_port}/sd", "refresh_interval": SCRAPE_INTERVAL}],
        "relabel_configs": [
            _copy_label("__meta_kubernetes_namespace", "namespace"),
            _copy_label("__meta_kubernetes_pod_name", "pod"),
            _copy_label("__meta_kubernetes_pod_node_name", "node"),
            # tierline.dev/fleet becomes `fleet`, and so on.
            {"action": "labelmap", "regex": "__meta_kubernetes_pod_label_tierline_dev_(.+)"},
        ],
    }


def _copy_label(source: str, target: str) -> dict[str, object]:
    return {"source_labels": [source], "target_label": target}
