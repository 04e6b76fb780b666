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

export const tokenSchema = z
  .union([z.strictObject({ file: z.string() }), z.strictObject({ environmentVariable: z.string() })])
  .optional()
  .describe('Where the bearer token is that the server wants; the token itself is kept nowhere');
