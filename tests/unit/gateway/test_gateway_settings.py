from pathlib import Path

import pytest

from tierline_gateway.settings import SettingsError, read_settings

POD = {"TIERLINE_FLEET": "f", "POD_NAMESPACE": "ns", "POD_NAME": "gw-1"}


def test_defaults() -> None:
    settings = read_settings(POD)
    assert (settings.gateway_id, settings.http_port, settings.admin_port) == ("ns/gw-1", 8080, 8081)
    assert settings.bind_host == "0.0.0.0"


def test_everything_can_be_set() -> None:
    settings = read_settings(
        POD
        | {
            "TIERLINE_HTTP_PORT": "1",
            "TIERLINE_ADMIN_PORT": "2",
            "TIERLINE_BIND_HOST": "127.0.0.9",
            "TIERLINE_CACHE_DIR": "/c",
            "TIERLINE_DRAIN_SECONDS": "7",
        }
    )
    assert (settings.http_port, settings.admin_port, settings.drain_seconds) == (1, 2, 7)
    assert (settings.bind_host, settings.cache_dir) == ("127.0.0.9", Path("/c"))


@pytest.mark.parametrize("name", POD)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({key: value for key, value in POD.items() if key != name})


def test_a_port_that_is_no_number_is_named() -> None:
    with pytest.raises(SettingsError, match="TIERLINE_HTTP_PORT is 'x'"):
        read_settings(POD | {"TIERLINE_HTTP_PORT": "x"})


def test_answers_are_kept_in_a_directory_that_may_be_below_the_temporary_one() -> None:
    assert read_settings(POD).state_dir is None
    told = {"TIERLINE_STATE_DIR": "answers", "TMPDIR": "/scratch", "TIERLINE_STORED_MEBIBYTES": "64"}
    settings = read_settings(POD | told)
    assert (settings.state_dir, settings.stored_mebibytes) == (Path("/scratch/answers"), 64)
    assert read_settings(POD | told | {"TIERLINE_STATE_DIR": "/var/lib/x"}).state_dir == Path("/var/lib/x")


def test_the_store_is_a_redis_and_its_password_is_never_shown() -> None:
    settings = read_settings(
        POD | {"TIERLINE_STATE_STORE_URL": "redis://r:6379/0", "TIERLINE_STATE_STORE_PASSWORD": "hush"}
    )
    assert (settings.state_store_url, settings.state_store_password) == ("redis://r:6379/0", "hush")
    with pytest.raises(SettingsError, match="TIERLINE_STATE_STORE_URL is no redis://") as caught:
        read_settings(POD | {"TIERLINE_STATE_STORE_URL": "http://:hush@r"})
    assert "hush" not in str(caught.value)
