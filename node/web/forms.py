"""What a person sent with a form."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from federation.model.errors import RingmeshError
from node.control import RefusedError

MAX_FIELD = 4096
"Characters of one field."
FORM_SECONDS = 20.0
"How long a form is waited for once its head is there; a stranger may send the head alone."


class Form:
    """The fields of a form, spaces around them taken off; empty ones count as not given."""

    def __init__(self, fields: Mapping[str, Any] | None = None) -> None:
        self._fields = {
            name: value.strip() for name, value in (fields or {}).items() if isinstance(value, str)
        }

    @classmethod
    async def of(cls, request: web.Request) -> "Form":
        """The form of a request.

        Raises:
            RefusedError: it does not come, it is none, or a field is longer than any needs to be.
        """
        try:
            async with asyncio.timeout(FORM_SECONDS):
                form = cls(await request.post())
        except TimeoutError as error:
            raise RefusedError("the form did not arrive: send it again", 408) from error
        except (ValueError, UnicodeDecodeError, LookupError) as error:
            raise RefusedError("that is no form that can be read: load the page again", 400) from (
                error
            )
        for name, value in form._fields.items():
            if len(value) > MAX_FIELD:
                raise RefusedError(f"{name[:40]} has more than {MAX_FIELD} characters", 400)
        return form

    def __getitem__(self, name: str) -> str:
        """A field as it is to be shown again; empty if it was not given."""
        return self._fields.get(name, "")

    def text(self, name: str) -> str | None:
        """A field, or `None`."""
        return self._fields.get(name) or None

    def ticked(self, name: str) -> bool:
        """Whether a box was ticked."""
        return name in self._fields

    def number(self, name: str, label: str) -> int | None:
        """A field that holds a whole number, or `None`.

        Raises:
            RefusedError: it holds something else.
        """
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise RefusedError(f"{label} is {text[:20]!r}, but must be a whole number", 400)
        return int(text)

    def amount(self, name: str, label: str) -> float | None:
        """A field that holds a number, or `None`.

        Raises:
            RefusedError: it holds something else.
        """
        text = self.text(name)
        if text is None:
            return None
        plain = text.replace(",", ".", 1)
        if not (len(plain) < 16 and plain.replace(".", "", 1).isdigit() and plain.isascii()):
            raise RefusedError(f"{label} is {text[:20]!r}, but must be a number", 400)
        return float(plain)

    def lines(self, name: str) -> list[str] | None:
        """The lines of a field, or parts between commas; `None` if it was not given."""
        text = self.text(name)
        if text is None:
            return None
        return [part.strip() for part in text.replace(",", "\n").splitlines() if part.strip()]


def status_of(error: RingmeshError) -> int:
    """The HTTP status of a page that says this error beside its form."""
    return error.status if isinstance(error, RefusedError) else 400
