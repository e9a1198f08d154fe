/** The routes of conversations (serving/responses/conversations.ts is what they do). */

import { Hono } from 'hono/tiny';
import { parseConversation, parseConversationItems, parseConversationUpdate } from '../../openai/requests/conversations.ts';
import { readJson } from '../body.ts';
import type { App } from '../host.ts';
import {
  addItems,
  createConversation,
  deleteConversation,
  deleteItem,
  getConversation,
  getItem,
  listItems,
  updateConversation,
} from '../responses/conversations.ts';
import { conversationBytes } from '../room.ts';
import { caller } from './responses.ts';

export function conversations(): Hono<App> {
  const app = new Hono<App>();
  const body = (c: { req: { raw: Request }; env: App['Bindings'] }) => readJson(c.req.raw, conversationBytes(c.env));
  app.post('/', async (c) => createConversation(caller(c), parseConversation(await body(c))));
  app.get('/:id', (c) => getConversation(caller(c), c.req.param('id')));
  app.post('/:id', async (c) => updateConversation(caller(c), c.req.param('id'), parseConversationUpdate(await body(c)).metadata));
  app.delete('/:id', (c) => deleteConversation(caller(c), c.req.param('id')));
  app.post('/:id/items', async (c) => addItems(caller(c), c.req.param('id'), parseConversationItems(await body(c))));
  app.get('/:id/items', (c) => listItems(caller(c), c.req.param('id'), c.req.raw));
  app.get('/:id/items/:item', (c) => getItem(caller(c), c.req.param('id'), c.req.param('item')));
  app.delete('/:id/items/:item', (c) => deleteItem(caller(c), c.req.param('id'), c.req.param('item')));
  return app;
}
