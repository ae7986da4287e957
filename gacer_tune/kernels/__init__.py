"""Kernel rules: what each kind of kernel computes, its variants, and how each variant is compiled."""
