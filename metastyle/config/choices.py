"""Names and limits that settings, the library and the command line share."""

DEFAULT_BUNDLE = "default"  # the name of the bundle in the package
BACKENDS = ("jax", "onnx", "onnx-int8")  # what can stylise
PEER_TIMEOUT = 300  # seconds after which a silent process counts as lost
PRECISIONS = ("float32", "int8")  # of convolutions in an exported style
