"""ONNX in: safe loading, fixed shapes, simplification."""
