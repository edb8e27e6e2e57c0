"""Images, masks and datasets: read, pair, split, fingerprint, simulate."""

from beadseg.data.dataset import Dataset, Sample, Target
from beadseg.data.image_io import Image, read_image, read_labels, read_mask
from beadseg.data.masks import Mask
from beadseg.data.scan import Problem

__all__ = ["Dataset", "Image", "Mask", "Problem", "Sample", "Target", "read_image", "read_labels", "read_mask"]
