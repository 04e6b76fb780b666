import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from '../../../src/config/load.js';
import { fillNormal, randomKey } from '../../../src/core/random-keys.js';
import { createEngine } from '../../../src/engine/create.js';
import { TrainedPolicy } from '../../../src/learners/control/policy.js';
import { openRunDirectory, type RunDirectory } from '../../../src/run/run-directory.js';
import { tinyConfig, writeConfig } from '../../end-to-end/program.js';

const { PMPO_PYTHON_ONNX: python, PMPO_BIN: program } = process.env;
if (python === undefined || program === undefined) {
  throw new Error('run this with `npm run test:interop onnx`');
}
const script = fileURLToPath(new URL('act.py', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-onnx-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Rows of a row-major matrix. */
function rows(values: Float32Array, width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, i) => [
    ...values.subarray(i * width, (i + 1) * width),
  ]);
}

async function train(head: string, simulator: string): Promise<RunDirectory> {
  const config = tinyConfig(folder);
  config.environment.simulator = simulator;
  const file = await writeConfig(folder, `${head}.yaml`, stringify(config));
  const args = ['train', file, '--quiet', '--name', head, '--set', `policy.head=${head}`];
  execFileSync(process.execPath, [program!, ...args], { timeout: 60_000 });
  return openRunDirectory(join(folder, head));
}

/** The policy's outputs for observations [B, O], computed by Python's onnxruntime. */
function actionsInPython(file: string, observations: number[][]): Record<string, number[][]> {
  const output = execFileSync(python!, [script, file], {
    input: JSON.stringify(observations),
    timeout: 60_000,
  });
  return JSON.parse(output.toString()) as Record<string, number[][]>;
}

describe.each([
  { head: 'gaussian', simulator: 'walker_run', observations: 24 },
  { head: 'categorical', simulator: 'cartpole_swingup', observations: 5 },
])("the $head policy in Python's onnxruntime", ({ head, simulator, observations }) => {
  test('takes the actions of `pmpo eval`', async () => {
    const directory = await train(head, simulator);
    const { config } = await loadConfig(directory.files.config);
    const { checkpoint } = await directory.checkpoints.load();
    const engine = await createEngine('onnx');
    const policy = TrainedPolicy.fromCheckpoint(engine, config, checkpoint);
    expect(policy.shape.observationSize).toBe(observations);
    for (const [contexts, scale] of [
      [1, 1],
      [64, 1],
      [7, 100],
    ]) {
      const values = fillNormal(randomKey(contexts), new Float32Array(contexts * observations)).map(
        (v) => v * scale,
      );
      const ours = rows(await policy.act(values, contexts), policy.shape.actionMinimum.length);
      const theirs = actionsInPython(directory.files.policy, rows(values, observations));
      expect(theirs.canonicalAction).toHaveLength(contexts);
      const apart = theirs.canonicalAction.flatMap((action, i) =>
        action.map((v, j) => Math.abs(v - ours[i][j])),
      );
      expect(Math.max(...apart)).toBeLessThan(1e-5);
      // The actions of these simulators are bounded by -1 and 1, so scaling changes nothing.
      expect(theirs.action).toEqual(theirs.canonicalAction);
      if (contexts > 1) expect(new Set(ours.map(([first]) => first)).size).toBeGreaterThan(1);
    }
    await engine.dispose();
  });
});
