import { realpath } from 'node:fs/promises';
import { relative } from 'node:path';
import { loadPolicyConfig } from '../config/load.js';
import { PmpoError } from '../core/errors.js';
import { formatCount } from '../core/format.js';
import { withoutType } from '../dm-env-rpc/codec/settings.js';
import { readRun } from '../report/run-data.js';
import { jobKind, jobTerms } from '../run/job-terms.js';
import { openRunDirectory, type RunDirectory } from '../run/run-directory.js';
import { builtInTasks } from '../simulators/built-in-tasks.js';
import { checkSettings, taskSettings } from '../simulators/definition.js';
import type { LoopbackServer } from '../system/loopback-server.js';
import type { PublicModules } from '../system/user-module.js';
import { startWatchServer } from '../watch/server.js';
import type { WatchedRun } from '../watch/watch-data.js';
import { evaluationSeeds } from './environments.js';
import { labelRuns, runFolders } from './join-report.js';
import { type ExportedPolicy, exportPolicies, type LoadedPolicyConfig } from './trained-policy.js';

/** Runs whose policies act in a browser, in the embedded simulators of their training. */

/** The most runs of a page: each has a simulator and a picture of its own. */
const mostRuns = 4;

/** What `watchRuns` needs. */
export interface WatchRunsOptions {
  /** Folders of runs, or of comparisons. */
  readonly folders: readonly string[];
  /** 0 for a free port. */
  readonly port: number;
  /** Modules that the plugins of the runs may import from this package. */
  readonly modules?: PublicModules;
}

/** A run that is served. */
interface OpenedRun {
  readonly config: LoadedPolicyConfig['config'];
  readonly shown: Omit<WatchedRun, 'about'>;
  readonly policies: readonly ExportedPolicy[];
  /** The seeds of the episodes of its evaluations. */
  readonly seeds: readonly number[];
}

/** The name of a run's embedded simulator. @throws PmpoError if a browser cannot simulate it. */
function simulatorOf({ files, path }: RunDirectory, { environment }: LoadedPolicyConfig['config']): string {
  const known = builtInTasks.map(({ name }) => name);
  const { address, simulator } = environment ?? {};
  if (address === undefined && simulator !== undefined && known.includes(simulator)) return simulator;
  throw new PmpoError({
    where: files.config,
    what:
      address !== undefined
        ? `its simulator is at ${String(address)}, and a browser cannot simulate it`
        : `its simulator is ${simulator === undefined ? 'not known' : `'${simulator}', of a plugin`}, and a browser cannot simulate it`,
    remedy: `\`npx pmpo report ${path}\` shows the run. A browser has ${known.join(', ')}`,
  });
}

async function openRun(folder: string, modules: PublicModules | undefined): Promise<OpenedRun> {
  const directory = await openRunDirectory(folder);
  const loaded = await loadPolicyConfig(directory.files.config, [], { modules, renamedKeys: 'read' });
  const { config } = loaded;
  const simulator = simulatorOf(directory, config);
  const { createSettings = {}, ...environment } = config.environment!;
  const plain = Object.fromEntries(
    Object.entries(createSettings).map(([name, setting]) => [name, withoutType(name, setting)]),
  );
  const { episodeSteps, actionRepeat } = checkSettings(simulator, taskSettings, plain);
  const policies = await exportPolicies(directory, loaded);
  const { steps: unit } = jobTerms[jobKind(config)];
  const shown = {
    name: directory.name,
    simulator,
    episodeSteps,
    simulatorRepeat: actionRepeat,
    actionRepeat: environment.actionRepeat,
    observations: environment.observations,
    oneHotObservations: environment.oneHotObservations,
    maxEpisodeSteps: config.evaluation.maxEpisodeSteps,
    policies: policies.map(({ name, steps }) => ({ name, about: `after ${formatCount(steps)} ${unit}` })),
  };
  const seeds = evaluationSeeds({ ...config, environment: config.environment! });
  return { config, shown, policies, seeds };
}

/**
 * Serves a page on which the policies of runs act.
 * @throws PmpoError if a folder is not that of a run with a checkpoint, or its simulator is none that a browser can simulate.
 */
export async function watchRuns({ folders, port, modules }: WatchRunsOptions): Promise<LoopbackServer> {
  const paths = (await Promise.all(folders.map(runFolders))).flat();
  const real = [...new Set(await Promise.all(paths.map((path) => realpath(path))))];
  if (real.length > mostRuns) {
    throw new PmpoError({
      where: folders.join(', '),
      what: `it has ${real.length} runs, and a page shows at most ${mostRuns}`,
      remedy: `Name those that you want: ${real.map((path) => relative('', path)).join(', ')}`,
    });
  }
  const runs: OpenedRun[] = [];
  for (const folder of real) runs.push(await openRun(folder, modules));
  const labeled = labelRuns(
    await Promise.all(
      runs.map(async ({ config, shown }, i) => ({
        name: shown.name,
        operator: config.operator.name,
        settings: config,
        // They tell which settings have an effect. Where they cannot be read, the policy can be watched all the same.
        metrics: await readRun(real[i]!).then(
          ({ metrics }) => metrics,
          () => [],
        ),
        label: '',
      })),
    ),
  );
  return startWatchServer({
    port,
    runs: runs.map(({ config, shown }, i) => ({
      ...shown,
      about: `${labeled[i]!.label}, seed ${config.seed}`,
    })),
    seeds: runs[0]!.seeds,
    policy: (run, name) => runs[run]!.policies.find((policy) => policy.name === name)!.onnx,
  });
}
