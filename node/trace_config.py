"""The `[trace]` table of the settings: what is remembered of calls for people to look at."""

from node.setting import Section


class TraceConfig(Section, frozen=True, kw_only=True):
    """What may be looked at afterwards."""

    calls: bool = True
    "Whether the SIP messages of calls are kept in memory for a while (`ringmesh call trace`)."
