import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { exitCodes } from '../../core/errors.js';

/** One line of the report. `missing`: pmpo cannot run without it; `optional`: it is not needed. */
interface Finding {
  readonly subject: string;
  readonly state: 'ok' | 'optional' | 'missing';
  readonly detail: string;
}

const oldestNode = 20;
const marks = { ok: '✓', optional: '·', missing: '✗' } as const;

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n')[0] ?? '';
}

function nodeFinding(): Finding {
  const { node, arch, platform } = { ...process, node: process.versions.node };
  const recent = Number.parseInt(node, 10) >= oldestNode;
  return {
    subject: 'Node.js',
    state: recent ? 'ok' : 'missing',
    detail: `${node} on ${platform} ${arch}, ${availableParallelism()} cores${recent ? '' : `; ${oldestNode} or newer is required`}`,
  };
}

async function engineFindings(): Promise<Finding[]> {
  const { detectEngines } = await import('../../engine/detect.js');
  return detectEngines().map(({ name, available, chosen, detail }) => ({
    subject: `engine ${name}`,
    state: available ? 'ok' : 'optional',
    detail: `${detail}${chosen ? ' (chosen by `engine: auto`)' : ''}`,
  }));
}

/** Loads a required package and reports its version. */
async function neededFinding(
  subject: string,
  name: string,
  load: () => Promise<string> | string,
): Promise<Finding> {
  try {
    return { subject, state: 'ok', detail: `${name} ${await load()}` };
  } catch (error) {
    return { subject, state: 'missing', detail: `${name} does not load: ${firstLine(error)}` };
  }
}

/** Reports Python and the environments that `pmpo serve` has made with it. */
async function pythonFinding(): Promise<Finding> {
  const { findInterpreter } = await import('../../python/interpreter.js');
  const { madeEnvironments, pythonFolder } = await import('../../python/virtual-environment.js');
  const subject = 'Python';
  const use = '`npx pmpo serve dm-control` and `npx pmpo serve gymnasium` use it';
  try {
    const { version, command } = await findInterpreter();
    const folder = pythonFolder();
    const made = await madeEnvironments(folder);
    const detail = `${version} (${command}); ${use}${made.length === 0 ? '' : `; environments in ${folder}: ${made.join(', ')}`}`;
    return { subject, state: 'ok', detail };
  } catch (error) {
    return { subject, state: 'optional', detail: `${firstLine(error)}; ${use}` };
  }
}

/** Examines everything on which pmpo depends. */
async function examine(): Promise<Finding[]> {
  return [
    nodeFinding(),
    ...(await engineFindings()),
    await neededFinding('simulation', 'MuJoCo (WebAssembly)', async () => {
      const { mujocoVersion } = await import('../../simulators/physics.js');
      return mujocoVersion();
    }),
    await neededFinding('gRPC', '@grpc/grpc-js', async () => {
      await import('@grpc/grpc-js');
      return (createRequire(import.meta.url)('@grpc/grpc-js/package.json') as { version: string }).version;
    }),
    await pythonFinding(),
  ];
}

/** `pmpo doctor`. */
export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description(
      'Report what pmpo finds on this machine: engines and the chosen one, simulation, gRPC, Python',
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  npx pmpo doctor')
    .action(async ({ json }: { json?: boolean }) => {
      const { columns } = await import('../describe.js');
      const findings = await examine();
      const rows = findings.map(({ subject, state, detail }) => [marks[state], subject, detail]);
      process.stdout.write(
        json === true ? `${JSON.stringify(findings, null, 2)}\n` : `${columns(rows).join('\n')}\n`,
      );
      if (findings.some(({ state }) => state === 'missing')) process.exitCode = exitCodes.failed;
    });
}
