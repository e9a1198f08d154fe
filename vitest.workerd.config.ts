import { cloudflareTest } from '@cloudflare/vitest-pool-workers';
import { defineConfig } from 'vitest/config';

/** Tests that run inside workerd, against the real Durable Objects. */
export default defineConfig({
  plugins: [cloudflareTest({ wrangler: { configPath: './tests/workerd/wrangler.test.toml' }, miniflare: { cf: false } })],
  test: {
    include: ['tests/workerd/**/*.test.ts'],
    setupFiles: ['./tests/workerd/setup.ts'],
    disableConsoleIntercept: true, // no call waits for the log of an object that is aborted (tests/workerd/setup.ts)
    testTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
  },
});
