import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { ConfigError } from '../../core/errors.js';
import { wholeNumber } from '../options.js';

/** What the commands of `pmpo serve` that start a Python program share. */

export interface Place {
  readonly host: string;
  readonly port: number;
}

/** Runs `serve` with a signal that is aborted when a person or the system asks this process to stop. */
export async function untilStopped(serve: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const { handleSignals } = await import('../../system/signals.js');
  const { signal, dispose } = handleSignals();
  try {
    await serve(signal);
  } finally {
    dispose();
  }
}

export function asked(stop: AbortSignal): Promise<void> {
  if (stop.aborted) return Promise.resolve();
  return new Promise((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }));
}

export function addPlace(command: Command, port: number): Command {
  return command
    .option('--host <host>', 'the interface to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option('--port <port>', 'the port; 0 for a free one', wholeNumber(0), port);
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
    .option('--tls-certificate <pem>', "the server's certificate, with those that it is signed by")
    .option('--tls-key <pem>', 'its private key')
    .option('--tls-client-ca <pem>', 'clients must have a certificate of this authority')
    .option('--token-file <file>', 'clients must send the bearer token in this file')
    .addOption(
      new Option('--max-message-megabytes <number>', 'larger messages are refused').argParser(wholeNumber(1)),
    )
    .option('--verbose', logged);
}

/** An argument and its value, where there is one. */
export function pair(flag: string, value: string | number | undefined): string[] {
  return value === undefined ? [] : [flag, String(value)];
}

/** The same for a file or folder, from wherever the program is started. */
export function path(flag: string, file: string | undefined): string[] {
  return pair(flag, file === undefined ? undefined : resolve(file));
}

/**
 * The arguments of a Python program that these options stand for.
 * @throws ConfigError when some do not go together.
 */
export function securityArguments(options: SecurityOptions): string[] {
  const { tlsCertificate, tlsKey, tlsClientCa, tokenFile, maxMessageMegabytes } = options;
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) {
    throw new ConfigError({
      where: tlsKey === undefined ? '--tls-certificate' : '--tls-key',
      what: 'a certificate and its key go together',
      remedy: 'Give both --tls-certificate and --tls-key',
    });
  }
  if (tlsClientCa !== undefined && tlsCertificate === undefined) {
    throw new ConfigError({
      where: '--tls-client-ca',
      what: "it needs a certificate of the server's own",
      remedy: 'Give --tls-certificate and --tls-key too',
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
