"""One JSON file with everything, and one Markdown report with plots."""
import json
import os
import re
import statistics
import time

import machine
import plot
import targets

FIGURES = [
    ("per_second", "per second"), ("ms", "ms"), ("p50", "p50 µs"), ("p95", "p95 µs"), ("p99", "p99 µs"), ("p999", "p99.9 µs"),
    ("max", "longest µs"), ("ms_low", "quickest ms"), ("ms_high", "slowest ms"), ("cpu_us", "CPU µs each"), ("bytes", "bytes written each"),
    ("amplification", "written ÷ given"), ("wire_bytes", "bytes sent to peers each"), ("compression", "raw ÷ sent records"),
    ("rest_mb", "MB at rest"), ("load_mb", "MB under load"), ("after_mb", "MB after"), ("memory_mb", "most MB in memory"), ("disk_mb", "MB on disk"), ("retries", "retries each"), ("open_ms", "open ms")]


def summary(samples):
    """Median, lowest and highest of each figure."""
    figures = {}
    for name in {name for sample in samples for name in sample}:
        values = [sample[name] for sample in samples if sample.get(name) is not None]
        if values:
            figures[name] = (statistics.median(values), min(values), max(values))
    return figures


def write(folder, world, floors, results):
    """Writes the report, and returns its path."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    place = os.path.join(folder, stamp + ("-small" if world.options.small else ""))
    os.makedirs(place)
    about = machine.describe(world)
    about["options"] = {name: value for name, value in vars(world.options).items() if name not in ("synod", "directory", "output")}
    for result in results:
        result["summary"] = {system: summary(samples) for system, samples in result["samples"].items() if samples}
    with open(os.path.join(place, "results.json"), "w") as file:
        json.dump({"format": 1, "time": stamp, "machine": about, "floors": floors, "results": results}, file, indent=1)
    path = os.path.join(place, "report.md")
    with open(path, "w") as file:
        file.write(markdown(place, stamp, world, about, floors, results))
    return path


def number(value):
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def spread(triple):
    median, low, high = triple
    return number(median) if low == high else f"{number(median)} ({number(low)}–{number(high)})"


def markdown(place, stamp, world, about, floors, results):
    options = world.options
    text = [f"# Measurements of {stamp} UTC", ""]
    if options.small:
        text += ["**A small run: it shows that everything works. The figures mean nothing.**", ""]
    text += [
        f"{about['processors']} processors ({about['processor']}), {about['memory']}, Linux {about['kernel']}, file system "
        f"{about['file_system']}, load {about['load_before']:.1f} at the end. SynodDB at commit {about['commit']}. "
        f"{options.repetitions} repetitions of {options.seconds} s, systems in turn; medians (lowest–highest).", ""]
    text += [f"- {name}: {version}" for name, version in about["versions"].items()]
    text += ["", "## The floors", "", "| what | p50 µs | p99 µs | p99.9 µs | per second |", "|---|---:|---:|---:|---:|"]
    names = {
        "overwrite_fdatasync": "4 KiB preallocated, overwrite + fdatasync", "direct_dsync": "4 KiB preallocated, O_DIRECT and O_DSYNC",
        "append_fdatasync": "4 KiB, append + fdatasync", "loopback": "round trip over TCP on loopback",
        "quorum": "4 KiB durable on two of three nodes of one disk, all writing at once",
        "steady_alone": "4 KiB durable, 2 500 a second, from when due",
        "steady_beside_tables": "the same beside 2 MiB/s of tables, in steps as SynodDB writes them"}
    for key, name in names.items():
        floor = floors.get(key)
        if floor:
            latency = floor["latency_us"]
            text.append(
                f"| {name} | {number(latency['p50'])} | {number(latency['p99'])} | {number(latency['p999'])} "
                f"| {number(floor['per_second'])} |")
    floor = targets.floor(floors, "overwrite_fdatasync")
    if "overwrite_fdatasync" in floors.get("after", {}):
        after = floors["after"]["overwrite_fdatasync"]["latency_us"]
        text.append(f"| the first again, at the end | {number(after['p50'])} | {number(after['p99'])} | {number(after['p999'])} | |")
    if not options.small:
        text += targets.section(floors, results, number)
    for table in dict.fromkeys(result["table"] for result in results):
        rows = [result for result in results if result["table"] == table]
        text += ["", f"## {table}", ""]
        tools = [result["tool"] for result in rows if result["tool"]]
        if tools:
            text += [tools[0] + ".", ""]
        text += table_of(rows, floor, 2 * targets.floor(floors, "loopback"))
        for row in rows:
            for system, error in row["errors"].items():
                text.append(f"\n{row['label']}, {system}: not measured: {error.strip().splitlines()[0][:300]}")
        text += plots(place, table, rows)
    text += isolation_plot(place, results)
    return "\n".join(text) + "\n"


def table_of(rows, floor, two_round_trips):
    present = [
        (key, name) for key, name in FIGURES
        if any(key in figures for row in rows for figures in row["summary"].values())
        and (key != "max" or "flushed and merged" in rows[0]["table"])
        and (key != "retries" or any(figures.get("retries", (0,))[0] for row in rows for figures in row["summary"].values()))]
    is_replicated = "Replicated" in rows[0]["table"]
    is_durable = is_replicated or any(word in rows[0]["table"] for word in ("Durable", "TPC-B"))
    base = floor + (two_round_trips if is_replicated else 0)
    ratio = "p50 ÷ (disk floor + two round trips)" if is_replicated else "p50 ÷ disk floor"
    head = ["", "system"] + [name for _, name in present] + ([ratio] if is_durable else []) + ["synod is"]
    if is_replicated:
        head.append("synod's p50 is")
    text = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for row in rows:
        ours = row["summary"].get("synod", {}).get("per_second")
        for system, figures in row["summary"].items():
            cells = [row["label"], system] + [spread(figures[key]) if key in figures else "" for key, _ in present]
            if is_durable:
                cells.append(f"{figures['p50'][0] / base:.2f}" if "p50" in figures else "")
            theirs = figures.get("per_second")
            comparable = system != "synod" and ours and theirs and theirs[0]
            cells.append(f"{ours[0] / theirs[0]:.2f} ×" if comparable else "")
            if is_replicated:
                latency = row["summary"].get("synod", {}).get("p50")
                comparable = system != "synod" and latency and "p50" in figures
                cells.append(f"{latency[0] / figures['p50'][0]:.2f} ×" if comparable else "")
            text.append("| " + " | ".join(cells) + " |")
    return text


def save(place, title, svg):
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") + ".svg"
    with open(os.path.join(place, name), "w") as file:
        file.write(svg)
    return ["", f"![{title}]({name})"]


def series(rows, key, suffix=""):
    found = {}
    for row in rows:
        for system, figures in row["summary"].items():
            if key in figures:
                found.setdefault(system + suffix, []).append((row["x"],) + figures[key])
    return found


def plots(place, table, rows):
    text = []
    unit = rows[-1]["label"].split(" ", 1)[-1]
    if len(rows) > 1 and unit in ("clients", "threads"):
        text += save(place, f"{table}: throughput", plot.lines_chart(
            f"{table}: per second", unit, "per second", series(rows, "per_second")))
        latency = {**series(rows, "p50", " p50"), **series(rows, "p99", " p99")}
        if latency:
            text += save(place, f"{table}: latency", plot.lines_chart(f"{table}: latency", unit, "µs", latency))
        for key, name in (("cpu_us", "processor time"), ("bytes", "bytes written")):
            groups = {row["label"]: {system: figures[key] for system, figures in row["summary"].items() if key in figures} for row in rows}
            if any(groups.values()):
                text += save(place, f"{table}: {name}", plot.bars_chart(
                    f"{table}: {name} each", "µs" if key == "cpu_us" else "bytes", groups))
    elif rows[0]["group"] == "isolation":
        for key, name in (("per_second", "commits per second"), ("retries", "retries for each commit")):
            groups = {row["label"]: {system: figures[key] for system, figures in row["summary"].items() if key in figures} for row in rows}
            text += save(place, f"{table.split(':')[0]}: {name}", plot.bars_chart(f"{table.split(':')[0]}: {name}", name, groups))
    elif rows[0]["group"] == "growth":
        for key, name, unit in (
                ("per_second", "per second", "per second"), ("p99", "p99", "µs"), ("open_ms", "time to open", "ms"),
                ("memory_mb", "memory", "MB"), ("disk_mb", "disk", "MB")):
            found = series(rows, key)
            if found:
                text += save(place, f"{table}: {name}", plot.lines_chart(f"{table}: {name}", "rows", unit, found))
    elif any("ms" in figures for row in rows for figures in row["summary"].values()) and len(rows) > 1:
        groups = {row["label"]: {system: figures["ms"] for system, figures in row["summary"].items() if "ms" in figures} for row in rows}
        text += save(place, f"{table}: time", plot.bars_chart(table, "ms", groups))
    return text


def isolation_plot(place, results):
    """Retries of TPC-B by isolation level, at the client count where most are needed."""
    rows = [result for result in results if result["table"].startswith("TPC-B")]
    if not rows:
        return []
    groups = {}
    clients = max(row["x"] for row in rows)
    for row in rows:
        if row["x"] == clients:
            groups[row["table"].split(", ")[1]] = {
                system: figures["retries"] for system, figures in row["summary"].items() if "retries" in figures}
    return ["", "## Retries by isolation level", ""] + save(place, "Retries by isolation level", plot.bars_chart(
        f"TPC-B: retries for each commit, {clients} clients", "retries each", groups))
