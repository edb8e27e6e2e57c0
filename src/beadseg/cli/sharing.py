"""What `predict` does where several processes share a batch: begin or join it, work, and merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.cluster.share import Share
    from beadseg.config.site import SiteConfig
    from beadseg.events import OnEvent, StopFlag
    from beadseg.predict.segmenter import Segmenter


def shared_batch(
    run: Path,
    images: list[Path],
    out: Path,
    changes: list[str],
    overlays: bool,
    maps: bool,
    stop: StopFlag | None,
    *,
    again: bool = False,
) -> Share:
    """Return the batch to work on: of these images, or, where none are given, the one that was begun in `out`.

    Raises
    ------
    InputError
        There is another batch, or none to join.
    ConfigError
        Options that only the one who begins the batch can choose.
    """
    from beadseg.cli.jobs import has_ended
    from beadseg.cluster.share import Share, begin, join
    from beadseg.config import PredictConfig
    from beadseg.data.hashes import sha256_of
    from beadseg.predict.batch import find_images
    from beadseg.predict.model_file import model_file

    sha256 = sha256_of(model_file(run))
    if images:
        PredictConfig().with_overrides(changes)  # wrong ones are refused here, not by everybody who joins
        wanted = Share.of(
            out, run, sha256, find_images(images), changes=tuple(changes), overlays=overlays, maps=maps
        )  # fmt: skip
        return begin(wanted, has_ended, stop, again=again)
    if changes or maps or again or not overlays:
        text = "The batch that is joined says how its images are predicted."
        raise ConfigError(text, "--set, --overlays, --maps, --again", "Leave them out, or begin a batch with IMAGES.")
    return join(out, str(run.resolve()), sha256)


def work_over_dask(
    text: str,
    profile: Path | None,
    segmenter: Segmenter,
    batch: Share,
    device: str,
    threads: int | None,
    on_event: OnEvent,
    stop: StopFlag | None,
) -> None:
    """Predict what is left of a batch by the workers of a dask cluster; see `beadseg.cluster.share.dask_cluster`."""
    from beadseg.cli.machine import granted_cores
    from beadseg.cluster.share.dask_cluster import dask_client
    from beadseg.cluster.share.over_dask import predict_over_dask
    from beadseg.config.site import SiteConfig

    site = None if profile is None else SiteConfig.from_file(profile)
    cores = granted_cores()
    with dask_client(text, cores, site, batch.folder) as (client, workers):
        if threads is None:
            threads = _threads_of_worker(text, cores, workers, site)
        predict_over_dask(client, segmenter, batch, device=device, threads=threads, on_event=on_event, stop=stop)


def _threads_of_worker(text: str, cores: int, workers: int, site: SiteConfig | None) -> int | None:
    """Return how many threads a worker computes with: dask would give it one."""
    from beadseg.cluster.capacity import chunks

    if text.startswith("pbs") and site is not None:
        return int(chunks(site.select)[0][1].get("ncpus", 1))
    return max(1, cores // workers) if text.startswith("local") else None
