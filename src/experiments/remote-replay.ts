import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { ResolvedConfig } from '../config/load.js';
import { PmpoError } from '../core/errors.js';
import type { RemoteReplay } from '../learners/control/remote-actors.js';
import type { RedisAddress } from '../replay/redis/connection.js';
import { ReplayReader } from '../replay/redis/replay-reader.js';
import type { RunDirectory } from '../run/run-directory.js';
import { describeProcess, isRunning, type ProcessIdentity, thisProcess } from '../system/processes.js';
import type { ConnectOptions } from './environments.js';
import { defaultRunName } from './run-name.js';

/** The run's name in Redis, by which learner and actors find each other. */
export function redisRunName(config: ResolvedConfig): string {
  return config.replay.name ?? config.name ?? defaultRunName(config);
}

async function read(key: string, file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new PmpoError({
      where: `replay.${key}`,
      what: missing
        ? `the file ${file} does not exist`
        : `${file} cannot be read: ${(cause as Error).message}`,
      cause,
    });
  }
}

async function readPassword({ redisPassword }: ResolvedConfig['replay']): Promise<string | undefined> {
  if (redisPassword === undefined) return undefined;
  const isFile = 'file' in redisPassword;
  const text = isFile
    ? String(await read('redisPassword.file', redisPassword.file)).replace(/\r?\n$/, '')
    : (process.env[redisPassword.environmentVariable] ?? '');
  if (text !== '') return text;
  throw new PmpoError({
    where: 'replay.redisPassword',
    what: isFile
      ? `the file ${redisPassword.file} is empty`
      : `the environment variable ${redisPassword.environmentVariable} is not set`,
    remedy: 'Put the password of Redis there, or leave replay.redisPassword out',
  });
}

/** The address and credentials of Redis. @throws PmpoError if a password or a certificate cannot be read. */
export async function redisAddress({ replay }: ResolvedConfig): Promise<RedisAddress> {
  const { redis, redisTls: files = {} } = replay;
  if (redis === undefined) {
    throw new PmpoError({
      where: 'replay.redis',
      what: 'it is not set, and actors send their transitions to the learner through Redis',
      remedy: 'Give its address in the configuration, or with --set replay.redis=redis://HOST:6379',
    });
  }
  return {
    url: redis,
    password: await readPassword(replay),
    tls: {
      ca: await read('redisTls.ca', files.ca),
      cert: await read('redisTls.certificate', files.certificate),
      key: await read('redisTls.key', files.key),
      servername: files.serverName,
    },
  };
}

/** The owner of a run's lock in Redis: the learner's process, and an id that no other learner has. */
type Holder = ProcessIdentity & { readonly id: string };

function parseHolder(text: string): Holder | undefined {
  try {
    return JSON.parse(text) as Holder;
  } catch {
    return undefined;
  }
}

/**
 * Opens the learner's end of the configured Redis, and takes the run's lock.
 * @param isNew whether the run starts now, and is not resumed.
 * @throws PmpoError if Redis cannot be reached, or another learner has the lock.
 */
export async function openReplayReader(
  config: ResolvedConfig,
  isNew: boolean,
  { notice, signal }: ConnectOptions,
): Promise<ReplayReader> {
  const holder: Holder = { ...thisProcess(), id: randomUUID() };
  return ReplayReader.open({
    address: await redisAddress(config),
    name: redisRunName(config),
    me: JSON.stringify(holder),
    refuseUnfinished: isNew && !config.replay.discard,
    isGone: (text) => {
      const other = parseHolder(text);
      return other !== undefined && isRunning(other) === false;
    },
    describe: (text) => {
      const other = parseHolder(text);
      return other === undefined ? text : describeProcess(other);
    },
    notice,
    signal,
  });
}

/** The transitions in Redis, for the learner of the run in this folder. */
export function remoteReplay(
  reader: ReplayReader,
  directory: RunDirectory,
  { environment }: ResolvedConfig,
): RemoteReplay {
  return {
    reader,
    token: randomUUID(),
    label: `${directory.path} on ${hostname()}`,
    simulator: environment.simulator,
  };
}
