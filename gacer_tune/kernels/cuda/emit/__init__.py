"""Emits CUDA kernels as TensorIR, one module a rule."""
