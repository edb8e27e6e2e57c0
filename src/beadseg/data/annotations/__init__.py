"""Annotations of other programs, read and written: COCO (CVAT, LabelMe …) and Fiji's ROIs.

One geometry for all: pixel (0, 0) covers the square from (0, 0) to (1, 1), x to the right and y down, and a pixel
belongs to a shape when its centre lies in it. COCO and ImageJ's area selections both count so.
"""
