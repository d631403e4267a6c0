"""A flow as an ONNX model, which two engines and the exporter read, and what rewrites it."""
