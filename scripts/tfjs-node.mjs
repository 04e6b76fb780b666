// Installs TensorFlow.js's native engine (`engine: tfjs-node`) into node_modules, on Linux on x86-64: `node scripts/tfjs-node.mjs`.
// `npm install @tensorflow/tfjs-node` downloads TensorFlow's library and a compiled binding from storage.googleapis.com. This
// script needs only package registries: it takes the package from npm, the library and its headers from the wheel of
// tensorflow-cpu on PyPI, and compiles the binding.
// Needs Python with pip, a C++ compiler, make, and 620 MB. It does not change package.json, so `npm ci` removes the engine again.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fail, root, say } from './bootstrap.mjs';
import { findPython } from './venv.mjs';

const packageVersion = '4.22.0';
/** Later versions round int32 differently from what the package expects. */
const tensorflow = 'tensorflow-cpu==2.15.1';
const nodeGyp = 'node-gyp@11.5.0';
const napi = 8;
/**
 * npm does not install an optional peer dependency of this package under its own name, so it is installed under an alias. A link
 * with the package's own name makes its imports resolve to the same modules as ours.
 */
const alias = 'tfjs-node';
const folder = join(root, 'node_modules', alias);
const link = join(root, 'node_modules/@tensorflow/tfjs-node');

const run = (command, args, options = {}) =>
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'], ...options });

/** Python program that extracts the needed files of a wheel: `python -c extract WHEEL FOLDER`. */
const extract = `
import sys, zipfile
wanted = ("tensorflow/include/tensorflow/c", "tensorflow/include/tensorflow/core/platform/", "tensorflow/include/tsl/",
          "tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")
with zipfile.ZipFile(sys.argv[1]) as wheel:
    wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith(wanted)])
`;

/** Downloads TensorFlow's headers and libraries to the folder in which the package's binding looks for them. */
function addLibrary(python) {
  const scratch = mkdtempSync(join(tmpdir(), 'pmpo-tfjs-node-'));
  try {
    const platform = [
      '--only-binary=:all:',
      '--python-version',
      '3.11',
      '--platform',
      'manylinux2014_x86_64',
    ];
    run(python, ['-m', 'pip', 'download', '--quiet', '--no-deps', ...platform, '-d', scratch, tensorflow]);
    const [wheel] = readdirSync(scratch);
    const deps = join(folder, 'deps');
    rmSync(deps, { recursive: true, force: true });
    mkdirSync(join(deps, 'lib'), { recursive: true });
    // Unpacked next to the destination, so that files can be moved by renaming.
    const unpacked = join(deps, 'unpacked');
    run(python, ['-c', extract, join(scratch, wheel), unpacked]);
    renameSync(join(unpacked, 'tensorflow/include'), join(deps, 'include'));
    for (const [name, plain] of [
      ['libtensorflow_cc.so.2', 'libtensorflow.so'],
      ['libtensorflow_framework.so.2', 'libtensorflow_framework.so'],
    ]) {
      renameSync(join(unpacked, 'tensorflow', name), join(deps, 'lib', name));
      symlinkSync(name, join(deps, 'lib', plain));
    }
    rmSync(unpacked, { recursive: true });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function compileBinding() {
  // If Node was installed with its headers, they need not be downloaded.
  const nodeFolder = dirname(dirname(process.execPath));
  const headers = existsSync(join(nodeFolder, 'include/node/node_api.h')) ? [`--nodedir=${nodeFolder}`] : [];
  const variables = [
    '-Dmodule_name=tfjs_binding',
    `-Dmodule_path=${join(folder, `lib/napi-v${napi}`)}`,
    `-Dnapi_build_version=${napi}`,
  ];
  const options = ['--yes', nodeGyp, 'rebuild', '--silent', ...headers, '--', ...variables];
  run('npx', options, { cwd: folder });
}

if (process.platform !== 'linux' || process.arch !== 'x64') {
  fail(
    'This script supports only Linux on x86-64; elsewhere use `npm install --no-save @tensorflow/tfjs-node`.',
  );
}
const python = findPython();
if (python === undefined) fail('no Python 3.10 or newer found (set PYTHON to its path)');
try {
  say(`Installing @tensorflow/tfjs-node ${packageVersion} …`);
  const flags = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund'];
  run('npm', ['install', ...flags, `${alias}@npm:@tensorflow/tfjs-node@${packageVersion}`]);
  rmSync(link, { recursive: true, force: true });
  say(`Fetching ${tensorflow} …`);
  addLibrary(python);
  say('Compiling the binding …');
  compileBinding();
  symlinkSync(join('..', alias), link);
  const check =
    "const tf = require('@tensorflow/tfjs-node'); console.log(tf.getBackend(), tf.add(1, 2).dataSync()[0])";
  const answer = execFileSync(process.execPath, ['-e', check], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' },
  });
  if (answer.trim() !== 'tensorflow 3') throw new Error(`its self-test printed: ${answer.trim()}`);
  say('Ready: `engine: tfjs-node`.');
} catch (error) {
  for (const path of [link, folder]) rmSync(path, { recursive: true, force: true });
  fail(`tfjs-node could not be installed: ${error.message}`);
}
