import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { load, machine } from './support/machine.js';
import { program, root } from './support/peers.js';

/**
 * `npm run bench kills [KILLS] [OPERATOR]`: trains a short run that is killed (SIGKILL) KILLS times (25) and resumed each time, and one
 * that is left alone, and compares their last checkpoints (tensors, byte for byte), policies and evaluations. The kills come at random
 * instants: most soon after a checkpoint, in updates and writes, every third one while the run starts and resumes.
 */

const [killsGiven = '25', operator = 'pmpo'] = process.argv.slice(2);
const kills = Number(killsGiven);
const stepsPerKill = 200;
const total = stepsPerKill * (kills + 2);
const loadBefore = load();
const output = mkdtempSync(join(tmpdir(), 'pmpo-kills-'));

const settings = {
  'environment.numEnvs': 2,
  'environment.createSettings': '{episodeSteps: 120}',
  'policy.hidden': '[16]',
  'critic.hidden': '[16]',
  'learner.environmentSteps': total,
  'learner.warmupSteps': 100,
  'learner.batchSize': 16,
  'learner.stepsPerUpdate': 4,
  'replay.capacity': 1000,
  'evaluation.every': 700,
  'evaluation.episodes': 1,
  'checkpoint.every': stepsPerKill / 2,
};
const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
const newRun = (name: string) => [
  ...['train', join(root, 'examples/cartpole.yaml'), '--operator', operator],
  ...['--output', output, '--name', name, '--json', ...sets],
];

interface Started {
  /** Resolves when a checkpoint of at least so many steps has been written, or the program has ended. */
  passed(steps: number): Promise<void>;
  kill(): void;
  /** The exit code; null if it was killed. */
  readonly ended: Promise<number | null>;
}

function start(args: readonly string[]): Started {
  const child = spawn(process.execPath, [program, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr, wake] = ['', '', () => {}];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
    wake();
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  let hasEnded = false;
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('close', (code) => {
      hasEnded = true;
      wake();
      if (code === null || code === 0) resolve(code);
      else reject(new Error(`pmpo ended with ${code}: ${stderr}`));
    });
  });
  const saved = () =>
    Math.max(0, ...[...stdout.matchAll(/"event":"checkpoint","steps":(\d+)/g)].map(([, n]) => Number(n)));
  return {
    async passed(steps) {
      while (!hasEnded && saved() < steps) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    kill: () => child.kill('SIGKILL'),
    ended,
  };
}

/** The tensors of the last checkpoint, without its metadata, whose times differ between any two runs. */
function tensorsOf(name: string): Buffer {
  const file = join(output, name, 'checkpoints', `step-${String(total).padStart(12, '0')}.safetensors`);
  const bytes = readFileSync(file);
  return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
}

/** What the records say, without times. */
function recordsOf(name: string): string {
  const lines = readFileSync(join(output, name, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return JSON.stringify(records.map(({ kind, steps, updates, scores }) => [kind, steps, updates, scores]));
}

try {
  await start(newRun('whole')).ended;
  const resume = ['train', '--resume', join(output, 'killed'), '--json'];
  let done = 0;
  for (let life = 0; done < kills; life++) {
    const started = start(life === 0 ? newRun('killed') : resume);
    if (life % 3 === 2) await pause(2000 * Math.random());
    else {
      await started.passed(stepsPerKill * (done + 1));
      await pause(150 * Math.random());
    }
    started.kill();
    if ((await started.ended) !== null) break;
    done += 1;
    console.error(`killed ${done} times`);
  }
  await start(resume).ended;
  const isEqual = (read: (name: string) => Buffer | string) =>
    Buffer.from(read('whole')).equals(Buffer.from(read('killed')));
  const identical = {
    tensors: isEqual(tensorsOf),
    policy: isEqual((name) => readFileSync(join(output, name, 'policy.onnx'))),
    bestPolicy: isEqual((name) => readFileSync(join(output, name, 'policy-best.onnx'))),
    records: isEqual(recordsOf),
  };
  console.log(
    JSON.stringify({ machine: machine(loadBefore), operator, kills: done, steps: total, identical }),
  );
  process.exitCode = Object.values(identical).every(Boolean) && done === kills ? 0 : 1;
} finally {
  rmSync(output, { recursive: true });
}
