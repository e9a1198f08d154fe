"""What prefill on the simulated device would give to a served model's traffic.

    python -m turnstone.traffic --model llama-3-8b --traffic bench.json --device maia-200 --numbers bf16

Traffic is what people have: the JSON that vLLM's or SGLang's serving benchmark saves (`input_lens`, `ttfts`, `request_rate`; one object or one a
line), a trace with a request a line (JSON Lines with `timestamp` and `input_length`, as Mooncake's), or a CSV with ContextTokens (and
TIMESTAMP), as Azure's. The device takes whole prompts in order of arrival, one after the other; without arrivals only its time is given.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .bridge import TurnstoneError, bridge
from .compiler import simulate


@dataclass
class Traffic:
    #: Prompt tokens of each request.
    prompts: list[int]
    #: Seconds from the first; None when the file has none.
    arrivals: list[float] | None
    #: Measured times to the first token in seconds, where the file has them.
    ttfts: list[float] | None


def read_traffic(path: Path, rate: float | None, seed: int = 0) -> Traffic:
    """Raises ValueError naming what the file lacks."""
    text = path.read_text()
    if path.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        if not rows or "ContextTokens" not in rows[0]:
            raise ValueError(f"{path}: no column ContextTokens")
        prompts = [int(r["ContextTokens"]) for r in rows]
        stamps = [datetime.fromisoformat(r["TIMESTAMP"][:26]).timestamp() for r in rows] if "TIMESTAMP" in rows[0] else None
        return Traffic(prompts, None if stamps is None else [s - stamps[0] for s in stamps], None)
    objects: list[dict[str, Any]] = _objects(text, path)
    if "input_lens" in objects[0]:
        prompts = [int(n) for o in objects for n in o["input_lens"]]
        ttfts = [float(t) for o in objects for t in o.get("ttfts", [])]
        rate = rate or next((float(o["request_rate"]) for o in objects if _finite(o.get("request_rate"))), None)
        return Traffic(prompts, _poisson(len(prompts), rate, seed), ttfts if len(ttfts) == len(prompts) else None)
    key = next((k for k in ("input_length", "prompt_len", "prompt_tokens", "input_len") if k in objects[0]), None)
    if key is None:
        raise ValueError(f"{path}: neither input_lens (a benchmark's result) nor input_length, prompt_len, prompt_tokens or input_len a line (a trace)")
    prompts = [int(o[key]) for o in objects]
    if "timestamp" in objects[0] and rate is None:  # milliseconds
        first = float(objects[0]["timestamp"])
        return Traffic(prompts, [(float(o["timestamp"]) - first) / 1000 for o in objects], None)
    return Traffic(prompts, _poisson(len(prompts), rate, seed), None)


def _objects(text: str, path: Path) -> list[dict[str, Any]]:
    try:
        whole = json.loads(text)
        objects = whole if isinstance(whole, list) else [whole]
    except json.JSONDecodeError:
        objects = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not objects or not all(isinstance(o, dict) for o in objects):
        raise ValueError(f"{path}: must hold JSON objects")
    return objects


def _finite(v: Any) -> bool:
    return isinstance(v, (int, float)) and 0 < v < float("inf")


def _poisson(n: int, rate: float | None, seed: int) -> list[float] | None:
    if rate is None:
        return None
    r, at, out = random.Random(seed), 0.0, []
    for _ in range(n):
        out.append(at)
        at += r.expovariate(rate)
    return out


#: Prompts are timed at lengths whose neighbours differ by an eighth, and rounded up to them.
def bucket(tokens: int) -> int:
    step = max(16, 1 << max(0, tokens.bit_length() - 4))
    return -(-tokens // step) * step


def percentile(values: list[float], p: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p / 100 * len(ordered)))]


def estimate(traffic: Traffic, model: dict[str, Any], device: str | dict[str, Any], numbers: str, chips: int) -> dict[str, Any]:
    """Device seconds of each prompt and, with arrivals, times to the end of prefill in a queue of one device."""
    longest = model["context"]
    prompts = [min(max(1, n), longest) for n in traffic.prompts]
    times: dict[int, float] = {}
    for b in sorted({min(bucket(n), longest) for n in prompts}):
        times[b] = simulate(model, b, device=device, numbers=numbers, chips=chips, logits=True)["us"] / 1e6
    each = [times[min(bucket(n), longest)] for n in prompts]
    out: dict[str, Any] = {
        "requests": len(prompts),
        "cut": sum(n > longest for n in traffic.prompts),
        "tokens": sum(prompts),
        "device_s": sum(each),
        "prefill_p50_s": percentile(each, 50),
        "prefill_p95_s": percentile(each, 95),
    }
    if traffic.arrivals is not None:
        free, waits = 0.0, []
        for at, s in sorted(zip(traffic.arrivals, each, strict=True)):
            free = max(free, at) + s
            waits.append(free - at)
        span = max(max(traffic.arrivals), free)
        out |= {"busy": sum(each) / span, "ttft_p50_s": percentile(waits, 50), "ttft_p95_s": percentile(waits, 95), "ttft_p99_s": percentile(waits, 99)}
    if traffic.ttfts:
        out |= {"measured_ttft_p50_s": percentile(traffic.ttfts, 50), "measured_ttft_p95_s": percentile(traffic.ttfts, 95)}
    return out


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m turnstone.traffic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="a shape's name (llama-3-8b, qwen2.5-0.5b, …) or the path of a Hugging Face config.json")
    p.add_argument("--traffic", required=True, type=Path, help="the benchmark's JSON, or a trace")
    p.add_argument("--device", default="maia-200", help="a shipped device, or the path of a description")
    p.add_argument("--numbers", default="bf16", choices=["bf16", "fp8", "w4", "w8", "f32"])
    p.add_argument("--chips", type=int, default=1)
    p.add_argument("--rate", type=float, default=None, help="requests a second, in the place of the file's arrivals")
    p.add_argument("--limit", type=int, default=None, help="only the first so many requests")
    p.add_argument("--json", action="store_true", help="print JSON")
    a = p.parse_args(argv)
    try:
        traffic = read_traffic(a.traffic, a.rate)
        if a.limit:
            traffic = Traffic(traffic.prompts[: a.limit], traffic.arrivals and traffic.arrivals[: a.limit], traffic.ttfts and traffic.ttfts[: a.limit])
        path = Path(a.model)
        asked = {"config": json.loads(path.read_text())} if path.suffix == ".json" else {"name": a.model}
        model, _ = bridge().call("device.shape", asked)
        device = json.loads(Path(a.device).read_text()) if a.device.endswith(".json") else a.device
        got = estimate(traffic, model, device, a.numbers, a.chips)
    except (OSError, ValueError, TurnstoneError) as e:
        print(f"{p.prog}: {e}", file=sys.stderr)
        return 1
    if a.json:
        print(json.dumps(got))
        return 0
    print(f"{got['requests']} requests, {got['tokens']} prompt tokens" + (f", {got['cut']} cut to the model's context" if got["cut"] else ""))
    print(
        f"prefill on {a.device}, {a.numbers}, {a.chips} chip(s): p50 {1000 * got['prefill_p50_s']:.2f} ms, p95 {1000 * got['prefill_p95_s']:.2f} ms, {got['device_s']:.3f} s in all"
    )
    if "busy" in got:
        print(
            f"in a queue: TTFT p50 {1000 * got['ttft_p50_s']:.2f} ms, p95 {1000 * got['ttft_p95_s']:.2f} ms, p99 {1000 * got['ttft_p99_s']:.2f} ms; busy {100 * got['busy']:.1f} %"
        )
    if "measured_ttft_p50_s" in got:
        print(f"measured: TTFT p50 {1000 * got['measured_ttft_p50_s']:.1f} ms, p95 {1000 * got['measured_ttft_p95_s']:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
