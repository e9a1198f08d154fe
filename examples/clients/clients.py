"""Clients from PyPI against a running server, each as its own documentation has it; prints a row of docs/clients.md for each.

In an environment of its own: pip install openai openai-agents langchain-openai instructor litellm
then: python clients.py [http://127.0.0.1:8787] [model]
"""

import asyncio
import datetime
import importlib.metadata
import json
import os
import platform
import sys
from typing import Literal

from pydantic import BaseModel

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8787"
MODEL = sys.argv[2] if len(sys.argv) > 2 else "pebble"
BASE = f"{URL}/v1"
KEY = os.environ.get("TURNSTONE_KEY", "sk-unused-0123456789")
QUESTION = "What is the weather in Lisbon?"
RESULT = json.dumps({"temperature": 19, "sky": "cloudy"})
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
FUNCTION = {"name": "get_weather", "description": "The weather in a city", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]
failed = 0


class Weather(BaseModel):
    temperature: int
    sky: Literal["cloudy", "sunny", "rainy"]


def must(what, ok):
    if not ok:
        raise AssertionError(what)


def told(text):
    must(f"no answer of the result: {text}", "19" in text or "cloudy" in text)


def row(package, what, run):
    global failed
    try:
        run()
        verdict = "passes"
    except Exception as error:  # every client has errors of its own, and all of them are to be told
        failed += 1
        verdict = f"FAILS: {type(error).__name__}: {error}"[:300].replace("\n", " ")
    print(f"| {package} {importlib.metadata.version(package)} | {what} | {verdict} |", flush=True)


def openai_client():
    from openai import OpenAI

    return OpenAI(base_url=BASE, api_key=KEY)


def chat():
    client = openai_client()
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": MODEL, "tools": TOOLS, "temperature": 0}
    message = client.chat.completions.create(messages=messages, **asked).choices[0].message
    call = message.tool_calls[0]
    pieces = [c.choices[0].delta for c in client.chat.completions.create(messages=messages, stream=True, **asked) if c.choices]
    streamed = "".join(t.function.arguments or "" for d in pieces for t in d.tool_calls or [])
    must("streamed otherwise", streamed == call.function.arguments)
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    told(client.chat.completions.create(messages=messages, **asked).choices[0].message.content)
    typed = client.chat.completions.parse(model=MODEL, messages=messages[:1], response_format=Weather)
    must("not typed", isinstance(typed.choices[0].message.parsed, Weather))


def responses():
    client = openai_client()
    asked = {"model": MODEL, "tools": [{"type": "function", "strict": True, **FUNCTION}], "temperature": 0}
    first = client.responses.create(input=QUESTION, **asked)
    call = next(o for o in first.output if o.type == "function_call")
    output = [{"type": "function_call_output", "call_id": call.call_id, "output": RESULT}]
    with client.responses.stream(input=output, previous_response_id=first.id, **asked) as stream:
        told(stream.get_final_response().output_text)
    typed = client.responses.parse(model=MODEL, input=QUESTION, text_format=Weather)
    must("not typed", isinstance(typed.output_parsed, Weather))


def agents():
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)

    async def with_model(kind):
        calls = []

        @function_tool(is_enabled=lambda *_: not calls)  # a small model may call for ever
        def get_weather(city: str) -> str:
            """The weather in a city"""
            calls.append(city)
            return RESULT

        model = kind(model=MODEL, openai_client=AsyncOpenAI(base_url=BASE, api_key=KEY))
        settings = ModelSettings(temperature=0, max_tokens=200)
        agent = Agent(name="a", model=model, tools=[get_weather], output_type=Weather, model_settings=settings)
        result = await Runner.run(agent, QUESTION, max_turns=3)
        must(f"{kind.__name__}: {calls}", len(calls) == 1 and isinstance(result.final_output, Weather))

    for kind in (OpenAIResponsesModel, OpenAIChatCompletionsModel):
        asyncio.run(with_model(kind))


def langchain():
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL, base_url=BASE, api_key=KEY, temperature=0, max_tokens=200)
    whole = model.invoke("Who are you?").content
    must("streamed otherwise", whole and whole == "".join(c.content for c in model.stream("Who are you?")))
    bound = model.bind_tools(TOOLS)
    asked = HumanMessage(QUESTION)
    call = bound.invoke([asked])
    told(bound.invoke([asked, call, ToolMessage(RESULT, tool_call_id=call.tool_calls[0]["id"])]).content)
    must("not typed", isinstance(model.with_structured_output(Weather).invoke(QUESTION), Weather))


def instructor_modes():
    import instructor

    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(openai_client(), mode=mode)
        messages = [{"role": "user", "content": QUESTION}]
        typed = client.chat.completions.create(model=MODEL, messages=messages, response_model=Weather, temperature=0, max_retries=1)
        must(f"{mode}: not typed", isinstance(typed, Weather))


def litellm_calls():
    import litellm

    asked = {"model": f"openai/{MODEL}", "api_base": BASE, "api_key": KEY, "temperature": 0, "max_tokens": 200}
    messages = [{"role": "user", "content": QUESTION}]
    message = litellm.completion(messages=messages, tools=TOOLS, **asked).choices[0].message
    messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": RESULT}]
    stream = litellm.completion(messages=messages, tools=TOOLS, stream=True, **asked)
    told("".join(c.choices[0].delta.content or "" for c in stream))
    typed = litellm.completion(messages=messages[:1], response_format=Weather, **asked).choices[0].message.content
    Weather.model_validate_json(typed)


print(f"Python {platform.python_version()}, {MODEL}, {datetime.date.today()}\n\n| client | what | |\n| --- | --- | --- |", flush=True)
row("openai", "chat, whole and streamed; tools and the turn after; an answer typed by pydantic", chat)
row("openai", "responses: streamed, gone on from, tools, typed", responses)
row("openai-agents", "an agent with a tool and an output_type, over responses and over chat", agents)
row("langchain-openai", "ChatOpenAI: invoke, stream, tools and the turn after, structured output", langchain)
row("instructor", "a response_model by tools and by JSON schema", instructor_modes)
row("litellm", "completion: tools and the turn after, streamed, typed", litellm_calls)
sys.exit(1 if failed else 0)
