"""What a policy must be to take part. No JAX, no network is loaded."""

from __future__ import annotations

from racer.errors import InvalidInputError
from racer.policy.manifest import Manifest
from racer.policy.rates import check_rates


def check_manifest(manifest: Manifest, airframe: str) -> None:
    """Raises InvalidInputError when a policy cannot take part in a race of that airframe."""
    own = manifest.load_airframe().name
    if own != airframe:
        raise InvalidInputError(
            f"The policy flies '{own}' and the race is for '{airframe}': enter a policy that was "
            "trained for that airframe."
        )
    check_rates(manifest.control_hz, manifest.substeps)
