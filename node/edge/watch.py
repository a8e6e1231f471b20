"""Finds calls that are over though nobody said so, by their media and by time.

A sealed leg carries a keepalive every five seconds, so one that is silent for 30 s while no link
to its node stands has lost that node; with a link, one that is silent for 60 s has lost its other
end, as where that node was started anew. Phones on hold may be silent for as long as they like;
where both should send and nothing at all arrives for `media_timeout`, the call is over. A session
timer that the phones agreed on ends the call if they do not refresh it. What is left are calls that
may be silent, or have no media here, and whose ends are both gone: half a day without a sign ends
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from federation.model.clocks import Monotonic
from media_relay.reports import EndpointReport, SessionReport
from node.edge.dialog import Dialog, DialogSet, NodeSide, ServiceSide
from node.edge.hub import Hub
from node.edge.media import CallMedia

INTERVAL = 5.0
"Seconds between two looks."
LEG_SILENCE = 30.0
"Seconds without even a keepalive."
MEDIA_TIMEOUT = 60.0
"Seconds without a media packet from anybody."
FORGOTTEN = 43_200.0
"Seconds without request, packet or session timer after which even a call on hold is over."


@dataclass(slots=True)
class Watch:
    """Looks at every confirmed call from time to time."""

    hub: Hub
    media_timeout: float = MEDIA_TIMEOUT

    def look(self) -> None:
        """End what is over."""
        now = self.hub.now()
        for group in self.hub.dialogs:
            if group.expires is not None and group.expires <= now:
                if group.method != "INVITE":
                    self.hub.endings.forget(group, "expired")
                    continue
                group.expires = None  # a subscription in the call is over; the call is not
            if group.method == "INVITE":
                self._look_at(group, now)

    def _look_at(self, group: DialogSet, now: Monotonic) -> None:
        """End a call, or one dialog of it, that is over."""
        for overdue in [
            dialog
            for dialog in group.dialogs.values()
            if dialog.session_ends is not None and dialog.session_ends <= now
        ]:
            overdue.session_ends = None
            self.hub.log.info("session_expired", call_id=group.call_id)
            self.hub.endings.end_dialog(overdue, "the session was not refreshed")
        dialog = group.confirmed
        if dialog is None or group.ended:
            return
        reason = self._forgotten(group, dialog, now)
        if reason is None and group.media is not None:
            reason = self._verdict(group, dialog, group.media, now)
        if reason is not None:
            self.hub.log.info("call_silent", call_id=group.call_id, reason=reason)
            self.hub.endings.hang_up(group, reason)

    def _forgotten(self, group: DialogSet, dialog: Dialog, now: Monotonic) -> str | None:
        """Why a call counts as forgotten that nothing was heard of for half a day."""
        silence = now - dialog.heard
        if dialog.session_ends is not None or silence <= FORGOTTEN:
            return None
        media = group.media
        if media is not None:
            media.activity.note(_packets(media.session.report()), now)
            silence = min(silence, now - media.activity.heard)
        return "nothing was heard for half a day" if silence > FORGOTTEN else None

    def _verdict(
        self, group: DialogSet, dialog: Dialog, media: CallMedia, now: Monotonic
    ) -> str | None:
        """Why the call counts as over, or `None`."""
        report = media.session.report()
        for side, branch in ((group.caller, None), (dialog.callee, dialog.branch)):
            if isinstance(side, NodeSide):
                own = media.legs_of(branch)
                legs = [leg for leg in report.legs if leg.id in own]
                if self._is_gone(side, legs, dialog, now):
                    return "the other node is gone"
        quiet_since = media.activity.note(_packets(report), now)
        if media.may_be_silent or isinstance(dialog.callee, ServiceSide):
            media.activity.restart(now)
            return None
        return "no media for too long" if now - quiet_since > self.media_timeout else None

    def _is_gone(
        self, side: NodeSide, legs: Sequence[EndpointReport], dialog: Dialog, now: Monotonic
    ) -> bool:
        """Whether a node keeps its legs of the call no more."""
        is_linked = self.hub.links.is_linked(side.node)
        heard = [leg.last_heard for leg in legs if leg.last_heard is not None]
        if not legs or (is_linked and not heard):
            return False
        silence = now - max(heard, default=dialog.group.created)
        if dialog.answered_at is not None:
            silence = min(silence, self.hub.clock.unix() - dialog.answered_at)
        return silence > (self.media_timeout if is_linked else LEG_SILENCE)


def _packets(report: SessionReport) -> int:
    return sum(endpoint.packets_in for endpoint in (*report.anchors, *report.legs))
