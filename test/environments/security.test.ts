import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { RemoteEnvironment } from '../../src/dm-env-rpc/client/remote-environment.js';
import { type EnvironmentServer, serveEnvironments } from '../../src/dm-env-rpc/server/serve-environments.js';
import { SecurityError } from '../../src/grpc/errors.js';
import { isLocal } from '../../src/grpc/security.js';
import { ensureBuilt, run, writeConfig } from '../end-to-end/program.js';
import { countingEnvironment } from '../support/counting-environment.js';
import { authority, type KeyPair, signed } from './certificates.js';
import { folderFor, smallRun, train } from './run.js';

const token = 'a-secret-token';
const wrongToken = 'another-secret-token';

let folder: Awaited<ReturnType<typeof folderFor>>;
let foreignServer: KeyPair;
let ca: KeyPair;
let own: KeyPair;
let stranger: KeyPair;

beforeAll(async () => {
  folder = await folderFor('security');
  const foreign = await authority('an unknown authority');
  ca = await authority('the authority of the tests');
  own = await signed('client.example', { by: ca });
  stranger = await signed('client.example', { by: foreign });
  const files = {
    'ca.pem': ca.certificate,
    'own.pem': own.certificate,
    'own.key': own.key,
    'stranger.pem': stranger.certificate,
    'stranger.key': stranger.key,
    token: `${token}\n`,
    'wrong-token': `${wrongToken}\n`,
    'empty-token': '\n',
    'two-lines': 'one\ntwo\n',
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);
  foreignServer = await signed('127.0.0.1', { by: foreign });
});
afterAll(() => folder.remove());

const servers: EnvironmentServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

/** A server with a certificate, or without TLS. */
async function serve(
  certificate: KeyPair | undefined,
  more: { readonly asksForCertificates?: boolean; readonly token?: string } = {},
): Promise<string> {
  const pair = (p: KeyPair) => ({ cert_chain: Buffer.from(p.certificate), private_key: Buffer.from(p.key) });
  const server = await serveEnvironments({
    createEnvironment: async () => countingEnvironment(),
    token: more.token,
    credentials:
      certificate &&
      grpc.ServerCredentials.createSsl(
        Buffer.from(ca.certificate),
        [pair(certificate)],
        more.asksForCertificates,
      ),
  });
  servers.push(server);
  return server.address;
}

const good = () => signed('127.0.0.1', { by: ca });
// Paths relative to the configuration.
const tls = { ca: 'ca.pem' };
const mutual = { ...tls, certificate: 'own.pem', key: 'own.key' };

describe('a run on a server with a certificate, which requires one and a token', () => {
  it('learns, and does not write the token anywhere', async () => {
    const address = await serve(await good(), { asksForCertificates: true, token });
    const config = smallRun(folder.path, { address, tls: mutual, token: { file: 'token' } });
    const { code, said } = await train(folder.path, config, ['--name', 'right']);
    expect(code).toBe(0);
    const left = join(folder.path, 'right');
    const summary = JSON.parse(await readFile(join(left, 'summary.json'), 'utf8')) as object;
    expect(summary).toMatchObject({ steps: 200 });
    const written = await readFile(join(left, 'config.yaml'), 'utf8');
    expect(written).toContain(`file: ${join(folder.path, 'token')}`);
    for (const text of [written, said, await readFile(join(left, 'metrics.jsonl'), 'utf8')]) {
      expect(text).not.toContain(token);
    }
  });
});

interface Wrong {
  readonly server: () => Promise<string>;
  readonly environment: Record<string, unknown>;
  readonly message: RegExp;
}

const wrong: Readonly<Record<string, Wrong>> = {
  'a certificate that has expired': {
    server: async () => serve(await signed('127.0.0.1', { by: ca, expired: true })),
    environment: { tls },
    message: /127\.0\.0\.1:\d+: the server's certificate has expired/,
  },
  'a self-signed certificate': {
    server: async () => serve(await signed('127.0.0.1')),
    environment: { tls },
    message: /the server's certificate is self-signed.*environment\.tls\.ca/,
  },
  'a certificate of an unknown authority': {
    server: () => serve(foreignServer),
    environment: { tls },
    message: /signed by an authority that is not trusted here.*environment\.tls\.ca/,
  },
  'an authority that is unknown to the system': {
    server: async () => serve(await good()),
    environment: { tls: true },
    message: /signed by an authority that is not trusted here.*environment\.tls\.ca/,
  },
  'a certificate for another host': {
    server: async () => serve(await signed('simulators.example', { by: ca })),
    environment: { tls },
    message: /the server's certificate is for another host.*environment\.tls\.serverName/,
  },
  'a server without TLS': {
    server: () => serve(undefined),
    environment: { tls },
    message: /the server does not speak TLS/,
  },
  'a server with TLS, without tls': {
    server: async () => serve(await good()),
    environment: {},
    message: /the server speaks TLS. Set environment\.tls/,
  },
  'no client certificate for a server that requires one': {
    server: async () => serve(await good(), { asksForCertificates: true }),
    environment: { tls },
    message: /client certificate.*environment\.tls\.certificate and environment\.tls\.key/,
  },
  'a client certificate that the server does not trust': {
    server: async () => serve(await good(), { asksForCertificates: true }),
    environment: { tls: { ...tls, certificate: 'stranger.pem', key: 'stranger.key' } },
    message: /environment\.tls\.certificate.*signed by an authority that the server trusts/,
  },
  'the key of another certificate': {
    server: async () => serve(await good()),
    environment: { tls: { ...mutual, key: 'stranger.key' } },
    message: /environment\.tls: the TLS files cannot be used/,
  },
  'a missing file': {
    server: async () => serve(await good()),
    environment: { tls: { ca: 'nothing.pem' } },
    message: /environment\.tls\.ca: the file \/.*nothing\.pem does not exist/,
  },
  'a wrong token': {
    server: async () => serve(await good(), { token }),
    environment: { tls, token: { file: 'wrong-token' } },
    message: /the server requires authentication.*environment\.token/,
  },
  'no token for a server that requires one': {
    server: async () => serve(await good(), { token }),
    environment: { tls },
    message: /the server requires authentication.*environment\.token/,
  },
  'an empty token file': {
    server: async () => serve(await good()),
    environment: { tls, token: { file: 'empty-token' } },
    message: /environment\.token: the file .* is empty/,
  },
  'a token of two lines': {
    server: async () => serve(await good()),
    environment: { tls, token: { file: 'two-lines' } },
    message: /environment\.token: the content of .* cannot be a token/,
  },
  'an environment variable that is not set': {
    server: async () => serve(await good()),
    environment: { tls, token: { environmentVariable: 'PMPO_NOT_SET' } },
    message: /environment\.token: the environment variable PMPO_NOT_SET is not set/,
  },
};

describe('refused with one line and exit code 1:', () => {
  it.each(Object.entries(wrong))('%s', async (_what, { server, environment, message }) => {
    const address = await server();
    const { code, said } = await train(folder.path, smallRun(folder.path, { address, ...environment }));
    expect(said).toMatch(message);
    expect(said).toMatch(/^pmpo: [^\n]*\n$/);
    expect(said).not.toContain(token);
    expect(said).not.toContain(wrongToken);
    expect(code).toBe(1);
  });

  it('as errors of the program too', async () => {
    await ensureBuilt();
    const { server, environment, message } = wrong['a certificate that has expired'];
    const config = smallRun(folder.path, { address: await server(), ...environment });
    const { code, stderr } = await run(['train', await writeConfig(folder.path, 'own.yaml', config)]);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^pmpo: [^\n]*\n$/);
    expect(code).toBe(1);
  });

  it('a token that would be sent over the network unencrypted', async () => {
    const environment = { address: '192.0.2.1:9', token: { file: 'token' } };
    const { code, said } = await train(folder.path, smallRun(folder.path, environment));
    expect(said).toMatch(/^pmpo: environment\.token: it would be sent to 192\.0\.2\.1:9 unencrypted/);
    expect(code).toBe(1);
  });
});

describe('a client', () => {
  const connect = (address: string, environment: object) =>
    RemoteEnvironment.connect({ address, deadlineSeconds: 5, ...environment });
  const ca_ = () => ({ ca: join(folder.path, 'ca.pem') });

  it('accepts a certificate for the name in tls.serverName', async () => {
    const address = await serve(await signed('simulators.example', { by: ca }));
    const remote = await connect(address, { tls: { ...ca_(), serverName: 'simulators.example' } });
    expect((await remote.reset({ seed: 3 })).observation.state.data[0]).toBe(3);
    await remote.close();
  });

  it('may send a token unencrypted to its own machine, from a variable', async () => {
    process.env.PMPO_TEST_TOKEN = token;
    const address = await serve(undefined, { token });
    const remote = await connect(address, { token: { environmentVariable: 'PMPO_TEST_TOKEN' } });
    delete process.env.PMPO_TEST_TOKEN;
    await remote.close();
  });

  it('does not try again without trust', async () => {
    const failed = connect(await serve(foreignServer), { tls: ca_() });
    await expect(failed).rejects.toBeInstanceOf(SecurityError);
  });

  it.each([
    ['127.0.0.1:1', true],
    ['localhost:1', true],
    ['[::1]:1', true],
    ['unix:/tmp/s', true],
    ['10.0.0.1:1', false],
    ['localhost.example:1', false],
    ['127.0.0.1.example:1', false],
    ['unix.example:1', false],
  ])('knows whether %s is its own machine: %s', (address, expected) => {
    expect(isLocal(address)).toBe(expected);
  });
});
