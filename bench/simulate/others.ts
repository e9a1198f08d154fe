/** What others report of models over several machines, as lines of Markdown; each with where it can be read. */
export const OTHERS: readonly string[] = [
  '## What others report',
  '',
  'Other machines, other models: what can be compared is how speed changes with machines and distance, not its size.',
  '',
  '| system | what is between its parts | reported |',
  '| --- | --- | --- |',
  '| Petals (Llama 2 70B over GPU servers) | internet; links held to a round trip | 2.29 steps/s under 5 ms, 1.57 at 100 ms ([paper](https://arxiv.org/abs/2312.08361), as quoted in [SwarmLLM’s review](https://github.com/Nehanth/swarmllm/blob/main/docs/research/distributed-2026-09.md)) |',
  '| exo before 1.0 (Llama 3.2 3B on one, two and three M4 Pro) | a local network | one request 49.3, 44.4, 39.7 tokens/s; several together 49.3, 95.7, 108.8 ([blog](https://blog.exolabs.net/day-1), as quoted in the same review); “if a single device can fit the entire model, then just do that” ([issue 141](https://github.com/exo-explore/exo/issues/141)) |',
  '| SwarmLLM (27 B over browsers’ tabs, WebGPU and WebRTC) | about 15 ms a hop, most of it reading back from the GPU | about 62 ms a token and 12 to 19 ms more for each further device; speculation 9.07 to 15.86 tokens/s on one device; 3.5 to 6 tokens/s over the internet ([review](https://github.com/Nehanth/swarmllm/blob/main/docs/research/distributed-2026-09.md), [README](https://github.com/Nehanth/swarmllm)) |',
  '| enapt/SwarmLLM (libp2p) | 4 segments over peers 105 to 1,043 ms away | 0.35 tokens/s; a split on one machine costs about 47 ms a token (same review) |',
  '',
  'The pattern is the same as above: one stream gets slower with each machine, streams together get faster, and what a hop costs is its latency, not its',
  'bytes. All of them are split by layers; none of them splits matrices over links of milliseconds.',
];
