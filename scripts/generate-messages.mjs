// `npm run generate`: writes the TypeScript types of the messages in proto/ to src/generated/, one file for each protocol, and the
// description of the feedback service that the Python package reads. With `--output FOLDER`, writes them there instead (the
// test that looks for stale files does).
//
// Types only: messages are encoded and decoded by protobufjs at run time, from the same .proto files. The ready-made
// generators do not fit: `proto-loader-gen-types` writes two types and one file for each message, and stubs that nothing here
// uses; `pbts` needs generated encoders.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import protobuf from 'protobufjs';
import 'protobufjs/ext/descriptor/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * The generated files, and the reader whose plain objects the types describe:
 * - `protobufjs`: what `decode` returns and `encode` takes. An absent message is null, 64-bit integers are objects, enums are
 *   numbers, and lists of numbers may be written from typed arrays.
 * - `proto-loader`: what `loadService` (src/grpc/protos.ts) is set up for. An absent message is undefined, 64-bit integers are
 *   numbers, and enums are names.
 */
const outputs = [
  {
    file: 'dm-env-rpc.ts',
    reader: 'protobufjs',
    protos: ['dm_env_rpc/v1/dm_env_rpc.proto', 'dm_env_rpc/v1/extensions/properties.proto'],
  },
  { file: 'feedback.ts', reader: 'proto-loader', protos: ['pmpo/v1/feedback.proto'] },
  { file: 'open-inference.ts', reader: 'proto-loader', protos: ['inference/grpc_service.proto'] },
  { file: 'trainer.ts', reader: 'proto-loader', protos: ['pmpo/v1/trainer.proto'] },
  { file: 'vllm.ts', reader: 'proto-loader', protos: ['vllm/grpc/engine/vllm_engine.proto'] },
];

const int64 = `/** A 64-bit integer as protobufjs reads it (an object), or as it may be written. */
export type Int64 =
  | number
  | string
  | { readonly low: number; readonly high: number; readonly unsigned: boolean };
`;

const wideTypes = new Set(['int64', 'uint64', 'sint64', 'fixed64', 'sfixed64']);
const typedArrays = {
  float: 'Float32Array',
  double: 'Float64Array',
  int32: 'Int32Array',
  uint32: 'Uint32Array',
};

function load(protos) {
  const tree = new protobuf.Root();
  // Imports in the files are relative to the proto folder, not to the importing file.
  tree.resolvePath = (_origin, target) =>
    target.startsWith('google/protobuf/') ? target : join(root, 'proto', target);
  tree.loadSync(protos, { alternateCommentMode: true });
  return tree.resolveAll();
}

const kinds = [protobuf.Type, protobuf.Enum, protobuf.Service];

/** The messages, enums and services of a namespace, nested ones included, in the order of the files. */
function typesIn(namespace) {
  return namespace.nestedArray.flatMap((object) => {
    const own = kinds.some((kind) => object instanceof kind) ? [object] : [];
    return object instanceof protobuf.Namespace ? [...own, ...typesIn(object)] : own;
  });
}

/** The name of a message without its package; the names of nested messages are joined: `TensorFloatArray`. */
function nameOf(type) {
  return type.parent instanceof protobuf.Type ? nameOf(type.parent) + type.name : type.name;
}

function documentation(text, indent) {
  const lines = (text ?? '').split('\n').filter((line) => line !== '');
  if (lines.length === 0) return '';
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}\n`).join('')}${indent} */\n`;
}

function elementType({ type, resolvedType }, reader) {
  if (resolvedType instanceof protobuf.Enum) return reader === 'protobufjs' ? 'number' : 'string';
  if (resolvedType !== null) return nameOf(resolvedType);
  if (type === 'string') return 'string';
  if (type === 'bool') return 'boolean';
  if (type === 'bytes') return 'Uint8Array';
  return wideTypes.has(type) && reader === 'protobufjs' ? 'Int64' : 'number';
}

function fieldType(field, reader) {
  const element = elementType(field, reader);
  if (field.map) return `Readonly<Record<string, ${element}>>`;
  if (field.repeated) {
    const typed = reader === 'protobufjs' ? typedArrays[field.type] : undefined;
    return `readonly ${element}[]${typed === undefined ? '' : ` | ${typed}`}`;
  }
  const isMessage = field.resolvedType instanceof protobuf.Type;
  return isMessage && reader === 'protobufjs' ? `${element} | null` : element;
}

function messageText(type, reader) {
  const choices = type.oneofsArray
    .filter((oneof) => !oneof.fieldsArray.some((field) => field.options?.proto3_optional))
    .map((oneof) => `At most one is present: ${oneof.fieldsArray.map(({ name }) => name).join(', ')}.`);
  const head = documentation([type.comment, ...choices].filter(Boolean).join('\n'), '');
  if (type.fieldsArray.length === 0) return `${head}export type ${nameOf(type)} = Record<string, never>;\n`;
  const fields = type.fieldsArray.map(
    (field) =>
      `${documentation(field.comment, '  ')}  readonly ${field.name}?: ${fieldType(field, reader)};\n`,
  );
  return `${head}export interface ${nameOf(type)} {\n${fields.join('')}}\n`;
}

/** An enum as an interface from its names to their numbers: fields hold any number or name, known or not. */
function enumText(type) {
  const values = Object.entries(type.values).map(
    ([name, value]) => `${documentation(type.comments[name], '  ')}  readonly ${name}: ${value};\n`,
  );
  const head = documentation(type.comment ?? 'The numbers of an enum.', '');
  return `${head}export interface ${nameOf(type)} {\n${values.join('')}}\n`;
}

/** A service as an interface from its methods to the messages that each takes and gives. */
function serviceText(type) {
  const methods = type.methodsArray.map((method) => {
    const { resolvedRequestType: request, resolvedResponseType: response } = method.resolve();
    const messages = `    readonly request: ${nameOf(request)};\n    readonly response: ${nameOf(response)};\n`;
    return `${documentation(method.comment, '  ')}  readonly ${method.name}: {\n${messages}  };\n`;
  });
  const head = documentation(type.comment ?? "A service's methods, and the messages of each.", '');
  return `${head}export interface ${type.name} {\n${methods.join('')}}\n`;
}

function typeText(type, reader) {
  if (type instanceof protobuf.Enum) return enumText(type);
  return type instanceof protobuf.Service ? serviceText(type) : messageText(type, reader);
}

function fileText({ reader, protos }) {
  const types = typesIn(load(protos));
  const names = types.map(nameOf);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`${protos.join(', ')}: two types are named ${twice}`);
  const texts = types.map((type) => typeText(type, reader));
  if (texts.some((text) => /\bInt64\b/.test(text))) texts.unshift(int64);
  const sources = protos.map((proto) => `proto/${proto}`).join(' and ');
  return `// Generated from ${sources} by \`npm run generate\`. Do not edit.\n\n${texts.join('\n')}`;
}

/** The descriptions of .proto files as a serialized FileDescriptorSet, which every version of protobuf reads. */
function description(protos) {
  // protobufjs declares neither `toDescriptor`, which its extension adds, nor the class of what it returns.
  const loaded = /** @type {any} */ (load(protos));
  const set = loaded.toDescriptor('proto3');
  return set.constructor.encode(set).finish();
}

const { output } = parseArgs({ options: { output: { type: 'string' } } }).values;
/** Where a file goes that has its place in `folder`. */
const place = (folder, file) => {
  const target = resolve(output ?? join(root, folder));
  mkdirSync(target, { recursive: true });
  return join(target, file);
};
for (const one of outputs) writeFileSync(place('src/generated', one.file), fileText(one));
writeFileSync(place('plugins/python/pmpo', 'feedback.binpb'), description(['pmpo/v1/feedback.proto']));
