"""The calculation for clusters."""

import dataclasses

import pytest

from metastyle.benchmark import scaling
from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.nets.params import count_parameters
from metastyle.train import meta_training
from tests.support import toy

CLUSTER = scaling.Cluster(1e12, share=0.5, devices=4, inside=1e9, between=1e8, latency=1e-3, decoded=10, read=1000)
WORK = scaling.Work(flops=2.5e11, sent=10**7, photographs=6)


def test_a_device_alone_computes_and_nothing_else():
    found = scaling.estimate_step(WORK, 1, CLUSTER)
    assert found == pytest.approx((0.5, 0.0, 1.0, 12.0, 1.2, 12_000))


@pytest.mark.parametrize(("devices", "talk"), [(4, 1.5 * 0.01 + 4e-3), (8, 1.75 * 0.1 + 6e-3)])
def test_the_mean_over_devices_takes_the_slowest_link(devices, talk):
    found = scaling.estimate_step(WORK, devices, CLUSTER)
    assert found.talk == pytest.approx(talk)
    assert found.efficiency == pytest.approx(0.5 / (0.5 + talk))
    assert found.photographs == pytest.approx(4 * 6 / (0.5 + talk)), "of a host, which has four devices"


@pytest.mark.slow
def test_work_is_counted_in_the_program():
    settings = dataclasses.replace(toy.settings(inner={"steps": 2}, outer={"query": 2}), vgg="slim")
    one, three = scaling.count_work(settings, 1), scaling.count_work(settings, 3)
    meta_parameters = sum(count_parameters(part) for part in outer_loop.initial_meta(settings).parts().values())
    assert one.sent == three.sent == 4 * (meta_parameters + len(meta_training.LOGGED))
    assert one.photographs == 1 + 2 * settings.inner.support + 2
    assert three.flops == pytest.approx(3 * one.flops)
    longer = dataclasses.replace(settings, inner=dataclasses.replace(settings.inner, steps=4))
    assert one.flops < scaling.count_work(longer, 1).flops < 3 * one.flops
    side_by_side = dataclasses.replace(settings, outer=dataclasses.replace(settings.outer, tasks_side_by_side=4))
    assert scaling.count_work(side_by_side, 1) == one


def test_a_table_says_what_it_assumes():
    text = scaling.describe(dataclasses.replace(toy.settings(), vgg="slim"), [1, 256], 1, CLUSTER)
    assert "50% of 1 TFLOP/s" in text and "1000 us a round" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["devices", "1", "256"]


@pytest.mark.parametrize("text", ["3x1", "0x1", "2", "ax2"])
def test_a_grid_that_does_not_divide_the_tasks_is_refused(text):
    assert scaling.parse_grid(["1x1", "2x2", ""], 4) == [(1, 1), (2, 2)]
    with pytest.raises(InputError, match=f"`grid`: expected .* divides the 4 tasks.*got '{text}'"):
        scaling.parse_grid(["1x1", text], 4)


def test_the_numbers_of_a_run_are_read_from_the_file_that_it_writes(tmp_path):
    """The script that starts the runs is replaced by one that writes what such a run would write."""
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "simulate_hosts.sh").write_text(
        'for flag in "$@"; do case $flag in --workdir=*) workdir=${flag#*=};; esac; done; mkdir "$workdir"\n'
        'sent=""; [ "$1$2" = 11 ] || sent=\', "sent_bytes": 1234567, "collectives": 1\'\n'
        'echo "{\\"steps_per_second\\": $((8 / $1))$sent}" > "$workdir/speed.json"\n'
        'printf "step,loss,gradient_norm\\n1,2,4\\n2,$((3 + $1 / 2)),5\\n" > "$workdir/metrics.csv"\n'
    )
    table = scaling.time_grid(tmp_path, [(1, 1), (2, 2)], steps=2, tasks=4).splitlines()
    assert table[-2:] == [
        "| 1 x 1 | 4 | 8 | 100% | 0 | 0 | 0 | 0 |",
        "| 2 x 2 | 1 | 4 | 50% | 1,234,567 | 1 | 0.3 | 0 |",
    ]


def test_a_run_that_fails_is_an_error(tmp_path, capfd):
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "simulate_hosts.sh").write_text("echo no such config >&2; exit 1\n")
    with pytest.raises(InputError, match="`grid`: the run of 1 x 2 failed; see above"):
        scaling.time_grid(tmp_path, [(1, 2)], steps=2, tasks=4)
    assert "no such config" in capfd.readouterr().err
