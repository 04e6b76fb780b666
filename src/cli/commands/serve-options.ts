import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { ConfigError } from '../../core/errors.js';
import { portNumber, wholeNumber } from '../options.js';

/** Options and helpers that the commands of `pmpo serve` share. */

/** Where a server listens. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** Runs `serve` with a signal that is aborted by Ctrl-C or SIGTERM. */
export async function untilStopped(serve: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const { handleSignals } = await import('../../system/signals.js');
  const { signal, dispose } = handleSignals();
  try {
    await serve(signal);
  } finally {
    dispose();
  }
}

/** Resolves when the signal is aborted. */
export function aborted(stop: AbortSignal): Promise<void> {
  if (stop.aborted) return Promise.resolve();
  return new Promise((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }));
}

export function addPlace(command: Command, port: number): Command {
  return command
    .option('--host <host>', 'the interface to listen on; 0.0.0.0: all interfaces', '127.0.0.1')
    .option('--port <port>', 'the port; 0: any free port', portNumber, port);
}

export interface SecurityOptions {
  readonly tlsCertificate?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
  readonly tokenFile?: string;
  readonly maxMessageMegabytes?: number;
  readonly verbose?: boolean;
}

export function addSecurity(command: Command, logged: string): Command {
  return command
    .option('--tls-certificate <pem>', "the server's certificate, followed by those of its authorities")
    .option('--tls-key <pem>', 'the private key of the certificate')
    .option('--tls-client-ca <pem>', 'require client certificates of this authority')
    .option('--token-file <file>', 'require the bearer token in this file')
    .addOption(
      new Option('--max-message-megabytes <number>', 'refuse larger messages').argParser(wholeNumber(1)),
    )
    .option('--verbose', logged);
}

/** A flag with its value, or nothing without a value. */
export function pair(flag: string, value: string | number | undefined): string[] {
  return value === undefined ? [] : [flag, String(value)];
}

/** The same for a file or folder, as an absolute path. */
export function path(flag: string, file: string | undefined): string[] {
  return pair(flag, file === undefined ? undefined : resolve(file));
}

/**
 * The arguments of a Python server for these options.
 * @throws ConfigError if a required option is missing.
 */
export function securityArguments(options: SecurityOptions): string[] {
  const { tlsCertificate, tlsKey, tlsClientCa, tokenFile, maxMessageMegabytes } = options;
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) {
    throw new ConfigError({
      where: tlsKey === undefined ? '--tls-certificate' : '--tls-key',
      what: 'a certificate and its key belong together',
      remedy: 'Give both --tls-certificate and --tls-key',
    });
  }
  if (tlsClientCa !== undefined && tlsCertificate === undefined) {
    throw new ConfigError({
      where: '--tls-client-ca',
      what: 'it also requires a certificate of the server',
      remedy: 'Give --tls-certificate and --tls-key, too',
    });
  }
  return [
    ...path('--tls-certificate', tlsCertificate),
    ...path('--tls-key', tlsKey),
    ...path('--tls-client-ca', tlsClientCa),
    ...path('--token-file', tokenFile),
    ...pair('--max-message-megabytes', maxMessageMegabytes),
    ...(options.verbose === true ? ['--verbose'] : []),
  ];
}
