/**
 * Compares the time of operators' losses and gradients in Python, run from their graphs, with the same losses written by hand: in
 * PyTorch, eager and compiled, and in JAX, with one thread. With `--resume FILE` a run that was stopped goes on.
 *
 *     npm run bench operators [-- --rounds N --only NAME[,NAME] --sizes 4x256,16x1024,4x8 --resume FILE]
 */

import { pythonOf, runPython } from './support/peers.js';

const python = await pythonOf('operators');
const results = JSON.parse(await runPython(python, 'operators_python.py', process.argv.slice(2))) as object;
console.log(JSON.stringify({ benchmark: 'operators', ...results }, undefined, 2));
