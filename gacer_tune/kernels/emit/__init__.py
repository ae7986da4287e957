"""Kernel functions as TVM TensorIR: a function of pointers and a range [lo, hi) of work items."""
