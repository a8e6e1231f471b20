"""Where the lanes and arrows of a call's ladder stand, for the template that draws them."""

from dataclasses import dataclass

from node.control import JsonObject

LANE = 300
"Pixels between two lanes."
ROW = 34
MAX_TEXT = 43
"Characters over an arrow."
TOP = 56
LEFT = 150
MAX_ROWS = 400
"Messages that are drawn; the text has them all."


@dataclass(frozen=True, slots=True)
class Lane:
    """One party."""

    x: int
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """One message."""

    y: int
    start: int
    end: int
    text: str
    when: str
    is_error: bool

    @property
    def head(self) -> str:
        """The points of the arrow's head."""
        back = -9 if self.end > self.start else 9
        return (
            f"{self.end},{self.y} {self.end + back},{self.y - 4.5} {self.end + back},{self.y + 4.5}"
        )

    @property
    def middle(self) -> int:
        """Where the text is centred."""
        return (self.start + self.end) // 2


@dataclass(frozen=True, slots=True)
class Ladder:
    """A whole drawing."""

    lanes: list[Lane]
    arrows: list[Arrow]
    left_out: int

    @property
    def width(self) -> int:
        """Of the drawing."""
        return self.lanes[-1].x + LANE // 2

    @property
    def height(self) -> int:
        """Of the drawing."""
        return TOP + ROW * (len(self.arrows) + 1)


def draw(trace: JsonObject) -> Ladder:
    """The ladder of a trace: the first party, this node, then the others."""
    parties = trace["parties"]
    names = [(party["address"], party["kind"]) for party in parties]
    order = [*names[:1], ("this node", "self"), *names[1:]]
    lanes = [Lane(LEFT + LANE * place, *each) for place, each in enumerate(order)]
    node = min(1, len(parties))
    column = [place if place < node else place + 1 for place in range(len(parties))]
    arrows = []
    for row, message in enumerate(trace["messages"][:MAX_ROWS]):
        here, there = lanes[node].x, lanes[column[message["party"]]].x
        start, end = (here, there) if message["direction"] == "out" else (there, here)
        again = " (again)" if message["repeated"] else ""
        arrows.append(
            Arrow(
                y=TOP + ROW * (row + 1),
                start=start,
                end=end,
                text=f"{_cut(message['summary'])}{again}",
                when=f"{message['after']:.3f} s",
                is_error=message["summary"][:1] in "456" and message["summary"][1:3].isdigit(),
            )
        )
    return Ladder(lanes, arrows, max(0, len(trace["messages"]) - MAX_ROWS))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
