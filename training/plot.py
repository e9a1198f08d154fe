"""Draw curve.csv as an SVG: loss on all weighted tokens and on answer tokens, by tokens seen."""
import csv
import os

HERE = os.path.dirname(os.path.abspath(__file__))
W, H, PAD = 720, 360, 48


def main():
    with open(os.path.join(HERE, "curve.csv")) as f:
        rows = list(csv.DictReader(f))
    base = max((float(r["tokens"]) for r in rows if r["stage"] == "base"), default=0)
    pts = [(float(r["tokens"]) + (base if r["stage"] == "qat" else 0), float(r["loss"]), float(r["answer_loss"])) for r in rows]
    top, right = 4.0, max(p[0] for p in pts)
    x = lambda t: PAD + (W - 2 * PAD) * t / right
    y = lambda v: H - PAD - (H - 2 * PAD) * min(v, top) / top
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="11">', f'<rect width="{W}" height="{H}" fill="#fff"/>']
    for v in range(5):
        out.append(f'<path d="M{PAD} {y(v):.1f}H{W - PAD}" stroke="#ddd"/><text x="{PAD - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{v}</text>')
    step = max(1, round(right / 8e6)) * 1e6
    for i in range(int(right / step) + 1):
        out.append(f'<text x="{x(i * step):.1f}" y="{H - PAD + 16}" text-anchor="middle">{i * step / 1e6:.0f}M</text>')
    if base and base < right:
        out.append(f'<path d="M{x(base):.1f} {PAD}V{H - PAD}" stroke="#999" stroke-dasharray="4 3"/><text x="{x(base) - 4:.1f}" y="{PAD + 4}" text-anchor="end">QAT</text>')
    for k, color, name in ((1, "#8a8f98", "all weighted tokens"), (2, "#c2571a", "answer tokens")):
        d = "M" + "L".join(f"{x(p[0]):.1f} {y(p[k]):.1f}" for p in pts)
        out.append(f'<path d="{d}" fill="none" stroke="{color}" stroke-width="1.5"/><text x="{W - PAD}" y="{PAD + 14 * k}" text-anchor="end" fill="{color}">{name}</text>')
    out.append(f'<text x="{W / 2}" y="{H - 10}" text-anchor="middle">training tokens; y: cross-entropy, nats a token</text></svg>')
    with open(os.path.join(HERE, "..", "docs", "pebble-curve.svg"), "w") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
