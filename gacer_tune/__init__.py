"""gacer-tune: finds, by measuring, the fastest way to run several ONNX models together on one machine."""
