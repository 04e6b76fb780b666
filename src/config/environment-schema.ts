import { z } from 'zod';
import { settingTypes } from '../dm-env-rpc/codec/settings.js';
import { connectionDefaults } from '../grpc/connection-defaults.js';
import { addressSchema, tlsSchema, tokenSchema } from '../grpc/schema.js';
import { count, seconds } from './shared-schema.js';

/** The settings of a control job's environments, and of the connections to their servers; see control-schema.ts. */

const whole = (type: 'int8' | 'int32' | 'int64' | 'uint8' | 'uint32' | 'uint64') => {
  const [least, most] = settingTypes[type].range;
  return z.int().min(least).max(most).optional();
};

/** A setting of a simulator server. */
const settingSchema = z.union([
  z.string(),
  z.number(),
  z.boolean(),
  z
    .strictObject({
      float: z.number().optional(),
      double: z.number().optional(),
      int8: whole('int8'),
      int32: whole('int32'),
      int64: whole('int64'),
      uint8: whole('uint8'),
      uint32: whole('uint32'),
      uint64: whole('uint64'),
    })
    .refine((typed) => Object.keys(typed).length <= 1, 'must have one type, such as {double: 10}')
    .describe('A number with its type in dm_env_rpc'),
]);

export const environmentSchema = z
  .strictObject({
    simulator: z
      .string()
      .optional()
      .describe(
        'The name of an embedded simulator (see `npx pmpo simulators`); with `address`, the setting `simulator` sent to that server',
      ),
    address: z
      .union([addressSchema, z.array(addressSchema).min(1)])
      .optional()
      .describe(
        'host:port of a dm_env_rpc server, or a list of servers among which the streams are distributed in turn; default: an embedded server is started for this run',
      ),
    tls: tlsSchema,
    token: tokenSchema,
    observations: z
      .array(z.string())
      .min(1)
      .optional()
      .describe('Names of the observations that the policy sees; default: all numeric ones'),
    oneHotObservations: z
      .boolean()
      .default(true)
      .describe(
        'Whether each integer observation with a minimum and a maximum, such as those of Gymnasium’s Discrete, enters the policy as a one-hot code of its values; false: as a number',
      ),
    actionBounds: z
      .tuple([z.number(), z.number()])
      .refine(([minimum, maximum]) => minimum < maximum, 'the minimum must be below the maximum')
      .optional()
      .describe(
        'The minimum and the maximum of floating-point actions for which the server gives none, or bounds beyond 2^24 (16,777,216); default: such actions are an error',
      ),
    createSettings: z
      .record(z.string(), settingSchema)
      .prefault({})
      .describe(
        'Further settings of CreateWorld, in addition to `simulator`. A whole number is sent as an integer, unless it says its type: {double: 10}',
      ),
    joinSettings: z.record(z.string(), settingSchema).prefault({}).describe('Settings of JoinWorld'),
    numEnvs: count.max(256).default(8).describe('K, the number of environments that are stepped at once'),
    envsPerStream: count
      .max(256)
      .default(1)
      .describe(
        'Environments that share one gRPC stream, so that one message steps all of them; more than 1 requires a server with the setting `batchSize`, such as those of `npx pmpo serve`',
      ),
    actionRepeat: count
      .max(1000)
      .default(1)
      .describe(
        'Simulator steps for which each action is held, also called frame skip; rewards are summed and discounts multiplied, and an episode that ends ends the repetition. All other settings that count environment steps count simulator steps, as published benchmarks do',
      ),
    lockstep: z
      .boolean()
      .default(true)
      .describe(
        'true: all environments step together, and a run is exactly repeatable. false: a step needs only half of them, so that a slow or lost server does not delay the others',
      ),
    deadlineSeconds: seconds
      .default(connectionDefaults.simulatorDeadlineSeconds)
      .describe('Time after which a call without an answer counts as a lost connection'),
    keepaliveSeconds: seconds
      .default(connectionDefaults.keepaliveSeconds)
      .describe(
        'Interval of keepalive pings on an idle connection; some servers close connections that ping more often than every 300 s',
      ),
    maxMessageMegabytes: seconds
      .default(connectionDefaults.maxMessageMegabytes)
      .describe('Size limit of one message; a larger one is an error'),
    reconnect: z
      .strictObject({
        attempts: z
          .int()
          .min(0)
          .default(8)
          .describe('Attempts to reconnect before the run stops with an error'),
        initialDelaySeconds: seconds
          .default(0.25)
          .describe('Delay before the first attempt; it doubles with each further one'),
        maxDelaySeconds: seconds.default(10).describe('Longest delay between two attempts'),
      })
      .prefault({})
      .describe('What to do if the connection to a server is lost during a run'),
  })
  .describe('The environments in which the policy acts');
