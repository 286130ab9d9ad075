"""Strings that have rules: parsed once at the border, valid by construction afterwards."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import Any, Self

import idna
from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema


class ValidatedText(str):
    """A string whose constructor refuses what breaks its rule (`ValueError`) and returns the canonical form."""

    __slots__ = ()
    pattern: str | None = None
    max_input_length = 4096
    description = ""

    def __new__(cls, value: str) -> Self:
        if isinstance(value, cls):
            return value
        if len(value) > cls.max_input_length:
            raise ValueError(f"is longer than {cls.max_input_length} characters")
        return super().__new__(cls, cls.canonical(value))

    @classmethod
    def canonical(cls, value: str) -> str:
        """The one form in which this value is compared, stored and rendered; `ValueError` if it has none."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def parse(value: str) -> ValidatedText:
            try:
                return cls(value)
            except ValueError as error:
                raise PydanticCustomError(
                    "invalid_" + cls.__name__.lower(), "{reason}", {"reason": str(error)}
                ) from None

        return core_schema.no_info_after_validator_function(
            parse,
            core_schema.str_schema(max_length=cls.max_input_length),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )


_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PLAIN_NAME = re.compile(rf"(?!.{{254}})(?!(.*\.)?..--)({_LABEL.pattern}\.)+(?=[a-z]){_LABEL.pattern}")
"""Names that are in their canonical form already, as most are: finding that out costs a tenth of encoding them."""


def _check_labels(name: str) -> None:
    for label in name.lower().removesuffix(".").split("."):
        if label.isascii() and not _LABEL.fullmatch(label):
            raise ValueError(f"has the part {label!r}; parts are 1 to 63 letters, digits and inner hyphens")


class Domain(ValidatedText):
    """A host name in its one canonical form: IDNA A-labels (RFC 5891, UTS 46), lower case, no trailing dot.

    Two labels at least, 253 characters at most (RFC 1035, section 2.3.4); no wildcard, port, underscore or address.
    """

    __slots__ = ()
    max_input_length = 1024

    @classmethod
    def canonical(cls, value: str) -> str:
        return value if _PLAIN_NAME.fullmatch(value) else cls._encoded(value)

    @staticmethod
    def _encoded(value: str) -> str:
        name = unicodedata.normalize("NFKC", value)
        if not name or name != name.strip() or any(character.isspace() for character in name):
            raise ValueError("is not a domain name: it is empty or has white space")
        try:
            name = idna.encode(name, uts46=True, std3_rules=True, transitional=False).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError) as error:
            _check_labels(name)  # says it in plainer words, where it can
            raise ValueError(f"is not a domain name: {error}") from None
        name = name.removesuffix(".")
        if len(name) > 253:
            raise ValueError("is longer than the 253 characters that a domain name may have")
        labels = name.split(".")
        if len(labels) < 2:
            raise ValueError("needs at least two parts, such as example.com")
        _check_labels(name)
        if labels[-1].isdigit():
            raise ValueError("is an address, not a domain name")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name
        raise ValueError("is an address, not a domain name")

    @property
    def unicode(self) -> str:
        """The name as people write it, for display beside the canonical form; never for comparing."""
        try:
            return idna.decode(self)
        except idna.IDNAError:
            return str(self)

    def ancestors(self) -> tuple[Domain, ...]:
        """Every name above this one, nearest first: `a.b.example.com` gives `b.example.com`, `example.com`."""
        labels = self.split(".")
        return tuple(Domain(".".join(labels[start:])) for start in range(1, len(labels) - 1))


class UnixName(ValidatedText):
    """The name of a Unix account of the platform: a letter, then lower-case letters, digits, hyphens; 31 at most."""

    __slots__ = ()

    @classmethod
    def canonical(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", value):
            raise ValueError(
                "is not a Unix account name (a letter, then lower-case letters, digits and hyphens, 31 at most)"
            )
        return value


_PATH = re.compile(r"[A-Za-z0-9._@:+~,=-]+")


def _checked_components(components: list[str]) -> None:
    for component in components:
        _check_component(component)


@lru_cache(4096)
def _check_component(component: str) -> None:
    """Remembered: most parts of paths are the same for all sites."""
    if component in ("", ".", ".."):
        raise ValueError("has an empty part, or one that is '.' or '..'")
    if len(component) > 255 or not _PATH.fullmatch(component):
        raise ValueError("has a part with other characters than letters, digits and ._@:+~,=-, or longer than 255")


class AbsolutePath(ValidatedText):
    """A path from the root, already in its shortest spelling: no `.`, `..`, doubled or trailing slash."""

    __slots__ = ()

    @classmethod
    def canonical(cls, value: str) -> str:
        if not value.startswith("/") or value == "/":
            raise ValueError("is not an absolute path below the root")
        _checked_components(value[1:].split("/"))
        return value

    def child(self, *names: str) -> AbsolutePath:
        """The path with `names` added below it."""
        for name in names:
            _checked_components(name.split("/"))
        return str.__new__(AbsolutePath, "/".join((self, *names)))

    def is_below(self, other: str) -> bool:
        """Whether this path lies strictly inside the folder `other`."""
        return self.startswith(other.rstrip("/") + "/")

    @property
    def parent(self) -> str:
        """The folder that holds this path."""
        return self.rsplit("/", 1)[0] or "/"


class RelativePath(ValidatedText):
    """A path inside a folder, such as `public` or `app/public`; it cannot climb out, and starts with no hyphen."""

    __slots__ = ()
    max_input_length = 512

    @classmethod
    def canonical(cls, value: str) -> str:
        value = value.removesuffix("/")
        components = value.split("/")
        _checked_components(components)
        if len(components) > 16:
            raise ValueError("is deeper than 16 folders")
        if any(component.startswith("-") for component in components):
            raise ValueError("has a part that starts with a hyphen")
        return value
