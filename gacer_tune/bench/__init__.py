"""Compares artifacts with other runtimes, and kernels with what the machine could do."""
