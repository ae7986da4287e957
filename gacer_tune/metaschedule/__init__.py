"""Searches kernels with TVM's MetaSchedule: what it finds becomes one more variant beside our own."""
