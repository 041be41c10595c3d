"""Keys of marks: what is derived from them, and which files are taken."""

import hashlib
import os
from pathlib import Path

import pytest
from watermark_cases import KEY, key_of

from stillhouse.errors import ConfigError
from stillhouse.watermark import (
    WatermarkKey,
    create_watermark_key,
    find_key,
    key_path,
    load_watermark_key,
    make_key,
)


def test_a_key_goes_to_disk_for_its_owner_alone_and_back(tmp_path: Path) -> None:
    key = create_watermark_key(tmp_path / "k")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert load_watermark_key(tmp_path / "k") == key
    assert len(key.secret) == 32
    assert key.key_id == hashlib.sha256(b"stillhouse/watermark/key/1\0" + key.secret).hexdigest()
    with pytest.raises(ConfigError, match="a key is never replaced"):
        create_watermark_key(tmp_path / "k")
    assert load_watermark_key(tmp_path / "k") == key


def test_a_key_is_not_shown() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert str(list(KEY.secret[:4]))[1:-1] not in repr(KEY)


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, rights: int) -> None:
    path = tmp_path / "k"
    create_watermark_key(path)
    path.chmod(rights)
    with pytest.raises(ConfigError, match=f"with rights {rights:o}: others may use it"):
        load_watermark_key(path)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'{"kind":"stillhouse/watermark/key/1"}',
        b'{"kind":"stillhouse/watermark/key/1","key":"00"}',
        b'{"kind":"stillhouse/watermark/key/1","key":3}',
        b'{"kind":"stillhouse/watermark/key/1","key":"' + b"zz" * 32 + b'"}',
        b'{"kind":"stillhouse/watermark/key/2","key":"' + b"00" * 32 + b'"}',
        b'{"kind":"stillhouse/watermark/key/1","more":1,"key":"' + b"00" * 32 + b'"}',
        b"\xff\xfe" * 40,
        b"[" * 5000,
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(raw)
    path.chmod(0o600)
    with pytest.raises(
        ConfigError, match=r"is no watermark key, or is cut off|at most 4,096 are read"
    ):
        load_watermark_key(path)


def test_links_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    create_watermark_key(tmp_path / "k")
    (tmp_path / "link").symlink_to(tmp_path / "k")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="symbolic link"):
        load_watermark_key(tmp_path / "link")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_watermark_key(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_watermark_key(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_watermark_key(tmp_path / "none")
    with pytest.raises(ConfigError, match="is no name of a file"):
        load_watermark_key(tmp_path / "a\0b")


def test_subkeys_differ_by_purpose_customer_and_key() -> None:
    acme = bytes.fromhex(KEY.customer_id("acme"))
    found = {
        (keys.k0, keys.k1)
        for keys in (
            KEY.subkeys("gumbel"),
            KEY.subkeys("green"),
            KEY.subkeys("gumbel", acme),
            KEY.subkeys("gumbel", bytes.fromhex(KEY.customer_id("acme2"))),
            key_of(1).subkeys("gumbel"),
        )
    }
    assert len(found) == 5
    assert all(0 <= one < 1 << 64 for pair in found for one in pair)


def test_a_customer_is_not_told_by_the_commitment_without_the_key() -> None:
    assert KEY.customer_id("acme") != key_of(1).customer_id("acme")
    assert KEY.customer_id("acme") != hashlib.sha256(b"acme").hexdigest()
    assert KEY.customer_id("Zoë") == KEY.customer_id("Zoë")


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)])
def test_a_key_has_32_bytes(secret: bytes) -> None:
    with pytest.raises(ConfigError, match=f"and this one {len(secret)}"):
        WatermarkKey(secret)


def test_a_key_is_found_by_its_commitment(tmp_path: Path) -> None:
    first, second = make_key("a", tmp_path), make_key("b", tmp_path)
    assert find_key(first.key_id, tmp_path) == first
    key_path("a", tmp_path).chmod(0o644)
    assert find_key(second.key_id, tmp_path) == second  # another key's rights do not matter
    with pytest.raises(ConfigError, match=r"2 other watermark keys are in .*with rights 644"):
        find_key(first.key_id, tmp_path)
    with pytest.raises(ConfigError, match="no watermark key is in"):
        find_key(first.key_id, tmp_path / "none")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", "x" * 65, "a\0b"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="A key cannot be called"):
        make_key(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_keys_is_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path / "mine"))
    key = make_key("prod")
    assert find_key(key.key_id) == key
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700
