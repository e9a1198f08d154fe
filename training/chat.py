"""ChatML with tools: the Jinja chat template and a plain Python renderer that equals it."""
import json

EOT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CALL, CALL_END = "<tool_call>", "</tool_call>"
TOOLS_HEAD = "# Tools\n"
TOOLS_TAIL = 'To call a tool, answer only with <tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>'

TEMPLATE = (
    "{%- set has_system = messages[0]['role'] == 'system' -%}"
    "{%- if tools -%}"
    "{{- '<|im_start|>system\\n' -}}"
    "{%- if has_system -%}{{- messages[0]['content'] + '\\n\\n' -}}{%- endif -%}"
    "{{- '# Tools\\n' -}}"
    "{%- for tool in tools -%}"
    "{%- if tool['function'] -%}{{- tool['function'] | tojson -}}{%- else -%}{{- tool | tojson -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{{- 'To call a tool, answer only with <tool_call>\\n{\"name\": ..., \"arguments\": {...}}\\n</tool_call><|im_end|>\\n' -}}"
    "{%- elif has_system -%}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if not (loop.first and has_system) -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] -%}{{- message['content'] -}}{%- endif -%}"
    "{%- if message['tool_calls'] -%}"
    "{%- for call in message['tool_calls'] -%}"
    "{%- if not loop.first or message['content'] -%}{{- '\\n' -}}{%- endif -%}"
    "{{- '<tool_call>\\n{\"name\": ' -}}{{- call['function']['name'] | tojson -}}{{- ', \"arguments\": ' -}}"
    "{%- if call['function']['arguments'] is string -%}{{- call['function']['arguments'] -}}{%- else -%}{{- call['function']['arguments'] | tojson -}}{%- endif -%}"
    "{{- '}\\n</tool_call>' -}}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def render_parts(messages, tools=None, answer=None):
    """(text, is_assistant) pieces. With `answer` the reply is closed, else the prompt ends open."""
    out = []
    ms = list(messages)
    system = ms.pop(0)["content"] if ms[0]["role"] == "system" else None
    if tools:
        body = (system + "\n\n" if system else "") + TOOLS_HEAD
        body += "".join(json.dumps(t.get("function", t), ensure_ascii=False) + "\n" for t in tools) + TOOLS_TAIL
        out.append((f"{START}system\n{body}{END}\n", False))
    elif system is not None:
        out.append((f"{START}system\n{system}{END}\n", False))
    for m in ms:
        if m["role"] == "assistant":
            out += [(f"{START}assistant\n", False), (m["content"] + END, True), ("\n", False)]
        else:
            out.append((f"{START}{m['role']}\n{m['content']}{END}\n", False))
    out.append((f"{START}assistant\n", False))
    if answer is not None:
        out += [(answer + END, True), ("\n", False)]
    return out


def render(messages, tools=None):
    """The prompt text up to the open assistant turn."""
    return "".join(t for t, _ in render_parts(messages, tools))
