"""Images, masks and datasets: read, pair, split, fingerprint, simulate."""

from beadseg.data.dataset import Dataset, Problem, Sample, Target
from beadseg.data.image_io import Image, Mask, read_image, read_labels, read_mask

__all__ = ["Dataset", "Image", "Mask", "Problem", "Sample", "Target", "read_image", "read_labels", "read_mask"]
