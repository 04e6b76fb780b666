import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { isRunning, type ProcessIdentity, processIdentity } from './processes.js';

/**
 * Ends this process with the program that started it, where nothing else does. npm, npx and their like start a program through
 * a shell: a SIGTERM to npx ends npx and the shell, a SIGKILL ends npx alone, and neither reaches the program.
 */

/** The environment variable by which a pmpo process asks the pmpo processes that it starts to end with it. */
export const endsWithParent = 'PMPO_ENDS_WITH_PARENT';

/** The parent and the command line of a process. */
interface ProcessFacts {
  readonly parent: number;
  readonly command: string;
}

/** The facts of a process from Linux's /proc, or else from `ps`; undefined where there is neither. */
function factsOf(pid: number): ProcessFacts | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const parent = Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[1]);
    return { parent, command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') };
  } catch {}
  try {
    const text = execFileSync('ps', ['-o', 'ppid=,command=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [, parent, command] = /^\s*(\d+)\s+(.*)/.exec(text) ?? [];
    return parent === undefined ? undefined : { parent: Number(parent), command: command! };
  } catch {
    return undefined;
  }
}

const packageRunner = /(^|[\s/\\])(npm|npx|pnpm|pnpx|yarn|yarnpkg|bun|bunx|corepack)([\s.-]|$)/;
const shellWithCommand = /^\S*sh -c /;

/**
 * The processes without which this one shall not go on: npm or its like and the shell between, or the pmpo process that started
 * this one. Empty for a program that was started in any other way: a shell may end before the programs that it started.
 */
function startersOf(env: NodeJS.ProcessEnv): ProcessIdentity[] {
  const parent = process.ppid;
  if (env[endsWithParent] !== undefined) return [processIdentity(parent)];
  if (env.npm_execpath === undefined) return [];
  const facts = factsOf(parent);
  if (facts === undefined) return [];
  if (shellWithCommand.test(facts.command)) {
    const above = factsOf(facts.parent);
    if (above !== undefined && packageRunner.test(above.command)) {
      return [processIdentity(parent), processIdentity(facts.parent)];
    }
  }
  return packageRunner.test(facts.command) ? [processIdentity(parent)] : [];
}

/**
 * Calls `onGone` once when a process has ended that this one shall not outlive.
 * @returns a function that stops the watch.
 */
export function watchStarter(onGone: () => void, everyMs = 1000): () => void {
  const starters = startersOf(process.env);
  if (starters.length === 0) return () => {};
  const timer = setInterval(() => {
    // The system gives another parent to a process whose parent has ended.
    const isGone = process.ppid !== starters[0]!.pid || !starters.every(isRunning);
    if (!isGone) return;
    clearInterval(timer);
    onGone();
  }, everyMs);
  // The watch alone does not keep the program alive.
  timer.unref();
  return () => clearInterval(timer);
}
