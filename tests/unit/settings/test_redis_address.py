"""Which addresses are a Redis Cluster, and what is wrong with those that look like one."""

from __future__ import annotations

import pytest

from infrastructure.settings.addresses import redis_address
from infrastructure.settings.redis_address import NodeAddress, cluster_address, is_cluster_url
from infrastructure.settings.settings import Settings
from infrastructure.settings.sources import SettingsError


@pytest.mark.parametrize(
    ("url", "nodes", "first"),
    [
        ("redis+cluster://a:7000,b:7001", (("a", 7000), ("b", 7001)), "redis://a:7000/0"),
        ("REDIS+CLUSTER://a/0", (("a", 6379),), "redis://a:6379/0"),
        ("redis+cluster://:s@c@a,b", (("a", 6379), ("b", 6379)), "redis://:s@c@a:6379/0"),
        ("rediss+cluster://u:p@[::1]:7000?ssl_cert_reqs=none", (("::1", 7000),), None),
    ],
)
def test_the_nodes_of_a_cluster_are_connected_to_as_single_servers(
    url: str, nodes: tuple[tuple[str, int], ...], first: str | None
) -> None:
    assert is_cluster_url(url)
    found = cluster_address(url)
    assert found.nodes == tuple(NodeAddress(*node) for node in nodes)
    wanted = "rediss://u:p@[::1]:7000/0?ssl_cert_reqs=none" if first is None else first
    assert found.url_of(found.nodes[0]) == wanted


@pytest.mark.parametrize("url", ["redis://a:6379/0", "rediss://a", "unix:///run/redis.sock", "cluster://a", ""])
def test_other_urls_are_no_cluster(url: str) -> None:
    assert not is_cluster_url(url)
    with pytest.raises(ValueError, match="no URL of a Redis Cluster"):
        cluster_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://a:7000,",
        "redis+cluster://a:70000",
        "redis+cluster://a:0",
        "redis+cluster://a:x",
        "redis+cluster://a b",
        "redis+cluster://a:7000/1",
        "redis+cluster://a?db=3x",
        "redis+cluster://u:se/cret@a:7000",
    ],
)
def test_a_malformed_address_is_rejected_in_one_line_that_quotes_nothing_of_it(url: str) -> None:
    with pytest.raises(SettingsError, match=r"redis\+cluster://user:password@host:6379,host:6379") as error:
        Settings.load({"redis_url": url}, {}, None)
    assert "\n" not in str(error.value)
    assert "cret" not in str(error.value)


def test_the_password_of_a_cluster_is_a_secret_of_the_address() -> None:
    found = redis_address("redis+cluster://u:hunter2%40@a:7000,b:7000?db=0")
    assert found.shown == "redis+cluster://a:7000,b:7000"
    assert {"hunter2@", "hunter2%40", "u"} >= found.secrets > {"hunter2@"}
