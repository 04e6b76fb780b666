import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { runToEnd } from '../system/processes.js';
import { pluginFolder } from './plugin-server.js';
import { ensureVirtualEnvironment, pythonFolder } from './virtual-environment.js';

/** CMA-ES by its author, as a reference from outside: plugins/cma-es. */

/** A search that CMA-ES makes. */
export interface CmaEsSearch {
  /** The name of a benchmark function. */
  readonly function: string;
  /** The mean at the start, canonical, [D]. */
  readonly start: readonly number[];
  readonly seed: number;
}

export interface CmaEsRequest {
  readonly searches: readonly CmaEsSearch[];
  /** The standard deviation at the start, canonical. */
  readonly stddev: number;
  /** The most evaluations of each search. */
  readonly evaluations: number;
}

export interface CmaEsResult {
  readonly versions: Readonly<Record<string, string>>;
  /** For each search, after each generation: the evaluations so far, and f at the mean, less the least value of f. */
  readonly traces: readonly (readonly (readonly [evaluations: number, value: number])[])[];
}

/**
 * Makes the searches, in a Python environment that is made once.
 * @throws PmpoError if there is no Python, pip fails, or the program ends with an error.
 */
export async function searchWithCmaEs(
  request: CmaEsRequest,
  { say, signal }: { readonly say: (line: string) => void; readonly signal?: AbortSignal },
): Promise<CmaEsResult> {
  const plugin = pluginFolder('cma-es');
  const python = await ensureVirtualEnvironment({
    requirements: join(plugin, 'requirements', 'cma-es.txt'),
    folder: pythonFolder(),
    say,
    signal,
  });
  const folder = await mkdtemp(join(tmpdir(), 'pmpo-cma-es-'));
  try {
    const [given, made] = [join(folder, 'request.json'), join(folder, 'result.json')];
    await writeFile(given, JSON.stringify(request));
    // -B: an installed package is not written to. The module is found in the working directory.
    const { code, lastLines } = await runToEnd(python, ['-B', '-m', 'pmpo_cma_es', given, made], {
      signal,
      cwd: plugin,
    });
    if (code !== 0) {
      throw new PmpoError({
        where: 'CMA-ES',
        what: lastLines.slice(-3).join(' | ').trim() || `it ended with exit code ${code}`,
      });
    }
    return JSON.parse(await readFile(made, 'utf8')) as CmaEsResult;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
