import { suggestion } from '../core/nearest.js';
import type { Problem } from '../core/schema-problems.js';
import { isLocal } from '../grpc/security.js';
import { smallestErrorBuffer } from '../replay/rate-limiter.js';
import { addressesOf, type Config } from './control-schema.js';

type Complaint = readonly [path: string, what: string, remedy?: string];

/** The host of a URL, or the text itself if it is not a URL, which the schema reports. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : url;
}

/** Problems of a replay buffer in Redis, or of its keys without `replay.redis`. */
function replayProblems({ replay, learner, environment }: Config): Complaint[] {
  const { redis, samplesPerInsert, errorBuffer } = replay;
  if (redis === undefined) {
    const alone = (['redisPassword', 'redisTls', 'name', 'samplesPerInsert', 'errorBuffer'] as const).filter(
      (key) => replay[key] !== undefined,
    );
    const remedies: Readonly<Record<string, string>> = {
      samplesPerInsert: 'In one process learner.stepsPerUpdate sets the number of updates',
    };
    return alone.map((key) => [
      `replay.${key}`,
      'has no effect without replay.redis',
      remedies[key] ?? 'Set replay.redis to the address of Redis, or remove this key',
    ]);
  }
  const complaints: Complaint[] = [];
  // The message does not repeat the URL, because messages end up in logs.
  if (/^[^@]*:\/\/[^@]*:[^@]*@/.test(redis)) {
    complaints.push([
      'replay.redis',
      'contains a password, which would be copied to the folder of every run',
      'Remove it and set replay.redisPassword: {environmentVariable: NAME} or {file: PATH}',
    ]);
  }
  // `isLocal` takes an address with a port, which a URL may leave out.
  if (replay.redisPassword !== undefined && redis.startsWith('redis:') && !isLocal(`${hostOf(redis)}:`)) {
    complaints.push([
      'replay.redisPassword',
      'would be sent over the network unencrypted',
      'Write rediss:// in replay.redis for TLS',
    ]);
  }
  if (replay.redisTls !== undefined && !redis.startsWith('rediss:')) {
    complaints.push(['replay.redisTls', 'has no effect with redis://', 'Write rediss:// for TLS']);
  }
  if (errorBuffer !== undefined) {
    const needed = smallestErrorBuffer(
      samplesPerInsert ?? (learner.batchSize * environment.actionRepeat) / learner.stepsPerUpdate,
      learner.batchSize,
    );
    if (errorBuffer < needed) {
      complaints.push([
        'replay.errorBuffer',
        `with ${errorBuffer} samples, the learner and the actors could wait for each other forever`,
        `Set it to ${needed} or more`,
      ]);
    }
  }
  return complaints;
}

/** Problems of the connection to the servers. */
function addressProblems({ environment }: Pick<Config, 'environment'>): Complaint[] {
  const { address, tls, token, createSettings } = environment;
  const complaints: Complaint[] = [];
  // An embedded simulator validates its settings itself.
  if (address !== undefined && createSettings.batchSize !== undefined) {
    complaints.push([
      'environment.createSettings.batchSize',
      'is set by this program, which must know which environments share a stream',
      'Remove it and set environment.envsPerStream',
    ]);
  }
  for (const given of addressesOf(environment)) {
    const port = Number(given.match(/:(\d+)$/)?.[1] ?? 1);
    if (port < 1 || port > 65_535) {
      complaints.push(['environment.address', `${port} is not a valid port`, 'Give a port from 1 to 65535']);
    }
  }
  if (address === undefined) {
    for (const [key, value] of Object.entries({ tls, token })) {
      if (value === undefined || value === false) continue;
      const remedy = 'Set environment.address, or remove this key';
      complaints.push([`environment.${key}`, 'has no effect on the embedded server', remedy]);
    }
  }
  if (typeof tls === 'object' && (tls.certificate === undefined) !== (tls.key === undefined)) {
    const missing = tls.key === undefined ? 'key' : 'certificate';
    complaints.push([
      `environment.tls.${missing}`,
      'is missing: a certificate and its key belong together',
      'Give both, or neither',
    ]);
  }
  return complaints;
}

/** Problems of the environments and the connections to them. */
export function environmentProblems(
  config: Pick<Config, 'environment'>,
  simulators: readonly string[],
): Problem[] {
  const { environment } = config;
  const problems: Problem[] = [];
  const complain = (path: string, what: string, remedy?: string) =>
    problems.push({ path: path.split('.'), what, remedy });
  if (environment.address === undefined) {
    if (environment.simulator === undefined) {
      complain(
        'environment',
        'has neither a simulator nor an address',
        `Set environment.simulator (${simulators.join(', ')}) or environment.address (host:port)`,
      );
    } else if (!simulators.includes(environment.simulator)) {
      complain(
        'environment.simulator',
        `unknown embedded simulator '${environment.simulator}'`,
        `${suggestion(environment.simulator, simulators)}Known: ${simulators.join(', ')}. For a simulator on a server, set environment.address`,
      );
    }
  }
  for (const problem of addressProblems(config)) complain(...problem);
  return problems;
}

/** Problems of the networks of policy and critics. */
export function networkProblems({ policy, critic }: Pick<Config, 'policy' | 'critic'>): Problem[] {
  const problems: Problem[] = [];
  const complain = (path: string, what: string, remedy?: string) =>
    problems.push({ path: path.split('.'), what, remedy });
  if (policy.head !== 'categorical' && policy.minStddev >= policy.initialStddev) {
    complain(
      'policy.minStddev',
      `${policy.minStddev} is not below policy.initialStddev, ${policy.initialStddev}: the standard deviation could never shrink`,
    );
  }
  for (const [part, { residual, hidden }] of Object.entries({ policy, critic })) {
    if (residual && new Set(hidden).size > 1) {
      complain(
        `${part}.hidden`,
        `[${hidden.join(', ')}] has several widths, and residual blocks have one`,
        `Write one width for all blocks, or set ${part}.residual to false`,
      );
    }
  }
  if (critic.head === 'categorical' && !critic.normalizeTargets) {
    complain(
      'critic.normalizeTargets',
      "false does not fit critic.head=categorical, whose bins are placed by the targets' mean and standard deviation",
      'Remove it, or set critic.head to scalar',
    );
  }
  return problems;
}

/**
 * Finds settings of a control job that are valid one by one and contradict each other. Pure.
 * @param simulators the names of the embedded simulators.
 */
export function crossCheck(config: Config, simulators: readonly string[]): Problem[] {
  const { environment, learner, replay } = config;
  const problems: Problem[] = [...environmentProblems(config, simulators), ...networkProblems(config)];
  const complain = (path: string, what: string, remedy?: string) =>
    problems.push({ path: path.split('.'), what, remedy });

  if (learner.warmupSteps >= learner.environmentSteps) {
    complain(
      'learner.warmupSteps',
      `${learner.warmupSteps} steps leave none for training: learner.environmentSteps is ${learner.environmentSteps}`,
      'Lower learner.warmupSteps, or train for longer',
    );
  }
  if (learner.explorationCorrelation !== undefined && learner.explorationSwing !== undefined) {
    complain(
      'learner.explorationSwing',
      'cannot be set with learner.explorationCorrelation: the noise either swings or decays',
      'Remove one of the two',
    );
  }
  if (environment.numEnvs > learner.environmentSteps) {
    complain(
      'environment.numEnvs',
      `${environment.numEnvs} is more than learner.environmentSteps, ${learner.environmentSteps}`,
    );
  }
  if (replay.capacity < learner.batchSize) {
    complain(
      'replay.capacity',
      `${replay.capacity} is less than one batch: learner.batchSize is ${learner.batchSize}`,
      `Set it to ${learner.batchSize} or more`,
    );
  }
  for (const problem of replayProblems(config)) complain(...problem);
  return problems;
}
