"""`node.toml`: what is written is read back, what cannot be is refused by its name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import (
    LOG_LEVELS,
    Endpoint,
    InvalidConfig,
    Limits,
    NodeConfig,
    Pruning,
    Timeouts,
    api_origins,
    dump_config,
    load_config,
)


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def within(
    kind: type[Timeouts] | type[Limits] | type[Pruning],
) -> st.SearchStrategy[Timeouts | Limits | Pruning]:
    return st.builds(kind, **{name: st.integers(*both) for name, both in kind.BOUNDS.items()})


endpoints = st.builds(
    Endpoint,
    host=st.text(st.characters(codec="utf-8"), max_size=20),
    port=st.integers(0, 65_535),
)


@given(
    index=st.integers(0, 65_535),
    p2p=endpoints,
    api=endpoints,
    timeouts=within(Timeouts),
    limits=within(Limits),
    pruning=within(Pruning),
    log_level=st.sampled_from(LOG_LEVELS),
    api_origin=st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    index: int,
    p2p: Endpoint,
    api: Endpoint,
    timeouts: Timeouts,
    limits: Limits,
    pruning: Pruning,
    log_level: str,
    api_origin: str,
) -> None:
    folder = tmp_path_factory.mktemp("node")
    config = NodeConfig(
        node_index=index,
        directory=folder.resolve(),
        p2p=p2p,
        api=api,
        timeouts=timeouts,
        limits=limits,
        pruning=pruning,
        log_level=log_level,
        api_origin=api_origin,
    )

    assert load_config(written(folder, dump_config(config))) == config


def test_the_directory_is_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "node_index = 3\n"))

    assert config.directory == tmp_path.resolve()
    assert config == NodeConfig(node_index=3, directory=tmp_path.resolve())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "node_index"),
        ("x = 1", "unknown key x"),
        ("node_index = 0\n[p2p]\nprot = 1", "unknown key p2p.prot"),
        ("node_index = 0\ndirectory = '/'", "unknown key directory"),
        ("node_index = '0'", "node_index = '0' is str, not int"),
        ("node_index = true", "is bool, not int"),
        ("node_index = 0.0", "is float, not int"),
        ("node_index = -1", "node_index = -1 is not in 0..65535"),
        ("node_index = 65536", "65536 is not in"),
        ("node_index = 0\np2p = 7400", "p2p is a section: write [p2p]"),
        ("node_index = 0\n[p2p]\nport = 65536", "p2p.port = 65536 is not in 0..65535"),
        ("node_index = 0\n[api]\nport = -1", "api.port = -1"),
        ("node_index = 0\n[api]\nhost = 1", "api.host = 1 is int, not str"),
        ("node_index = 0\nlog_level = 'loud'", "use one of debug, info, warning, error"),
        ("node_index = ", "not valid TOML"),
        ("node_index = 0\nnode_index = 1", "not valid TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(InvalidConfig) as refusal:
        load_config(path)

    assert told in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert refusal.value.code == "config.invalid"


@pytest.mark.parametrize("kind", [Timeouts, Limits])
def test_every_number_has_bounds_that_hold(
    tmp_path: Path, kind: type[Timeouts] | type[Limits]
) -> None:
    section = kind.__name__.lower()
    for name, (low, high) in kind.BOUNDS.items():
        for value in (low - 1, high + 1):
            path = written(tmp_path, f"node_index = 0\n[{section}]\n{name} = {value}\n")

            with pytest.raises(InvalidConfig, match=rf"{section}\.{name} = {value} is not in"):
                load_config(path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(InvalidConfig, match="not valid TOML"):
        load_config(tmp_path / "node.toml")


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidConfig, match="cannot read"):
        load_config(tmp_path / name)


@pytest.mark.parametrize(
    ("host", "origin", "origins"),
    [
        ("127.0.0.1", "", ("http://127.0.0.1:80", "http://localhost:80")),
        ("::1", "", ("http://[::1]:80", "http://localhost:80")),
        ("10.0.0.1", "", ("http://10.0.0.1:80",)),
        ("0.0.0.0", "https://ledger.example", ("https://ledger.example",)),  # noqa: S104
    ],
)
def test_the_way_to_a_node_follows_from_its_settings(
    tmp_path: Path, host: str, origin: str, origins: tuple[str, ...]
) -> None:
    config = NodeConfig(
        node_index=0, directory=tmp_path, api=Endpoint(host=host, port=80), api_origin=origin
    )

    assert api_origins(config) == origins


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("0.0.0.0", ""),  # noqa: S104
        ("::", ""),
        ("", ""),
        ("127.0.0.1", "ftp://x"),
        ("127.0.0.1", "https://x/path"),
        ("127.0.0.1", "https://x:123456"),
    ],
)
def test_a_way_that_cannot_be_told_is_refused(tmp_path: Path, host: str, origin: str) -> None:
    config = NodeConfig(
        node_index=0, directory=tmp_path, api=Endpoint(host=host, port=80), api_origin=origin
    )

    with pytest.raises(InvalidConfig, match="api_origin"):
        api_origins(config)
