import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import '../../grpc/quiet.js';

/** dm_env_rpc's messages as protobufjs reads and writes them, and its service. */

const folder = fileURLToPath(new URL('../../../proto/', import.meta.url));

function load(): protobuf.Root {
  const root = new protobuf.Root();
  // Imports in the files are relative to the proto folder, not to the importing file.
  root.resolvePath = (_origin, target) =>
    target.startsWith('google/protobuf/') || target.startsWith('/') ? target : `${folder}${target}`;
  root.loadSync(['dm_env_rpc/v1/dm_env_rpc.proto', 'dm_env_rpc/v1/extensions/properties.proto']);
  root.resolveAll();
  return root;
}

const root = load();
const requestType = root.lookupType('dm_env_rpc.v1.EnvironmentRequest');
const responseType = root.lookupType('dm_env_rpc.v1.EnvironmentResponse');
const propertyRequestType = root.lookupType('dm_env_rpc.v1.extensions.properties.PropertyRequest');
const propertyResponseType = root.lookupType('dm_env_rpc.v1.extensions.properties.PropertyResponse');

/** A 64-bit integer as protobufjs gives it. */
export type Wide =
  | number
  | string
  | { readonly low: number; readonly high: number; readonly unsigned: boolean };

/** What protobufjs makes of a payload: numbers, 64-bit integers, texts, bytes or packed messages. */
export interface WirePayload {
  readonly array?: ArrayLike<unknown> | Uint8Array;
}

export const payloadNames = [
  'floats',
  'doubles',
  'int8s',
  'int32s',
  'int64s',
  'uint8s',
  'uint32s',
  'uint64s',
  'bools',
  'strings',
  'protos',
] as const; // prettier-ignore
export type PayloadName = (typeof payloadNames)[number];

export type WireTensor = { shape?: readonly number[] } & { [P in PayloadName]?: WirePayload | null };
export type WireBound = { [P in PayloadName]?: WirePayload | null };
export interface WireSpec {
  name?: string;
  shape?: readonly number[];
  dtype?: number;
  min?: WireBound | null;
  max?: WireBound | null;
}
/** By the decimal digits of a 64-bit number. */
export type ByUid<T> = Readonly<Record<string, T>>;
export interface WireSpecs {
  actions?: ByUid<WireSpec>;
  observations?: ByUid<WireSpec>;
}
export type WireSettings = Readonly<Record<string, WireTensor>>;
export interface WireAny {
  type_url?: string;
  value?: Uint8Array;
}

export interface WireRequest {
  createWorld?: { settings?: WireSettings } | null;
  joinWorld?: { worldName?: string; settings?: WireSettings } | null;
  step?: { actions?: ByUid<WireTensor>; requestedObservations?: readonly Wide[] } | null;
  reset?: { settings?: WireSettings } | null;
  resetWorld?: { worldName?: string; settings?: WireSettings } | null;
  leaveWorld?: Record<string, never> | null;
  destroyWorld?: { worldName?: string } | null;
  extension?: WireAny | null;
}

export interface WireResponse {
  createWorld?: { worldName?: string } | null;
  joinWorld?: { specs?: WireSpecs | null } | null;
  step?: { state?: number; observations?: ByUid<WireTensor> } | null;
  reset?: { specs?: WireSpecs | null } | null;
  resetWorld?: Record<string, never> | null;
  leaveWorld?: Record<string, never> | null;
  destroyWorld?: Record<string, never> | null;
  extension?: WireAny | null;
  error?: { code?: number; message?: string } | null;
}

export interface WireProperty {
  spec?: WireSpec | null;
  isReadable?: boolean;
  isWritable?: boolean;
  isListable?: boolean;
  description?: string;
}
export interface WirePropertyRequest {
  readProperty?: { key?: string } | null;
  writeProperty?: { key?: string; value?: WireTensor | null } | null;
  listProperty?: { key?: string } | null;
}
export interface WirePropertyResponse {
  readProperty?: { value?: WireTensor | null } | null;
  writeProperty?: Record<string, never> | null;
  listProperty?: { values?: readonly WireProperty[] } | null;
}

export const environmentStates = { running: 1, terminated: 2, interrupted: 3 } as const;

const propertiesUrl = 'type.googleapis.com/dm_env_rpc.v1.extensions.properties.';

export const propertyRequestUrl = `${propertiesUrl}PropertyRequest`;

function encoded(type: protobuf.Type, message: object): Uint8Array {
  return type.encode(message as protobuf.Message).finish();
}

/** A properties request as the `extension` of a request. */
export function packPropertyRequest(request: WirePropertyRequest): WireAny {
  return { type_url: propertyRequestUrl, value: encoded(propertyRequestType, request) };
}

export function unpackPropertyRequest(packed: WireAny): WirePropertyRequest {
  return propertyRequestType.decode(packed.value ?? new Uint8Array()) as WirePropertyRequest;
}

export function packPropertyResponse(response: WirePropertyResponse): WireAny {
  return { type_url: `${propertiesUrl}PropertyResponse`, value: encoded(propertyResponseType, response) };
}

export function unpackPropertyResponse(packed: WireAny): WirePropertyResponse {
  return propertyResponseType.decode(packed.value ?? new Uint8Array()) as WirePropertyResponse;
}

/** A 64-bit integer as a bigint. */
export function bigintOf(value: Wide): bigint {
  if (typeof value !== 'object') return BigInt(value);
  const low = BigInt(value.low >>> 0);
  return (BigInt(value.unsigned ? value.high >>> 0 : value.high) << 32n) | low;
}

/** A map with 64-bit keys, which protobufjs decodes to keys of 8 characters, a byte each, by their decimal digits. */
function byDigits<T>(map: ByUid<T>): ByUid<T> {
  const result: Record<string, T> = {};
  for (const key of Object.keys(map)) {
    let number = 0;
    for (let i = key.length - 1; i >= 0; i--) number = number * 256 + key.charCodeAt(i);
    result[Number.isSafeInteger(number) ? number : protobuf.util.longFromHash(key, true).toString()] =
      map[key];
  }
  return result;
}

function byDigitsIn<M extends object>(message: M | null | undefined, ...fields: (keyof M)[]): void {
  if (message === null || message === undefined) return;
  for (const field of fields) {
    if (message[field] !== undefined)
      message[field] = byDigits(message[field] as ByUid<unknown>) as M[keyof M];
  }
}

function decodeRequest(bytes: Uint8Array): WireRequest {
  const request = requestType.decode(bytes) as WireRequest;
  byDigitsIn(request.step, 'actions');
  return request;
}

export function encodeRequest(request: WireRequest): Uint8Array {
  return encoded(requestType, request);
}

/** @throws Error for bytes that are no response. */
export function decodeResponse(bytes: Uint8Array): WireResponse {
  const response = responseType.decode(bytes) as WireResponse;
  byDigitsIn(response.step, 'observations');
  byDigitsIn(response.joinWorld?.specs, 'actions', 'observations');
  byDigitsIn(response.reset?.specs, 'actions', 'observations');
  return response;
}

/** The service, with the messages above. */
export const environmentService: ServiceDefinition = {
  Process: {
    path: '/dm_env_rpc.v1.Environment/Process',
    requestStream: true,
    responseStream: true,
    requestSerialize: (message: WireRequest) => Buffer.from(encodeRequest(message)),
    requestDeserialize: decodeRequest,
    responseSerialize: (message: WireResponse) => Buffer.from(encoded(responseType, message)),
    responseDeserialize: decodeResponse,
  },
};

/** The service with messages as bytes, for a client that encodes and decodes them itself. */
export const rawEnvironmentService: ServiceDefinition = {
  Process: {
    ...environmentService.Process,
    requestSerialize: (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};
