"""Command lines of the control plane, by Kubernetes version.

Facts behind the choices: leader election off and own secure ports let several control planes share a machine; the
node life-cycle times are short so that a lost node is noticed in seconds; `--port` must be 0 up to 1.23 and is unknown
from 1.24 on.
"""

from dataclasses import dataclass
from pathlib import Path

from tierline_devcluster.components.certificates import CertificateFiles
from tierline_devcluster.provision.versions import KubernetesVersion

SERVICE_RANGE = "10.96.0.0/16"
ISSUER = "https://kubernetes.default.svc.cluster.local"
LOST_NODE_TOLERATION_S = 3
_WITHOUT_INSECURE_PORT = KubernetesVersion(1, 24)


@dataclass(frozen=True, slots=True)
class ControlPlanePorts:
    """The ports of one control plane, all on 127.0.0.1."""

    etcd_client: int
    etcd_peer: int
    api_server: int
    controller_manager: int
    scheduler: int


def etcd_flags(ports: ControlPlanePorts, certificates: CertificateFiles, data_dir: Path) -> list[str]:
    """Return etcd's flags; a development cluster dies with its machine, so nothing is synced to disk."""
    client = f"https://127.0.0.1:{ports.etcd_client}"
    peer = f"https://127.0.0.1:{ports.etcd_peer}"
    tls = [
        flag
        for role in ("", "peer-")
        for flag in (
            f"--{role}cert-file={certificates.serving.cert}",
            f"--{role}key-file={certificates.serving.key}",
            f"--{role}trusted-ca-file={certificates.ca.cert}",
            f"--{role}client-cert-auth=true",
        )
    ]
    return [
        "--name=default",
        f"--data-dir={data_dir}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--logger=zap",
        "--log-level=warn",
        *tls,
    ]


def api_server_flags(ports: ControlPlanePorts, certificates: CertificateFiles, work_dir: Path) -> list[str]:
    """Return kube-apiserver's flags; pods of a lost node are evicted after `LOST_NODE_TOLERATION_S`."""
    return [
        f"--etcd-servers=https://127.0.0.1:{ports.etcd_client}",
        f"--etcd-cafile={certificates.ca.cert}",
        f"--etcd-certfile={certificates.api_to_etcd.cert}",
        f"--etcd-keyfile={certificates.api_to_etcd.key}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        # The Endpoints object of the `kubernetes` Service refuses loopback addresses.
        "--endpoint-reconciler-type=none",
        f"--secure-port={ports.api_server}",
        f"--cert-dir={work_dir}",
        f"--tls-cert-file={certificates.serving.cert}",
        f"--tls-private-key-file={certificates.serving.key}",
        f"--client-ca-file={certificates.ca.cert}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={certificates.service_account_public}",
        f"--service-account-signing-key-file={certificates.service_account_private}",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        f"--kubelet-certificate-authority={certificates.ca.cert}",
        f"--kubelet-client-certificate={certificates.api_to_kubelet.cert}",
        f"--kubelet-client-key={certificates.api_to_kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--default-not-ready-toleration-seconds={LOST_NODE_TOLERATION_S}",
        f"--default-unreachable-toleration-seconds={LOST_NODE_TOLERATION_S}",
    ]


def controller_manager_flags(
    version: KubernetesVersion,
    ports: ControlPlanePorts,
    certificates: CertificateFiles,
    kubeconfig: Path,
    heartbeat_seconds: float = 1.0,
) -> list[str]:
    """Return kube-controller-manager's flags; eviction is not slowed down however few nodes a zone has.

    A node that misses five heartbeats is lost.
    """
    return [
        *_controller_flags(version, ports.controller_manager, certificates, kubeconfig),
        "--use-service-account-credentials=true",
        f"--root-ca-file={certificates.ca.cert}",
        f"--service-account-private-key-file={certificates.service_account_private}",
        f"--cluster-signing-cert-file={certificates.ca.cert}",
        f"--cluster-signing-key-file={certificates.ca.key}",
        "--node-monitor-period=1s",
        f"--node-monitor-grace-period={5 * heartbeat_seconds:g}s",
        f"--node-startup-grace-period={10 * heartbeat_seconds:g}s",
        "--node-eviction-rate=100",
        "--secondary-node-eviction-rate=100",
        "--unhealthy-zone-threshold=1",
        # As many as the scheduler may; with its own usual 20 a second many fleets at once wait for nothing else.
        "--kube-api-qps=50",
        "--kube-api-burst=100",
    ]


def scheduler_flags(
    version: KubernetesVersion, ports: ControlPlanePorts, certificates: CertificateFiles, kubeconfig: Path
) -> list[str]:
    """Return kube-scheduler's flags."""
    return _controller_flags(version, ports.scheduler, certificates, kubeconfig)


def _controller_flags(
    version: KubernetesVersion, port: int, certificates: CertificateFiles, kubeconfig: Path
) -> list[str]:
    insecure = [] if version >= _WITHOUT_INSECURE_PORT else ["--port=0"]
    return [
        *insecure,
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={certificates.serving.cert}",
        f"--tls-private-key-file={certificates.serving.key}",
        "--authentication-skip-lookup=true",
    ]
