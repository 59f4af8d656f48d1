import pytest

from tierline_devcluster.node_groups import DEFAULT_NODES, InvalidNodes, parse_nodes


def test_default_is_two_nodes_of_each_capacity_type():
    nodes = parse_nodes(DEFAULT_NODES)
    assert [(node.name, node.zone, node.capacity_type) for node in nodes] == [
        ("on-demand-zone-a-0", "zone-a", "on-demand"),
        ("on-demand-zone-a-1", "zone-a", "on-demand"),
        ("spot-zone-b-0", "zone-b", "spot"),
        ("spot-zone-b-1", "zone-b", "spot"),
    ]


def test_spaces_and_a_trailing_comma_do_not_matter():
    assert parse_nodes(" spot:z1:1 , ") == parse_nodes("spot:z1:1")


@pytest.mark.parametrize(
    ("text", "named", "fix"),
    [
        ("", "empty", "on-demand:zone-a:2"),
        ("spot:zone-b", "'spot:zone-b'", "spot:zone-b:2"),
        ("cheap:zone-a:1", "'cheap'", "spot, on-demand"),
        ("spot:Zone_A:1", "'Zone_A'", "small letters"),
        ("spot:-a:1", "'-a'", "inner dashes"),
        ("spot:a:0", "'0'", "from 1"),
        ("spot:a:-3", "'-3'", "whole number"),
        ("spot:a:1.5", "'1.5'", "whole number"),
        ("spot:a:²", "'²'", "whole number"),
        ("spot:a:9999999", "'9999999'", "5000"),
        ("spot:a:5000,spot:b:1", "5001", "5000"),
        ("spot:a:1,spot:a:2", "twice", "add up"),
    ],
)
def test_wrong_text_is_named_with_its_fix(text, named, fix):
    with pytest.raises(InvalidNodes) as failure:
        parse_nodes(text)
    assert named in str(failure.value)
    assert fix in str(failure.value)
