from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tierline_devcluster.cluster import ClusterOptions, default_state_dir, start
from tierline_devcluster.components.prometheus import write_config
from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.main import app


def test_clusters_of_different_names_lie_in_different_folders(tmp_path):
    assert default_state_dir("a", tmp_path) != default_state_dir("b", tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b", "Upper", "x" * 41, "ü"])
def test_a_name_that_is_no_label_is_refused(name, tmp_path):
    with pytest.raises(DevclusterError, match="small letters"):
        default_state_dir(name, tmp_path)


def test_a_path_too_long_for_the_agents_socket_is_refused_before_anything_starts(tmp_path):
    options = ClusterOptions(state_dir=tmp_path / ("x" * 100), cache_dir=tmp_path)
    with pytest.raises(DevclusterError, match="too long for a Unix socket"):
        start(options)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_cache_folder_is_made_absolute(monkeypatch):
    monkeypatch.setenv("TIERLINE_CACHE_DIR", "some/cache")
    assert ClusterOptions().state.root == Path.cwd() / "some/cache/devcluster/dev"


def test_prometheus_finds_pods_through_the_agent(tmp_path):
    write_config(tmp_path / "prometheus.yml", 20123)
    (job,) = yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"]
    assert job["http_sd_configs"][0]["url"] == "http://127.0.0.1:20123/sd"


def test_prometheus_without_an_agent_scrapes_nothing(tmp_path):
    write_config(tmp_path / "prometheus.yml", None)
    assert yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["up", "--nodes", "cheap:a:1"], "'cheap'"),
        (["up", "--name", "Not A Name"], "small letters"),
        (["kill-node", "n"], "does not run (absent)"),
        (["spot-notice", "n", "--seconds", "-1"], "negative"),
    ],
)
def test_wrong_use_ends_with_one_readable_line(arguments, named, tmp_path):
    result = CliRunner().invoke(app, arguments, env={"TIERLINE_CACHE_DIR": str(tmp_path)})
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert named in result.stderr


def test_status_of_nothing_says_so_and_fails(tmp_path):
    result = CliRunner().invoke(app, ["status", "--json"], env={"TIERLINE_CACHE_DIR": str(tmp_path)})
    assert result.exit_code == 1
    assert '"phase": "absent"' in result.stdout


def test_down_of_nothing_is_fine(tmp_path):
    result = CliRunner().invoke(app, ["down"], env={"TIERLINE_CACHE_DIR": str(tmp_path)})
    assert result.exit_code == 0
    assert "was not running" in result.stdout
