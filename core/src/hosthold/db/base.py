"""The base of all tables, and the column types that all share."""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

from sqlalchemy import JSON, BigInteger, MetaData, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

Id = Annotated[str, mapped_column(String(32), primary_key=True)]
Ref = Annotated[str, mapped_column(String(32), index=True)]
Milliseconds = Annotated[int, mapped_column(BigInteger)]
"""A moment as milliseconds since 1970 in UTC: it compares alike on every database."""

AccountPath = Annotated[
    str, mapped_column(String(400).with_variant(String(400, collation="C"), "postgresql"), index=True)
]
"""An account's path, compared byte by byte so that a range of paths is a part of the account tree."""

Document = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    """All tables of the core; constraints have fixed names so that migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: Document, list[Any]: Document}


def below(path: str) -> tuple[str, str]:
    """The range `[start, end)` of account paths that begin with `path`, a path with its last slash: '0' follows '/'."""
    return path, path.removesuffix("/") + "0"


def now_ms() -> int:
    """Now, in milliseconds since 1970 in UTC."""
    return time.time_ns() // 1_000_000
