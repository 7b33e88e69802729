"""All cases, and how they are run: every system in turn, and again."""
import os
import shutil
import subprocess

import cases
import costs
import machine
import replicated


def choose(options):
    """The cases that the options ask for, without those whose group or name does not have a word asked for."""
    world = machine.World(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "", "", options)
    chosen = []
    everything = (
        cases.embedded(options) + cases.growth(options) + cases.served(options) + cases.isolation(options)
        + costs.costs(options) + replicated.replicated(options))
    for case in everything:
        wanted = not options.only or any(
            text.lower() in case.name.lower() or text.lower() == case.group for text in options.only)
        case.systems = [system for system in case.systems if system not in options.without]
        if options.no_install and not options.list:
            case.systems = [system for system in case.systems if world.has(system)]
        # Without pgbench nothing that is served can be asked.
        if case.group not in ("embedded", "growth") and options.no_install and not options.list and not shutil.which("pgbench"):
            continue
        if wanted and case.systems:
            chosen.append(case)
    return chosen


def run(world, chosen):
    """Runs the cases, all systems in turn, and again: A B A B. A system that fails is noted, and the others go on."""
    results = []
    group = None
    for case in chosen:
        # Where three nodes of each run, nothing else does.
        if "replicated" in (case.group, group) and case.group != group:
            world.stop()
        group = case.group
        samples, errors = {system: [] for system in case.systems}, {}
        for repetition in range(world.options.repetitions):
            for system in case.systems:
                if system in errors:
                    continue
                if not world.has(system):
                    errors[system] = "not installed"
                    continue
                try:
                    samples[system].append(case.run(world, system))
                except (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
                    errors[system] = str(error)
                    machine.say(f"  {case.name}: {system}: {error}")
        line = ", ".join(
            f"{system} {samples[system][-1].get('per_second', 0):.0f}/s" for system in case.systems if samples[system])
        machine.say(f"{case.name}: {line}")
        results.append({
            "group": case.group, "table": case.table, "label": case.label, "x": case.x, "tool": case.tool,
            "samples": samples, "errors": errors})
    return results
