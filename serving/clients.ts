/** What clients send beside chats and completions: further APIs, each a wire format, on every host but a page's own engine. */
import type { Hono } from 'hono/tiny';
import { MESSAGES, OLLAMA } from './forms.ts';
import type { App } from './host.ts';
import { ENCODING, encode } from './routes/embeddings.ts';
import { messages } from './routes/messages.ts';
import { ollama } from './routes/ollama.ts';
import { responses } from './routes/responses.ts';

export function clientRoutes(app: Hono<App>): void {
  for (const path of Object.keys(ENCODING)) app.post(path, (c) => encode(c, path));
  app.route(MESSAGES, messages());
  app.route(OLLAMA, ollama());
  app.route('/v1/responses', responses());
}
