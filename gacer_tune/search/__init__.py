"""Proposes schedules, has them measured, and lets a statistical test decide about the best."""
