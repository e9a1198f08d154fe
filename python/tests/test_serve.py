"""An onboarded module, served as any other: the log-probabilities over HTTP are PyTorch's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from test_export import MODULES

import turnstone
from turnstone.bridge import home

#: All with TURNSTONE_SERVE_ALL=1: each starts a server.
SERVED = list(MODULES) if os.environ.get("TURNSTONE_SERVE_ALL") else ["complex rotary, written out"]
PROMPT = "Turnstone serves what PyTorch trained."


@contextmanager
def server(pack: Path, state: Path) -> Iterator[str]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "MODEL": str(pack), "PORT": str(port), "STORAGE": str(state), "KV": "f32", "NPU": "0", "EMBEDDER": "0"}
    process = subprocess.Popen(["node", "--import", "tsx", "cli/index.ts", "start"], cwd=home(), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if process.poll() is not None:
                raise RuntimeError(process.stdout.read().decode() if process.stdout else "the server ended")
            try:
                urllib.request.urlopen(f"{url}/ready", timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", SERVED)
def test_served_over_http(name: str, tmp_path: Path) -> None:
    module = MODULES[name][0]()
    turnstone.export(module, None, tmp_path / "onboarded", tokenizer="bytes", context=128)
    ids = torch.tensor([list(PROMPT.encode())])
    with torch.no_grad():
        out = module(ids)
    logits = out[0] if isinstance(out, tuple) else getattr(out, "logits", out)
    want = logits.reshape(-1, logits.shape[-1])[-1].log_softmax(-1)
    with server(tmp_path / "onboarded", tmp_path / "state") as url:
        body = {"model": "onboarded", "prompt": PROMPT, "max_tokens": 1, "temperature": 0, "logprobs": 5}
        request = urllib.request.Request(f"{url}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"})
        answer = json.load(urllib.request.urlopen(request, timeout=60))
    assert answer["usage"]["prompt_tokens"] == ids.shape[1]
    # ids that no text has share one: what comes is among the best five, the chosen one the best
    best = want.topk(5).values
    (chosen,), (others,) = (answer["choices"][0]["logprobs"][key] for key in ("token_logprobs", "top_logprobs"))
    assert chosen == pytest.approx(float(best[0]), abs=2e-4)
    for got in others.values():
        assert (best - got).abs().min() < 2e-4
