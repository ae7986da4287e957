"""What is compiled besides kernels: the interpreter of plans. Needs the compiler, not only its runtime."""
