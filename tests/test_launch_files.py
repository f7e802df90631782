"""The files of launch/ are valid, and the batch job goes back into the queue while steps remain."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.places import ROOT

LAUNCH = ROOT / "launch"
BESIDE = Path(sys.executable).parent  # where pip puts commands


@pytest.mark.processes
def test_the_shell_files_are_clean():
    command = shutil.which("shellcheck") or shutil.which("shellcheck", path=BESIDE)
    assert command, "install the extra `test`"
    files = [str(path.relative_to(ROOT)) for path in [*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")]]
    assert len(files) >= 6
    done = subprocess.run([command, "--external-sources", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.processes
def test_a_python_that_does_not_start_is_passed_over(tmp_path):
    """A shim of pyenv is on the PATH whether its version is installed or not."""
    (tmp_path / "launch").mkdir()
    (tmp_path / "commands").mkdir()
    shutil.copy(LAUNCH / "_env.sh", tmp_path / "launch")
    (tmp_path / "pyproject.toml").write_text("")
    scripts = {"python3.12": "exit 127", "python3.13": "exit 1", "python3.11": '[ "$1" = -c ] || echo "called: $*"'}
    for name, script in scripts.items():
        (tmp_path / "commands" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "commands" / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}/commands:{os.environ['PATH']}"}
    line = ["bash", "-c", "source launch/_env.sh"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[:2] == ["making .venv with called: --version", "called: -m venv .venv"], done.stderr


def test_the_kubernetes_job_is_valid_and_its_numbers_agree():
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="install the extra `test`")
    service, job = yaml.safe_load_all((LAUNCH / "k8s_job.yaml").read_text())
    for resource in (service, job):
        kubernetes_validate.validate(resource, "1.34", strict=True)
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert int(environment["JAX_NUM_PROCESSES"]) == spec["completions"] == spec["parallelism"]
    assert int(environment["METASTYLE_GRACE"]) < spec["template"]["spec"]["terminationGracePeriodSeconds"]
    name, port = job["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert environment["JAX_COORDINATOR_ADDRESS"] == f"{name}-0.{service['metadata']['name']}:{port}"
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"] if {75, 134} <= set(codes(rule))] == ["Ignore"]


def codes(rule):
    return rule.get("onExitCodes", {}).get("values", [])


@pytest.mark.processes
@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [(0, 0, False), (1, 0, False), (75, 0, True), (75, 49, True), (75, 50, False), (137, 3, True)],
)
def test_the_batch_job_goes_back_into_the_queue_while_steps_remain(tmp_path, status, restarts, requeued):
    """The commands of Slurm are replaced by scripts that print how they were called."""
    for name, end in (("srun", status), ("scontrol", 0)):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\nexit {end}\n')
        (tmp_path / name).chmod(0o755)
    variables = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts), "METASTYLE": str(ROOT)}
    environment = os.environ | variables | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", LAUNCH / "slurm.sbatch"], env=environment, capture_output=True, text=True)
    assert "experiments.meta_train --config=configs/default.py --workdir=" in done.stdout.splitlines()[0]
    assert ("scontrol requeue 7" in done.stdout) == requeued
    assert done.returncode == (0 if requeued else status)


@pytest.mark.processes
def test_the_pod_starts_every_host(tmp_path):
    (tmp_path / "gcloud").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 75\n')
    (tmp_path / "gcloud").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "METASTYLE": "my checkout"}
    done = subprocess.run(["bash", LAUNCH / "tpu_pod.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 75 and "--worker=all" in done.stdout.splitlines()
    command = done.stdout.splitlines()[-1]
    assert command.startswith(
        r"--command=cd my\ checkout && METASTYLE_GRACE=25 exec .venv/bin/python -m experiments.meta_train --config="
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "got"), [([], " "), (["2"], "2 "), (["two", "2"], "two 2"), (["0", "2"], "0 2"), (["2", "0"], "2 0")]
)
def test_hosts_that_are_no_numbers_are_refused_before_any_process_starts(tmp_path, arguments, got):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    python.chmod(0o755)
    line = ["bash", LAUNCH / "simulate_hosts.sh", *arguments]
    done = subprocess.run(line, env=os.environ | {"PYTHON": str(python)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    error, usage = done.stderr.splitlines()
    assert error == f"error: `N D`: expected the numbers of processes and of devices of each, got '{got}'"
    assert usage == "usage: simulate_hosts.sh N D [flags of experiments.meta_train]"
    assert not (tmp_path / "started").exists()


@pytest.mark.processes
def test_hosts_know_their_place_and_the_largest_status_is_returned(tmp_path):
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$*, $JAX_NUM_PROCESSES of $JAX_NUM_CPU_DEVICES" > {tmp_path}/$JAX_PROCESS_ID\n'
        "exit $((3 * JAX_PROCESS_ID))\n"
    )
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python), "PORT": "1"}
    line = ["bash", LAUNCH / "simulate_hosts.sh", "2", "4", "--config=x"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    told = [(tmp_path / name).read_text().strip() for name in ("0", "1")]
    assert told == ["-m experiments.meta_train --config=x, 2 of 4"] * 2
