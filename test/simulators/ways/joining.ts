import * as grpc from '@grpc/grpc-js';
import type * as wire from '../../../src/generated/dm-env-rpc.js';
import {
  bounds,
  double,
  float,
  observations,
  repeated,
  spec,
  specs,
  status,
  string,
  takeover,
  type Way,
} from '../misbehaving-server.js';

const offering = (changed: wire.ActionObservationSpecs) => () => [
  { joinWorld: { specs: { ...specs, ...changed } } },
];
const observing = (observed: wire.TensorSpec) =>
  offering({ observations: { ...observations, '1': observed } });
const acting = (action: wire.TensorSpec) => offering({ actions: { '1': action } });

/** Ways to answer CreateWorld, JoinWorld and Reset badly. */
export const joining: Record<string, Way> = {
  // CreateWorld
  'no answer to CreateWorld': {
    at: 'createWorld',
    send: () => [],
    says: /no answer to CreateWorld within 1 s/,
  },
  'two answers to CreateWorld': {
    at: 'createWorld',
    send: (usual) => [usual, usual],
    says: /no request waits for|of another kind: createWorld/,
  },
  'a flood of answers to CreateWorld': {
    at: 'createWorld',
    send: (usual) => repeated(usual, 2000),
    says: /no request waits for|of another kind: createWorld/,
  },
  'a name of 5,000 characters for a world': {
    at: 'createWorld',
    send: () => [{ createWorld: { worldName: 'w\x1b[2J'.repeat(1000) } }],
    says: /the server named the world with 5000 characters/,
  },
  'an error that takes over the terminal': {
    at: 'createWorld',
    send: () => [{ error: { code: 13, message: takeover } }],
    says: /refused CreateWorld: INTERNAL: bad \\x1b\[2J\\x1b\[31mHACK\\nsecond line\\r\\u\{202e\}A+… \(100,/,
  },
  'a status that refuses': {
    at: 'createWorld',
    send: status(grpc.status.INVALID_ARGUMENT, "unknown setting 'x'"),
    says: /the server refused CreateWorld: INVALID_ARGUMENT: unknown setting 'x'$/,
  },
  'an answer to LeaveWorld': {
    at: 'createWorld',
    send: () => [{ leaveWorld: {} }],
    says: /the response to CreateWorld is of another kind: leaveWorld/,
  },
  'bytes that are no message': {
    at: 'createWorld',
    send: () => [Buffer.from('no such message')],
    says: /the server's messages are not dm_env_rpc v1/,
  },
  'a message without content': {
    at: 'createWorld',
    send: () => [Buffer.alloc(0)],
    says: /the response to CreateWorld is of another kind: nothing/,
  },
  // JoinWorld
  '5,000 observations': {
    at: 'joinWorld',
    send: offering({
      observations: Object.fromEntries(
        Array.from({ length: 5000 }, (_, i) => [String(i + 1), spec(`o${i}`, float)]),
      ),
    }),
    says: /the server offers 5000 observations, and a world may have 4096/,
  },
  'an observation of 10⁹ elements': {
    at: 'joinWorld',
    send: observing(spec('state', float, [10 ** 9])),
    says: /the observations of a step take 3,815 MB.*'state' has the shape \[1000000000\]/,
  },
  'an action of 10⁹ elements': {
    at: 'joinWorld',
    send: acting(spec('push', double, [10 ** 9], bounds([-1], [1]))),
    says: /its actions have 1000000000 elements, and may have 262144/,
  },
  'two axes of any length': {
    at: 'joinWorld',
    send: observing(spec('state', float, [-1, -1])),
    says: /the spec 'state' has the shape \[-1,-1\]/,
  },
  'a hundred axes': {
    at: 'joinWorld',
    send: observing(spec('state', float, Array(100).fill(1))),
    says: /100 axes/,
  },
  'an unknown dtype': {
    at: 'joinWorld',
    send: observing(spec('state', 99)),
    says: /the unknown data type 99/,
  },
  'an observation named __proto__': {
    at: 'joinWorld',
    send: observing(spec('__proto__', float, [3])),
    says: /one of its observations is named '__proto__'/,
  },
  'a name of a million characters': {
    at: 'joinWorld',
    send: observing(spec('\x1b]0;x\x07'.repeat(150_000).slice(0, 900_000), float)),
    says: /the spec '\\x1b\]0;x\\x07.*… \(900,000 characters\)' has a name of more than 256 characters/,
  },
  'two observations of one name': {
    at: 'joinWorld',
    send: offering({ observations: { ...observations, '4': spec('state', float, [3]) } }),
    says: /two of its observations are named 'state'/,
  },
  'no reward': {
    at: 'joinWorld',
    send: offering({ observations: { '1': observations['1'] } }),
    says: /has no observation named reward/,
  },
  'a reward of three numbers': {
    at: 'joinWorld',
    send: offering({ observations: { ...observations, '2': spec('reward', double, [3]) } }),
    says: /reward/,
  },
  'a reward of text': {
    at: 'joinWorld',
    send: offering({ observations: { ...observations, '2': spec('reward', string) } }),
    says: /reward/,
  },
  'no actions': { at: 'joinWorld', send: offering({ actions: {} }), says: /the environment has no actions/ },
  'bounds the wrong way round': {
    at: 'joinWorld',
    send: acting(spec('push', double, [1], bounds([1], [-1]))),
    says: /the minimum 1 and the maximum -1/,
  },
  'bounds that are no numbers': {
    at: 'joinWorld',
    send: acting(spec('push', double, [1], bounds([Number.NaN], [Number.NaN]))),
    says: /the minimum NaN/,
  },
  'too many bounds': {
    at: 'joinWorld',
    send: acting(spec('push', double, [1], bounds([1, 2, 3], [4]))),
    says: /the spec 'push' has 3 bounds for the shape \[1\]/,
  },
  'two answers to JoinWorld': {
    at: 'joinWorld',
    send: (usual) => [usual, usual],
    says: /no request waits for|of another kind: joinWorld/,
  },
  // Reset
  'no answer to Reset': {
    at: 'reset',
    send: () => [],
    says: /no answer to Reset within 1 s.*deadlineSeconds/,
  },
  'other specs after a Reset': {
    at: 'reset',
    send: () => [{ reset: { specs: { ...specs, actions: {} } } }],
    says: /a reset changed the specs/,
  },
  'an error at each Reset': {
    at: 'reset',
    send: () => [{ error: { code: 13, message: 'no more\nroom' } }],
    says: /the server refused Reset: INTERNAL: no more\\nroom/,
  },
};
