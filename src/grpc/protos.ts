import { fileURLToPath } from 'node:url';
import { loadPackageDefinition, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import './quiet.js';

const folder = fileURLToPath(new URL('../../proto/', import.meta.url));

/**
 * A service as a .proto file of this package describes it: messages as plain objects with camelCase keys, 64-bit integers as
 * numbers, absent lists as empty ones, absent oneofs as absent keys.
 *
 * @param file its path under proto/, `pmpo/v1/trainer.proto`
 * @param service its full name, `pmpo.v1.Trainer`
 */
export function loadService(file: string, service: string): ServiceDefinition {
  const definition = loadSync(file, {
    includeDirs: [folder],
    keepCase: false,
    longs: Number,
    enums: String,
    arrays: true,
    defaults: false,
    oneofs: false,
  });
  const found = service
    .split('.')
    .reduce<unknown>(
      (tree, name) => (tree as Record<string, unknown> | undefined)?.[name],
      loadPackageDefinition(definition),
    );
  const client = found as { readonly service?: ServiceDefinition } | undefined;
  if (client?.service === undefined) throw new Error(`${file} has no service ${service}`);
  return client.service;
}
