"""Devices: where schedules are measured."""
