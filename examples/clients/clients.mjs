/**
 * Clients from npm against a running server, each as its own documentation has it; prints a row of docs/clients.md for each. In this folder:
 *   npm ci && node clients.mjs [http://127.0.0.1:8787] [model]
 * tests/e2e/clients.test.ts runs it at each change.
 */

import { readFileSync } from 'node:fs';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import * as agents from '@openai/agents';
import * as ai from 'ai';
import { OpenAI } from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { z } from 'zod';

const [url = 'http://127.0.0.1:8787', model = 'pebble'] = process.argv.slice(2);
const baseURL = `${url}/v1`;
const apiKey = process.env.TURNSTONE_KEY ?? 'sk-unused-0123456789';
const version = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;

const QUESTION = 'What is the weather in Lisbon?';
const weather = () => ({ temperature: 19, sky: 'cloudy' });
const Weather = z.object({ temperature: z.number().int(), sky: z.enum(['cloudy', 'sunny', 'rainy']) });
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const must = (what, ok) => {
  if (!ok) throw new Error(what);
};
const told = (text) => must(`no answer of the result: ${text}`, /19|cloudy/.test(text));

let failed = 0;
async function row(name, what, run) {
  try {
    await run();
    console.log(`| ${name} ${version(name)} | ${what} | passes |`);
  } catch (error) {
    failed++;
    console.log(`| ${name} ${version(name)} | ${what} | FAILS: ${String(error).slice(0, 300).replaceAll('\n', ' ')} |`);
  }
}

console.log(
  `Node ${process.versions.node}, ${model}, ${new Date().toISOString().slice(0, 10)}\n\n| client | what | |\n| --- | --- | --- |`,
);

const client = new OpenAI({ baseURL, apiKey });

await row('openai', 'chat, whole and streamed; tools and the turn after; an answer typed by zod', async () => {
  const messages = [{ role: 'user', content: QUESTION }];
  const tools = [{ type: 'function', function: { name: 'get_weather', parameters, strict: true } }];
  const { message } = (await client.chat.completions.create({ model, messages, tools, temperature: 0 })).choices[0];
  const stream = client.chat.completions.stream({ model, messages, tools, temperature: 0 });
  must('streamed otherwise', (await stream.finalMessage()).tool_calls[0].function.arguments === message.tool_calls[0].function.arguments);
  const result = weather(JSON.parse(message.tool_calls[0].function.arguments));
  messages.push(message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: JSON.stringify(result) });
  told((await client.chat.completions.create({ model, messages, tools, temperature: 0 })).choices[0].message.content);
  const typed = await client.chat.completions.parse({ model, messages, response_format: zodResponseFormat(Weather, 'weather') });
  must('not typed', Weather.safeParse(typed.choices[0].message.parsed).success);
});

await row('openai', 'responses: streamed, gone on from, tools, typed', async () => {
  const tools = [{ type: 'function', name: 'get_weather', parameters, strict: true }];
  const first = await client.responses.create({ model, input: QUESTION, tools, temperature: 0 });
  const call = first.output.find((o) => o.type === 'function_call');
  const output = JSON.stringify(weather(JSON.parse(call.arguments)));
  const input = [{ type: 'function_call_output', call_id: call.call_id, output }];
  const stream = client.responses.stream({ model, input, tools, temperature: 0, previous_response_id: first.id });
  told((await stream.finalResponse()).output_text);
  const typed = await client.responses.parse({ model, input: QUESTION, text: { format: zodTextFormat(Weather, 'weather') } });
  must('not typed', Weather.safeParse(typed.output_parsed).success);
});

await row('openai', 'responses over a WebSocket, one after another, gone on from', async () => {
  const ws = new ResponsesWS(client);
  const ask = (more) =>
    new Promise((resolve, reject) => {
      ws.once('response.completed', (e) => resolve(e.response));
      ws.once('error', reject);
      ws.send({ type: 'response.create', model, temperature: 0, ...more });
    });
  const first = await ask({ input: 'Who are you?', store: false });
  const second = await ask({ input: 'And what can you do?', store: false, previous_response_id: first.id });
  must('nothing said', second.output_text.length > 0 && second.usage.input_tokens > first.usage.input_tokens);
  ws.close();
});

const tools = {
  get_weather: ai.tool({ description: 'The weather in a city', inputSchema: z.object({ city: z.string() }), execute: weather }),
};
const providers = [
  ['@ai-sdk/openai', createOpenAI({ baseURL, apiKey }).responses(model)],
  ['@ai-sdk/openai-compatible', createOpenAICompatible({ name: 't', baseURL, apiKey, supportsStructuredOutputs: true })(model)],
  ['@ai-sdk/anthropic', createAnthropic({ baseURL, apiKey })(model)],
];
for (const [name, provided] of providers) {
  await row(name, `ai ${version('ai')}: text, tools and the turn after, streamed, an object, tools and output together`, async () => {
    const asked = { model: provided, temperature: 0, maxOutputTokens: 200 };
    must('nothing said', (await ai.generateText({ ...asked, prompt: 'Who are you?' })).text.length > 0);
    const steps = { tools, stopWhen: ai.stepCountIs(3) };
    const whole = await ai.generateText({ ...asked, ...steps, prompt: QUESTION });
    must(`${whole.steps.length} steps`, whole.steps.length === 2 && whole.steps[0].toolResults.length === 1);
    told(whole.text);
    const stream = ai.streamText({ ...asked, ...steps, prompt: QUESTION });
    told(await stream.text);
    const again = [{ role: 'user', content: QUESTION }, ...(await stream.response).messages, { role: 'user', content: 'And in Rome?' }];
    must('no second turn', (await ai.generateText({ ...asked, tools, messages: again })).finishReason !== 'error');
    const { object } = await ai.generateObject({ ...asked, schema: Weather, prompt: QUESTION });
    must('not typed', Weather.safeParse(object).success);
    // a small model may call for ever: the second step is to answer
    const prepareStep = ({ stepNumber }) => (stepNumber > 0 ? { toolChoice: 'none' } : {});
    const both = await ai.generateText({
      ...asked,
      ...steps,
      prepareStep,
      prompt: QUESTION,
      output: ai.Output.object({ schema: Weather }),
    });
    must('not typed with tools', both.steps[0].toolResults.length === 1 && Weather.safeParse(both.output).success);
  });
}

await row('@openai/agents', 'an agent with a tool and an outputType, over responses and over chat', async () => {
  agents.setDefaultOpenAIClient(client);
  agents.setTracingDisabled(true);
  for (const api of ['responses', 'chat_completions']) {
    agents.setOpenAIAPI(api);
    let calls = 0;
    const get_weather = agents.tool({
      name: 'get_weather',
      description: 'The weather in a city',
      parameters: z.object({ city: z.string() }),
      isEnabled: () => calls === 0, // a small model may call for ever
      execute: (given) => {
        calls++;
        return JSON.stringify(weather(given));
      },
    });
    const settings = { temperature: 0, maxTokens: 200 };
    const agent = new agents.Agent({ name: 'a', model, tools: [get_weather], outputType: Weather, modelSettings: settings });
    const { finalOutput } = await agents.run(agent, QUESTION, { maxTurns: 3 });
    must(`${api}: ${calls} calls`, calls === 1 && Weather.safeParse(finalOutput).success);
  }
});

await row('@langchain/openai', 'ChatOpenAI: invoke, stream, tools and the turn after, structured output', async () => {
  const chat = new ChatOpenAI({ model, apiKey, temperature: 0, maxTokens: 200, configuration: { baseURL } });
  const whole = (await chat.invoke('Who are you?')).content;
  let streamed = '';
  for await (const chunk of await chat.stream('Who are you?')) streamed += chunk.content;
  must('streamed otherwise', whole.length > 0 && streamed === whole);
  const bound = chat.bindTools([{ type: 'function', function: { name: 'get_weather', parameters } }]);
  const asked = new HumanMessage(QUESTION);
  const call = await bound.invoke([asked]);
  const result = new ToolMessage({ tool_call_id: call.tool_calls[0].id, content: JSON.stringify(weather(call.tool_calls[0].args)) });
  told((await bound.invoke([asked, call, result])).content);
  must('not typed', Weather.safeParse(await chat.withStructuredOutput(Weather).invoke(QUESTION)).success);
});

await row('@anthropic-ai/sdk', 'messages: whole, streamed, tools and the turn after, counted', async () => {
  const anthropic = new Anthropic({ baseURL: url, apiKey });
  const given = [{ name: 'get_weather', description: 'The weather in a city', input_schema: parameters }];
  const messages = [{ role: 'user', content: QUESTION }];
  const asked = { model, max_tokens: 200, temperature: 0, tools: given };
  const whole = await anthropic.messages.create({ ...asked, messages });
  must('streamed otherwise', (await anthropic.messages.stream({ ...asked, messages }).finalMessage()).stop_reason === whole.stop_reason);
  const call = whole.content.find((b) => b.type === 'tool_use');
  const result = { type: 'tool_result', tool_use_id: call.id, content: JSON.stringify(weather(call.input)) };
  const turns = [...messages, { role: 'assistant', content: whole.content }, { role: 'user', content: [result] }];
  told((await anthropic.messages.create({ ...asked, messages: turns })).content[0].text);
  must('not counted', (await anthropic.messages.countTokens({ model, messages })).input_tokens > 5);
});

process.exit(failed > 0 ? 1 : 0);
