import { POLICY, type PolicyConfig } from '../../policy/config.ts';
import { readNumber, type Variables } from '../../policy/settings.ts';

/** Whose keys there are: keys of one name are one tenant's. */
const owners = (keys = ''): Set<string> =>
  new Set(
    keys
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '')
      .map((entry) => (entry.indexOf(':') > 0 ? entry.slice(0, entry.indexOf(':')) : entry)),
  );

export function policyConfig(v: Variables): PolicyConfig {
  return {
    ...POLICY,
    maxQueue: readNumber('MAX_QUEUE', v),
    maxWaitMs: readNumber('MAX_WAIT_S', v) * 1000,
    ratePerMinute: readNumber('RATE_PER_MINUTE', v),
    burst: readNumber('RATE_BURST', v),
    concurrency: readNumber('CONCURRENCY', v),
    shared: owners(v.API_KEYS).size > 1,
    leaseMs: readNumber('LEASE_S', v) * 1000,
    slots: readNumber('MAX_BATCH', v) ?? POLICY.slots,
  };
}
