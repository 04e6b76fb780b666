import type * as wire from '../../../src/generated/dm-env-rpc.js';
import {
  double,
  doubles,
  encode,
  floats,
  observations,
  type Response,
  spec,
  specs,
  type Way,
} from '../misbehaving-server.js';

const others = (usual: Response, changed: Record<string, wire.Tensor>): Response => ({
  step: { ...usual.step, observations: { ...usual.step!.observations, ...changed } },
});
const state = (tensor: wire.Tensor) => (usual: Response) => [others(usual, { '1': tensor })];
const reward = (value: number) => (usual: Response) => [others(usual, { '2': doubles(value) })];
const discount = (value: number) => (usual: Response) => [others(usual, { '3': doubles(value) })];
const ofState = (number: number) => (usual: Response) => [{ step: { ...usual.step, state: number } }];
const without = (uid: string) => (usual: Response) => {
  const { [uid]: _, ...rest } = usual.step!.observations!;
  return [{ step: { ...usual.step, observations: rest } }];
};

/** Ways to answer a step with wrong numbers, or in a wrong form. */
export const steps: Record<string, Way> = {
  // The numbers
  'the state 0': {
    at: 'step',
    send: ofState(0),
    says: /the state of a step is 0, which dm_env_rpc does not have/,
  },
  'the state 77': { at: 'step', send: ofState(77), says: /the state of a step is 77/ },
  'the state -1': { at: 'step', send: ofState(-1), says: /the state of a step is -1/ },
  'a reward that is NaN': { at: 'step', send: reward(Number.NaN), says: /the reward is NaN/ },
  'a reward beyond float32': {
    at: 'step',
    send: reward(1e39),
    says: /^127\.0\.0\.1:\d+, world 'w', environment \d, episode \d+, step \d+: the reward is 1e\+39/,
  },
  'an observation beyond float32': {
    at: 'step',
    send: state({ doubles: { array: [1, 1e39, 7] }, shape: [3] }),
    specs: { ...specs, observations: { ...observations, '1': spec('state', double, [3]) } },
    says: /^127\.0\.0\.1:\d+, world 'w', environment \d, .*: observation 'state'\[1\] is 1e\+39/,
  },
  'a discount that is NaN': { at: 'step', send: discount(Number.NaN), says: /the discount is NaN/ },
  'a discount of 5': {
    at: 'step',
    send: discount(5),
    says: /the discount is 5, which is not between 0 and 1/,
  },
  'a discount of -1': { at: 'step', send: discount(-1), says: /the discount is -1/ },
  'an infinite observation': {
    at: 'step',
    send: state(floats(Number.POSITIVE_INFINITY, 1, 2)),
    says: /environment \d, episode \d+, step \d+: observation 'state'\[0\] is Infinity/,
  },
  // The form
  'another shape': {
    at: 'step',
    send: state(floats(1, 2, 3, 4)),
    says: /world 'w', observation 'state': it is float32 \[4\], but its spec is float32 \[3\]/,
  },
  'too few elements': {
    at: 'step',
    send: state({ floats: { array: [1, 2] }, shape: [3] }),
    says: /2 elements do not fill the shape \[3\]/,
  },
  'too many elements': {
    at: 'step',
    send: state({ floats: { array: [1, 2, 3, 4] }, shape: [3] }),
    says: /4 elements do not fill the shape \[3\]/,
  },
  'a scalar for a vector': {
    at: 'step',
    send: state({ floats: { array: [1] } }),
    says: /it is float32 \[\], but/,
  },
  'one element for 2³¹ − 1': {
    at: 'step',
    send: state({ floats: { array: [1] }, shape: [2 ** 31 - 1] }),
    says: /it is float32 \[2147483647\], but/,
  },
  'one text for 2³¹ − 1': {
    at: 'step',
    send: state({ strings: { array: ['a'] }, shape: [2 ** 31 - 1] }),
    says: /it is string \[2147483647\], but/,
  },
  'a shape of 1,000 axes': {
    at: 'step',
    send: state({ floats: { array: [1] }, shape: Array(1000).fill(1) }),
    says: /a shape has 1000 axes/,
  },
  'another dtype': {
    at: 'step',
    send: state({ ...doubles(1, 2, 3), shape: [3] }),
    says: /it is float64 \[3\], but/,
  },
  'a tensor without elements': { at: 'step', send: state({}), says: /'state': a tensor has no payload/ },
  'no observation': { at: 'step', send: without('1'), says: /the observation 'state' is missing in a step/ },
  'no reward in a step': { at: 'step', send: without('2'), says: /the response to a step has no reward/ },
  'no discount in a step': { at: 'step', send: without('3'), says: /the response to a step has no discount/ },
  'three megabytes that nobody asked for': {
    at: 'step',
    send: (usual) => [others(usual, { '9': { uint8s: { array: new Uint8Array(3 * 2 ** 20) } } })],
    says: /a message is over the limit: .*environment\.maxMessageMegabytes/,
  },
  'half a message': {
    at: 'step',
    send: (usual) => [encode(usual).subarray(0, 20)],
    says: /the server's messages are not dm_env_rpc v1/,
  },
};
