/** The numbers of dm_env_rpc.proto that the fast encoder and decoder of steps share. */

/** A field: its number and wire type, as the one number that precedes it on the wire. */
const tag = (field: number, wireType: 0 | 2): number => (field << 3) | wireType;

/** The tag of a tensor's elements, which are in the field whose number is that of their data type. */
export const payloadTag = (dtypeCode: number): number => tag(dtypeCode, 2);

/** The tags of the elements that the encoder writes. */
export const payloadTags = {
  floats: payloadTag(1),
  doubles: payloadTag(2),
  int8s: payloadTag(3),
  int32s: payloadTag(4),
  uint8s: payloadTag(6),
} as const;

export const tags = {
  requestStep: tag(3, 2),
  requestActions: tag(1, 2),
  requestedObservations: tag(2, 2),
  responseStep: tag(3, 2),
  responseState: tag(1, 0),
  responseObservations: tag(2, 2),
  entryKey: tag(1, 0),
  entryValue: tag(2, 2),
  tensorShape: tag(15, 2),
  payloadArray: tag(1, 2),
} as const;

/** Whether numbers have the same byte order in memory as on the wire. */
export const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
