import { nearest } from '../core/nearest.js';
import type { Problem } from '../core/schema-problems.js';
import { smallestErrorBuffer } from '../replay/rate-limiter.js';
import type { Config } from './schema.js';

type Complaint = readonly [path: string, what: string, remedy?: string];

/** What is wrong with a replay in Redis. */
function replayProblems({ replay, learner }: Config): Complaint[] {
  const { redis, samplesPerInsert, errorBuffer } = replay;
  if (redis === undefined) {
    const alone = (['redisPassword', 'redisTls', 'name', 'samplesPerInsert', 'errorBuffer'] as const).filter(
      (key) => replay[key] !== undefined,
    );
    const where: Readonly<Record<string, string>> = {
      samplesPerInsert: 'In one process learner.stepsPerUpdate says how many updates there are',
    };
    return alone.map((key) => [
      `replay.${key}`,
      'means nothing without replay.redis',
      where[key] ?? 'Give the address of Redis (replay.redis), or leave it out',
    ]);
  }
  const complaints: Complaint[] = [];
  // The URL itself is not repeated: what is shown ends up in logs.
  if (/^[^@]*:\/\/[^@]*:[^@]*@/.test(redis)) {
    complaints.push([
      'replay.redis',
      'holds a password, which every run would write down',
      'Take it out and name where it is: replay.redisPassword: {environmentVariable: NAME} or {file: PATH}',
    ]);
  }
  if (replay.redisTls !== undefined && !redis.startsWith('rediss:')) {
    complaints.push(['replay.redisTls', 'means nothing with redis://', 'Write rediss:// for TLS']);
  }
  if (errorBuffer !== undefined) {
    const needed = smallestErrorBuffer(
      samplesPerInsert ?? learner.batchSize / learner.stepsPerUpdate,
      learner.batchSize,
    );
    if (errorBuffer < needed) {
      complaints.push([
        'replay.errorBuffer',
        `with ${errorBuffer} samples, learner and actors could wait for each other for ever`,
        `Give ${needed} or more`,
      ]);
    }
  }
  return complaints;
}

/** The servers of a configuration; none where the embedded one is meant. */
export function addressesOf({ address = [] }: Pick<Config['environment'], 'address'>): readonly string[] {
  return typeof address === 'string' ? [address] : address;
}

/** What is wrong with how the servers are reached and trusted, and with what only this program may ask of them. */
function addressProblems({ environment }: Config): Complaint[] {
  const { address, tls, token, createSettings } = environment;
  const complaints: Complaint[] = [];
  // The settings of an embedded simulator are checked against what it knows.
  if (address !== undefined && createSettings.batchSize !== undefined) {
    complaints.push([
      'environment.createSettings.batchSize',
      'is sent by this program itself, which has to know which worlds share a stream',
      'Leave it out and set environment.envsPerStream',
    ]);
  }
  for (const given of addressesOf(environment)) {
    const port = Number(given.match(/:(\d+)$/)?.[1] ?? 1);
    if (port < 1 || port > 65_535)
      complaints.push(['environment.address', `${port} is no port`, 'Give one from 1 to 65535']);
  }
  if (address === undefined) {
    for (const [key, value] of Object.entries({ tls, token })) {
      if (value === undefined || value === false) continue;
      const remedy = 'Give environment.address, or leave it out';
      complaints.push([`environment.${key}`, 'means nothing to the embedded server', remedy]);
    }
  }
  if (typeof tls === 'object' && (tls.certificate === undefined) !== (tls.key === undefined)) {
    const missing = tls.key === undefined ? 'key' : 'certificate';
    complaints.push([
      `environment.tls.${missing}`,
      'is missing: a certificate and its key go together',
      'Give both, or neither',
    ]);
  }
  return complaints;
}

/** What the single keys cannot say: settings that contradict one another. Pure; found before anything starts. */
export function crossCheck(config: Config, simulators: readonly string[]): Problem[] {
  const { environment, learner, policy, replay } = config;
  const problems: Problem[] = [];
  const complain = (path: string, what: string, remedy?: string) =>
    problems.push({ path: path.split('.'), what, remedy });

  if (environment.address === undefined) {
    if (environment.simulator === undefined) {
      complain(
        'environment',
        'names neither a simulator nor an address',
        `Give environment.simulator (${simulators.join(', ')}) or environment.address (host:port)`,
      );
    } else if (!simulators.includes(environment.simulator)) {
      const guess = nearest(environment.simulator, simulators);
      complain(
        'environment.simulator',
        `unknown embedded simulator '${environment.simulator}'`,
        `${guess === undefined ? '' : `Did you mean '${guess}'? `}Known: ${simulators.join(', ')}. Others are reached by environment.address`,
      );
    }
  }
  if (learner.warmupSteps >= learner.environmentSteps) {
    complain(
      'learner.warmupSteps',
      `${learner.warmupSteps} leaves nothing to learn in: learner.environmentSteps is ${learner.environmentSteps}`,
      'Make it smaller',
    );
  }
  if (environment.numEnvs > learner.environmentSteps) {
    complain(
      'environment.numEnvs',
      `${environment.numEnvs} is more than all environment steps (learner.environmentSteps is ${learner.environmentSteps})`,
    );
  }
  if (replay.capacity < learner.batchSize) {
    complain(
      'replay.capacity',
      `${replay.capacity} holds no batch: learner.batchSize is ${learner.batchSize}`,
      `Give ${learner.batchSize} or more`,
    );
  }
  for (const problem of [...addressProblems(config), ...replayProblems(config)]) complain(...problem);
  if (policy.head !== 'categorical' && policy.minStddev >= policy.initialStddev) {
    complain(
      'policy.minStddev',
      `${policy.minStddev} is not below policy.initialStddev, ${policy.initialStddev}: the deviation could never shrink`,
    );
  }
  return problems;
}
