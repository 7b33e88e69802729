"""Plots as SVG, without a library: lines over clients, and bars."""
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 120, 40, 50
COLOURS = {
    "synod": "#d1495b", "postgresql": "#336791", "sqlite": "#6a994e", "rocksdb": "#edae49", "lmdb": "#8d99ae", "redis": "#a4161a",
    "etcd": "#419eda"}


def colour(name):
    return COLOURS.get(name.split(" ")[0], "#555555")


def shown(value):
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def ticks(highest):
    """Four or five round values from 0 to at least `highest`."""
    step = 10 ** len(str(int(max(highest, 1)))) / 10
    if highest < 1:
        step = 0.1
    while highest / step < 3:
        step /= 2
    while highest / step > 6:
        step *= 2
    return [step * index for index in range(int(highest / step) + 2)]


def frame(title, y_label):
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
        f'<text x="14" y="{(TOP + HEIGHT - BOTTOM) / 2}" transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2})" '
        f'text-anchor="middle">{escape(y_label)}</text>']


def axis(lines, values):
    def place(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / values[-1]
    for value in values:
        y = place(value)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown(value)}</text>')
    return place


def legend(lines, index, name):
    y = TOP + 10 + 18 * index
    x = WIDTH - RIGHT + 8
    if "p99" in name:
        lines.append(
            f'<line x1="{x}" x2="{x + 16}" y1="{y - 4}" y2="{y - 4}" stroke="{colour(name)}" stroke-width="3" stroke-dasharray="4 2"/>')
    else:
        lines.append(f'<rect x="{x}" y="{y - 9}" width="16" height="10" fill="{colour(name)}"/>')
    lines.append(f'<text x="{WIDTH - RIGHT + 28}" y="{y}">{escape(name)}</text>')


def lines_chart(title, x_label, y_label, series):
    """`series`: name → [(x, median, lowest, highest)]; the xs are spread evenly in their order."""
    lines = frame(title, y_label)
    xs = sorted({point[0] for points in series.values() for point in points})
    place = axis(lines, ticks(max((point[3] for points in series.values() for point in points), default=1)))

    def across(x):
        return LEFT + (WIDTH - LEFT - RIGHT) * (xs.index(x) + 0.5) / len(xs)
    for x in xs:
        lines.append(f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x}</text>')
    lines.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>')
    for index, (name, points) in enumerate(series.items()):
        paint = colour(name)
        dash = ' stroke-dasharray="5 3"' if "p99" in name else ""
        path = " ".join(f"{across(x):.1f},{place(median):.1f}" for x, median, _, _ in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{paint}" stroke-width="2"{dash}/>')
        for x, median, low, high in points:
            lines.append(
                f'<line x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{place(low):.1f}" y2="{place(high):.1f}" stroke="{paint}"/>')
            lines.append(f'<circle cx="{across(x):.1f}" cy="{place(median):.1f}" r="3" fill="{paint}"/>')
        legend(lines, index, name)
    return "\n".join(lines + ["</svg>\n"])


def bars_chart(title, y_label, groups):
    """`groups`: label → {name: (median, lowest, highest)}."""
    lines = frame(title, y_label)
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    place = axis(lines, ticks(max((value[2] for values in groups.values() for value in values.values()), default=1)))
    room = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    width = room * 0.8 / max(1, len(names))
    for position, (label, values) in enumerate(groups.items()):
        start = LEFT + room * position + room * 0.1
        for index, name in enumerate(names):
            if name not in values:
                continue
            median, low, high = values[name]
            x = start + width * index
            lines.append(
                f'<rect x="{x:.1f}" y="{place(median):.1f}" width="{width * 0.9:.1f}" height="{HEIGHT - BOTTOM - place(median):.1f}" '
                f'fill="{colour(name)}"/>')
            middle = x + width * 0.45
            lines.append(
                f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{place(low):.1f}" y2="{place(high):.1f}" stroke="#333333"/>')
        lines.append(
            f'<text x="{start + room * 0.4:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" font-size="11">{escape(label)}</text>')
    for index, name in enumerate(names):
        legend(lines, index, name)
    return "\n".join(lines + ["</svg>\n"])
