"""How fast is it: the network by every backend, a prediction, the whole command, and training, beside MONAI's own ways.

    python benchmarks/speed.py --json speed.json
    python benchmarks/speed.py --parts network,command --against speed-before.json

On a simulated image of 3840x2160 px with 10,000 beads, in one run, since only then numbers of a machine compare. The
peer is MONAI's `SlidingWindowInferer` as it comes: fp32, windows of 512 px, overlap 0.25, Gaussian weights, the same
network. Every row has the seconds that passed (the least of `--repeat`) and those of the processor, which other
programs lengthen less. ``share`` compares multiplications per processor second with those of a bf16 matrix product in
the same run. The peer of training is the loop of MONAI's tutorials: `CacheDataset`, `DataLoader`, dictionary
transforms, fp32.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command sets it

import imagecodecs
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import (
    Compose,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from torch.utils.flop_counter import FlopCounterMode

from beadseg.config import TrainConfig
from beadseg.data import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, simulate, write_dataset
from beadseg.errors import BeadsegError
from beadseg.model.backends import OpenVinoBackend, TorchBackend, choose_precision
from beadseg.model.inputs import prepare
from beadseg.model.networks import Network, build_network
from beadseg.predict import Segmenter
from beadseg.predict.blocks import pad_to_multiple

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCT = "10 bf16 products of 2048x2048 matrices"
HEIGHT, WIDTH, BEADS, DIAMETER = 2160, 3840, 10_000, 8.0
PARTS = ("network", "predict", "command", "startup", "folder", "training")
NETWORKS = {
    "general": [],
    "dense U-Net": ["unet", "network.depth=4", "network.first_stride=1"],
    "attention U-Net": ["attention-unet", "network.depth=5"],
}
PATCH, BATCH, STEPS = 256, 8, 20


class Table:
    """Rows of one run, printed as they come and kept for the JSON."""

    def __init__(self, repeat: int) -> None:
        self.repeat, self.rows = repeat, dict[str, dict[str, float]]()

    def timed(self, name: str, work: Callable[[], object], times: int | None = None, **more: float) -> None:
        """Add a row: the least seconds and processor seconds of some calls of `work`, after one that makes ready."""
        work()
        self.add(name, *least(work, self.repeat if times is None else times), **more)

    def add(self, name: str, seconds: float, processor: float, **more: float) -> None:
        """Add and print a row."""
        self.rows[name] = {"seconds": round(seconds, 4), "processor": round(processor, 4), **more}
        extra = "  ".join(f"{key} {value:.3g}" for key, value in more.items())
        print(f"{name:<44} {seconds:8.3f} s  processor {processor:8.3f} s  {extra}", flush=True)

    def ratio(self, slow: str, fast: str) -> None:
        """Print how many times as fast one row is as another."""
        times = {key: self.rows[slow][key] / self.rows[fast][key] for key in ("seconds", "processor")}
        self.rows[f"{slow} / {fast}"] = {key: round(value, 2) for key, value in times.items()}
        print(f"  {fast}: {times['seconds']:.1f} times as fast as {slow} ({times['processor']:.1f} by processor time)")


def least(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Return the least seconds and processor seconds (children's too) of some calls."""
    found = []
    for _ in range(times):
        start, before = time.perf_counter(), processor()
        work()
        found.append((time.perf_counter() - start, processor() - before))
    return min(each[0] for each in found), min(each[1] for each in found)


def processor() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def picture() -> np.ndarray:
    return simulate(SceneConfig(height=HEIGHT, width=WIDTH, beads=BEADS, diameter_px=DIAMETER), 0).image


def networks(names: list[str]) -> dict[str, Network]:
    """Return the networks by name; those without weights have random ones, which take as long."""
    found = {}
    for name in names:
        if name == "general":
            found[name] = Segmenter.load("general", device="cpu").network
            continue
        kind, *changes = NETWORKS[name]
        config = TrainConfig.preset("dense", kind).with_overrides([*changes, "image.channels.kind=grey"])
        found[name] = build_network(config.network, 1).eval()
    return found


def measure_network(table: Table, names: list[str], image: np.ndarray) -> None:
    """Time the network alone: MONAI's inferer, then every backend on the whole image."""
    config = Segmenter.load("general", device="cpu").config.image
    x = prepare(np.moveaxis(image, -1, 0), config)[np.newaxis]
    product = measured_product(table)
    for name, network in networks(names).items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.zeros(1, 1, 512, 512))
        products = counter.get_total_flops() / 2 / 512**2 * x.size
        stock = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
        table.add(f"{name}: MONAI's inferer", *least(lambda stock=stock: by_monai(stock, x), 1))
        for precision in dict.fromkeys(("fp32", choose_precision("auto", torch.device("cpu")))):
            whole = pad_to_multiple(x, network.size_multiple)
            for kind in ("torch", "openvino"):
                try:
                    backend = (
                        TorchBackend(network, precision) if kind == "torch" else OpenVinoBackend(network, 1, precision)
                    )
                except BeadsegError as error:
                    print(f"  {kind} {precision}: {error}")
                    continue
                row = f"{name}: {kind} {precision}"
                table.timed(row, lambda backend=backend, whole=whole: backend(whole), 1 if kind == "torch" else None)
                rate = products / table.rows[row]["processor"]
                table.rows[row] |= {"GMAC_per_processor_s": round(rate / 1e9, 1), "share": round(rate / product, 2)}
                print(f"  {rate / 1e9:.0f} GMAC per processor second, {rate / product:.0%} of a bf16 matrix product")
                table.ratio(f"{name}: MONAI's inferer", row)


def by_monai(network: Network, x: np.ndarray) -> None:
    inferer = SlidingWindowInferer(roi_size=(512, 512), sw_batch_size=1, overlap=0.25, mode="gaussian")
    with torch.inference_mode():
        inferer(torch.from_numpy(x), network)


def measured_product(table: Table) -> float:
    """Return the multiplications per processor second of a product of two 2048x2048 matrices in bf16."""
    one = torch.randn(2048, 2048).bfloat16()
    table.timed(PRODUCT, lambda: [one @ one for _ in range(10)], 5)
    return float(10 * 2048**3 / table.rows[PRODUCT]["processor"])


def measure_predict(table: Table, image: np.ndarray) -> None:
    """Time `Segmenter.predict` with the diameter given, and its network alone."""
    segmenter = Segmenter.load("general", device="cpu")
    x = prepare(np.moveaxis(image, -1, 0), segmenter.config.image)
    table.timed("general: network of Segmenter.predict", lambda: segmenter.prepared_maps(x))
    table.timed("general: Segmenter.predict", lambda: segmenter.predict(image, diameter_px=DIAMETER))
    table.ratio("general: Segmenter.predict", "general: network of Segmenter.predict")


def command(*words: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beadseg", *map(str, words), "--quiet"], capture_output=True, text=True
    )
    if done.returncode not in (0, 6):  # flagged images are results too
        raise SystemExit(done.stderr)


def measure_command(table: Table, folder: Path, image: np.ndarray) -> None:
    """Time the whole command on the picture: start, network, all files and the page."""
    path = folder / "picture.png"
    path.write_bytes(bytes(imagecodecs.png_encode(image, level=1)))
    row = "general: the whole command"
    table.timed(row, lambda: command("predict", "general", path, "--out", folder / "out", "--again"))
    if (stock := "general: MONAI's inferer") in table.rows:
        table.ratio(stock, row)


def measure_startup(table: Table, folder: Path, image: np.ndarray) -> None:
    """Time the whole command on one tile of 512x512 px."""
    path = folder / "tile.png"
    path.write_bytes(bytes(imagecodecs.png_encode(image[:512, :512].copy())))
    table.timed("one tile of 512x512, the whole command",
                lambda: command("predict", "general", path, "--out", folder / "one", "--again"))  # fmt: skip


def measure_folder(table: Table, folder: Path, image: np.ndarray) -> None:
    """Time a folder of tiles, without the start of the command."""
    tiles = folder / "tiles"
    tiles.mkdir()
    corners = [(top, left) for top in range(0, HEIGHT - 511, 512) for left in range(0, WIDTH - 511, 512)]
    for top, left in corners:
        part = image[top : top + 512, left : left + 512].copy()
        (tiles / f"r{top}_c{left}.png").write_bytes(bytes(imagecodecs.png_encode(part)))
    table.timed(f"{len(corners)} tiles of 512x512, the whole command",
                lambda: command("predict", "general", tiles, "--out", folder / "many", "--again"), 1)  # fmt: skip


def measure_training(table: Table, folder: Path) -> None:
    """Time steps of beadseg's training and of a plain loop of MONAI, with the same network and kinds of changes."""
    scene = SceneConfig(height=512, width=512, beads=150)
    write_dataset(folder / "data", SeriesConfig(scene=scene, tiles=12, dilutions=(320, 640), fields=2))
    overrides = [f"epoch.size={PATCH}", f"batch={BATCH}", f"epoch.steps={STEPS}", "epochs=1",
                 "network.depth=4", "network.first_stride=1", "image.channels.kind=grey"]  # fmt: skip
    seconds = steps_of_beadseg(folder, overrides)
    table.add("training: a step of beadseg", *seconds)
    table.add("training: a step of a plain MONAI loop", *steps_of_monai(folder / "data", overrides))
    table.ratio("training: a step of a plain MONAI loop", "training: a step of beadseg")


def steps_of_beadseg(folder: Path, overrides: list[str]) -> tuple[float, float]:
    """Return seconds per step: the difference of a long and a short run, which start and end alike."""
    found = []
    for name, steps in (("short", 2), ("long", 2 + STEPS)):
        settings = [word for each in (*overrides, f"epoch.steps={steps}") for word in ("--set", each)]
        found.append(least(lambda name=name, settings=settings: command(
            "train", folder / "data", "--out", folder / name, "--device", "cpu", *settings), 1))  # fmt: skip
    return tuple((long - short) / STEPS for short, long in zip(*found, strict=True))  # type: ignore[return-value]


def steps_of_monai(data: Path, overrides: list[str]) -> tuple[float, float]:
    config = TrainConfig.preset("dense", "unet").with_overrides(overrides)
    network = build_network(config.network, 1).train()
    keys = ["image", "label"]
    changes = Compose([
        RandCropByPosNegLabeld(keys, label_key="label", spatial_size=(PATCH, PATCH), num_samples=1),
        RandFlipd(keys, prob=0.5, spatial_axis=0), RandFlipd(keys, prob=0.5, spatial_axis=1),
        RandRotate90d(keys, prob=0.75), RandScaleIntensityd("image", 0.3, prob=0.5),
        RandShiftIntensityd("image", 0.2, prob=0.5), RandGaussianNoised("image", prob=0.3, std=0.05),
    ])  # fmt: skip
    samples = []
    for sample in Dataset.open(data):
        for _, plane, target in sample.planes():
            y = target.foreground[np.newaxis].astype(np.float32)
            samples.append({"image": torch.from_numpy(prepare(plane, config.image)), "label": torch.from_numpy(y)})
    needed = [samples[index % len(samples)] for index in range(BATCH * STEPS)]
    loader = DataLoader(CacheDataset(needed, changes, progress=False), batch_size=BATCH, num_workers=0, shuffle=True)
    loss, optimizer = DiceCELoss(sigmoid=True), torch.optim.AdamW(network.parameters(), 1e-3)

    def epoch() -> None:
        for batch in loader:
            optimizer.zero_grad()
            loss(network(batch["image"])[:, :1], batch["label"]).backward()
            optimizer.step()

    return tuple(each / STEPS for each in least(epoch, 1))  # type: ignore[return-value]


def compared(rows: dict[str, Any], path: Path) -> None:
    """Print every row beside that of an earlier run."""
    before = json.loads(path.read_text(encoding="utf-8"))["rows"]
    print("\n| row | before, s | now, s |\n| --- | --- | --- |")
    for name in (name for name in rows if name in before):
        print(f"| {name} | {before[name]['seconds']} | {rows[name]['seconds']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--against", type=Path, help="an earlier JSON to compare with")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parts, table = arguments.parts.split(","), Table(arguments.repeat)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{arguments.threads} threads; load of the machine before: {load}")
    image = picture()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "network" in parts:
            measure_network(table, arguments.networks.split(","), image)
        if "predict" in parts:
            measure_predict(table, image)
        for part, measure in (("command", measure_command), ("startup", measure_startup), ("folder", measure_folder)):
            if part in parts:
                measure(table, folder, image)
        if "training" in parts:
            measure_training(table, folder)
    if arguments.json:
        said = {"threads": arguments.threads, "load_before": load, "torch": torch.__version__, "rows": table.rows}
        arguments.json.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    if arguments.against:
        compared(table.rows, arguments.against)


if __name__ == "__main__":
    main()
