import pytest

from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.provision.apt_sources import lists_with_sources, with_deb_src, with_deb_src_lines

DEB822 = """\
# a comment
Types: deb
# another comment
URIs: http://archive.example/debian
Suites: stable stable-updates
Components: main
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb deb-src
URIs: http://security.example/debian
Suites: stable-security
Components: main

Types: deb
URIs: http://disabled.example/debian
Suites: stable
Components: main
Enabled: no

Types: deb-src
URIs: http://archive.example/debian
Suites: stable
Components: main
"""


def test_deb822_stanzas_get_sources_and_keep_the_rest():
    result = with_deb_src(DEB822)
    assert result.count("Types: deb deb-src") == 2
    assert "Signed-By: /usr/share/keyrings/archive.gpg" in result
    assert "disabled.example" not in result
    assert "#" not in result


def test_an_inline_key_keeps_its_continuation_lines():
    text = "Types: deb\nURIs: http://a.example\nSuites: s\nSigned-By:\n -----BEGIN-----\n .\n abc\n"
    assert with_deb_src(text).endswith("Signed-By:\n -----BEGIN-----\n .\n abc\n")


def test_one_line_entries_are_doubled():
    text = "# comment\ndeb [signed-by=/k.gpg] http://a.example stable main # tail\n#deb http://off.example x y\n"
    assert with_deb_src_lines(text) == (
        "deb [signed-by=/k.gpg] http://a.example stable main\ndeb-src [signed-by=/k.gpg] http://a.example stable main\n"
    )


def test_source_entries_alone_are_left_out():
    assert with_deb_src_lines("deb-src http://a.example stable main\n") == ""


def test_both_formats_are_read_from_the_folder_and_others_are_not(tmp_path):
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example stable main\n")
    (parts / "two.list").write_text("deb http://two.example stable main\n")
    (parts / "three.sources").write_text(DEB822)
    (parts / "four.sources.disabled").write_text(DEB822.replace("archive", "never"))
    lists = lists_with_sources(tmp_path)
    assert "one.example" in lists.one_line
    assert "two.example" in lists.one_line
    assert "archive.example" in lists.deb822
    assert "never.example" not in lists.deb822


def test_a_machine_without_apt_is_told_what_to_set(tmp_path):
    with pytest.raises(DevclusterError, match="KUBEBUILDER_ASSETS"):
        lists_with_sources(tmp_path)
