"""How the commands show the SIP and the sound that passed between this node and a peer."""

from typing import Any

HEADINGS = ("requests", "no answer", "5xx 6xx", "loss", "jitter")
"Of `columns`."


def columns(traffic: dict[str, Any] | None) -> tuple[str | None, ...]:
    """A peer's counts in a table: requests in and out, then what went wrong with it."""
    if not traffic:
        return (None,) * len(HEADINGS)
    requests, rtp = traffic["requests"], traffic["rtp"]
    failures = traffic["responses"]["in"]["5xx"] + traffic["responses"]["in"]["6xx"]
    return (
        f"{requests['in']} / {requests['out']}",
        str(traffic["timeouts"]),
        str(failures),
        _loss(rtp),
        None if rtp["jitter"] is None else f"{rtp['jitter'] * 1000:.0f} ms",
    )


def fields(traffic: dict[str, Any] | None) -> list[tuple[str, object]]:
    """The same with labels, by class of response, for one peer alone."""
    if not traffic:
        return []
    rtp = traffic["rtp"]
    again = traffic["retransmissions"]
    rows: list[tuple[str, object]] = [
        ("requests", _both(traffic["requests"])),
        ("answers to us", _classes(traffic["responses"]["in"])),
        ("answers of ours", _classes(traffic["responses"]["out"])),
        ("no answer", f"{traffic['timeouts']} requests of ours"),
        ("sent again", f"{again['in']} to us, {again['out']} by us"),
    ]
    if rtp["streams"]:
        jitter = "" if rtp["jitter"] is None else f", jitter {rtp['jitter'] * 1000:.1f} ms"
        told = f", {rtp['told_lost']} of ours lost on the way there" if rtp["told_lost"] else ""
        rows.append(("sound", f"{rtp['streams']} streams, loss {_loss(rtp)}{jitter}{told}"))
    return rows


def _both(counts: dict[str, int]) -> str:
    return f"{counts['in']} to us, {counts['out']} by us"


def _classes(counts: dict[str, int]) -> str | None:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or None


def _loss(rtp: dict[str, Any]) -> str | None:
    whole = rtp["packets"] + rtp["lost"]
    return f"{rtp['lost'] / whole:.2%}" if whole else None
