"""The ``onnxruntime`` engine, and the forms of a model that it runs faster."""
