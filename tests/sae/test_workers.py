"""Two workers over gloo: the gradient of one, equal states on both, and a fit as good."""

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.metrics import evaluate
from neuroconcepts_ray.sae.peers import ALONE, Peers
from neuroconcepts_ray.sae.progress import Progress
from tests.sae.test_fit import gathered, planted, sae_of

WORKER = """
import sys
import torch.distributed as dist
from safetensors.torch import save_file
from neuroconcepts_ray.distributed.peers import Group
from tests.sae.test_workers import states
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
for name, state in states(Group()).items():
    save_file(state.tensors(), f"{folder}/{name}-{rank}.safetensors")
dist.destroy_process_group()
"""


def configs() -> dict[str, SAEConfig]:
    base = SAEConfig(latents=64, k=3, batch_size=64, dead_after=400, aux_k=8, warmup=20, threads=1)
    return {"first": base.model_copy(update={"steps": 1})} | {
        f"seed{seed}": base.model_copy(update={"steps": 300, "seed": seed}) for seed in range(3)
    }


def states(peers: Peers) -> dict[str, Progress]:
    torch.set_num_threads(1)
    rows = Resident(torch.from_numpy(planted(1000)[0]))
    found = {}
    for name, config in configs().items():
        member = Member(config, begin(rows, config))
        fit(rows, [member], lambda *_: None, peers)
        found[name] = member.state
    return found


def test_two_workers_fit_what_one_does(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER]
    running = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)]
    alone = states(ALONE)
    assert [one.wait(timeout=100) for one in running] == [0, 0]
    held = torch.from_numpy(planted(500, seed=1)[0])
    for name, config in configs().items():
        two, other = (load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in range(2))
        assert all(torch.equal(tensor, other[key]) for key, tensor in two.items())
        if name == "first":  # Adam's first moment after one step is 0.1 of the gradient
            for key, m in alone[name].m.items():
                assert float((two[f"m.{key}"] - m).norm() / m.norm()) <= 1e-5
            assert torch.equal(two["idle"], alone[name].idle)
        else:
            saes = [sae_of(state, config) for state in (alone[name], Progress.from_tensors(two, config.steps))]
            fvu = [evaluate(sae, held.numpy(), gathered(sae, planted(1000)[0])).fvu for sae in saes]

            assert abs(fvu[0] - fvu[1]) <= 0.002
