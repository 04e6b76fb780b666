import type { Command } from 'commander';
import type { ActorProgress } from '../../learners/control/actor-process.js';
import { addConfigOptions, addOutputOptions, type ConfigOptions, overridesOf } from '../options.js';

interface ActOptions extends ConfigOptions {
  readonly quiet?: boolean;
  readonly json?: boolean;
}

/** Seconds between two lines about the progress of an actor. */
const sayEverySeconds = { lines: 30, json: 1 };

async function act(file: string, options: ActOptions): Promise<void> {
  const { loadConfig } = await import('../../config/load.js');
  const { publicModules } = await import('../../public-modules.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { formatCount } = await import('../../core/format.js');
  const { actRun } = await import('../../experiments/act-run.js');
  const loaded = await loadConfig(file, await overridesOf(options), { modules: publicModules });
  const say = (line: string) => {
    if (options.quiet !== true && options.json !== true) process.stderr.write(`${line}\n`);
  };
  const emit = (event: string, values: object) => {
    if (options.json === true) process.stdout.write(`${JSON.stringify({ event, ...values })}\n`);
  };
  const signals = handleSignals({
    onStop: () => say('Stopping: storing complete transitions … (again to stop at once)'),
  });
  const everyMs = 1000 * (options.json === true ? sayEverySeconds.json : sayEverySeconds.lines);
  let saidAt = 0;
  try {
    const { finished, ...result } = await actRun({
      loaded,
      notice: (message) => {
        say(message);
        emit('notice', { message });
      },
      onStart: (run, actor) => {
        say(`Acting for run '${run}' as ${actor}`);
        emit('start', { run, actor });
      },
      onStored: (progress: ActorProgress) => {
        const now = performance.now();
        if (now - saidAt < everyMs) return;
        saidAt = now;
        emit('stored', progress);
        say(
          `${formatCount(progress.stored)} transitions stored here, ${formatCount(progress.inserted)} by all actors; acting with the policy after ${formatCount(progress.updates)} updates`,
        );
      },
      signal: signals.signal,
    });
    emit('end', { finished, ...result });
    say(
      `${finished ? 'The run is finished' : 'Stopped'}: this actor stored ${formatCount(result.stored)} transitions`,
    );
  } finally {
    signals.dispose();
  }
}

/** `pmpo act`. */
export function addAct(program: Command): void {
  const command = program
    .command('act')
    .description('Act for a learner in another process, through Redis')
    .argument('<config>', "the learner's configuration, a YAML file with replay.redis");
  addConfigOptions(command);
  addOutputOptions(command)
    .addHelpText(
      'after',
      `
An actor steps its own environments with the newest policy that the learner has published, and stores the transitions in
Redis. You can start any number of actors on any number of machines, and kill and restart them at any time. An actor ends
by itself when the run is finished. Ctrl-C stores the complete transitions and exits with 0.

Examples:
  npx pmpo train examples/remote-actors.yaml      start the learner
  npx pmpo act examples/remote-actors.yaml        start an actor, in any number of terminals
  npx pmpo act examples/remote-actors.yaml --set replay.redis=redis://10.0.0.5:6379 --set environment.numEnvs=16`,
    )
    .action(act);
}
