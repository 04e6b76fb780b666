// docs/operators.md, from what the operators say of themselves. `node scripts/operator-docs.mjs` writes it (a part of `npm run generate`).

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

export const operatorDocs = join(root, 'docs/operators.md');

const gaussian = { mean: 6, covariance: 6 };
const sequence = { sequence: 1 };

/** The operator with its defaults for a policy with these parts of the KL. */
const withDefaults = (definition, klParts) =>
  definition.create(definition.complete({}, Object.keys(klParts)));

const papersOf = ({ description }) =>
  (description.match(/\d{4}\.\d{5}/g) ?? [])
    .map((number) => `[${number}](https://arxiv.org/abs/${number})`)
    .join(', ') || '—';

const feedbackWords = {
  none: 'evaluations',
  accepts: 'accepted',
  rejects: 'rejected',
  either: 'accepted, rejected or both',
  both: 'accepted and rejected',
  pairs: 'pairs',
};

/** What the batch must hold besides log-probs and feedback. */
function reads({ needs }) {
  const names = [
    ...(needs.referenceLogProb === false ? [] : ['reference log-probs']),
    ...(needs.evaluation ? ['evaluations'] : []),
    ...(needs.length === true ? ['lengths'] : []),
  ];
  return names.join(', ') || '—';
}

/** The need for the KL: an operator that can do without it may have one added by default. */
function klOf(definition, operator) {
  const needs = ({ needs: { kl = 'any' } }) => kl;
  if (needs(definition.create()) === 'none') {
    if (needs(operator) !== 'none') return 'added';
    return 'kl' in definition.settings.shape ? 'optional' : 'none';
  }
  return needs(operator) === 'exact' ? 'needed, exact' : 'needed';
}

function stateOf(operator, klParts) {
  const names = Object.keys(operator.initialState({ klParts }));
  const words = [
    ...(names.includes('logTemperature') ? ['temperature'] : []),
    ...(names.includes('logPenaltyTemperature') ? ['penalty temperature'] : []),
    ...(names.some((name) => name.startsWith('logKlWeight/')) ? ['duals'] : []),
  ];
  return words.join(', ') || '—';
}

const both = (language, control) => (language === control ? language : `${language}; control: ${control}`);

function row(definition) {
  const [language, control] = [sequence, gaussian].map((parts) => withDefaults(definition, parts));
  const { feedback } = language.needs;
  const isForSequences = control.needs.length === true;
  const inControl = (text) => (isForSequences ? undefined : text);
  const pair = (of) =>
    isForSequences ? of(language, sequence) : both(of(language, sequence), of(control, gaussian));
  return [
    `[${definition.name}](#${definition.name})`,
    papersOf(definition),
    feedbackWords[feedback],
    feedback === 'pairs' || language.needs.comparesSamples === true ? 'no' : 'yes',
    feedback === 'none' ? '—' : feedback === 'either' || feedback === 'rejects' ? 'yes' : 'no',
    pair(reads),
    pair((operator) => klOf(definition, operator)),
    pair(stateOf),
    inControl('yes') ?? 'no',
  ];
}

function typeOf(schema) {
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(' or ');
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ');
  return schema.type === 'object' ? 'group' : schema.type;
}

const isGroup = (value) => typeof value === 'object' && value !== null;

function settingsOf({ settings }, toJsonSchema) {
  const { properties = {} } = toJsonSchema(settings);
  const lines = Object.entries(properties).map(([name, schema]) => {
    const fallback =
      schema.default === undefined || isGroup(schema.default) ? '' : `, default \`${schema.default}\``;
    return `- \`${name}\` (${typeOf(schema)}${fallback}): ${schema.description}.`;
  });
  return lines.length === 0 ? 'It has no settings.' : lines.join('\n');
}

const header = [
  'operator',
  'paper',
  'learns from',
  'unpaired data',
  'rejected alone',
  'reads',
  'KL',
  'state',
  'control',
];

const line = (cells) => `| ${cells.join(' | ')} |`;

/**
 * The text of the page.
 * @param definitions the registered operators
 * @param toJsonSchema from a zod schema of settings to its JSON Schema
 */
export function renderOperatorDocs(definitions, toJsonSchema) {
  const table = [line(header), line(header.map(() => '---')), ...definitions.map((one) => line(row(one)))];
  const sections = definitions.map(
    (one) => `## ${one.name}\n\n${one.description}.\n\n${settingsOf(one, toJsonSchema)}\n`,
  );
  return `<!-- Made by \`npm run generate\` from src/operators; do not edit. -->

# The operators

An operator is chosen by one line, \`operator: {name: dpo}\` or \`--operator dpo\`, in language and control jobs alike, and in PyTorch, JAX
and NumPy by \`pmpo.operators\` of [plugins/python](../plugins/python/README.md). The equation of each is at the head of its file in
\`src/operators\`; [The mathematics](mathematics.md) says more of PMPO, MPO, DPO and KTO.

- *Learns from*: which samples must be labeled by the [feedback](glossary.md). An operator that learns from evaluations reads their values
  and needs no labels.
- *Unpaired data*: whether contexts with a single sample suffice, as in a data set of prompts with one completion and a label each.
  The others compare samples of one context: an accepted with a rejected one, or evaluations with their mean.
- *Rejected alone*: whether it learns from a data set without any accepted sample.
- *Reads*: what it must be given besides log-probs and labels, with its defaults for a language model; for a policy of actions, where that
  differs, after *control*.
- *KL*: whether the loss needs the KL to the reference. *optional*: the setting \`kl\` adds it; *added*: it does so by default.
- *State*: what it trains with the policy.
- *Control*: whether it works on actions, which have no length in tokens.

${table.join('\n')}

${sections.join('\n')}`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { ensureBuilt } = await import('./bootstrap.mjs');
  ensureBuilt();
  const { z } = await import('zod');
  const { createOperatorRegistry } = await import('../dist/operators/index.js');
  const definitions = createOperatorRegistry().definitions();
  writeFileSync(
    operatorDocs,
    renderOperatorDocs(definitions, (schema) => z.toJSONSchema(schema, { io: 'input' })),
  );
}
