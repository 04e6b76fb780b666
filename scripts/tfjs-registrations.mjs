// `node scripts/tfjs-registrations.mjs`: writes two modules of src/engine, which are not committed. `npm run build` calls it.
//
// tfjs-core.js exports everything that @tensorflow/tfjs-core exports, and loads it with `require`. Node would read those 1.2 MB
// of CommonJS twice more to learn its names if it were imported, which takes longer than running it.
//
// tfjs-registrations.js registers the gradients and the methods of tensors (`x.add(y)`) of TensorFlow.js. The CommonJS build of
// tfjs-core leaves both out, and its ES modules import each other without file extensions, which Node refuses. The only other
// package with them is @tensorflow/tfjs, which adds 220 MB that nothing here uses. Everything that tfjs-core exports is imported
// from it, so that there is one instance of its operations; only the registrations and the helpers that tfjs-core does not export
// are bundled.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const require = createRequire(import.meta.url);
const core = '@tensorflow/tfjs-core';
const packageFile = require.resolve(`${core}/package.json`);
const sources = join(dirname(packageFile), 'dist');
const publicNames = new Set(Object.keys(require(core)));

const target = (name) => fileURLToPath(new URL(`../src/engine/${name}`, import.meta.url));

const everything = `export { ${[...publicNames].join(', ')} } from '${core}';`;

/** What stands in for a module whose exports tfjs-core publishes in another way. */
const standIns = {
  'base.js': everything,
  'ops/ops.js': everything,
  'engine.js': `import { engine } from '${core}'; export const ENGINE = engine();`,
  'util.js': namespace('util'),
  'ops/axis_util.js': namespace('backend_util'),
  'ops/broadcast_util.js': namespace('backend_util'),
  'ops/conv_util.js': namespace('backend_util'),
  'ops/slice_util.js': namespace('slice_util'),
  'tensor.js': `import { Tensor } from '${core}'; export { Tensor }; export const getGlobalTensorClass = () => Tensor;`,
  // The gradients and methods call it with tensors only.
  'tensor_util_env.js': 'export const convertToTensor = (tensor) => tensor;',
};

function namespace(name) {
  const members = Object.keys(require(core)[name]);
  return `import { ${name} } from '${core}'; export const { ${members.join(', ')} } = ${name};`;
}

/** The text to bundle for `file`: what tfjs-core has in its place, or undefined where only the file has it. */
function standIn(file) {
  const known = standIns[relative(sources, file).replaceAll('\\', '/')];
  if (known !== undefined) return known;
  const text = readFileSync(file, 'utf8');
  const names = [...text.matchAll(/^export (?:(?:function|const|class) (\w+)|\{([^}]*)\};)/gm)].flatMap(
    ([, name, list]) =>
      name === undefined ? list.split(',').map((one) => one.trim().replace(/^.* as /, '')) : [name],
  );
  const published = names.filter((name) => publicNames.has(name));
  // A module with some exports of each kind is bundled: its unpublished ones are what is needed.
  return names.length > 0 && published.length === names.length
    ? `export { ${names.join(', ')} } from '${core}';`
    : undefined;
}

const { version } = JSON.parse(readFileSync(packageFile, 'utf8'));
const head = (what) =>
  `// ${core} ${version}: ${what}. Copyright Google LLC, licensed under the Apache License 2.0.\n` +
  '// Written by scripts/tfjs-registrations.mjs when pmpo is built; not part of its repository.\n';

/** The text of tfjs-core.js. */
function coreModule() {
  return `${head('its exports')}import { createRequire } from 'node:module';

export const {
${[...publicNames].map((name) => `  ${name},`).join('\n')}
} = createRequire(import.meta.url)('${core}');
`;
}

/** The text of tfjs-registrations.js. */
async function registrationsModule() {
  const { outputFiles } = await build({
    stdin: {
      contents: "import './register_all_gradients'; import './public/chained_ops/register_all_chained_ops';",
      resolveDir: sources,
    },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'error',
    plugins: [
      {
        name: 'one-core',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: new RegExp(`^${core}$`) }, () => ({ path: './tfjs-core.js', external: true }));
          onLoad({ filter: /\.js$/ }, ({ path }) => {
            const contents = standIn(path);
            return contents === undefined ? undefined : { contents, resolveDir: dirname(path) };
          });
        },
      },
    ],
    absWorkingDir: sources,
  });
  return `${head('its gradients and methods of tensors')}${outputFiles[0].text}`;
}

/** The files that this script writes, with their text. */
export async function generatedModules() {
  return [
    { path: target('tfjs-core.js'), text: coreModule() },
    { path: target('tfjs-registrations.js'), text: await registrationsModule() },
  ];
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const { path, text } of await generatedModules()) {
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
    // Written aside first, so that an interrupted build leaves no half of it.
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  }
}
