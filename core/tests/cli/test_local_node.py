"""Where a new platform's Unix numbers begin."""

from __future__ import annotations

from pathlib import Path

from hosthold.cli.local_node import free_uid
from hosthold.types.text import AbsolutePath


def test_numbers_begin_at_the_first_without_accounts_files(tmp_path: Path) -> None:
    assert free_uid(AbsolutePath(str(tmp_path)), 200_000) == 200_000


def test_numbers_begin_above_those_of_users_and_of_groups_that_outlived_their_users(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("s30d40:x:200000:200000::/srv/s30d40:/usr/sbin/nologin\n")
    assert free_uid(AbsolutePath(str(tmp_path)), 200_000) == 200_001
    (tmp_path / "group").write_text("s30d40:x:200000:\ns30d43:x:200003:\n")
    assert free_uid(AbsolutePath(str(tmp_path)), 200_000) == 200_004
