/** wllama and ONNX Runtime Web where they are made for: a headless Chromium, one thread, files from a local server. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { start } from '../clock.ts';
import { processes } from '../process.ts';
import { PEERS } from './install.ts';

const USUAL = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'];

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** A page that can import the peers' modules from `/node_modules/…` and fetch `/file/<n>`. */
export class PeerPage {
  readonly page: Page;
  readonly version: string;
  private readonly browser: Browser;
  private readonly server: Server;
  private readonly pids: number[];

  private constructor(page: Page, browser: Browser, server: Server, pids: number[]) {
    this.pids = pids;
    this.page = page;
    this.browser = browser;
    this.server = server;
    this.version = browser.version();
  }

  static async open(files: readonly (string | Uint8Array)[] = []): Promise<PeerPage> {
    const server = await serve(files);
    const others = new Set(processes('chromium'));
    const executablePath = process.env.CHROMIUM ?? USUAL.find(existsSync);
    if (!executablePath) throw new Error('no Chromium found for wllama and ONNX Runtime Web: install one, or set CHROMIUM to its path');
    const browser = await chromium.launch({ executablePath, args: ARGS });
    try {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      return new PeerPage(
        page,
        browser,
        server,
        processes('chromium').filter((p) => !others.has(p)),
      );
    } catch (error) {
      await browser.close();
      server.close();
      throw error;
    }
  }

  /** ms that `work` in the page takes. */
  async time(work: () => Promise<unknown>): Promise<number> {
    const elapsed = start(this.pids);
    await work();
    return elapsed();
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
  }
}

async function serve(files: readonly (string | Uint8Array)[]): Promise<Server> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://local').pathname;
    const file = /^\/file\/(\d+)$/.exec(path);
    const source = file ? files[Number(file[1])] : undefined;
    if (path === '/') response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>peers</title>');
    else if (source instanceof Uint8Array) response.writeHead(200, { 'content-length': source.length }).end(source);
    else {
      const onDisk = source ?? join(PEERS, normalize(path));
      if (!existsSync(onDisk) || !statSync(onDisk).isFile()) return response.writeHead(404).end();
      const type = TYPES[extname(onDisk)] ?? 'application/octet-stream';
      response.writeHead(200, { 'content-type': type, 'content-length': statSync(onDisk).size });
      createReadStream(onDisk).pipe(response);
    }
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
