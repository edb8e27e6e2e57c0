"""Every threshold of the audit, with its reason.

They were chosen on simulated tiles (`benchmarks/audit.py`): the weakest faults asked for are found, and few clean
samples are flagged. Lengths are in px, or in bead radii where they must follow the beads.
"""

from __future__ import annotations

# --- What counts as a bead --------------------------------------------------------------------------------------------

FAINTEST = 0.4
"""Peaks weaker than this share of the data set's typical response are not beads: noise lies below a third of it."""
CLEAR = 0.6
"""A peak of this share of the image's typical bead is surely one: 95 % of simulated beads are above, few specks."""
ROUND = 0.15
"""A clear bead's peak has at least this ratio of curvatures: threads and edges of specks have less."""
MARGIN = 1.2
"""Nearer to the border than this, in bead radii, a bead is cut and is not judged."""
NOTHING = 0.3
"""A marked place whose strongest response nearby is below this share of a typical bead is empty: 0.1 % of beads are."""
MASK_PEAK = 0.3
"""Peaks of a mask's response above this are its beads; a disc of the bead's size gives about 0.6 after blurring."""
MASK_BLUR = 0.5
"""Blur of the mask before peaks are sought, in bead radii: about that of beads in an image, so that both show touching
beads alike."""

# --- What can be told at all ------------------------------------------------------------------------------------------

SMALLEST_BEAD, LARGEST_BEAD = 5.0, 80.0
"""Diameters, px, between which beads of an image are compared with its mask. On simulated tiles of perfect masks 3-px
beads gave findings in all samples, 4-px beads in two of three, those of 5 to 80 px in none."""
FEWEST_PAIRS = 8
"""Fewer beads than this in mask or image: whether they fit is not assessable."""
FEWEST_FOR_PARTS = 12
"""Fewer beads than this: a share of missing ones is not assessable unless all are missing."""

# --- Geometry ---------------------------------------------------------------------------------------------------------

FITS = 0.5
"""A mask fits when this share of its beads, or of the image's, is in pairs; another image's mask reaches 0.2."""
FITS_BETTER = 0.25
"""Another orientation must bring this much more agreement than the mask has as it lies."""
SHIFT_PX = 0.6
"""Smallest shift reported, px: beads of clean simulated tiles lie within 0.4 px, since colour fringes differ."""
SCALE = 0.006
"""Smallest error of scale reported, as a share."""
ROTATION_DEGREES = 0.35
"""Smallest rotation reported, degrees."""
STRETCH = 0.012
"""Smallest stretch along one direction reported, as a share."""
EDGE_PX = 0.9
"""Scale, rotation and stretch must move the image's edges by this, px, to be worth a finding."""
SIGMAS = 5.0
"""A deviation must be this many standard errors."""
SHIFT_SPREADS = 3.0
"""The shift must also be this many robust standard deviations of the data set's shifts, ..."""
SHIFT_ENOUGH_PX = 1.0
"""... unless it is so large, px: then it harms 7-px beads however carelessly the others are placed."""
HABIT = 0.5
"""Masks of a whole data set that usually lie beside the beads by more than this, in bead radii, are all shifted."""
LOCAL_PX = 1.6
"""Smallest shift of one part against the rest, px."""
LOCAL_SHARE = 0.6
"""Share of a part's beads that must agree on its shift."""
CLEARER = 0.2
"""An object of a shifted part is moved where the image answers better by this share of a typical bead."""

# --- Size of the marked beads -----------------------------------------------------------------------------------------

RADIUS_PX = 0.55
"""Smallest difference of the marked radius, px, from the data set's habit: a dilation by one pixel adds 0.7 to 1."""
RADIUS_SPREADS = 4.0
"""The difference must also be this many robust standard deviations of the data set, ..."""
RADIUS_ENOUGH = 0.3
"""... unless it is this share of the radius: then the marked area is half or double, however various the others are."""

# --- Beads missed and invented ----------------------------------------------------------------------------------------

FEWEST_WRONG = 2
"""One bead missed or invented is not a finding."""
WRONG_SHARE = 0.04
"""Smallest share of beads missed or invented."""
WRONG_CHANCE = 0.01
"""It must be less likely than this under the rate that is usual in the data set."""
USUAL_WRONG = 0.004
"""The usual rate is taken to be at least this: specks of dirt look like beads now and then."""

# --- Masks ------------------------------------------------------------------------------------------------------------

INVERTED = 0.3
"""A mask is inverted when what it leaves out is more like beads than what it marks by this share of a typical bead."""
FULL = 0.95
"""Share of marked pixels from which a mask is full."""
SOFT_SHARE = 0.002
"""Share of intermediate values, among marked pixels, from which a mask is soft."""
MERGED_AREA = 1.6
"""A label of this many typical areas, with two or more beads in it, or long, is merged."""
MERGED_LENGTH = 1.4
"""Length over width of such a label: two touching discs have about 2, a large bead about 1."""
BROKEN_AREA = 0.75
"""Two touching labels below this share of the typical area, on one bead, are a broken one."""

# --- Images -----------------------------------------------------------------------------------------------------------

SATURATED = 0.005
"""Share of pixels at an end of the range, beyond the data set's usual share."""
BLURRED = 1.12
"""Width of the beads' edges over the data set's median, ..."""
BLUR_SPREADS = 4.0
"""... which must also be this many robust standard deviations of the data set wider, ..."""
BLURRED_ENOUGH = 1.4
"""... unless it is so wide."""
FAINT = 0.45
"""Contrast of the beads over the data set's median."""
UNEVEN = 0.5
"""Range of the background's level over its median, beyond the data set's median."""
DARKEST = 0.03
"""Median intensity over the range of the dtype below which an image is nearly black."""

# --- Twice the same ---------------------------------------------------------------------------------------------------

DUPLICATE_BEADS = 8
"""Beads in common that prove two images to show the same place."""
DUPLICATE_SHARE = 0.6
"""Share of the beads in the common part that must coincide."""

# --- Networks ---------------------------------------------------------------------------------------------------------

CONTRADICTED = 0.15
"""Jaccard below the data set's median by which networks contradict a mask."""
CONTRADICTED_SPREADS = 3.0
"""And by this many robust standard deviations."""
