"""Presence as pjsua2 has it: whom this phone watches, and how it is seen itself."""

from typing import Any

import pjsua2 as pj

from node.phone.child_calls import Owner

_STATES = {
    pj.PJSUA_BUDDY_STATUS_UNKNOWN: "unknown",
    pj.PJSUA_BUDDY_STATUS_ONLINE: "online",
    pj.PJSUA_BUDDY_STATUS_OFFLINE: "offline",
}


class Watched(pj.Buddy):  # type: ignore[misc]  # the wheel carries no types
    """Somebody whose presence is subscribed to."""

    def __init__(self, child: Owner, account: Any, uri: str) -> None:
        super().__init__()
        self._child = child
        self._uri = uri
        config = pj.BuddyConfig()
        config.uri, config.subscribe = uri, False
        self.create(account, config)

    def onBuddyState(self) -> None:  # noqa: D102, N802
        seen = self.getInfo().presStatus
        is_busy = seen.activity == pj.PJRPID_ACTIVITY_BUSY
        self._child.tell(
            "presence", uri=self._uri, state="busy" if is_busy else _STATES[seen.status]
        )


def presence_status(state: str) -> Any:
    """`state` as an account shows it."""
    status = pj.PresenceStatus()
    is_there = state in ("online", "busy")
    status.status = pj.PJSUA_BUDDY_STATUS_ONLINE if is_there else pj.PJSUA_BUDDY_STATUS_OFFLINE
    if state == "busy":
        status.activity, status.note = pj.PJRPID_ACTIVITY_BUSY, "busy"
    return status
