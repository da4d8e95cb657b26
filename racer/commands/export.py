"""`python -m racer export`: a training's weights as ONNX with a manifest."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write policy.onnx and manifest.json from a training's weights"
EXAMPLES = """\
A training exports its best epoch by itself. This is for one that was interrupted, and for weights
of an earlier release:

  python -m racer export --run data/runs/1b4e28ba-2fa1-4d2b-883f-0016d3cca427
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", dest="folder", help="a training's folder"
    )


def run(options: argparse.Namespace) -> int:
    """Export and say what was written."""
    from racer.policy.export import export_run  # noqa: PLC0415 - onnx loads half a second

    manifest = export_run(options.folder)
    told = manifest.training
    print(f"{options.folder / manifest.policy.file}: {manifest.name}, epoch {told.epoch}.")
    print(
        f"{options.folder / 'manifest.json'}: {manifest.action_space} at "
        f"{manifest.control_hz:g} Hz, revision {manifest.git_revision}."
    )
    return 0
