"""Sources of adapters: what may be named at run time, and that no path leads out of the allowed folders."""

from contextlib import closing
from pathlib import Path

import pytest

from tierline.artifacts import AdapterSourceError, WeightsStore, resolve_adapter
from tierline.artifacts import hub as module


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def refusal(source: str, cache_dir: Path, allowed: tuple[str, ...] | None) -> str:
    with pytest.raises(AdapterSourceError) as caught:
        resolve_adapter(source, WeightsStore(cache_dir), allowed)
    return str(caught.value)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    asked: list[str] = []

    def fetch(text: str, source: object, home: Path) -> Path:
        asked.append(text)
        home.mkdir(parents=True, exist_ok=True)
        return home

    monkeypatch.setattr(module, "fetch_repository", fetch)
    return asked


def test_a_folder_inside_an_allowed_one(tmp_path: Path) -> None:
    wanted = adapter(tmp_path / "adapters" / "red")
    for source in (str(wanted), f"file://{wanted}", f"{tmp_path}/adapters/x/../red"):
        assert resolve_adapter(source, WeightsStore(tmp_path), (str(tmp_path / "adapters"),)).path == wanted.resolve()


def test_the_operators_own_sources_are_not_limited(tmp_path: Path) -> None:
    assert resolve_adapter(str(adapter(tmp_path / "red")), WeightsStore(tmp_path)).path == (tmp_path / "red").resolve()


@pytest.mark.parametrize("source", ["{root}/adapters/../secret", "{root}/secret", "/etc", "{root}/adapters-too/red"])
def test_paths_outside(tmp_path: Path, source: str) -> None:
    adapter(tmp_path / "secret")
    adapter(tmp_path / "adapters" / "red")
    adapter(tmp_path / "adapters-too" / "red")
    message = refusal(source.format(root=tmp_path), tmp_path, (str(tmp_path / "adapters"),))
    assert "TIERLINE_ADAPTER_SOURCES" in message


def test_a_link_to_a_folder_outside(tmp_path: Path) -> None:
    secret = adapter(tmp_path / "secret")
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "red").symlink_to(secret)
    assert "not among the allowed" in refusal(f"{tmp_path}/adapters/red", tmp_path, (f"{tmp_path}/adapters",))


def test_a_file_that_is_a_link_outside(tmp_path: Path) -> None:
    red = adapter(tmp_path / "adapters" / "red")
    (tmp_path / "secret").write_text("secret")
    (red / "adapter_config.json").unlink()
    (red / "adapter_config.json").symlink_to(tmp_path / "secret")
    assert "not among the allowed" in refusal(str(red), tmp_path, (f"{tmp_path}/adapters",))


def test_what_is_outside_is_refused_alike_whether_it_exists_or_not(tmp_path: Path) -> None:
    adapter(tmp_path / "there")
    there = refusal(f"{tmp_path}/there", tmp_path, ("/nowhere",))
    gone = refusal(f"{tmp_path}/gone", tmp_path, ("/nowhere",))
    assert there.replace("there", "") == gone.replace("gone", "")


def test_nothing_is_allowed_by_default_at_run_time(tmp_path: Path, fetched: list[str]) -> None:
    adapter(tmp_path / "red")
    for source in (f"{tmp_path}/red", "hf://org/name"):
        assert "(none)" in refusal(source, tmp_path, ())
    assert fetched == []


def test_repositories_by_organisation_or_name(tmp_path: Path, fetched: list[str]) -> None:
    allowed = ("hf://org/", "hf://other/one")
    for source in ("hf://org/any?revision=abc", "hf://other/one"):
        with closing(resolve_adapter(source, WeightsStore(tmp_path), allowed)) as opened:
            assert opened.path.is_relative_to(tmp_path / "adapters" / "hf")
    for source in ("hf://other/one-more", "hf://organisation/x", "hf://org/.."):
        refusal(source, tmp_path, allowed)
    assert fetched == ["hf://org/any?revision=abc", "hf://other/one"]


@pytest.mark.parametrize("source", ["pypi://p?version=1", "s3://bucket/x", "red", "", "file://host/x", "/a\x00b"])
def test_other_forms(tmp_path: Path, source: str) -> None:
    assert "lora_path" in refusal(source, tmp_path, None)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "no such folder" in refusal(f"{tmp_path}/gone", tmp_path, (str(tmp_path),))
