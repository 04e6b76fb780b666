import * as grpc from '@grpc/grpc-js';
import { repeated, specs, status, takeover, type Way } from '../misbehaving-server.js';

const surplus =
  /^127\.0\.0\.1:\d+, environment \d, episode \d, step \d+: the server sent a response that no request waits for\. Correct the server: it must send one response/;

/** Ways to answer steps too often, not at all, or with errors. */
export const order: Record<string, Way> = {
  // The number of answers. Late surplus answers are in ../late-answers.test.ts.
  'one surplus response': {
    at: 'step',
    send: (usual) => [usual, usual],
    times: 1,
    says: surplus,
  },
  'one surplus response a moment later': {
    at: 'step',
    send: (usual) => [usual, 5, usual],
    times: 1,
    thinking: 60,
    says: surplus,
  },
  'a surplus response to every step': { at: 'step', from: 0, send: (usual) => [usual, usual], says: surplus },
  'a thousand surplus responses': {
    at: 'step',
    send: (usual) => repeated(usual, 1000),
    times: 1,
    says: surplus,
  },
  'a surplus error': {
    at: 'step',
    send: (usual) => [usual, { error: { code: 13, message: 'the solver\ndiverged' } }],
    says: /a response that no request waits for: the solver\\ndiverged\. Correct the server/,
  },
  'the response to a Reset': {
    at: 'step',
    send: () => [{ reset: { specs } }],
    times: 1,
    says: /environment \d, episode 0, step \d: the response to Step is of another kind: reset/,
  },
  'no answer to one step': {
    at: 'step',
    send: () => [],
    times: 1,
    says: /no answer to Step within 1 s/,
    goesOn: true,
  },
  'no answer to any step': { at: 'step', from: 0, send: () => [], says: /no answer to Step within 1 s/ },
  'a stream that ends': {
    at: 'step',
    send: (_usual, stream) => {
      stream.end();
      return [];
    },
    times: 1,
    says: /the server ended the stream/,
    goesOn: true,
  },
  // Errors
  'one error': {
    at: 'step',
    send: () => [{ error: { code: 13, message: 'the solver\ndiverged' } }],
    times: 1,
    says: /the server refused Step: INTERNAL: the solver\\ndiverged/,
    goesOn: true,
  },
  'a refusal that is final': {
    at: 'step',
    send: () => [{ error: { code: 9, message: 'the reward is of the shape [2]' } }],
    says: /^environment \d, episode 0, step \d+: 127\S+ the server refused Step: FAILED_PRECONDITION: the reward is of the shape \[2\]$/,
  },
  'an error in every step': {
    at: 'step',
    from: 0,
    send: () => [{ error: { code: 13, message: takeover } }],
    says: /the simulator has failed in 10 episodes in a row: .*HACK\\nsecond/,
  },
  'a status of a thousand lines': {
    at: 'step',
    send: status(grpc.status.DATA_LOSS, 'x\ny'.repeat(1000)),
    times: 1,
    says: /the server refused Step: DATA_LOSS: x\\nyx\\ny/,
    goesOn: true,
  },
};
