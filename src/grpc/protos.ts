import { fileURLToPath } from 'node:url';
import { loadPackageDefinition, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import './quiet.js';

const folder = fileURLToPath(new URL('../../proto/', import.meta.url));

/**
 * Loads a service from a .proto file of this package. Messages are plain objects with camelCase keys, 64-bit integers are
 * numbers, and enums are names. In messages that are read, absent lists are empty, and other absent fields are undefined. The
 * types of the messages are in src/generated/.
 *
 * @param file the path below proto/, `pmpo/v1/trainer.proto`
 * @param service the full name, `pmpo.v1.Trainer`
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

/**
 * A service that `loadService` loads when it is first asked for: reading a .proto file takes longer than most commands that
 * import its client without calling it.
 */
export function serviceOnDemand(file: string, service: string): () => ServiceDefinition {
  let loaded: ServiceDefinition | undefined;
  return () => {
    loaded ??= loadService(file, service);
    return loaded;
  };
}
