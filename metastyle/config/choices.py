"""Names and limits that settings, the library and the command line share."""

DEFAULT_BUNDLE = "default"  # the name of the bundle in the package
BACKENDS = ("jax", "onnx", "onnx-int8")  # what can stylise
PALETTE = 0.25  # of a transfer: nearer to the painting's colours, at hardly a cost (experiments/results/transfer.md)
STABILITY = 0.8  # of a video: the weight of the frame before
# Steps on a clip: through the mean over phases, the style still grows after ten (experiments/results/video.md).
VIDEO_STEPS = 60
PEER_TIMEOUT = 300  # seconds after which a silent process counts as lost
PRECISIONS = ("float32", "int8")  # of convolutions in an exported style
