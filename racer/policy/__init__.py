"""Policies that leave the building: ONNX, the manifest beside it, and loading both. No JAX."""
