// The directions in which the folders of src/ import each other: `node scripts/import-rules.mjs` checks them. The check reads the
// text of the sources, so that type-only and dynamic imports count. Tests may import anything.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Each folder may import what its arrows lead to, directly or through other folders, and nothing else. */
export const arrows = {
  cli: ['public-modules.ts'],
  'public-modules.ts': ['index.ts'],
  'plugin-worker.ts': ['public-modules.ts'],
  'index.ts': ['experiments'],
  experiments: ['config', 'learners', 'report', 'watch', 'python'],
  config: ['operators', 'feedback-services', 'language', 'datasets', 'replay', 'simulators'],
  learners: [
    'operators',
    'feedback',
    'distributions',
    'language',
    'environments',
    'datasets',
    'replay',
    'run',
  ],
  simulators: ['dm-env-rpc'],
  'dm-env-rpc': ['environments', 'grpc', 'generated'],
  language: ['networks', 'grpc', 'generated', 'system'],
  'feedback-services': ['feedback', 'grpc', 'generated', 'system'],
  watch: ['report', 'simulators'],
  report: ['run'],
  run: ['engine', 'environments', 'system'],
  python: ['system'],
  operators: ['engine'],
  feedback: ['engine'],
  distributions: ['engine'],
  networks: ['engine'],
  replay: ['engine'],
  environments: ['core'],
  datasets: ['environments'],
  engine: ['core'],
  grpc: ['core'],
  system: ['core'],
  generated: [],
  core: [],
};

/** Every folder that arrows lead to from `folder`. */
function reachable(folder, found = new Set()) {
  for (const next of arrows[folder] ?? []) {
    if (found.has(next)) continue;
    found.add(next);
    reachable(next, found);
  }
  return found;
}

/** The arrows as a Mermaid diagram: the picture in docs/design.md. */
export function picture() {
  const lines = Object.entries(arrows).flatMap(([from, targets]) =>
    targets.map((to) => `  ${from} --> ${to}`),
  );
  return ['```mermaid', 'flowchart TD', ...lines, '```'].join('\n');
}

const importPatterns = [
  /^\s*(?:import|export)\s[^;'"]*?\sfrom\s+'(\.[^']+)'/gm,
  /^\s*import\s+'(\.[^']+)'/gm,
  /\bimport\(\s*'(\.[^']+)'\s*\)/g,
];

/** The relative imports of every source below `folder` except tests: paths from `folder`, sorted. */
function importsIn(folder) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => path.split(sep).join('/'))
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
    .sort();
  return new Map(
    files.map((file) => {
      const text = readFileSync(join(folder, file), 'utf8');
      const targets = importPatterns.flatMap((pattern) =>
        [...text.matchAll(pattern)].map(([, path]) =>
          relative(folder, resolve(folder, dirname(file), path))
            .split(sep)
            .join('/')
            .replace(/\.js$/, '.ts'),
        ),
      );
      return [file, [...new Set(targets)]];
    }),
  );
}

/** One circle of imports among files for each place where one closes. */
function circles(imports) {
  const found = [];
  const done = new Set();
  const path = [];
  const visit = (file) => {
    const start = path.indexOf(file);
    if (start >= 0) found.push([...path.slice(start), file].join(' → '));
    if (start >= 0 || done.has(file)) return;
    path.push(file);
    for (const target of imports.get(file) ?? []) visit(target);
    path.pop();
    done.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return found;
}

/** What breaks the rules in the sources below `folder`: one line for each import against an arrow, and for each circle. */
export function violations(folder) {
  const imports = importsIn(folder);
  const room = (file) => file.split('/')[0];
  const against = [...imports].flatMap(([file, targets]) =>
    targets
      .filter((target) => room(target) !== room(file) && !reachable(room(file)).has(room(target)))
      .map((target) => {
        const allowed = [...reachable(room(file))].sort().join(', ') || 'nothing';
        return `${file} imports ${target}: ${room(file)} may import ${allowed}`;
      }),
  );
  const strangers = [...new Set([...imports.keys()].map(room))]
    .filter((name) => arrows[name] === undefined)
    .map((name) => `${name} has no arrows in scripts/import-rules.mjs`);
  return [...strangers, ...against, ...circles(imports).map((circle) => `a circle of imports: ${circle}`)];
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const lines = violations(fileURLToPath(new URL('../src', import.meta.url)));
  for (const line of lines) console.error(line);
  process.exitCode = lines.length === 0 ? 0 : 1;
}
