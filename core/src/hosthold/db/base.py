"""The base of all tables, and the column types that all share."""

from __future__ import annotations

import time
from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, MetaData, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

Id = Annotated[str, mapped_column(String(32), primary_key=True)]
Ref = Annotated[str, mapped_column(String(32), index=True)]
Milliseconds = Annotated[int, mapped_column(BigInteger)]
"""A moment as milliseconds since 1970 in UTC: it compares alike on every database."""

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
    type_annotation_map = {dict[str, Any]: Document, list[Any]: Document}


def now_ms() -> int:
    """Now, in milliseconds since 1970 in UTC."""
    return time.time_ns() // 1_000_000
