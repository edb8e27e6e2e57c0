from __future__ import annotations

import pytest

from beadseg.cluster.job import amount, chunks, never_fits

NODES = {
    "cpu1": {"resources_available": {"ncpus": 64, "mem": "515gb", "host": "cpu1"}},
    "gpu1": {"resources_available": {"ncpus": 36, "mem": "257400000kb", "ngpus": 1, "gpu_type": "a100,sxm"}},
}


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("1:ncpus=36:mpiprocs=1:ompthreads=36:ngpus=1:mem=240gb", ""),
        ("2:ncpus=64+1:ngpus=1", ""),
        ("1:ngpus=1:gpu_type=a100", ""),
        ("1:ncpus=1:ngpus=2", "no node has ngpus=2: the most that one has is 1"),
        ("1:ncpus=1+1:ncpus=128", "no node has ncpus=128: the most that one has is 64"),
        ("1:ncpus=1:mem=1tb", "no node has mem=1tb: the most that one has is 515gb"),
        ("1:ncpus=1:fpga=1", "no node has fpga=1: none has any"),
        ("1:ncpus=64:ngpus=1", "no single node has ncpus=64, ngpus=1 together"),
    ],
)
def test_what_no_node_can_give_is_found(select: str, reason: str):
    assert never_fits(select, NODES) == reason


def test_without_knowledge_of_the_nodes_nothing_is_claimed():
    assert never_fits("1:ncpus=1000", {}) == ""


def test_chunks():
    assert chunks("2:ncpus=4:mem=8gb+ngpus=1") == [(2, {"ncpus": "4", "mem": "8gb"}), (1, {"ngpus": "1"})]


@pytest.mark.parametrize(
    ("text", "value"), [("36", 36), ("1kb", 1024), ("240GB", 240 * 1024**3), ("2w", 16), ("a100", None), ("", None)]
)
def test_amounts(text: str, value: float | None):
    assert amount(text) == value
