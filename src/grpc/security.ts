import { readFile } from 'node:fs/promises';
import * as grpc from '@grpc/grpc-js';
import { SecurityError } from './errors.js';

/** PEM files. */
export interface TlsFiles {
  /** Authorities to trust in place of the system's. */
  readonly ca?: string;
  /** The client's own certificate and its private key, where the server asks for them. */
  readonly certificate?: string;
  readonly key?: string;
  /** The name that the server's certificate must have, where it is not the address's. */
  readonly serverName?: string;
}

/** Where a bearer token is found. It is read whenever a connection is made, and kept nowhere. */
export type TokenSource = { readonly file: string } | { readonly environmentVariable: string };

export interface SecuritySettings {
  /** True: TLS with the system's authorities. */
  readonly tls?: boolean | TlsFiles;
  readonly token?: TokenSource;
}

/** The contents of the files: what a TLS connection is made with. */
export interface TlsContents {
  readonly ca?: Buffer;
  readonly certificate?: Buffer;
  readonly key?: Buffer;
  readonly serverName?: string;
}

/** What a channel is made with. */
export interface ChannelSecurity {
  readonly tls: TlsContents | undefined;
  readonly credentials: grpc.ChannelCredentials;
  readonly options: grpc.ChannelOptions;
  /** Sent with each call. */
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
      what: missing ? `there is no file ${file}` : `${file} cannot be read: ${(cause as Error).message}`,
      cause,
    });
  }
}

/**
 * A bearer token, as it can stand in a header. It is never shown.
 * @param configKey where its source is set: `environment.token`
 * @throws SecurityError when there is none, or it is no line of printable characters.
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
    what: token === '' ? `${where} holds no token` : `${where} holds something that cannot be a token`,
    remedy: 'It must hold one line of printable characters',
  });
}

const loopback = /^(unix:|localhost:|127\.\d+\.\d+\.\d+:|\[::1\]:)/;

/** True for addresses that nobody between here and there can listen to. */
export function isLocal(address: string): boolean {
  return loopback.test(address);
}

/**
 * Reads certificates and token.
 * @param configKey where they are set: `environment`
 * @throws SecurityError when one cannot be read or is none, or when a token would go over the network in the clear.
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
        what: `it would go to ${address} in the clear`,
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
      what: `its files cannot be used: ${(cause as Error).message}`,
      remedy: 'Give PEM files: a certificate and the private key that belongs to it',
      cause,
    });
  }
}
