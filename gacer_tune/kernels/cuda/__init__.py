"""CUDA variants of the kernel rules: a work item is one thread block."""
