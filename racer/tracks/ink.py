"""What a drawing is made of: elements, path data, colours in light and dark."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from racer.sim.track import FloatArray

STYLE = """
svg { --paper: #ffffff; --beyond: #eceff3; --inside: #fafbfc; --ink: #18222d; --muted: #5a6878;
  --grid: #dde3ea; --line: #2468d6; --opening: #e8590c; --frame: #3d4a58; --pole: #a61e2d;
  --start: #1f7a35; }
@media (prefers-color-scheme: dark) { svg { --paper: #11161c; --beyond: #0b0f13; --inside: #19212a;
  --ink: #e9eef3; --muted: #a3b1bf; --grid: #2b3641; --line: #74a9ff; --opening: #ff9a3d;
  --frame: #b4c0cc; --pole: #ff7b86; --start: #62d27f; } }
text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 13px;
  fill: var(--ink); }
.paper { fill: var(--paper); }
.beyond { fill: var(--beyond); }
.inside { fill: var(--inside); stroke: var(--muted); stroke-width: 1.5; stroke-dasharray: 7 5; }
.grid { stroke: var(--grid); stroke-width: 1; }
.panel { fill: none; stroke: var(--muted); stroke-width: 1; }
.muted { fill: var(--muted); }
.tick { fill: var(--muted); font-size: 12px; }
.heading { font-weight: 600; font-size: 14px; }
.line { fill: none; stroke: var(--line); stroke-width: 2; stroke-linejoin: round; }
.return { stroke-dasharray: 3 6; }
.frame { fill: var(--frame); }
.frame-edge { fill: none; stroke: var(--frame); stroke-width: 5; }
.opening { fill: var(--opening); fill-opacity: 0.3; stroke: var(--opening); stroke-width: 2; }
.opening-edge { fill: none; stroke: var(--opening); stroke-width: 5; }
.arrow { fill: none; stroke: var(--ink); stroke-width: 2; }
.head { fill: var(--ink); }
.ring { fill: var(--paper); stroke: var(--ink); stroke-width: 1.5; }
.leader { stroke: var(--muted); stroke-width: 1; }
.label { fill: var(--paper); stroke: var(--ink); stroke-width: 1.2; }
.number { font-weight: 600; font-size: 12px; text-anchor: middle; }
.pole { fill: var(--pole); fill-opacity: 0.8; stroke: var(--pole); stroke-width: 1.5; }
.start { fill: var(--start); stroke: var(--paper); stroke-width: 1; }
.bar { fill: none; stroke: var(--ink); stroke-width: 2; }
"""


def add(parent: ET.Element, tag: str, kind: str = "", **attributes: float | str) -> ET.Element:
    """An element of a class; numbers are px with two decimals."""
    given = {"class": kind} if kind else {}
    for name, value in attributes.items():
        text = value if isinstance(value, str) else f"{value:.2f}"
        given[name.rstrip("_").replace("_", "-")] = text
    return ET.SubElement(parent, tag, given)


def path(points: FloatArray, *, closed: bool = True) -> str:
    """Path data through the points (N, 2) px."""
    text = " L".join(f"{x:.2f} {y:.2f}" for x, y in points)
    return f"M{text}{' Z' if closed else ''}"
