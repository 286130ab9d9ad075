"""Key files: who may read them, and which keys are good enough."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hosthold.errors import Misconfigured
from hosthold.work.keys import Keyring, make_key

GOOD = "0000000a " + bytes(range(32)).hex()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "worker.key"


def test_s67_a_new_key_file_is_its_owners_alone(path: Path) -> None:
    make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(Keyring.load(path).signing_key[1]) == 32


def test_two_keys_differ_and_the_newest_signs(path: Path) -> None:
    make_key(path)
    first = Keyring.load(path).signing_key
    make_key(path)
    keyring = Keyring.load(path)
    assert keyring.signing_key[1] != first[1]
    assert keyring.key(first[0]) == first[1]
    assert [entry.name for entry in path.parent.iterdir()] == ["worker.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_s67_a_key_that_others_may_read_is_refused_with_the_cure(path: Path, mode: int) -> None:
    make_key(path)
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="read by others") as refusal:
        Keyring.load(path)
    assert refusal.value.hint == f"chmod 600 {path}"


def test_a_link_in_place_of_a_key_is_refused(path: Path) -> None:
    make_key(path)
    link = path.with_name("link.key")
    link.symlink_to(path)
    with pytest.raises(Misconfigured, match="cannot be opened"):
        Keyring.load(link)


def test_a_missing_key_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be opened") as refusal:
        Keyring.load(path)
    assert "hosthold init" in refusal.value.hint


@pytest.mark.parametrize(
    "content",
    ["", "\n", "secret", f"{GOOD}\nsecret", "0000000a " + "00" * 32, "0000000a " + "deadbeef" * 8, "0000000a abcd"],
)
def test_keys_that_are_missing_short_or_can_be_guessed_are_refused(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured):
        Keyring.load(path)


def test_s66_no_key_is_shown_in_the_repr_of_a_keyring(path: Path) -> None:
    make_key(path)
    keyring = Keyring.load(path)
    assert keyring.signing_key[1].hex() not in repr(keyring)
