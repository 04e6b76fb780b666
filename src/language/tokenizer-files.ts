import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { unzipSync } from 'fflate';
import { PmpoError } from '../core/errors.js';

/** The parsed files of a Hugging Face tokenizer. */
export interface TokenizerFiles {
  /** Where they come from (a folder, a file, an address), for error messages. */
  readonly where: string;
  /** tokenizer.json. */
  readonly tokenizer: Readonly<Record<string, unknown>>;
  /** tokenizer_config.json; empty if it is missing. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The Jinja template of chat_template.jinja, or else of tokenizer_config.json. */
  readonly chatTemplate?: string;
  /** The template for chats with tools, if tokenizer_config.json names one (`tool_use`). */
  readonly toolTemplate?: string;
}

const fileNames = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'] as const;
type FileName = (typeof fileNames)[number];

/** Larger files in an archive are ignored: they cannot belong to a tokenizer. */
const maxFileBytes = 2 ** 28;

function parse(text: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PmpoError({ where, what: `is not JSON: ${(cause as Error).message}`, cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PmpoError({ where, what: 'is not a JSON object' });
  }
  return value as Readonly<Record<string, unknown>>;
}

/** A chat template of tokenizer_config.json: the one named so, or, if it is the default, the only one. */
function templateOf(config: Readonly<Record<string, unknown>>, wanted = 'default'): string | undefined {
  const template = config.chat_template;
  if (typeof template === 'string') return wanted === 'default' ? template : undefined;
  if (!Array.isArray(template)) return undefined;
  const named = template as readonly { readonly name?: unknown; readonly template?: unknown }[];
  const chosen = named.find(({ name }) => name === wanted)?.template;
  return typeof chosen === 'string' ? chosen : undefined;
}

function assemble(texts: Partial<Record<FileName, string>>, where: string): TokenizerFiles {
  const tokenizer = texts['tokenizer.json'];
  if (tokenizer === undefined) {
    throw new PmpoError({
      where,
      what: 'there is no tokenizer.json',
      remedy:
        'Save the tokenizer in that format with transformers: AutoTokenizer.from_pretrained(…).save_pretrained(folder)',
    });
  }
  const configText = texts['tokenizer_config.json'];
  const config = configText === undefined ? {} : parse(configText, `${where}: tokenizer_config.json`);
  const only = texts['chat_template.jinja'];
  return {
    where,
    tokenizer: parse(tokenizer, `${where}: tokenizer.json`),
    config,
    chatTemplate: only ?? templateOf(config),
    ...(only === undefined ? { toolTemplate: templateOf(config, 'tool_use') } : {}),
  };
}

/**
 * Reads a tokenizer's files.
 * @param path a tokenizer.json, or the folder with that file; tokenizer_config.json and chat_template.jinja beside it are read if they
 *   exist.
 * @throws PmpoError if there is no tokenizer.json, or a file cannot be read or is not JSON.
 */
export async function readTokenizerFiles(path: string): Promise<TokenizerFiles> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) throw new PmpoError({ where: path, what: 'there is no such file or folder' });
  const folder = info.isDirectory() ? path : dirname(path);
  const texts: Partial<Record<FileName, string>> = {};
  for (const name of fileNames) {
    const file = join(folder, name === 'tokenizer.json' && !info.isDirectory() ? basename(path) : name);
    try {
      texts[name] = await readFile(file, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') continue;
      throw new PmpoError({ where: file, what: `cannot be read: ${(cause as Error).message}`, cause });
    }
  }
  return assemble(texts, path);
}

/**
 * Unpacks the ZIP archive in which an LM server sends its tokenizer (GetTokenizer of `vllm.grpc.engine.VllmEngine`).
 * @param sha256 the hash that the server sent (hexadecimal); not checked if empty or undefined.
 * @throws PmpoError if the hash differs, or the archive cannot be read or has no tokenizer.json.
 */
export function unpackTokenizerFiles(
  archive: Uint8Array,
  where: string,
  sha256: string | undefined,
): TokenizerFiles {
  if (archive.length === 0) {
    throw new PmpoError({
      where,
      what: 'the server sent an empty tokenizer',
      remedy: 'Give the folder of the tokenizer instead',
    });
  }
  const actual = createHash('sha256').update(archive).digest('hex');
  if (sha256 && sha256.toLowerCase() !== actual) {
    throw new PmpoError({
      where,
      what: `the tokenizer was damaged on the way: its SHA-256 is ${actual}, not ${sha256}`,
      remedy: 'Connect again. If that does not help, give the folder of the tokenizer',
    });
  }
  const wanted = new Set<string>(fileNames);
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(archive, {
      filter: ({ name, originalSize }) => wanted.has(name) && originalSize <= maxFileBytes,
    });
  } catch (cause) {
    throw new PmpoError({
      where,
      what: `the server's tokenizer is not a ZIP archive: ${(cause as Error).message}`,
      cause,
    });
  }
  const decoder = new TextDecoder();
  const texts = Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [name, decoder.decode(bytes)]),
  );
  return assemble(texts, where);
}
