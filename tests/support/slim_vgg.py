"""The shape of a slim VGG-16."""

WIDTHS = (4, 6, 5, 7, 8, 9, 10, 11, 12, 13)  # all different: a swapped layer or axis can't pass
RANKS = (0, 2, 0, 0, 0, 3, 0, 0, 0, 4)
