import { mkdir } from 'node:fs/promises';
import type { Study } from './schema.js';

/** The server that all runs of a study share. */

export type ServerKind = Study['server'];

/** The kind of server that the runs of a scale need. */
export function serverOf(study: Study, scale: Pick<Study['scales'][string], 'server'>): ServerKind {
  return scale.server ?? study.server;
}

/** The setting of a run that holds the server's address. */
export function addressKey(kind: ServerKind): 'environment.address' | 'language.model.address' {
  return kind === 'trainer' ? 'language.model.address' : 'environment.address';
}

/** The part of a run's configuration that holds the server's address; empty if no server is needed. */
export function addressSetting(kind: ServerKind, address: string): Record<string, unknown> {
  if (kind === 'none') return {};
  return kind === 'trainer' ? { language: { model: { address } } } : { environment: { address } };
}

/** How the server of a study is started. */
export interface StartServerOptions {
  readonly kind: ServerKind;
  /** The folder of the model, for a trainer. */
  readonly model?: string;
  /** The folder in which a trainer saves the checkpoints of its runs. */
  readonly folder: string;
  /** Further arguments for the program that serves. */
  readonly args: readonly string[];
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** A server that serves the runs of a study. */
export interface StartedServer {
  /** host:port; undefined if no server was needed. */
  readonly address: string | undefined;
  close(): Promise<void>;
}

/** Starts the server of a study. @throws PmpoError if it does not start. */
export async function startServer(options: StartServerOptions): Promise<StartedServer> {
  const { kind, model, folder, args, say, signal } = options;
  if (kind === 'none') return { address: undefined, close: async () => {} };
  if (kind === 'embedded') {
    const { startEmbeddedServer } = await import('../../simulators/embedded-server.js');
    return startEmbeddedServer({ onCrash: (error) => say(error.message) });
  }
  if (kind === 'trainer') {
    const { startTorchTrainer } = await import('../../python/torch-trainer.js');
    await mkdir(folder, { recursive: true });
    const ofModel = model === undefined ? [] : ['--model', model];
    return startTorchTrainer({ port: 0, args: [...ofModel, '--folder', folder, ...args], say, signal });
  }
  const { startPythonServer } = await import('../../python/simulator-server.js');
  return startPythonServer({ kind, port: 0, args, say, signal });
}
