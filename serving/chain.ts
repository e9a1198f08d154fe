import type { Link } from '../policy/chains.ts';

const encoder = new TextEncoder();
/** Bytes a token, for estimates before tokenization. */
export const BYTES_PER_TOKEN = 3;

/**
 * The chain placement goes by: a hash after the head (tenant, model, tools, instructions), then after each message, each
 * over the one before. Equal hashes mean equal beginnings of a prompt, and never across tenants.
 */
export async function messageChain(head: readonly unknown[], messages: readonly unknown[]): Promise<Link[]> {
  const chain: Link[] = [];
  let hash = '';
  let bytes = 0;
  for (const part of [head, ...messages]) {
    const text = JSON.stringify(part);
    bytes += text.length;
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', encoder.encode(`${hash}\n${text}`)));
    hash = Array.from(digest.subarray(0, 12), (b) => b.toString(16).padStart(2, '0')).join('');
    chain.push({ hash, tokens: Math.ceil(bytes / BYTES_PER_TOKEN) });
  }
  return chain;
}

/** Estimated prompt tokens of a chain. */
export const chainTokens = (chain: readonly Link[]): number => chain.at(-1)?.tokens ?? 0;
