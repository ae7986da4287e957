"""From a canonical ONNX model to a tenant of the scheduling IR: ops, kernels, buffers and packed weights."""
