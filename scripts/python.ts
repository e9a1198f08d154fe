/**
 * The suite `python`: pytest over python/tests, in a virtual environment in the user's cache. Python ≥ 3.10 and PyTorch (about 3 GB to
 * fetch, 5 GB on disk) are no part of Turnstone: without them the suite is skipped, saying so. They are installed where CI or
 * TURNSTONE_PYTHON_INSTALL is set, within INSTALL_S.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';
import type { Noted } from './skips.ts';

const INSTALL_S = 240;
const TESTS_S = 300; // measured: 96 s on 2 cores of a Xeon, other work beside it, 30 November 2026 (`npm test python` says it)
const FOLDER = join(ROOT, 'python');
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'turnstone');
const REQUIREMENTS = join(FOLDER, 'requirements-test.txt');

const noted: Noted = { open: [], ended: true, passed: 0, failed: 0, retried: [], skipped: [] };
const python = environment();
if (typeof python === 'string') process.exitCode = tests(python);
else {
  console.log(`skipped: ${python.reason}`);
  noted.skipped.push({ why: python.reason, tests: 1 });
}
if (process.env.NOTES) writeFileSync(process.env.NOTES, JSON.stringify(noted));

/** The interpreter that has all requirements, or why there is none. */
function environment(): string | { reason: string } {
  const given = process.env.TURNSTONE_PYTHON;
  if (given) return given;
  const digest = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 12);
  const folder = join(CACHE, `python-${digest}`);
  const inside = join(folder, 'bin/python');
  if (existsSync(inside)) return inside;
  const system = ['python3', 'python'].find((p) => {
    return spawnSync(p, ['-c', 'import sys, venv; sys.exit(sys.version_info < (3, 10))']).status === 0;
  });
  if (!system) return { reason: 'no Python ≥ 3.10 with venv on the PATH' };
  if (!process.env.CI && !process.env.TURNSTONE_PYTHON_INSTALL) {
    return { reason: `PyTorch is not in ${folder}; TURNSTONE_PYTHON_INSTALL=1 npm test installs it there` };
  }
  console.log(`installing PyTorch into ${folder}, ${INSTALL_S} s at most`);
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  const started = Date.now();
  for (const args of [
    ['-m', 'venv', part],
    [
      '-m',
      'pip',
      '--python',
      join(part, 'bin/python'),
      'install',
      '--quiet',
      '--no-compile',
      '--disable-pip-version-check',
      '-r',
      REQUIREMENTS,
    ],
  ]) {
    const r = spawnSync(system, args, { stdio: ['ignore', 'inherit', 'pipe'], timeout: INSTALL_S * 1000 - (Date.now() - started) });
    if (r.status === 0) continue;
    rmSync(part, { recursive: true, force: true });
    const last = String(r.stderr).trim().split('\n').at(-1);
    return { reason: `PyTorch could not be installed within ${INSTALL_S} s${last ? `: ${last}` : ''}` };
  }
  renameSync(part, folder); // its python finds itself by its place; scripts in bin/ are not used
  console.log(`installed in ${((Date.now() - started) / 1000).toFixed(0)} s`);
  return inside;
}

/** Runs pytest, counts, and gives the exit status. */
function tests(interpreter: string): number {
  const started = Date.now();
  const args = ['-m', 'pytest', '-q', '-rs', '--durations=5', 'tests'];
  // compiled once, and not beside the sources
  const bytecode = { PYTHONDONTWRITEBYTECODE: '', PYTHONPYCACHEPREFIX: join(CACHE, 'pycache') };
  const env = { ...process.env, OMP_NUM_THREADS: '1', ...bytecode };
  const r = spawnSync(interpreter, args, { cwd: FOLDER, env, encoding: 'utf8', timeout: TESTS_S * 1000 });
  process.stdout.write(r.stdout ?? '');
  process.stderr.write(r.stderr ?? '');
  const count = (word: string): number => Number(new RegExp(`(\\d+) ${word}`).exec(r.stdout ?? '')?.[1] ?? 0);
  noted.passed = count('passed');
  noted.failed = count('failed') + count('errors?') + (r.error ? 1 : 0);
  for (const [, n, why] of (r.stdout ?? '').matchAll(/^SKIPPED \[(\d+)\] \S+?:\d+: (.*)$/gm)) noted.skipped.push({ why, tests: Number(n) });
  if (r.error) console.log(`python: ${r.error.message} (${TESTS_S} s at most)`);
  console.log(`python: ${((Date.now() - started) / 1000).toFixed(0)} s`);
  return r.status ?? 1;
}
