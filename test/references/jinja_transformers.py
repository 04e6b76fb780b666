"""Writes jinja_transformers.json: what chat templates print in transformers, for the parts of Jinja in which interpreters differ.

An entry is a template with the text that it prints, or null where it is refused. Needs transformers, but no model.
"""

from fixtures import write
from transformers.utils.chat_template_utils import render_jinja_template

TOOL = {"type": "function", "function": {"name": "sum", "parameters": {"é": [1, 2.5, None, True], "a": {}}}}
MESSAGES = [
    {"role": "system", "content": "  Be brief.\n"},
    {"role": "user", "content": "\n\n<think>x</think> it's \u00a0"},
    {"role": "assistant", "content": "ok", "thinking": "hm"},
    {"role": "user", "content": "ok"},
]

TEMPLATES = [
    # What is given and what is not.
    "{% if tools is not none %}{{ tools }}{% else %}none{% endif %}",
    "{% if tools %}yes{% endif %}{% if tools is defined %}defined{% endif %}{{ documents is none }}",
    "{{ documents }}|{{ missing }}|{{ messages[1].name is defined }}|{{ messages[0].missing }}",
    "{{ messages[2].reasoning_content }}|{{ messages[2].thinking }}|{{ messages[2].reasoning }}",
    "{{ bos_token }}{{ add_generation_prompt }}",
    # Texts.
    "{{ 'xxabxx'.strip('x') }}|{{ 'xxabxx'.lstrip('x') }}|{{ 'xxabxx'.rstrip('xb') }}|{{ '\\n\\nab\\n'.strip('\\n') }}",
    "{{ messages[1].content.strip() }}|{{ messages[0].content.lstrip() }}|{{ messages[0].content.rstrip() }}|",
    "{{ messages[0].content | trim }}|{{ 'xax' | trim('x') }}|{{ 'xax' | trim(chars='x') }}",
    "{{ '\\x1c a \\x85'.strip() }}|{{ '\\ufeff a'.strip() }}",
    "{{ 'a b  c' | wordcount }}|{{ \"it's é 1_2\" | wordcount }}|{{ '' | wordcount }}",
    "{{ '%s and %d of %s%%' % ('a', 3, [1]) }}|{{ '%s' % 'x' }}|{{ '%r' % 'x' }}",
    "{{ 'hELLO wORLD' | capitalize }}|{{ 'hELLO'.capitalize() }}|{{ missing | upper }}|{{ 'ab' | upper | lower }}",
    "{{ 'a-b-c'.split('-') }}|{{ 'a b'.split() | join('+') }}|{{ 'abcabc'.replace('b', 'x') }}",
    "{{ 'x' ~ 1 ~ none ~ true ~ [1, 'a'] }}|{{ 'a' + 'b' }}|{{ [1] + [2] }}|{{ 1 + 2.5 }}",
    "{{ 'a' + 1 }}",
    "{{ 'a' + tools }}",
    # Values as texts.
    "{{ none }}|{{ true }}|{{ [true, none, 1.0, 'a', \"it's\", 'a\\nb\\\\'] }}|{{ {'a': {'b': (1, 2)}} }}",
    "{{ [1, none] | string }}|{{ none | string }}|{{ 1.0 }}|{{ 2 / 1 }}|{{ 7 // 2 }}|{{ -7 % 3 }}|{{ 7.5 % 2 }}",
    # Numbers and lists.
    "{{ [1, 2, 3] | sum }}|{{ [{'n': 1}, {'n': 2}] | sum(attribute='n') }}|{{ [[1], [2]] | sum(start=[]) }}|{{ [] | sum }}",
    "{{ [1, 2.5] | sum(start=1) }}",
    "{% for m in messages %}{{ loop.cycle('odd', 'even') }}{{ loop.index }}{% endfor %}",
    "{% for m in messages %}{{ m.role }}{% if loop.index == 2 %}{% continue %}{% endif %}, {% endfor %}",
    "{% for m in messages %}{% if loop.index == 3 %}{% break %}{% endif %}{{ m.role }} {% endfor %}",
    "{% for m in messages %}{% if m.role == 'user' %}[{{ m.role }}{% continue %}{% endif %}{{ m.role }};{% endfor %}",
    "{{ messages[1] == messages[3] }}|{{ {'a': [1]} == {'a': [1]} }}|{{ 1 == true }}|{{ 1 == '1' }}|{{ 'a' != 'b' }}|{{ [1] == [1.0] }}",
    "{% for m in messages[1:] if m.role == 'user' %}{{ loop.first }}{{ m.content | length }}{% else %}no{% endfor %}",
    "{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}"
    "{% endfor %}{{ ns.found }}",
    # JSON.
    "{{ tools | tojson }}",
    "{{ tools | tojson(indent=2) }}",
    "{{ tools | tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true) }}",
    "{{ '<b>&\\'é' | tojson }}",
    "{{ [1.0, 2 / 1, 0.5, -0.0, 3] | tojson }}|{{ 0.00001 }}|{{ 0.00001 | tojson }}|{{ 0.0001 | tojson }}",
    "{{ {'b': [], 'a': {}, 'B': (1, none)} | tojson(sort_keys=true, indent=1) }}|{{ [[1], {'a': 'é'}] | tojson(true, 2) }}",
    "{{ missing | tojson }}",
    # Values that are undefined, and their members.
    "{{ missing.x }}",
    "{{ messages[5].role }}",
    "{{ messages[0].missing.x }}|{{ messages[0].missing }}",
    "{{ missing.x is defined }}",
    "{{ missing.x | default('d') }}",
    "{{ missing['x'] }}",
    "{{ missing[1:] }}",
    "{{ missing.strip() }}",
    "{{ missing.x if missing is defined }}|{{ messages[0].x is defined and messages[0].x.y }}|{{ none.x }}",
    "{% for m in messages %}{{ loop.previtem.role }}{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}{% endfor %}",
    "{{ loop.index }}",
    "{% set ns = namespace(a=1) %}{% set ns.b = 2 %}{{ ns.a }}{{ ns['b'] }}",
    # Lists as texts, and depths of loops.
    "{{ [none, true] | join(',') }}|{{ [1, [2, 'a'], 1.0, missing] | join }}|{{ 'abc' | join('-') }}|{{ {'a': 1, 'b': 2} | join(', ') }}",
    "{{ messages | join(', ', attribute='role') }}|{{ missing | join(',') }}|{{ [1, 2] | join(d='+') }}|{{ (1, 2) | join(0) }}",
    "{{ [1] | join(separator=',') }}",
    "{% for m in messages %}{{ loop.depth }}{{ loop.depth0 }}{% for n in [1] %}{{ loop.depth }}{% endfor %}{% endfor %}",
    "{% for m in [1] %}{% set outer = loop %}{% for n in [1] %}{{ outer.depth }}{{ outer.index }}{% endfor %}{% endfor %}",
    # White space.
    "{{ '{%+ a +%}' }}|{{ \"it's {%+\" }} it's {{ {'a': {'b': '+%}'}}['a'] }}{% set x = '+%}' +%}\n{{ x }}",
    "don't\n  {%+ if true %}'{% endif +%}\n{# {%+ ' #}'\n  {%+ if true %}y{% endif %}",
    "a\n  {%+ if true %}b\n{% endif %}c\n",
    "a\n  {% if true %}b\n  {% endif %}\nc\n",
    "a {%- if true -%} b {%- endif %} c {# no #} d\n\n",
    "{% if true +%}\nx{% endif %}",
    "a {% generation %}b{% endgeneration %} c\n{%- generation -%} d {%- endgeneration -%} e",
    # Macros and refusals.
    "{% macro say(who, what='hi') %}{{ who }}: {{ what }}{{ none }}{% endmacro %}{{ say('me') }}{{ say('you', what=1) }}",
    "{% set x %}a{{ 1 }}{% endset %}{{ x }}",
    "{{ raise_exception('no system message') }}",
    "{{ strftime_now('%Y') | length }}",
    "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 2 %}two{% endif %}",
    "{{ messages | map(attribute='role') | join(', ') }}|{{ messages | map(attribute='role') | list }}",
    "{{ ('a' if false) }}|{{ 'a' if true else 'b' }}|{{ 'b' in 'abc' }}|{{ 3 not in [1, 2] }}",
    "{% for k, v in {'b': 1}.items() %}{{ k }}={{ v }}{% endfor %}",
    "{{ missing is defined }}|{{ missing | default('d') }}|{{ none | default('d') }}|{{ '' | default('d', true) }}",
]


def printed(template, tools):
    try:
        [text], _ = render_jinja_template([MESSAGES], tools=tools, chat_template=template, bos_token="<s>")
    except Exception:
        return None
    return text


write(
    __file__,
    {
        "messages": MESSAGES,
        "tool": TOOL,
        "templates": TEMPLATES,
        "withTools": [printed(template, [TOOL]) for template in TEMPLATES],
        "without": [printed(template, None) for template in TEMPLATES],
    },
)
