"""Runs plans on an NVIDIA GPU: a lane is a stream, a wait an event, a run the launch of one CUDA graph."""
