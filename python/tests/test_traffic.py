"""Traffic as benchmarks and traces save it, against the device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import turnstone
from turnstone import traffic


def test_a_benchmarks_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps({"input_lens": [100, 1000, 100], "ttfts": [0.1, 0.5, 0.1], "request_rate": 10.0}))
    args = ["--model", "smollm2-135m", "--traffic", str(file), "--json"]
    assert traffic.main(args) == 0
    got = json.loads(capsys.readouterr().out)
    model, _ = turnstone.bridge.bridge().call("device.shape", {"name": "smollm2-135m"})
    one = {n: turnstone.simulate(model, n, logits=True)["us"] / 1e6 for n in (112, 1024)}
    assert got["device_s"] == pytest.approx(2 * one[112] + one[1024])
    assert got["ttft_p95_s"] >= 0.999 * one[1024] and got["measured_ttft_p50_s"] == 0.1
    assert 0 < got["busy"] < 1


@pytest.mark.parametrize(
    "name,text",
    [
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"),
        ("a.jsonl", '{"timestamp": 0, "input_length": 374}\n{"timestamp": 4314.4, "input_length": 396}\n'),
    ],
)
def test_traces(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    read = traffic.read_traffic(tmp_path / name, None)
    assert read.prompts == [374, 396]
    assert read.arrivals == pytest.approx([0, 4.3145], abs=1e-3)


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert traffic.main(["--model", "pebble", "--traffic", str(tmp_path / "a.json")]) == 1
    assert "input_lens" in capsys.readouterr().err
    (tmp_path / "a.json").write_text('{"input_lens": [5]}')
    assert traffic.main(["--model", "nosuch", "--traffic", str(tmp_path / "a.json")]) == 1
    assert "have pebble" in capsys.readouterr().err


def test_buckets() -> None:
    for n in (1, 16, 17, 100, 1000, 5000):
        assert n <= traffic.bucket(n) <= max(16, n * 9 // 8 + 15)
