import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import type * as wire from '../../generated/dm-env-rpc.js';
import '../../grpc/quiet.js';
import { encodeStepRequest, encodeStepResponse } from './step-encoder.js';

/** Encodes and decodes dm_env_rpc's messages, and defines its service. */

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

/** Values by uid, the decimal digits of an unsigned 64-bit integer. */
export type ByUid<T> = Readonly<Record<string, T>>;

/** The settings of a request, by name. */
export type Settings = Readonly<Record<string, wire.Tensor>>;

/** The states of an episode, by dm_env_rpc's numbers. */
export const environmentStates = { running: 1, terminated: 2, interrupted: 3 } as const satisfies {
  running: wire.EnvironmentStateType['RUNNING'];
  terminated: wire.EnvironmentStateType['TERMINATED'];
  interrupted: wire.EnvironmentStateType['INTERRUPTED'];
};

/** The number of a state. */
export type EnvironmentState = (typeof environmentStates)[keyof typeof environmentStates];

/** Whether dm_env_rpc has a state of this number. */
export function isEnvironmentState(state: number): state is EnvironmentState {
  return state === 1 || state === 2 || state === 3;
}

const propertiesUrl = 'type.googleapis.com/dm_env_rpc.v1.extensions.properties.';

/** The type URL of a request of the properties extension. */
export const propertyRequestUrl = `${propertiesUrl}PropertyRequest`;

function encoded(type: protobuf.Type, message: object): Uint8Array {
  return type.encode(message as protobuf.Message).finish();
}

/** Packs a request of the properties extension into the `extension` of an EnvironmentRequest. */
export function packPropertyRequest(request: wire.PropertyRequest): wire.Any {
  return { type_url: propertyRequestUrl, value: encoded(propertyRequestType, request) };
}

/** @throws Error when the bytes are not a PropertyRequest. */
export function unpackPropertyRequest({ value = new Uint8Array() }: wire.Any): wire.PropertyRequest {
  return propertyRequestType.decode(value) as wire.PropertyRequest;
}

/** Packs a response of the properties extension into the `extension` of an EnvironmentResponse. */
export function packPropertyResponse(response: wire.PropertyResponse): wire.Any {
  return { type_url: `${propertiesUrl}PropertyResponse`, value: encoded(propertyResponseType, response) };
}

/** @throws Error when the bytes are not a PropertyResponse. */
export function unpackPropertyResponse({ value = new Uint8Array() }: wire.Any): wire.PropertyResponse {
  return propertyResponseType.decode(value) as wire.PropertyResponse;
}

/** A 64-bit integer as a bigint. */
export function bigintOf(value: wire.Int64): bigint {
  if (typeof value !== 'object') return BigInt(value);
  const low = BigInt(value.low >>> 0);
  return (BigInt(value.unsigned ? value.high >>> 0 : value.high) << 32n) | low;
}

/** The decimal digits of an unsigned 64-bit integer. */
export function digitsOf(value: wire.Int64): string {
  // Most are small, and a bigint takes longer.
  if (typeof value === 'object' && value.high === 0) return String(value.low >>> 0);
  return String(typeof value === 'object' ? bigintOf(value) : value);
}

/** protobufjs decodes 64-bit map keys to strings of 8 characters, one for each byte: this gives their decimal digits. */
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

/** Replaces the keys of these maps of a message, in place. */
function useDigits<M extends object>(message: M | null | undefined, ...fields: (keyof M)[]): void {
  if (message === null || message === undefined) return;
  for (const field of fields) {
    if (message[field] !== undefined)
      message[field] = byDigits(message[field] as ByUid<unknown>) as M[keyof M];
  }
}

function decodeRequest(bytes: Uint8Array): wire.EnvironmentRequest {
  const request = requestType.decode(bytes) as wire.EnvironmentRequest;
  useDigits(request.step, 'actions');
  return request;
}

/** The bytes of a request. */
export function encodeRequest(request: wire.EnvironmentRequest): Uint8Array {
  const step = request.step ? encodeStepRequest(request.step) : undefined;
  return step ?? encoded(requestType, request);
}

/** The bytes of a response. */
export function encodeResponse(response: wire.EnvironmentResponse): Uint8Array {
  const step = response.step ? encodeStepResponse(response.step) : undefined;
  return step ?? encoded(responseType, response);
}

/** @throws Error when the bytes are not an EnvironmentResponse. */
export function decodeResponse(bytes: Uint8Array): wire.EnvironmentResponse {
  const response = responseType.decode(bytes) as wire.EnvironmentResponse;
  useDigits(response.step, 'observations');
  useDigits(response.joinWorld?.specs, 'actions', 'observations');
  useDigits(response.reset?.specs, 'actions', 'observations');
  return response;
}

/** The same bytes as a Buffer. */
const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

/** The service, with requests and responses as plain objects. */
export const environmentService: ServiceDefinition = {
  Process: {
    path: '/dm_env_rpc.v1.Environment/Process',
    requestStream: true,
    responseStream: true,
    requestSerialize: (message: wire.EnvironmentRequest) => bufferOf(encodeRequest(message)),
    requestDeserialize: decodeRequest,
    responseSerialize: (message: wire.EnvironmentResponse) => bufferOf(encodeResponse(message)),
    responseDeserialize: decodeResponse,
  },
};

/** The service with messages as bytes, for a client that encodes and decodes them itself. */
export const rawEnvironmentService: ServiceDefinition = {
  Process: {
    ...environmentService.Process,
    requestSerialize: bufferOf,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};
