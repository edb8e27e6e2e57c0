"""Networks, losses, inputs, augmentation, checkpoints and devices."""

import getpass
import os

try:
    getpass.getuser()
except (OSError, KeyError, ImportError):  # a container where the user's id has no name: importing MONAI would fail
    os.environ["LOGNAME"] = "unknown"
