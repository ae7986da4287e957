"""Predicts what a plan will cost."""
