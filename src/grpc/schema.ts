import { z } from 'zod';

/** The configuration schemas of connections to servers. */

/** The address of a gRPC server. */
export const addressSchema = z
  .string()
  .regex(/^(?!\w+:\/\/)(\S+:\d{1,5}|unix:\S+)$/, 'host:port without a scheme, such as 127.0.0.1:9000');

/** TLS of a client. */
export const tlsSchema = z
  .union([
    z.boolean(),
    z.strictObject({
      ca: z.string().optional().describe("Certificate authorities to trust instead of the system's"),
      certificate: z.string().optional().describe("The client's own certificate, for mutual TLS"),
      key: z.string().optional().describe('The private key of that certificate'),
      serverName: z
        .string()
        .optional()
        .describe("The name in the server's certificate, if it differs from the address"),
    }),
  ])
  .default(false)
  .describe("TLS: true for the system's authorities, or PEM files, with paths relative to the configuration");

const duration = z.number().positive();

/** Optional keys of a connection, whose defaults are those of the client. */
export const patienceKeys = {
  keepaliveSeconds: duration.optional().describe('Time between keepalive pings on an idle connection'),
  maxMessageMegabytes: duration.optional().describe('Larger messages are an error'),
  reconnect: z
    .strictObject({
      attempts: z.int().min(0).optional().describe('Attempts after a lost connection before the run stops'),
      initialDelaySeconds: duration
        .optional()
        .describe('Delay before the first attempt; doubled for each one after it'),
      maxDelaySeconds: duration.optional(),
    })
    .optional()
    .describe(
      'What to do when the connection is lost; by default, the client tries again for about three minutes',
    ),
};

export const tokenSchema = z
  .union([z.strictObject({ file: z.string() }), z.strictObject({ environmentVariable: z.string() })])
  .optional()
  .describe('Where to read the bearer token for the server; the token itself is not stored');

/** Optional keys of connections to several equal servers, whose defaults are those of `resolveSettings`. */
export const poolKeys = {
  tls: tlsSchema,
  token: tokenSchema,
  inFlight: z
    .int()
    .min(1)
    .optional()
    .describe('Maximum number of concurrent calls to one address; default: 64'),
  ...patienceKeys,
};
