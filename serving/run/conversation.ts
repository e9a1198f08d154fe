import { sha256 } from '@noble/hashes/sha2.js';
import { encodeDone, encodeFail, encodeHead, encodeIds, encodePage } from '../../accelerator/protocol.ts';
import { adaptedSalt } from '../../engine/index.ts';
import { PAGE, PAGE_VERSION } from '../../engine/layout.ts';
import type { ChatRequest } from '../../openai/requests/types.ts';
import { chatPrompt } from './prompt.ts';
import type { Runtime } from './runtime.ts';
import { saltOf, tenantOf } from './tenant.ts';
import { adapterNamed } from './with-adapter.ts';

/** Where a conversation's pages are asked for. Not of OpenAI's API. */
export const PAGES_PATH = '/v1/turnstone/pages';

/**
 * The KV pages that this replica holds of a conversation, from its first token on, so that it can go on elsewhere without
 * being computed again: frames of docs/npu-protocol.md, HEAD, IDS, then pages in order, then DONE. Nothing is computed
 * for it, and only pages under the caller's own tenant and salt are found. Throws ApiError.
 */
export async function conversationPages(rt: Runtime, body: ChatRequest, http: Request): Promise<Response> {
  const { served, engine } = rt;
  const adapter = await adapterNamed(rt, body.model);
  const ids = chatPrompt(served, body, { limit: engine.maxPrompt, param: 'messages' });
  const salt = adaptedSalt(saltOf(tenantOf(http), body.cacheSalt), adapter);
  const names = engine.names.chain(ids, salt);
  const { kv } = engine.plan;
  const began = Date.now();
  const head = { pack: served.digest, kv, numerics: engine.backend.numerics, salt: '', have: 0, deadlineMs: 0 };
  let sent = 0;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(encodeHead(head));
      controller.enqueue(encodeIds(ids));
    },
    async pull(controller) {
      try {
        const name = names[sent];
        const bytes = name === undefined ? undefined : await engine.exportPage(name);
        if (name !== undefined && bytes) {
          sent++;
          controller.enqueue(encodePage({ version: PAGE_VERSION, name, sha256: sha256(bytes), bytes }));
          return;
        }
        const timing = { deviceMs: 0, hostMs: Date.now() - began, queueMs: 0 };
        controller.enqueue(encodeDone({ ...timing, tokens: sent * PAGE, pages: sent, cached: sent }));
      } catch (error) {
        controller.enqueue(encodeFail(error instanceof Error ? error.message : String(error)));
      }
      controller.close();
    },
  });
  return new Response(stream, { headers: { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' } });
}
