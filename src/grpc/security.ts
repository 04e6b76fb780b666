import { readFile } from 'node:fs/promises';
import * as grpc from '@grpc/grpc-js';
import { SecurityError } from './errors.js';

/** The PEM files of a TLS client. */
export interface TlsFiles {
  /** The certificate authorities to trust instead of the system's. */
  readonly ca?: string;
  /** The client's own certificate, if the server asks for one. */
  readonly certificate?: string;
  /** The private key of that certificate. */
  readonly key?: string;
  /** The name in the server's certificate, if it differs from the address. */
  readonly serverName?: string;
}

/** Where to read a bearer token. It is read for each new connection, and not stored. */
export type TokenSource = { readonly file: string } | { readonly environmentVariable: string };

/** How a client trusts a server, and identifies itself to it. */
export interface SecuritySettings {
  /** True: TLS with the system's certificate authorities. Default: false. */
  readonly tls?: boolean | TlsFiles;
  /** The bearer token to send with each call. */
  readonly token?: TokenSource;
}

/** The contents of the TLS files. */
export interface TlsContents {
  readonly ca?: Buffer;
  readonly certificate?: Buffer;
  readonly key?: Buffer;
  readonly serverName?: string;
}

/** The security settings of a channel, loaded. */
export interface ChannelSecurity {
  readonly tls: TlsContents | undefined;
  readonly credentials: grpc.ChannelCredentials;
  readonly options: grpc.ChannelOptions;
  /** The metadata to send with each call. */
  readonly metadata: grpc.Metadata;
}

async function read(where: string, file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new SecurityError({
      where,
      what: missing
        ? `the file ${file} does not exist`
        : `${file} cannot be read: ${(cause as Error).message}`,
      cause,
    });
  }
}

/**
 * Reads a bearer token. Messages never contain it.
 * @param configKey the configuration key of its source: `environment.token`
 * @throws SecurityError if it is missing, or is not a line of printable characters, as a header needs.
 */
export async function readToken(
  source: TokenSource,
  configKey: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const where =
    'file' in source ? `the file ${source.file}` : `the environment variable ${source.environmentVariable}`;
  const text =
    'file' in source
      ? String(await read(`${configKey}.file`, source.file))
      : (env[source.environmentVariable] ?? '');
  const token = text.trim();
  if (/^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(token)) return token;
  throw new SecurityError({
    where: configKey,
    what:
      token === ''
        ? `${where} is ${'file' in source ? 'empty' : 'not set'}`
        : `the content of ${where} cannot be a token`,
    remedy: 'It must hold one line of printable characters',
  });
}

const loopback = /^(unix:|localhost:|127\.\d+\.\d+\.\d+:|\[::1\]:)/i;

/** Whether an address is on this machine, where traffic cannot be intercepted on the network. */
export function isLocal(address: string): boolean {
  return loopback.test(address);
}

/**
 * Loads certificates and token.
 * @param configKey the configuration key of the server's settings: `environment`
 * @throws SecurityError if one of them cannot be read or used, or if the token would be sent over the network unencrypted.
 */
export async function loadSecurity(
  { tls = false, token }: SecuritySettings,
  address: string,
  configKey: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<ChannelSecurity> {
  const metadata = new grpc.Metadata();
  if (token !== undefined) {
    if (tls === false && !isLocal(address)) {
      throw new SecurityError({
        where: `${configKey}.token`,
        what: `it would be sent to ${address} unencrypted`,
        remedy: `Set ${configKey}.tls`,
      });
    }
    metadata.set('authorization', `Bearer ${await readToken(token, `${configKey}.token`, env)}`);
  }
  if (tls === false) {
    return { tls: undefined, credentials: grpc.credentials.createInsecure(), options: {}, metadata };
  }
  const files = tls === true ? {} : tls;
  const contents: TlsContents = {
    ca: await read(`${configKey}.tls.ca`, files.ca),
    certificate: await read(`${configKey}.tls.certificate`, files.certificate),
    key: await read(`${configKey}.tls.key`, files.key),
    serverName: files.serverName,
  };
  try {
    return {
      tls: contents,
      credentials: grpc.credentials.createSsl(
        contents.ca ?? null,
        contents.key ?? null,
        contents.certificate ?? null,
      ),
      options:
        files.serverName === undefined
          ? {}
          : {
              'grpc.ssl_target_name_override': files.serverName,
              'grpc.default_authority': files.serverName,
            },
      metadata,
    };
  } catch (cause) {
    throw new SecurityError({
      where: `${configKey}.tls`,
      what: `the TLS files cannot be used: ${(cause as Error).message}`,
      remedy: 'Give PEM files: a certificate and its private key',
      cause,
    });
  }
}
