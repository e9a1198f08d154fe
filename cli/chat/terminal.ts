/** A conversation in the terminal. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';
import { type Answer, ask, type Chat, costOf, type Message, type Sampling } from './ask.ts';

const HELP = `  /system TEXT     set the system prompt, and begin anew
  /set NAME VALUE  temperature, top_p, top_k, min_p, max_tokens or seed; without VALUE: the model's own again
  /clear           begin anew
  /retry           ask for the last answer again
  /file PATH       add a text file to the next message
  /save PATH       write the conversation as JSON; /load PATH reads it again
  /figures         tokens and times after each answer, or not
  /bye             leave (or Ctrl-D)
Ctrl-C stops an answer. A line that ends in \\ goes on in the next one.`;

const SAMPLING = ['temperature', 'top_p', 'top_k', 'min_p', 'max_tokens', 'seed'] as const;

export interface TerminalOptions {
  chat: Chat;
  sampling: Sampling;
  system?: string;
  /** Tokens and times after each answer. */
  figures?: boolean;
  input: Readable;
  output: Writable;
}

/** Talks until /bye, Ctrl-D, or Ctrl-C where nothing is being answered. */
export async function converse(o: TerminalOptions): Promise<void> {
  const terminal = createInterface({ input: o.input, output: o.output, prompt: '> ', historySize: 1000 });
  const talk = new Talk(o, (text) => o.output.write(text));
  terminal.on('SIGINT', () => talk.stop() || terminal.close());
  o.output.write(`${o.chat.model}. /help shows what there is; Ctrl-D leaves.\n`);
  terminal.prompt();
  let begun = '';
  for await (const line of terminal) {
    if (line.endsWith('\\')) {
      begun += `${line.slice(0, -1)}\n`;
      continue;
    }
    const text = (begun + line).trim();
    begun = '';
    if (text === '/bye' || text === '/exit') break;
    if (text) await talk.hear(text);
    terminal.prompt();
  }
  terminal.close();
}

class Talk {
  readonly #o: TerminalOptions;
  readonly #write: (text: string) => void;
  readonly #sampling: Sampling;
  #messages: Message[];
  #file = '';
  #figures: boolean;
  #answering?: AbortController;

  constructor(o: TerminalOptions, write: (text: string) => void) {
    this.#o = o;
    this.#write = write;
    this.#sampling = { ...o.sampling };
    this.#figures = o.figures ?? false;
    this.#messages = o.system ? [{ role: 'system', content: o.system }] : [];
  }

  /** Whether there was an answer to stop. */
  stop(): boolean {
    this.#answering?.abort();
    return this.#answering !== undefined;
  }

  async hear(text: string): Promise<void> {
    try {
      if (text.startsWith('/')) await this.#command(text);
      else {
        this.#messages.push({ role: 'user', content: this.#file + text });
        this.#file = '';
        await this.#answer();
      }
    } catch (error) {
      this.#write(`${error instanceof Error ? error.message : error}\n`);
    }
  }

  async #answer(): Promise<void> {
    const stop = new AbortController();
    this.#answering = stop;
    let text = '';
    let answer: Answer | undefined;
    try {
      const write = (piece: string) => {
        text += piece;
        this.#write(piece);
      };
      answer = await ask(this.#o.chat, this.#messages, this.#sampling, write, stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) {
        if (!text) this.#messages.pop(); // as if it had not been asked
        throw error;
      }
    } finally {
      this.#answering = undefined;
      if (text) this.#messages.push({ role: 'assistant', content: text });
    }
    this.#write(answer ? '\n' : ' …\n');
    if (answer && this.#figures) this.#write(`  ${costOf(answer)}\n`);
    if (answer?.reason === 'length') this.#write('  cut: the limit was reached; /set max_tokens N, or /clear\n');
  }

  async #command(text: string): Promise<void> {
    const [name, ...words] = text.split(/\s+/);
    const rest = text.slice(name.length).trim();
    const begin = (system?: string) => {
      this.#messages = system ? [{ role: 'system', content: system }] : [];
    };
    const system = this.#messages[0]?.role === 'system' ? this.#messages[0].content : undefined;
    switch (name) {
      case '/help':
      case '/?':
        return this.#write(`${HELP}\n`);
      case '/system':
        return begin(rest);
      case '/clear':
        return begin(system);
      case '/set':
        return this.#set(words[0], words[1]);
      case '/figures':
        this.#figures = !this.#figures;
        return;
      case '/file':
        this.#file += `${readFileSync(rest, 'utf8')}\n\n`;
        return this.#write(`  ${rest} goes with the next message\n`);
      case '/save':
        return writeFileSync(rest, `${JSON.stringify(this.#messages, null, 2)}\n`);
      case '/load':
        this.#messages = messagesOf(readFileSync(rest, 'utf8'));
        return this.#write(`  ${this.#messages.length} messages\n`);
      case '/retry': {
        if (this.#messages.at(-1)?.role === 'assistant') this.#messages.pop();
        if (this.#messages.at(-1)?.role !== 'user') throw new Error('there is nothing to answer yet');
        return this.#answer();
      }
      default:
        throw new Error(`there is no ${name}; /help shows what there is`);
    }
  }

  #set(name: string | undefined, value: string | undefined): void {
    const field = SAMPLING.find((f) => f === name);
    if (!field) throw new Error(`/set takes ${SAMPLING.join(', ')}`);
    if (value === undefined) delete this.#sampling[field];
    else if (Number.isFinite(Number(value))) this.#sampling[field] = Number(value);
    else throw new Error(`${field} is a number`);
  }
}

/** Of a saved conversation. */
function messagesOf(text: string): Message[] {
  const list = JSON.parse(text) as Message[];
  const good = (m: Message) => ['system', 'user', 'assistant'].includes(m?.role) && typeof m.content === 'string';
  if (!Array.isArray(list) || !list.every(good)) throw new Error('that is no conversation: a list of {role, content} is expected');
  return list;
}
