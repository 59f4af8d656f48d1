import pytest

from tierline_devcluster.provision.build_log import BuildError, BuildLog
from tierline_devcluster.provision.caching import appearing_whole
from tierline_devcluster.provision.kubernetes_build import upstream_version, version_flags
from tierline_devcluster.provision.openapi_packages import openapi_packages


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("kubernetes_1.20.5+really1.20.2.orig.tar.gz", "1.20.2"),
        ("kubernetes_1.32.3+ds.orig.tar.xz", "1.32.3"),
        ("kubernetes_1.33.4.orig.tar.gz", "1.33.4"),
    ],
)
def test_upstream_version_of_a_debian_tarball(name, version):
    assert upstream_version(name) == version


def test_programs_and_api_are_told_their_version_under_both_import_paths():
    flags = version_flags()
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for prefix in ("", "k8s.io/kubernetes/vendor/"):
            assert f"-X {prefix}{package}.gitVersion=v1.20.2" in flags
            assert f"-X {prefix}{package}.gitMinor=20" in flags


def test_tagged_packages_are_found_and_tests_and_samples_left_out(tmp_path):
    tagged = "// +k8s:openapi-gen=true\npackage x\n"
    for name, text in {
        "pkg/apis/a/types.go": tagged,
        "pkg/apis/a/more.go": tagged,
        "pkg/apis/b/types.go": "package b\n",
        "pkg/apis/c/types_test.go": tagged,
        "staging/src/k8s.io/api/core/v1/doc.go": tagged,
        "staging/src/k8s.io/sample-apiserver/pkg/doc.go": tagged,
        "staging/src/k8s.io/code-generator/examples/doc.go": tagged,
        "test/e2e/doc.go": tagged,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert openapi_packages(tmp_path) == [
        "k8s.io/kubernetes/pkg/apis/a",
        "k8s.io/kubernetes/vendor/k8s.io/api/core/v1",
    ]


def test_a_failing_command_is_named_with_the_log_that_holds_its_output(tmp_path):
    log = BuildLog(tmp_path / "build.log")
    with pytest.raises(BuildError, match=r"exit code 3; log: .*build\.log"):
        log.run(["sh", "-c", "echo gone wrong >&2; exit 3"], cwd=tmp_path)
    assert "gone wrong" in log.path.read_text()


def test_a_missing_command_is_named(tmp_path):
    with pytest.raises(BuildError, match="no-such-program"):
        BuildLog(tmp_path / "build.log").run(["no-such-program"], cwd=tmp_path)


def test_a_folder_appears_whole(tmp_path):
    with appearing_whole(tmp_path / "cache" / "thing") as scratch:
        (scratch / "part").write_text("1")
        assert not (tmp_path / "cache" / "thing").exists()
    assert (tmp_path / "cache" / "thing" / "part").read_text() == "1"


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), appearing_whole(tmp_path / "cache" / "thing"):
        raise RuntimeError
    assert list((tmp_path / "cache").iterdir()) == []
