import type { Fragment, Net } from './net.ts';

/** Bounds on a decimal number; absent means none. */
export interface NumberRange {
  lo?: number;
  hi?: number;
  loOpen?: boolean;
  hiOpen?: boolean;
  /** Digits after the point at most: 0 for integers. */
  places: number;
  /** A multiple of this many units of the last place. */
  step?: number;
  /** No multiple of any of these many units of the last place. */
  unless?: readonly number[];
}

/** ⌊x · 10^places⌋ and whether that is exact, from the shortest decimal that reads back as x. */
function scaled(x: number, places: number): { floor: bigint; exact: boolean } {
  const m = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(x));
  if (!m) throw new Error(`not a finite number: ${x}`);
  const frac = m[3] ?? '';
  const shift = Number(m[4] ?? 0) - frac.length + places;
  const digits = BigInt(m[1] + m[2] + frac);
  if (shift >= 0) return { floor: digits * 10n ** BigInt(shift), exact: true };
  const unit = 10n ** BigInt(-shift);
  const q = digits / unit;
  const exact = q * unit === digits;
  return { floor: exact || digits > 0n ? q : q - 1n, exact };
}

/** Whole digits a bounded number may have: with the places it stays within 15, so that each text is a double of its own. */
const DIGITS = 15;
const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * The decimal texts within a range, no exponent, no leading zeros, no "-0": exact, digit by digit. Integers are bounded to ±(2^53 - 1),
 * other numbers to 15 significant digits.
 */
export function decimalRange(net: Net, range: NumberRange): Fragment {
  return (from, to) => {
    const minus = net.state();
    net.arc(from, 0x2d, 0x2d, minus);
    magnitudes(net, range, false, from, to);
    magnitudes(net, { ...range, lo: neg(range.hi), hi: neg(range.lo), loOpen: range.hiOpen, hiOpen: range.loOpen }, true, minus, to);
  };
}

const neg = (x: number | undefined) => (x === undefined ? undefined : -x);

function magnitudes(net: Net, range: NumberRange, negative: boolean, from: number, to: number): void {
  const free = new Map<string, number>();
  const whole = range.places === 0 ? 16 : DIGITS;
  for (let n = 1; n <= whole; n++) {
    const places = Math.min(range.places, range.places === 0 ? 0 : DIGITS - n);
    if (range.unless?.length && places < range.places) continue; // what lies between the multiples has no room
    const unit = 10n ** BigInt(places);
    let a = (n === 1 ? 0n : 10n ** BigInt(n - 1)) * unit;
    let b = 10n ** BigInt(n) * unit - 1n;
    if (places === 0 && b > SAFE) b = SAFE;
    if (negative && n === 1) a = 1n;
    if (range.lo !== undefined) {
      const lo = scaled(range.lo, places);
      const least = lo.exact && !range.loOpen ? lo.floor : lo.floor + 1n;
      if (least > a) a = least;
    }
    if (range.hi !== undefined) {
      const hi = scaled(range.hi, places);
      const most = hi.exact && range.hiOpen ? hi.floor - 1n : hi.floor;
      if (most < b) b = most;
    }
    if (a <= b) digits(net, String(a).padStart(n + places, '0'), String(b).padStart(n + places, '0'), n, range, from, to, free);
  }
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
/** Least common multiple. */
export const lcm = (a: number, b: number): number => (a * b) / gcd(a, b);

interface DigitState {
  at: number;
  /** So far equal to a, to b. */
  low: boolean;
  high: boolean;
  rem: number;
  state: number;
}

/**
 * Texts of `n` whole digits whose digits, with zeros appended, lie between a and b (of equal length). States that have left both bounds
 * are shared in `free` by what is still to come.
 */
function digits(net: Net, a: string, b: string, n: number, range: NumberRange, from: number, to: number, free: Map<string, number>): void {
  const { step = 1, unless = [] } = range;
  const modulus = unless.reduce(lcm, step);
  const counts = (rest: number) => rest % step === 0 && unless.every((u) => rest % u !== 0);
  const bound = new Map<string, number>();
  const todo: DigitState[] = [];
  const reach = (at: number, low: boolean, high: boolean, rem: number): number => {
    const states = low || high ? bound : free;
    const key = low || high ? `${at},${low},${high},${rem}` : `${n - at},${a.length - at},${rem}`;
    const known = states.get(key);
    if (known !== undefined) return known;
    const state = at === 0 ? from : net.state();
    states.set(key, state);
    todo.push({ at, low, high, rem, state });
    return state;
  };
  reach(0, true, true, 0);
  for (let t = todo.pop(); t; t = todo.pop()) {
    let source = t.state;
    const zeros = 10 ** (a.length - t.at);
    if (t.at >= n && counts(t.rem * zeros) && (!t.low || /^0*$/.test(a.slice(t.at)))) net.skip(source, to);
    if (t.at === a.length) continue;
    if (t.at === n) {
      source = net.state();
      net.arc(t.state, 0x2e, 0x2e, source);
    }
    const least = t.low ? Number(a[t.at]) : 0;
    const most = t.high ? Number(b[t.at]) : 9;
    const low = t.low && !/^0*$/.test(a.slice(t.at + 1)); // zeros bound nothing
    const high = t.high && !/^9*$/.test(b.slice(t.at + 1));
    for (let d = least; d <= most; d++) {
      const target = (x: number) => reach(t.at + 1, low && x === least, high && x === most, (t.rem * 10 + x) % modulus);
      const next = target(d);
      const first = d;
      while (d < most && target(d + 1) === next) d++;
      net.arc(source, 0x30 + first, 0x30 + d, next);
    }
  }
}

/**
 * Any JSON number as Python or JavaScript prints a double: up to 16 whole and 16 fractional digits, or one digit before the point and an
 * exponent up to ±307.
 */
export function anyNumber(net: Net): Fragment {
  const digit: Fragment = (from, to) => net.arc(from, 0x30, 0x39, to);
  const nonzero: Fragment = (from, to) => net.arc(from, 0x31, 0x39, to);
  const upTo =
    (n: number): Fragment =>
    (from, to) => {
      let at = from;
      net.skip(from, to);
      for (let i = 0; i < n; i++) {
        const next = net.state();
        digit(at, next);
        net.skip(next, to);
        at = next;
      }
    };
  const maybe =
    (f: Fragment): Fragment =>
    (from, to) => {
      net.skip(from, to);
      f(from, to);
    };
  const one =
    (lo: string, hi: string): Fragment =>
    (from, to) =>
      net.arc(from, lo.charCodeAt(0), hi.charCodeAt(0), to);
  const fraction = maybe(net.seq(net.text('.'), digit, upTo(15)));
  const exponent = net.alt(digit, net.seq(digit, digit), net.seq(one('1', '2'), digit, digit), net.seq(net.text('30'), one('0', '7')));
  const plain = net.seq(net.alt(net.text('0'), net.seq(nonzero, upTo(15))), fraction);
  const scientific = net.seq(
    nonzero,
    fraction,
    net.alt(net.text('e'), net.text('E')),
    maybe(net.alt(net.text('+'), net.text('-'))),
    exponent,
  );
  return net.seq(maybe(net.text('-')), net.alt(plain, scientific));
}
