"""Pages of the console as HTML: templates that escape everything, and how figures are written."""

import functools
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from federation.model.number import Number
from node.sip.text import quote
from node.software import VERSION
from node.web.access import form_token
from node.web.gate import SESSION
from node.web.names import caller

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
MOST_ROWS = 200
"Rows of a table that may grow with the node; more are counted, and found by searching."
_UNITS = ("B", "kB", "MB", "GB", "TB")


def page(request: web.Request, template: str, *, status: int = 200, **context: Any) -> web.Response:
    """A whole page. `status` is that of a form that could not be accepted."""
    session = request.get(SESSION)
    text = fragment(
        template,
        context
        | {
            "here": request.path,
            "csrf": None if session is None else form_token(session),
            "version": VERSION,
        },
    )
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status)


def fragment(template: str, context: Mapping[str, Any]) -> str:
    """What a template says of its context."""
    return environment().get_template(template).render(context)


@functools.cache
def environment() -> "Environment":
    """The templates; made when the first page is asked for, since its import takes a moment."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=_is_markup,  # noqa: S701  (everything that is HTML or XML is escaped)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "spoken": spoken,
        "size": size,
        "lasting": lasting,
        "milliseconds": milliseconds,
        "short": short,
        "minute": minute,
        "quality": quality_word,
        "caller": caller,
        "trunk_state": trunk_state,
        "quoted": quote,
    }
    made.globals |= {"qr": qr, "most_rows": MOST_ROWS}
    return made


def _is_markup(template: str | None) -> bool:
    return template is None or not template.endswith(".cfg")


def spoken(name: str | None) -> str:
    """A number of the network in groups of digits; anything else as it is."""
    if not name:
        return "—"
    return Number(name).spoken if Number.fits(name) else name


def size(count: float | None) -> str:
    """Bytes in the unit that people read."""
    if count is None:
        return "—"
    unit, rest = 0, float(count)
    while rest >= 1000 and unit < len(_UNITS) - 1:
        rest, unit = rest / 1000, unit + 1
    return (
        f"{rest:.0f} {_UNITS[unit]}" if unit == 0 or rest >= 100 else f"{rest:.1f} {_UNITS[unit]}"
    )


def lasting(seconds: float | None) -> str:
    """A time in the two largest units that it has."""
    if seconds is None:
        return "—"
    whole = int(seconds)
    days, hours = divmod(whole // 3600, 24)
    minutes = whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes}:{whole % 60:02d}"


def milliseconds(seconds: float | None) -> str:
    """A short time."""
    return "—" if seconds is None else f"{seconds * 1000:.0f} ms"


def short(text: str | None, length: int = 12) -> str:
    """The beginning of a key."""
    if not text:
        return "—"
    return text if len(text) <= length else f"{text[:length]}…"


def minute(instant: str | None) -> str:
    """An instant of the API, to the minute, in UTC."""
    return "—" if instant is None else instant[:16].replace("T", " ")


def quality_word(stream: Mapping[str, Any] | None) -> str:
    """How a stream arrives, in one of the words `good`, `fair`, `bad`, or `unknown`.

    By the estimated opinion score where there is one (G.107: 4.0 satisfies, 3.6 does not), else by
    the share of packets that were lost.
    """
    if stream is None or not stream["packets"]:
        return "unknown"
    score = stream["mos"]
    if score is not None:
        return "good" if score >= 4.0 else "fair" if score >= 3.6 else "bad"
    loss = stream["lost"] / (stream["lost"] + stream["packets"])
    return "good" if loss < 0.01 else "fair" if loss < 0.05 else "bad"


def trunk_state(state: str | None) -> str:
    """How a trunk's state is coloured."""
    if state in ("registered", "reachable"):
        return "good"
    return (
        "unknown" if state is None else "fair" if state in ("starting", "not registered") else "bad"
    )


def qr(text: str) -> "Markup":
    """A QR code as SVG that takes the size of its place."""
    import segno
    from markupsafe import Markup

    drawn = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        drawn, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=2, svgclass="qr"
    )
    return Markup(drawn.getvalue().decode("utf-8"))  # noqa: S704  (segno's own, no text of ours)
