"""One SVG, written by hand: share found by hostile share, ours and stock."""

from tests.simulation.cases import Case

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 340, 60, 30, 50
_OURS, _STOCK, _INK = "#1f6f8b", "#c8553d", "#333"


def plot(cases: list[Case], results: dict[str, dict[str, object]]) -> str:
    """Two lines over the hostile share, with the 99th percentile of time beside each point."""
    shares = {"healthy": 0, "liars-20": 20, "liars-30": 30, "liars-50": 50}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" fill="{_INK}">newest record found (10,000 nodes, colluding '
        "liars; beside each point: p99 time)</text>",
    ]
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        lines.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - 20}" y2="{y}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{percent} %</text>')
    lines += [
        f'<text x="{_x(share)}" y="{HEIGHT - 28}" text-anchor="middle">{share} %</text>'
        for share in range(0, 51, 10)
    ]
    lines.append(f'<text x="{WIDTH // 2}" y="{HEIGHT - 8}" text-anchor="middle">hostile</text>')
    for prefix, colour, label, shift in (
        ("", _OURS, "ringmesh", -8),
        ("stock-", _STOCK, "kademlia 2.2.3", 18),
    ):
        points = [
            (_x(share), _y(float(str(r["found"]))), r["p99_s"])
            for name, share in shares.items()
            if (r := results.get(prefix + name)) is not None
        ]
        if not points:
            continue
        path = " ".join(f"{x},{y}" for x, y, _ in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, p99 in points:
            lines.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>')
            lines.append(f'<text x="{x + 4}" y="{y + shift}" fill="{colour}">{p99} s</text>')
        x, y, _ = points[-1]
        lines.append(
            f'<text x="{x - 6}" y="{y + 2 * shift}" text-anchor="end" '
            f'fill="{colour}">{label}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _x(share: float) -> float:
    return round(LEFT + 20 + share / 50 * (WIDTH - LEFT - 90), 1)


def _y(found: float) -> float:
    return round(TOP + 20 + (1 - found) * (HEIGHT - TOP - BOTTOM - 20), 1)
