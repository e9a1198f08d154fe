import { both, type Dfa, toDfa } from './dfa.ts';
import { parseRegex } from './regex.ts';

const DAY = '(0[1-9]|[12]\\d|30)';
const YEAR = '\\d{4}';
const LEAP = '(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)';
const DATE = [`${YEAR}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-${DAY}|02-(0[1-9]|1\\d|2[0-8]))`, `${LEAP}-02-29`].join('|');
const TIME = '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)';
const LABEL = '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const NAME_PART = '[A-Za-z0-9]+(-[A-Za-z0-9]+)*';
const NO_DOUBLE_HYPHEN = '([^-]|-[^-])*';
const OCTET = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const H16 = '[0-9A-Fa-f]{1,4}';
const IPV4 = `${OCTET}(\\.${OCTET}){3}`;
const LS32 = `(${H16}:${H16}|${IPV4})`;
const IPV6 = [
  `(${H16}:){6}${LS32}`,
  `::(${H16}:){5}${LS32}`,
  `(${H16})?::(${H16}:){4}${LS32}`,
  ...[1, 2, 3, 4, 5].map((n) => `((${H16}:){0,${n}}${H16})?::${n < 4 ? `(${H16}:){${3 - n}}${LS32}` : n === 4 ? H16 : ''}`),
].join('|');
const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const DURATION_TIME = 'T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S)';
const DURATION_DATE = '(\\d+Y(\\d+M(\\d+D)?)?|\\d+M(\\d+D)?|\\d+D)';
const NAME = "([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})";
const PATH = `(${NAME}|[:@/])*`;
const AUTHORITY = `//((${NAME}|:)*@)?(${NAME}*|\\[(${IPV6})\\])(:\\d*)?(/${PATH})?`;
const QUERY = `(\\?(${PATH}\\??)*)?(#(${PATH}\\??)*)?`;
const URI = `[A-Za-z][A-Za-z0-9+.-]*:(${AUTHORITY}|(/?(${NAME}|[:@])${PATH}|/)?)${QUERY}`;
const BASE64 = '[A-Za-z0-9+/]';

/**
 * The formats that are enforced, as whole-text patterns (RFC 3339 for dates and times, without leap seconds; RFC 4291 for IPv6; RFC 5321
 * without quoted local parts for email; no host label with two hyphens in a row, so no punycode; RFC 4648 for byte; absolute POSIX paths
 * for path; T and Z in upper case, as most readers want them). Any other name is refused.
 */
const FORMATS: Record<string, string> = {
  date: DATE,
  time: TIME,
  'date-time': `(${DATE})T${TIME}`,
  duration: `P(${DURATION_DATE}(${DURATION_TIME})?|${DURATION_TIME}|\\d+W)`,
  email: `${ATOM}(\\.${ATOM})*@${NAME_PART}(\\.${NAME_PART})*`,
  hostname: `${LABEL}(\\.${LABEL})*`,
  ipv4: IPV4,
  ipv6: IPV6,
  uuid: '[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}',
  uri: URI,
  // a relative reference's first segment holds no colon
  'uri-reference': `${URI}|(${AUTHORITY}|/((${NAME}|[:@])${PATH})?|((${NAME}|@)+(/${PATH})?)?)${QUERY}`,
  byte: `(${BASE64}{4})*(${BASE64}{2}==|${BASE64}{3}=)?`,
  path: "(/[A-Za-z0-9._~!$&'()+,;=@ -]+)+/?|/",
  'json-pointer': '(/([^/~]|~[01])*)*',
};

export const formatNames: readonly string[] = Object.keys(FORMATS);

export function formatDfa(name: string): Dfa | undefined {
  const known = compiled.get(name);
  if (known || !Object.hasOwn(FORMATS, name)) return known;
  const dfa = toDfa(parseRegex(FORMATS[name], '', false));
  const whole = name === 'hostname' ? both(dfa, toDfa(parseRegex(NO_DOUBLE_HYPHEN, '', false))) : dfa;
  compiled.set(name, whole);
  return whole;
}

/** Constant, so an isolate's grammars share them. */
const compiled = new Map<string, Dfa>();
