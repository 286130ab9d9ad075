"""Forms: what was typed, parsed at the border into the drafts that services take, with each error beside its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hosthold.errors import FieldError, InvalidInput, Rejected
from hosthold.web.problems import problem_of

M = TypeVar("M", bound=BaseModel)


class Form:
    """A form as a page shows it: the values, and after a refusal what was wrong. Nothing that was typed is lost."""

    def __init__(
        self, values: Mapping[str, str], error: Rejected | None = None, places: Mapping[str, str] | None = None
    ) -> None:
        """`places` tells which field shows the errors of a JSON pointer and of everything below it."""
        self.values = values
        self.errors: dict[str, str] = {}
        self.detail = ""
        self.hint = ""
        if error is not None:
            self._explain(error, places or {})

    def value(self, name: str) -> str:
        """What stands in a field."""
        return self.values.get(name, "")

    def _explain(self, error: Rejected, places: Mapping[str, str]) -> None:
        homeless = []
        for pointer, detail in error.errors if isinstance(error, InvalidInput) else ():
            field = _place(pointer, places)
            if field is None:
                homeless.append(f"{pointer}: {detail}")
            elif detail not in self.errors.get(field, ""):
                self.errors[field] = f"{self.errors[field]} {detail}" if field in self.errors else detail
        self.detail = " ".join([error.detail, *homeless])
        self.hint = error.hint


def parse(model: type[M], values: Mapping[str, Any], detail: str) -> M:
    """The draft made of `values`. Raises `InvalidInput` with `detail` and each field's error in words for people."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fields = [
            FieldError("/" + "/".join(map(str, item["loc"])), _sentence(item["type"], item["msg"]))
            for item in error.errors()
        ]
        raise InvalidInput(detail, fields, hint="Correct the marked fields.") from None


def filled(values: Mapping[str, str]) -> dict[str, str]:
    """The fields that were filled in, without white space around their values."""
    return {name: value.strip() for name, value in values.items() if value.strip()}


def _place(pointer: str, places: Mapping[str, str]) -> str | None:
    fitting = [known for known in places if pointer == known or pointer.startswith(f"{known}/")]
    return places[max(fitting, key=len)] if fitting else None


def _sentence(kind: str, message: str) -> str:
    if kind == "missing":
        return "Please fill this in."
    message = message.replace("Input should be", "This must be").replace("String should", "This should")
    return f"This {message}." if message[:1].islower() else f"{message.rstrip('.')}."


def status_of(error: Rejected | None) -> int:
    """The status of a page that shows a form: that of the refusal, or 200."""
    return problem_of(error).kind.status if error is not None else 200
