"""The reference time of every shipped course, and how long it takes to compute it.

    python -m benchmarks.reference

One JSON line a course: the least time from rest through all laps and of a flying lap with the
airframe that the course was made for, and the seconds of each computation, the first one without
imports. On the Split-S the line holds the ratios to the published optima too; below 1 is faster,
as a point mass is. Takes less than a minute.
"""

from __future__ import annotations

import json
import time

from racer.reference.plan import fastest
from racer.sim.airframe import load_airframe
from racer.sim.track import load_track

COURSES = {
    "toledo": "x500",
    "split_s": "cpc",
    "swift": "kolibri",
    "lsy_level0": "cf21b",
    "lsy_level2": "cf21b",
    "figure_eight": "kolibri",
}
PUBLISHED_LAP_S = {"split_s": 6.14}  # 6.13 s to 6.15 s, the full quadrotor


def main() -> None:
    """Print the lines."""
    for course, vehicle in COURSES.items():
        track, airframe = load_track(course), load_airframe(vehicle)
        line: dict[str, object] = {"track": course, "airframe": vehicle, "laps": track.laps}
        for name, flying in (("course", False), ("lap", True)):
            began = time.perf_counter()
            found = fastest(track, airframe, flying=flying)
            line[f"{name}_s"] = round(found.time_s, 3)
            line[f"{name}_computed_in_s"] = round(time.perf_counter() - began, 2)
            if flying and course in PUBLISHED_LAP_S:
                line["lap_over_published"] = round(found.time_s / PUBLISHED_LAP_S[course], 4)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
