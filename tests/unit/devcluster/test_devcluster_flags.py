from pathlib import Path

import pytest

from tierline_devcluster.components.certificates import create_certificates
from tierline_devcluster.components.flags import (
    ControlPlanePorts,
    api_server_flags,
    controller_manager_flags,
    etcd_flags,
    scheduler_flags,
)
from tierline_devcluster.provision.versions import KubernetesVersion

PORTS = ControlPlanePorts(1, 2, 3, 4, 5)
OLD, LAST_WITH_PORT, FIRST_WITHOUT, NEW = (KubernetesVersion(1, minor) for minor in (20, 23, 24, 36))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return create_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("flags_of", [controller_manager_flags, scheduler_flags])
def test_the_insecure_port_is_closed_where_it_exists(flags_of, certificates):
    for version in (OLD, LAST_WITH_PORT):
        assert "--port=0" in flags_of(version, PORTS, certificates, Path("k"))
    for version in (FIRST_WITHOUT, NEW):
        assert "--port=0" not in flags_of(version, PORTS, certificates, Path("k"))


def test_several_control_planes_fit_on_one_machine(certificates):
    for flags in (
        controller_manager_flags(NEW, PORTS, certificates, Path("k")),
        scheduler_flags(NEW, PORTS, certificates, Path("k")),
    ):
        assert "--leader-elect=false" in flags
        assert "--bind-address=127.0.0.1" in flags
    assert "--secure-port=4" in controller_manager_flags(NEW, PORTS, certificates, Path("k"))
    assert "--secure-port=5" in scheduler_flags(NEW, PORTS, certificates, Path("k"))


def test_everything_listens_on_loopback_only(certificates):
    for flag in etcd_flags(PORTS, certificates, Path("data")):
        if "urls=" in flag:
            assert "https://127.0.0.1:" in flag
    assert "--bind-address=127.0.0.1" in api_server_flags(PORTS, certificates, Path("work"))


def test_no_flag_is_given_twice(certificates):
    for flags in (
        etcd_flags(PORTS, certificates, Path("data")),
        api_server_flags(PORTS, certificates, Path("work")),
        controller_manager_flags(OLD, PORTS, certificates, Path("k")),
        scheduler_flags(OLD, PORTS, certificates, Path("k")),
    ):
        names = [flag.partition("=")[0] for flag in flags]
        assert len(names) == len(set(names))
