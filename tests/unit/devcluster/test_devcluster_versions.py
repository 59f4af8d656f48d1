import pytest

from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.provision.versions import KubernetesVersion, parse_version


@pytest.mark.parametrize("text", ["Kubernetes v1.20.2", "v1.20.2", "1.20", "v1.20.2+build.7"])
def test_a_version_is_found_in(text):
    assert parse_version(text) == KubernetesVersion(1, 20)


def test_versions_compare_by_number_and_print_short():
    assert parse_version("1.9") < parse_version("1.20") < parse_version("v1.36.0")
    assert str(parse_version("v1.36.0")) == "1.36"


def test_text_without_a_version_is_refused_with_an_example():
    with pytest.raises(DevclusterError, match=r"'unknown'.*v1\.20\.2"):
        parse_version("unknown")
