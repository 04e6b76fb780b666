import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import * as tf from '../engine/tf.js';
import { cpo } from './cpo.js';

beforeAll(() => tf.setBackend('cpu'));

describe('cpo', () => {
  itIsThatOfTorch('cpo');

  it('reads no reference, and the length only with perToken', () => {
    expect(cpo().needs).toMatchObject({ referenceLogProb: false, kl: 'none', length: false });
    expect(cpo({ perToken: true }).needs.length).toBe(true);
  });
});
