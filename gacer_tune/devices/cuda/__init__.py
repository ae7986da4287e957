"""Measuring on an NVIDIA GPU."""
