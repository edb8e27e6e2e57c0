"""A batch system for tests: qsub, qstat, qdel, qrerun and pbsnodes in one script that needs only Python.

It answers as OpenPBS 23 does, as far as beadseg asks, and really runs the scripts, each in a session of its own. Its
state lies in the folder ``FAKE_PBS``; ``FAKE_PBS_KILL_DELAY`` is the time between SIGTERM and SIGKILL, s.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_PBS"])
DELAY = float(os.environ.get("FAKE_PBS_KILL_DELAY", "10"))
SERVER = "fake"
NODE = {"ncpus": 2, "mem": "8gb"}
QUEUES = {
    "workq": {"queue_type": "Execution", "enabled": "True", "started": "True"},
    "closed": {
        "queue_type": "Execution",
        "enabled": "True",
        "started": "False",
        "resources_max": {"walltime": "24:00:00"},
    },
}
WALLTIME_STATUS, UNKNOWN, OVER = -29, 153, 35


def main() -> int:
    name, *words = sys.argv[1:]
    return {"qsub": qsub, "qstat": qstat, "qdel": qdel, "qrerun": qrerun, "pbsnodes": pbsnodes, "run": run}[name](words)


# --- The commands -----------------------------------------------------------------------------------------------------


def qsub(words: list[str]) -> int:
    script = Path(words[-1])
    hold = "-h" in words
    words = [word for word in words if word != "-h"]
    given = [word for line in script.read_text("utf-8").splitlines() if line.startswith("#PBS ")
             for word in shlex.split(line[5:])] + words[:-1]  # fmt: skip
    options: dict[str, list[str]] = {}
    for flag, value in zip(given[::2], given[1::2], strict=True):
        options.setdefault(flag, []).append(value)
    resources = dict(item.split("=", 1) for item in options.get("-l", []))
    if (STATE / "refuse").exists():
        print((STATE / "refuse").read_text(), file=sys.stderr)
        return 188
    number = next_number()
    array = options["-J"][-1] if "-J" in options else None
    name = f"{number}[].{SERVER}" if array else f"{number}.{SERVER}"
    depend = next((item.rsplit(":", 1)[1] for item in options.get("-W", []) if "depend=" in item), None)
    variables = dict(item.split("=", 1) for item in ",".join(options.get("-v", [])).split(",") if item)
    folder = STATE / str(number)
    folder.mkdir()
    (folder / "script").write_bytes(script.read_bytes())
    write(folder, {
        "id": name, "job_state": "H" if depend or hold else "Q", "hold": hold, "run_count": 0,
        "array": array, "depend": depend,
        "variables": variables, "comment": "", "Resource_List": resources, "resources_used": {},
    })  # fmt: skip
    subprocess.Popen(
        [sys.executable, __file__, "run", str(number)], start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    print(name)
    return 0


def qstat(words: list[str]) -> int:
    if "-B" in words:
        return tell({"Server": {SERVER: {"server_state": "Active", "pbs_version": "23.06.06", "default_queue": "workq",
                                         "job_history_enable": "True"}}})  # fmt: skip
    if "-Q" in words:
        return tell({"Queue": QUEUES})
    history = not (STATE / "no-history").exists()
    finished_too = "-x" in words
    if finished_too and not history:
        print("qstat: PBS is not configured to maintain job history", file=sys.stderr)
        return tell({})
    ids = [word for word in words if word[0].isdigit()]
    code, found = 0, {}
    for name in ids:
        job = read(name)
        if job is None or (job["job_state"] == "F" and not history):
            print(f"qstat: Unknown Job Id {name}", file=sys.stderr)
            code = UNKNOWN
        elif job["job_state"] == "F" and not finished_too:
            print(f"qstat: {name} Job has finished, use -x or -H", file=sys.stderr)
            code = OVER
        else:
            found[job["id"]] = {
                key: job[key] for key in job if key not in ("id", "array", "depend", "variables", "hold")
            }
            if job["depend"] and job["job_state"] == "H":
                found[job["id"]]["depend"] = f"afterany:{job['depend']}@{SERVER}"
    tell({"Jobs": found} if found else {})
    return code


def tell(answer: dict) -> int:
    print(json.dumps({"pbs_server": SERVER, **answer}, indent=4))
    return 0


def qdel(words: list[str]) -> int:
    return ask(words, "delete")


def qrerun(words: list[str]) -> int:
    return ask(words, "rerun")


def ask(ids: list[str], request: str) -> int:
    """Leave a request for the process that looks after each job, and wait until a queued one has heard it."""
    code = 0
    for name in ids:
        job = read(name)
        if job is None or job["job_state"] == "F":
            print(f"Unknown Job Id {name}" if job is None else f"Job has finished {name}", file=sys.stderr)
            code = UNKNOWN if job is None else OVER
            continue
        (STATE / number_of(name) / request).touch()
    return code


def pbsnodes(words: list[str]) -> int:
    node = {"state": "free", "resources_available": NODE}
    return tell({"nodes": {"node1": node}})


# --- Looking after one job --------------------------------------------------------------------------------------------


def run(words: list[str]) -> int:
    folder = STATE / words[0]
    job = json.loads((folder / "job.json").read_text())
    while job["depend"] and (before := read(job["depend"])) is not None and before["job_state"] != "F":
        if take(folder, "delete"):
            return end(folder, job, None)
        time.sleep(0.02)
    while job["hold"]:
        if take(folder, "delete"):
            return end(folder, job, None)
        time.sleep(0.02)
    if take(folder, "delete"):  # heard in the moment in which the job before it ended
        return end(folder, job, None)
    if "ngpus" in job["Resource_List"].get("select", ""):
        job["comment"] = "Can Never Run: Insufficient amount of resource: ngpus (R: 1 A: 0 T: 0)"
        job["job_state"] = "Q"
        write(folder, job)
        while not take(folder, "delete"):
            time.sleep(0.02)
        return end(folder, job, None)
    first, _, rest = (job["array"] or "0-0").partition("-")
    last, _, most = rest.partition("%")
    indices = range(int(first), int(last) + 1) if job["array"] else [None]
    gate = threading.Semaphore(int(most) if most else len(indices))
    while True:
        job["run_count"] += 1
        job["job_state"] = "B" if job["array"] else "R"
        write(folder, job)
        asked: set[str] = set()
        codes: list[int] = []
        threads = [threading.Thread(target=element, args=(folder, job, i, gate, asked, codes)) for i in indices]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            asked |= {request for request in ("delete", "rerun") if take(folder, request)}
            time.sleep(0.02)
        if "rerun" not in asked:
            job["comment"] = "Job run at … and " + ("terminated by root@fake" if asked else "finished")
            return end(folder, job, int(any(codes)) if job["array"] else codes[0])


def element(
    folder: Path, job: dict, index: int | None, gate: threading.Semaphore, asked: set[str], codes: list[int]
) -> None:
    """Run the script once, as PBS would, until it ends or somebody asks for its end."""
    with gate:
        if asked:
            codes.append(271)
            return
        name = job["id"] if index is None else job["id"].replace("[]", f"[{index}]")
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PBS_", "BEADSEG_"))},
            "PBS_JOBID": name, "PBS_O_WORKDIR": str(Path.cwd()), "NCPUS": "1", "OMP_NUM_THREADS": "1",
            **({} if index is None else {"PBS_ARRAY_INDEX": str(index), "PBS_ARRAY_ID": job["id"]}),
            **job["variables"],
        }  # fmt: skip
        home = Path(os.environ["HOME"]) if Path(os.environ["HOME"]).is_dir() else Path("/")
        with (folder / "output").open("ab") as output:
            process = subprocess.Popen(
                ["bash", str(folder / "script")], env=environment, cwd=home, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        began, limit = time.monotonic(), seconds(job["Resource_List"].get("walltime", "01:00:00"))
        while process.poll() is None:
            late = time.monotonic() - began > limit
            if asked or late:
                kill(process)
                codes.append(WALLTIME_STATUS if late and not asked else 256 + signal.SIGTERM)
                return
            time.sleep(0.02)
        code = process.returncode
        codes.append(code if code >= 0 else 256 - code)


def kill(process: subprocess.Popen) -> None:
    """Send SIGTERM to the whole session, SIGKILL when it does not end."""
    for number, wait in ((signal.SIGTERM, DELAY), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            process.wait()
            return


def end(folder: Path, job: dict, code: int | None) -> int:
    job["job_state"] = "F"
    if code is not None:
        job["Exit_status"] = code
    write(folder, job)
    return 0


# --- State ------------------------------------------------------------------------------------------------------------


def next_number() -> int:
    number = 1
    while True:
        try:
            (STATE / f"taken-{number}").touch(exist_ok=False)
            return number
        except FileExistsError:
            number += 1


def number_of(name: str) -> str:
    return name.split(".")[0].split("[")[0]


def read(name: str) -> dict | None:
    path = STATE / number_of(name) / "job.json"
    return json.loads(path.read_text()) if path.exists() else None


def write(folder: Path, job: dict) -> None:
    temporary = folder / f"job.json.{os.getpid()}"
    temporary.write_text(json.dumps(job))
    temporary.replace(folder / "job.json")


def take(folder: Path, request: str) -> bool:
    try:
        (folder / request).unlink()
    except FileNotFoundError:
        return False
    return True


def seconds(walltime: str) -> float:
    total = 0
    for part in walltime.split(":"):
        total = total * 60 + int(part)
    return total


if __name__ == "__main__":
    sys.exit(main())
