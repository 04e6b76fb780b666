import { z } from 'zod';

/** How servers are reached and trusted, as a configuration says it. */

/** Where a gRPC server is. */
export const addressSchema = z
  .string()
  .regex(/^(\S+:\d{1,5}|unix:\S+)$/, 'host:port, such as 127.0.0.1:9000');

/** TLS of a client. */
export const tlsSchema = z
  .union([
    z.boolean(),
    z.strictObject({
      ca: z.string().optional().describe("Authorities to trust in place of the system's"),
      certificate: z.string().optional().describe("The client's own certificate, for mutual TLS"),
      key: z.string().optional().describe('Its private key'),
      serverName: z
        .string()
        .optional()
        .describe("The name in the server's certificate, where it is not the address's"),
    }),
  ])
  .default(false)
  .describe("TLS: true for the system's authorities, or PEM files, beside the configuration or absolute");

const duration = z.number().positive();

/** Keys of a connection, beside its address, whose defaults are its client's. */
export const patienceKeys = {
  keepaliveSeconds: duration.optional().describe('Between two signs of life on a silent connection'),
  maxMessageMegabytes: duration.optional().describe('Larger messages are an error'),
  reconnect: z
    .strictObject({
      attempts: z.int().min(0).optional().describe('Attempts after a lost connection before the run stops'),
      initialDelaySeconds: duration.optional().describe('Delay before the first; doubled for each one after'),
      maxDelaySeconds: duration.optional(),
    })
    .optional()
    .describe('What happens when the server goes away; by default it is waited for about three minutes'),
};

export const tokenSchema = z
  .union([z.strictObject({ file: z.string() }), z.strictObject({ environmentVariable: z.string() })])
  .optional()
  .describe('Where the bearer token is that the server wants; the token itself is kept nowhere');
